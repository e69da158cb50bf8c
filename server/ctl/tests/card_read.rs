//! A card at the administrator's desk: a real pcscd with a virtual reader, and a broker, in namespaces
//! of their own.

use std::net::UdpSocket;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use heliostat_broker::config::Config;
use hil_card::readers::inside;
use hil_card::{Card, Recipe, Slot, vpcd};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn card_is_read_proves_its_key_and_is_given_to_a_person_with_it() {
    inside(
        "card_is_read_proves_its_key_and_is_given_to_a_person_with_it",
        &[],
        |readers| {
            let desk = Desk::new();
            let inserted = readers.insert(Card::named("alice")).unwrap();
            let read = desk.json(&["card", "read", "--person", "root", "--label", "blue"]);
            let id = Card::id_of("alice");
            assert_eq!(read["card"], id.as_str());
            assert_eq!(read["card_key"]["proven"], true);
            let fingerprint = read["card_key"]["fingerprint"].as_str().unwrap();
            let spki = Card::spki_of("alice", Slot::CardAuthentication);
            assert_eq!(
                read["card_key"]["spki"],
                heliostat_control::hex::digits(&spki)
            );
            pull(inserted);

            // The broker knows both keys now, and who has brought them.
            let known = desk.json(&["card", "show", &id]);
            let keys = known["card"]["keys"].as_array().unwrap();
            assert_eq!(keys.len(), 2, "{known}");
            assert_eq!(keys[0], format!("9E {fingerprint}"));
            assert_eq!(known["card"]["label"], "blue");
            let audit = desk.json(&["audit", "--event", "card_added"]);
            let by = audit[0]["by"].as_str().unwrap();
            assert!(by.ends_with("(0)"), "{audit}");

            // Where its keys were made anew, those that are read now count.
            let anew = Recipe::new("anew").id_of("alice");
            let inserted = readers.insert(anew.make()).unwrap();
            let read = desk.json(&["card", "read", "--person", "root"]);
            pull(inserted);
            let known = desk.json(&["card", "show", &id]);
            let now = read["card_key"]["fingerprint"].as_str().unwrap();
            assert_ne!(now, fingerprint);
            assert_eq!(known["card"]["keys"][0], format!("9E {now}"));

            // A copy of the card without its key is not given to anybody.
            let copy = Recipe::new("mallory")
                .id_of("alice")
                .certificates_of("alice");
            let inserted = readers.insert(copy.make()).unwrap();
            let output = desk.ctl(&["card", "read", "--person", "root"]);
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(
                !output.status.success() && text.contains("it is a copy"),
                "{text}"
            );
            pull(inserted);
        },
    );
}

/// The administrator's machine: a reader, and a broker in this process.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let config = Config {
            listen: free.local_addr().unwrap(),
            state_dir: folder.path().join("state"),
            run_dir: folder.path().join("run"),
            session_command: vec!["/bin/false".to_owned()],
            ..Config::default()
        };
        drop(free);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(heliostat_broker::run::run(config))
        });
        let desk = Self { folder };
        let started = Instant::now();
        let reader = || pcsc::Context::establish(pcsc::Scope::User)?.list_readers_owned();
        while !reader().is_ok_and(|readers| !readers.is_empty())
            || !desk.ctl(&["status"]).status.success()
        {
            assert!(
                started.elapsed() < PATIENCE,
                "pcscd or the broker does not come up"
            );
        }
        desk
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_heliostatctl"))
            .arg("--socket")
            .arg(self.folder.path().join("run/admin.sock"))
            .args(arguments)
            .output()
            .unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ctl(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Pulls a card and waits until pcscd has seen it.
fn pull(inserted: vpcd::Inserted) {
    inserted.pull().unwrap();
    let context = pcsc::Context::establish(pcsc::Scope::User).unwrap();
    let reader = context.list_readers_owned().unwrap().remove(0);
    let mut states = [pcsc::ReaderState::new(reader, pcsc::State::UNAWARE)];
    loop {
        context.get_status_change(PATIENCE, &mut states).unwrap();
        if states[0].event_state().contains(pcsc::State::EMPTY) {
            return;
        }
        states[0].sync_current_state();
    }
}

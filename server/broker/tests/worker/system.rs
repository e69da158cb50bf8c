//! The services that are shipped, with the system's own modules and accounts made for the test, in
//! a mount namespace with another /etc.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use heliostat_broker::worker::{Worker, Workers};
use heliostat_control::worker::{Begin, Credential, Failure, FromWorker, Style, ToWorker};
use nix::unistd::Uid;
use tempfile::TempDir;

use crate::site::{DEADLINE, answer, authenticated, failed, prompt};

/// "tree".
const HASH: &str = "$6$heliostat$0Gl7nXl0xgSUk62Lup6efF4gL4AsM35TEmZ6mBDI1XxRuLX1qD6eE0Xn2/\
                    ssVEbPE/zf7elWpiSQB8tB30Ud91";

/// Name, shell, and the fields of shadow from the password on.
const PEOPLE: [(&str, &str, &str); 6] = [
    ("hel-anna", "/bin/sh", "HASH:20000:0:99999:7:::"),
    ("hel-locked", "/bin/sh", "!HASH:20000:0:99999:7:::"),
    ("hel-expired", "/bin/sh", "HASH:20000:0:99999:7::10:"),
    ("hel-old", "/bin/sh", "HASH:0:0:99999:7:::"),
    ("hel-robot", "/usr/sbin/nologin", "HASH:20000:0:99999:7:::"),
    ("hel-empty", "/bin/sh", ":20000:0:99999:7:::"),
];

struct System {
    workers: Workers,
    _folder: TempDir,
}

fn system() -> Option<System> {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can put another /etc in place");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let etc = folder.path().join("etc");
    let copied = Command::new("cp").args(["-a", "/etc"]).arg(&etc).status();
    assert!(copied.unwrap().success());
    let add = |file: &str, lines: String| {
        let path = etc.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text + &lines).unwrap();
    };
    for (number, (name, shell, shadow)) in (54_300..).zip(PEOPLE) {
        add(
            "passwd",
            format!("{name}:x:{number}:{number}::/nonexistent:{shell}\n"),
        );
        add("group", format!("{name}:x:{number}:\n"));
        add(
            "shadow",
            format!("{name}:{}\n", shadow.replace("HASH", HASH)),
        );
    }
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/pam");
    for service in ["heliostat", "heliostat-greeter"] {
        std::fs::copy(packaging.join(service), etc.join("pam.d").join(service)).unwrap();
    }
    let program = folder.path().join("worker");
    let script = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {} /etc && exec {} \"$@\"' - \"$@\"\n",
        etc.display(),
        env!("CARGO_BIN_EXE_heliostat-broker")
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let workers = Workers {
        program,
        services: None,
        patience: DEADLINE,
    };
    Some(System {
        workers,
        _folder: folder,
    })
}

impl System {
    async fn login(&self, service: &str, person: &str, by: Credential) -> Worker {
        let mut worker = self.workers.start().unwrap();
        let begin = Begin {
            service: service.to_owned(),
            person: Some(person.to_owned()),
            by,
            rhost: "192.0.2.7".to_owned(),
            tty: "desk 7".to_owned(),
        };
        worker.say(&ToWorker::Begin(begin)).await;
        worker
    }

    /// What is said after this password.
    async fn typed(&self, person: &str, password: &str) -> (Worker, FromWorker) {
        let mut worker = self.login("heliostat", person, Credential::Password).await;
        assert_eq!(worker.hear().await, prompt(Style::Secret, "Password: "));
        answer(&mut worker, password).await;
        let said = worker.hear().await;
        (worker, said)
    }
}

#[tokio::test]
async fn the_shipped_service_lets_the_right_person_in_by_the_right_password_alone() {
    let Some(system) = system() else { return };
    assert_eq!(
        system.typed("hel-anna", "tree").await.1,
        authenticated("hel-anna")
    );
    let nobody = ["hel-anna", "hel-locked", "hel-empty", "no-such-person-here"];
    for (person, password) in nobody.map(|person| (person, "")).into_iter().chain([
        ("hel-anna", "bush"),
        ("hel-locked", "tree"),
        ("no-such-person-here", "tree"),
    ]) {
        let (_, said) = system.typed(person, password).await;
        let (why, text) = failed(said);
        assert_eq!(why, Failure::Denied, "{person} {password:?}: {text}");
    }
}

#[tokio::test]
async fn accounts_that_are_over_or_let_nobody_in_are_refused_to_cards_as_well() {
    let Some(system) = system() else { return };
    for by in [Credential::Card, Credential::Password] {
        for person in ["hel-expired", "hel-robot"] {
            let mut worker = system.login("heliostat", person, by).await;
            let mut said = worker.hear().await;
            if by == Credential::Password {
                answer(&mut worker, "tree").await;
                said = worker.hear().await;
            }
            let mut words = String::new();
            while let FromWorker::Prompt { text, .. } = said {
                words += &text;
                said = worker.hear().await;
            }
            let (why, text) = failed(said);
            // Debian's common-account says no more than that it may not be used.
            assert_eq!(why, Failure::Locked, "{person}: {text}");
            assert!(!text.is_empty());
            if person == "hel-expired" {
                assert!(text.contains("expired"), "{text}");
            }
        }
    }
    let mut worker = system
        .login("heliostat", "hel-anna", Credential::Card)
        .await;
    assert_eq!(worker.hear().await, authenticated("hel-anna"));
}

#[tokio::test]
async fn a_password_that_must_be_changed_is_changed_and_opens_the_account_the_next_time() {
    let Some(system) = system() else { return };
    let (mut worker, mut said) = system.typed("hel-old", "tree").await;
    let mut asked = Vec::new();
    loop {
        match said {
            FromWorker::Prompt {
                style: Style::Secret,
                text,
            } => {
                let new = text.to_lowercase().contains("new");
                answer(&mut worker, if new { "Sequoia-1847" } else { "tree" }).await;
                asked.push(text);
            }
            FromWorker::Prompt { .. } => {}
            other => {
                assert_eq!(other, authenticated("hel-old"), "{asked:?}");
                break;
            }
        }
        said = worker.hear().await;
    }
    assert!(asked.len() >= 2, "{asked:?}");
    let (_, said) = system.typed("hel-old", "Sequoia-1847").await;
    assert_eq!(said, authenticated("hel-old"));
}

#[tokio::test]
async fn the_greeters_service_asks_nothing_of_the_broker_and_lets_nobody_log_in() {
    let Some(system) = system() else { return };
    let mut worker = system
        .login("heliostat-greeter", "hel-robot", Credential::None)
        .await;
    assert_eq!(worker.hear().await, authenticated("hel-robot"));
    let mut worker = system
        .login("heliostat-greeter", "hel-anna", Credential::Password)
        .await;
    let (why, _) = failed(worker.hear().await);
    assert_eq!(why, Failure::Denied);
}

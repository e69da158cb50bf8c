//! Logins that lead nowhere, and terminals that name themselves oddly.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use heliostat_wire::control::{ToBroker, ToTerminal};
use hil_card::Card;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::broker::{Broker, eventually};
use crate::greeter::Greeter;
use crate::person::Person;
use crate::terminal::{Terminal, within};

const PASSWORD: &str = "correct-horse-battery-staple";

/// How far a login has come when nobody wants it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asked,
    /// A module is at work, and has started a program that has left the worker's process group.
    AtWork,
    Refused,
    LetIn,
    /// The card in the reader is to sign.
    Binding,
}

/// How it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Card,
    Link,
    /// The greeter's session dies.
    Greeter,
}

/// The processes below another one.
fn descendants(of: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: Vec<(u32, u32)> = pids
        .filter_map(|pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((pid, parent.parse().ok()?))
        })
        .collect();
    let mut found = vec![of];
    let mut at = 0;
    while at < found.len() {
        let children = parents.iter().filter(|(_, parent)| *parent == found[at]);
        let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
        found.extend(children);
        at += 1;
    }
    found.split_off(1)
}

/// Whether a process runs that has this in its command line.
fn runs(command: &str) -> bool {
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    processes.any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(command)
    })
}

/// The program that a module starts.
fn at_work(broker: &Broker) -> String {
    format!("{}/at-work", broker.folder().display())
}

/// A service that asks for a password, after a program that takes for ever where `hangs` is there.
fn service(broker: &Broker, hangs: &Path) {
    let program = at_work(broker);
    let script = format!(
        "#!/bin/sh\n[ -e {} ] || exit 0\nsleep infinity &\nwait\n",
        hangs.display(),
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let rules = format!(
        "auth required pam_unix.so\nauth required pam_exec.so quiet {program}\n\
         account required pam_unix.so\nsession required pam_permit.so\n"
    );
    fs::write(broker.folder().join("pam.d/heliostat"), rules).unwrap();
}

/// Brings a login as far as `stage`; what the person speaks through.
async fn log_in(broker: &Broker, terminal: &mut Terminal, name: &str, stage: Stage) -> Greeter {
    let hangs = broker.folder().join("hangs");
    let _ = fs::remove_file(&hangs);
    let mut greeter = Greeter::connect(broker).await;
    greeter.name(name);
    match stage {
        Stage::Asked => return greeter,
        Stage::AtWork => {
            fs::write(&hangs, "").unwrap();
            greeter.say(json!({ "type": "post_auth_message_response", "response": PASSWORD }));
            eventually("a module is at work", || runs(&at_work(broker))).await;
            return greeter;
        }
        Stage::Refused => {
            assert_eq!(greeter.password("wrong")["type"], "error");
            return greeter;
        }
        Stage::LetIn | Stage::Binding => assert_eq!(greeter.password(PASSWORD)["type"], "success"),
    }
    if stage == Stage::Binding {
        greeter.start(true);
        match terminal.recv().await {
            ToTerminal::Prove(_) => {}
            other => panic!("{other:?}"),
        }
    }
    greeter
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_left_at_any_stage_leaves_nothing_behind() {
    let Some(person) = Person::new(PASSWORD) else {
        return;
    };
    let more = "# greeter\n# strict\n# policy: default.proof = \"card\"\n\
                # policy: default.enrol = \"offer\"";
    let broker = Broker::with(more, &[]);
    service(&broker, &broker.folder().join("hangs"));
    let before = descendants(broker.pid());
    for stage in [
        Stage::Asked,
        Stage::AtWork,
        Stage::Refused,
        Stage::LetIn,
        Stage::Binding,
    ] {
        for leaving in [Leaving::Card, Leaving::Link, Leaving::Greeter] {
            let what = format!("{stage:?} {leaving:?}");
            let mut terminal = broker.terminal("a").await;
            terminal.insert(&Card::id_of("alice")).await;
            let attach = terminal.attach().await;
            let page = within(terminal.join(&attach)).await.unwrap();
            let greeter = log_in(&broker, &mut terminal, person.name(), stage).await;
            assert!(descendants(broker.pid()).len() > before.len(), "{what}");
            match leaving {
                Leaving::Card => terminal.pull().await,
                Leaving::Link => drop((terminal, page)),
                Leaving::Greeter => {
                    // By the time the card signs, the greeter has been sent away.
                    for session in broker.sessions().iter().filter(|session| session.pid > 0) {
                        kill(Pid::from_raw(session.pid as i32), Signal::SIGKILL).unwrap();
                    }
                    terminal.pull().await;
                }
            }
            eventually(&format!("{what}: nothing is left"), || {
                descendants(broker.pid()) == before && broker.sessions().is_empty()
            })
            .await;
            eventually(&format!("{what}: no program of a module"), || {
                !runs(&at_work(&broker))
            })
            .await;
            greeter.until_closed();
        }
    }
    assert_eq!(broker.audited("session_start"), 0);
    assert_eq!(broker.audited("card_bound"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pam_takes_no_terminal_for_a_console_whatever_it_calls_itself() {
    let Some(person) = Person::new(PASSWORD) else {
        return;
    };
    let broker = Broker::with("# greeter", &[]);
    let notes = broker.folder().join("ttys");
    let program = broker.folder().join("note");
    let script = format!("#!/bin/sh\necho \"$PAM_TTY\" >> {}\n", notes.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let rules = format!(
        "auth required pam_unix.so\naccount required pam_unix.so\n\
         account required pam_exec.so quiet {}\nsession required pam_permit.so\n",
        program.display()
    );
    for service in ["heliostat", "heliostat-greeter"] {
        fs::write(broker.folder().join("pam.d").join(service), &rules).unwrap();
    }
    let names = [
        ("tty1", "heliostat-tty1"),
        (":0", "heliostat-_0"),
        ("/dev/console", "heliostat-_dev_console"),
        ("../../dev/pts/0", "heliostat-______dev_pts_0"),
        ("desk tty2 café", "heliostat-desk_tty2_caf_"),
    ];
    for (number, (name, tty)) in names.into_iter().enumerate() {
        let mut terminal = Terminal::new(&format!("t{number}"), broker.address(), broker.pin());
        terminal.name = name.to_owned();
        terminal.connect().await;
        let _ = fs::remove_file(&notes);
        terminal.send(ToBroker::Login { seq: 1 }).await;
        // The greeter's own session is told first, then the person's login.
        let mut greeter = Greeter::connect(&broker).await;
        let told = || fs::read_to_string(&notes).unwrap_or_default();
        eventually("the greeter's worker is told", || {
            told().lines().count() == 1
        })
        .await;
        greeter.name(person.name());
        assert_eq!(greeter.password(PASSWORD)["type"], "success");
        assert_eq!(told(), format!("{tty}\n{tty}\n"), "{name:?}");
        terminal.send(ToBroker::CardRemoved { seq: 1 }).await;
        eventually("the greeter is gone", || broker.sessions().is_empty()).await;
        greeter.until_closed();
    }
}

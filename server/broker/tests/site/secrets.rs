//! What a person types at a greeter is in nothing that the broker writes.

use std::fs;
use std::path::{Path, PathBuf};

use heliostat_wire::control::ToBroker;
use serde_json::json;

use crate::broker::{Broker, eventually, small_session};
use crate::greeter::Greeter;
use crate::person::Person;

const RIGHT: &str = "correct-horse-battery-staple";
const WRONG: &str = "incorrect-horse-battery-staple";

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_in_no_audit_line_no_log_and_no_store() {
    let Some(person) = Person::new(RIGHT) else {
        return;
    };
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("log");
    let script = format!(
        "export HELIOSTAT_LOG=trace; exec \"$0\" \"$@\" 2>{}",
        log.display()
    );
    let session = small_session().display().to_string();
    let broker = Broker::behind(&["sh", "-c", &script], &session, "# greeter", &[]);
    let service = broker.folder().join("pam.d/heliostat");
    let rules = "auth required pam_unix.so\naccount required pam_unix.so\n\
                 session required pam_permit.so\n";
    fs::write(service, rules).unwrap();

    let mut terminal = broker.terminal("a").await;
    terminal.send(ToBroker::Login { seq: 1 }).await;
    let greeter = Greeter::connect(&broker).await;
    let name = person.name().to_owned();
    tokio::task::spawn_blocking(move || log_in(greeter, &name))
        .await
        .unwrap();
    eventually("the login is audited", || broker.audited("login") == 1).await;
    // One with the wrong password, one with the password for a name.
    assert_eq!(broker.audited("login_failed"), 2);

    // The log says what was going on, so it is the log that is looked through.
    let said = fs::read_to_string(&log).unwrap();
    assert!(
        said.contains("LoggedIn") || said.contains("login"),
        "{said}"
    );
    let mut looked_at = 0;
    for file in files_below(broker.folder()).into_iter().chain([log]) {
        let Ok(bytes) = fs::read(&file) else { continue };
        looked_at += 1;
        for secret in [RIGHT, WRONG] {
            let is_there = bytes
                .windows(secret.len())
                .any(|at| at == secret.as_bytes());
            assert!(!is_there, "{} has a password", file.display());
        }
    }
    assert!(looked_at > 4, "{looked_at} files");
}

/// Logs in as a greeter would, after a wrong password.
fn log_in(mut greeter: Greeter, name: &str) {
    for (name, password, outcome) in [
        (RIGHT, WRONG, "error"),
        (name, WRONG, "error"),
        (name, RIGHT, "success"),
    ] {
        greeter.name(name);
        assert_eq!(greeter.password(password)["type"], outcome);
        if outcome == "error" {
            greeter.ask(json!({ "type": "cancel_session" }));
        }
    }
    greeter.start(false);
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

//! What a person types at a greeter is in nothing that the broker writes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use heliostat_wire::control::ToBroker;
use nix::unistd::User;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_gid, set_thread_uid};
use serde_json::{Value, json};

use crate::broker::{Broker, eventually, small_session};
use crate::terminal::DEADLINE;

#[expect(dead_code, reason = "other tests want more of a person")]
#[path = "../greeters/person.rs"]
mod person;

const RIGHT: &str = "correct-horse-battery-staple";
const WRONG: &str = "incorrect-horse-battery-staple";

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_in_no_audit_line_no_log_and_no_store() {
    let Some(person) = person::Person::new(RIGHT) else {
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
    let greeters = broker.folder().join("run/greeters");
    eventually("the greeter is served", || socket_in(&greeters).is_some()).await;
    let socket = socket_in(&greeters).unwrap();
    let name = person.name().to_owned();
    tokio::task::spawn_blocking(move || log_in(&socket, &name))
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

fn socket_in(greeters: &Path) -> Option<PathBuf> {
    let mut folders = fs::read_dir(greeters).ok()?;
    let socket = folders.next()?.ok()?.path().join("greetd.sock");
    socket.exists().then_some(socket)
}

/// Logs in as a greeter would, after a wrong password.
fn log_in(socket: &Path, name: &str) {
    let mut greeter = connect(socket);
    let mut ask = |request: Value| {
        let said = request.to_string();
        greeter
            .write_all(&(said.len() as u32).to_ne_bytes())
            .unwrap();
        greeter.write_all(said.as_bytes()).unwrap();
        let mut length = [0; 4];
        greeter.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_ne_bytes(length) as usize];
        greeter.read_exact(&mut answer).unwrap();
        serde_json::from_slice::<Value>(&answer).unwrap()
    };
    let tries = [
        (RIGHT, WRONG, "error"),
        (name, WRONG, "error"),
        (name, RIGHT, "success"),
    ];
    for (name, password, outcome) in tries {
        let asked = ask(json!({ "type": "create_session", "username": name }));
        assert_eq!(asked["auth_message_type"], "secret", "{asked}");
        let answer = json!({ "type": "post_auth_message_response", "response": password });
        let answered = ask(answer);
        assert_eq!(answered["type"], outcome, "{answered}");
        if outcome == "error" {
            ask(json!({ "type": "cancel_session" }));
        }
    }
    let started = ask(json!({ "type": "start_session", "cmd": [], "env": [] }));
    assert_eq!(started["type"], "success", "{started}");
}

/// Connects as the greeter's user: the broker asks the kernel who it is. Only the thread that
/// connects becomes that user.
fn connect(socket: &Path) -> UnixStream {
    let games = User::from_name("games").unwrap().unwrap();
    let socket = socket.to_owned();
    let connecting = std::thread::spawn(move || {
        set_thread_gid(Gid::from_raw(games.gid.as_raw())).unwrap();
        set_thread_uid(Uid::from_raw(games.uid.as_raw())).unwrap();
        UnixStream::connect(socket).unwrap()
    });
    let stream = connecting.join().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
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

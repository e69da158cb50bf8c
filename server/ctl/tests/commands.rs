//! The program against a broker.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use heliostat_broker::config::Config;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A broker in this process; it ends with it.
struct Broker(tempfile::TempDir);

impl Broker {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // People other than root shall get as far as the socket itself.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listen = free.local_addr().unwrap();
        drop(free);
        let config = Config {
            listen,
            state_dir: folder.path().join("state"),
            run_dir: folder.path().join("run"),
            session_command: vec!["/bin/false".to_owned()],
            ..Config::default()
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(heliostat_broker::run::run(config))
        });
        let broker = Self(folder);
        let started = Instant::now();
        while !broker.ctl(&["status"]).status.success() {
            assert!(started.elapsed() < Duration::from_secs(20));
        }
        broker
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("run/admin.sock")
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        ctl(&self.socket(), arguments)
    }

    fn says(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, arguments: &[&str]) -> String {
        failure(self.ctl(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.says(&[&["--json"], arguments].concat());
        serde_json::from_str(&text).unwrap()
    }
}

fn ctl(socket: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heliostatctl"))
        .arg("--socket")
        .arg(socket)
        .args(arguments)
        .output()
        .unwrap()
}

fn failure(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn cards_come_and_go() {
    let broker = Broker::start();
    assert!(broker.says(&["card", "list"]).contains("card add"));
    broker.says(&[
        "card", "add", "piv:00", "--person", "alice", "--label", "blue",
    ]);
    let cards = broker.json(&["card", "list"]);
    assert_eq!(cards[0]["card"], "piv:00");
    assert_eq!(cards[0]["person"], "alice");
    assert_eq!(cards[0]["revoked_s"], Value::Null);
    assert!(broker.says(&["card", "list"]).contains("blue"));

    let taken = broker.fails(&["card", "add", "piv:00", "--person", "bob"]);
    assert!(
        taken.contains("alice") && taken.contains("revoke"),
        "{taken}"
    );
    broker.says(&["card", "add", "PIV:00AB", "--person", "alice"]);
    assert_eq!(
        broker.json(&["card", "show", "piv:00aB"])["card"]["card"],
        "piv:00ab"
    );
    broker.says(&["card", "revoke", "Piv:00Ab"]);
    let done = broker.json(&["card", "revoke", "piv:00"]);
    assert!(done["done"].as_str().unwrap().contains("revoked"));
    broker.says(&["card", "add", "piv:00", "--person", "bob"]);
    assert_eq!(broker.json(&["card", "list"])[0]["person"], "bob");
    let unknown = broker.fails(&["card", "revoke", "piv:01"]);
    assert!(unknown.contains("heliostatctl card list"), "{unknown}");
    let events = broker.json(&["audit"]);
    let events: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["event"].as_str().unwrap())
        .collect();
    let expected = [
        "card_added",
        "admin_refused",
        "card_added",
        "card_revoked",
        "card_revoked",
        "card_added",
        "admin_refused",
    ];
    assert_eq!(events, expected);
}

#[test]
fn people_are_shown_with_their_accounts() {
    let broker = Broker::start();
    broker.says(&["person", "add", "root"]);
    broker.says(&["person", "add", "no-such-user-here"]);
    let people = broker.json(&["person", "list"]);
    assert_eq!(people[0]["uid"], Value::Null);
    assert_eq!(people[1]["uid"], 0);
    assert!(broker.says(&["person", "list"]).contains("no account"));
    let bad = broker.fails(&["person", "add", "a/b"]);
    assert!(bad.contains("Unix user"), "{bad}");
}

#[test]
fn empty_lists_are_lists() {
    let broker = Broker::start();
    for list in [["terminal", "list"], ["session", "list"]] {
        assert_eq!(broker.json(&list), Value::Array(Vec::new()));
        assert!(broker.says(&list).contains("no "));
    }
    let receipts = broker.json(&["receipts", "--since", "1h"]);
    assert_eq!(receipts["receipts"], Value::Array(Vec::new()));
    let status = broker.json(&["status"]);
    assert!(status["site_key"].as_str().unwrap().starts_with("sha256:"));
    let nobody = broker.fails(&["session", "end", "alice"]);
    assert!(nobody.contains("session list"), "{nobody}");
}

#[test]
fn top_prints_one_round_or_goes_on_until_nobody_reads() {
    let broker = Broker::start();
    let round = broker.json(&["top", "--once", "--interval", "0.1"]);
    assert_eq!(round["sessions"], Value::Array(Vec::new()));
    assert_eq!(round["totals"]["sessions"], 0);
    let text = broker.says(&["top", "--once", "--interval", "0.1"]);
    assert!(text.starts_with("Heliostat, "), "{text}");
    assert!(text.contains("no sessions"), "{text}");

    let mut going_on = Command::new(env!("CARGO_BIN_EXE_heliostatctl"))
        .arg("--socket")
        .arg(broker.socket())
        .args(["--json", "top", "--interval", "0.1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(going_on.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        let round: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(round["site"], "Heliostat");
    }
    drop(lines);
    let output = going_on.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

/// Reads from a terminal until it shows `wanted`; what it was given since.
fn read_until(terminal: &mut File, wanted: &str) -> String {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains(wanted) {
        let length = terminal.read(&mut bytes).unwrap();
        text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
    text
}

#[test]
fn top_gives_the_terminal_back_when_it_is_interrupted() {
    let broker = Broker::start();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let pty = nix::pty::openpty(None, None).unwrap();
        let mut top = Command::new(env!("CARGO_BIN_EXE_heliostatctl"))
            .arg("--socket")
            .arg(broker.socket())
            .args(["top", "--interval", "0.1"])
            .stdout(pty.slave)
            .spawn()
            .unwrap();
        let mut terminal = File::from(pty.master);
        let drawn = read_until(&mut terminal, "no sessions");
        assert!(drawn.starts_with("\x1b[?1049h"), "{drawn:?}");
        // It draws over what was there and does not scroll.
        read_until(&mut terminal, "\x1b[HHeliostat, ");
        kill(Pid::from_raw(top.id() as i32), signal).unwrap();
        let last = read_until(&mut terminal, "\x1b[?1049l");
        assert!(last.ends_with("\x1b[?25h\x1b[?1049l"), "{last:?}");
        assert!(top.wait().unwrap().success());
    }
}

#[test]
fn metrics_are_had_without_a_listener() {
    let broker = Broker::start();
    let text = broker.says(&["metrics"]);
    let is_there = |line: &str| text.lines().any(|other| other == line);
    assert!(is_there("heliostat_sessions 0"), "{text}");
    assert!(is_there("# TYPE heliostat_attaches_total counter"));
    let json = broker.json(&["metrics"]);
    assert!(json["metrics"].as_str().unwrap().contains("# HELP"));
}

#[test]
fn audit_says_who_asked_and_goes_on() {
    let broker = Broker::start();
    broker.says(&["person", "add", "alice"]);
    broker.says(&["person", "add", "alice"]);
    broker.fails(&["card", "revoke", "piv:01"]);
    let rows = broker.json(&["audit"]);
    let words: Vec<(&str, &str)> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["event"].as_str().unwrap(),
                row["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("person_added", "ok"),
        ("admin", "ok"),
        ("admin_refused", "refused"),
    ];
    assert_eq!(words, expected);
    let uid = format!("({})", nix::unistd::geteuid());
    for row in rows.as_array().unwrap() {
        assert!(row["by"].as_str().unwrap().ends_with(&uid), "{row}");
    }
    assert_eq!(rows[2]["card"], "piv:01");
    let refused = broker.json(&["audit", "--outcome", "refused", "--card", "piv:01"]);
    assert_eq!(refused.as_array().unwrap().len(), 1);
    let none = broker.says(&["audit", "--person", "bob", "--since", "1h"]);
    assert!(none.starts_with("nothing"), "{none}");

    for (option, slip, known) in [
        ("--event", "proof_refusd", "card_unreadable"),
        ("--outcome", "good", "refused"),
    ] {
        let output = broker.ctl(&["audit", option, slip]);
        assert!(!output.status.success() && output.stdout.is_empty());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(slip) && text.contains(known), "{text}");
    }

    let mut follow = Command::new(env!("CARGO_BIN_EXE_heliostatctl"))
        .arg("--socket")
        .arg(broker.socket())
        .args(["--json", "audit", "--follow", "--event", "person_added"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["person"], "alice");
    broker.says(&["person", "add", "bob"]);
    assert_eq!(next()["person"], "bob");
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[test]
fn receipts_are_verified_against_the_pin_of_the_site_alone() {
    let broker = Broker::start();
    let status = broker.json(&["status"]);
    let pin = status["site_key"].as_str().unwrap();
    let text = broker.says(&["receipts", "--verify", pin]);
    assert!(text.contains("0 receipts, all signed"), "{text}");
    let other = format!("sha256:{}", "ab".repeat(32));
    let text = broker.fails(&["receipts", "--verify", &other]);
    assert!(
        text.contains("another site") && text.contains(pin),
        "{text}"
    );
}

#[test]
fn broker_that_never_answers_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let _mute = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let text = failure(
        Command::new(env!("CARGO_BIN_EXE_heliostatctl"))
            .arg("--socket")
            .arg(&socket)
            .args(["--timeout", "0.2", "status"])
            .output()
            .unwrap(),
    );
    assert!(text.contains("does not answer within 0.2 s"), "{text}");
}

#[test]
fn without_a_broker_the_error_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let absent = failure(ctl(&socket, &["status"]));
    assert!(absent.contains("start heliostat-broker"), "{absent}");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let dead = failure(ctl(&socket, &["status"]));
    assert!(dead.contains("not running"), "{dead}");
}

#[test]
fn whoever_is_not_root_is_told_so() {
    use std::os::unix::process::CommandExt;
    let broker = Broker::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_heliostatctl"));
    command.arg("--socket").arg(broker.socket()).arg("status");
    // Only root can try this as somebody else.
    let output = match command.uid(65534).gid(65534).output() {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    let text = failure(output);
    assert!(text.contains("only for root"), "{text}");
}

#[test]
fn person_without_an_account_is_taken_and_said() {
    let broker = Broker::start();
    for (person, said) in [("no-such-nurse", true), ("root", false)] {
        for arguments in [
            vec!["person", "add", person],
            vec!["card", "add", &format!("piv:{person}"), "--person", person],
        ] {
            let output = broker.ctl(&arguments);
            assert!(output.status.success(), "{output:?}");
            let warned = String::from_utf8_lossy(&output.stderr).contains("has no account");
            assert_eq!(warned, said, "{arguments:?}: {output:?}");
        }
    }
}

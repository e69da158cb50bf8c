//! The admin socket.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use heliostat_control::admin::{Reply, Request, Why};
use nix::unistd::{Group, Uid, User};

use crate::broker::{Broker, eventually, people};

#[test]
fn the_socket_is_for_root_alone() {
    let broker = Broker::start();
    let mode = std::fs::metadata(broker.socket()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

#[test]
fn a_group_may_be_let_in() {
    if !Uid::effective().is_root() {
        return eprintln!("skipped: only root can give a socket to a group");
    }
    let broker = Broker::with("admin_group = \"games\"", &[]);
    let meta = std::fs::metadata(broker.socket()).unwrap();
    use std::os::unix::fs::MetadataExt;
    let games = nix::unistd::Group::from_name("games").unwrap().unwrap();
    assert_eq!(meta.mode() & 0o777, 0o660);
    assert_eq!(meta.gid(), games.gid.as_raw());
}

#[test]
fn a_line_that_is_no_request_is_answered_and_the_next_one_works() {
    let broker = Broker::start();
    let mut stream = UnixStream::connect(broker.socket()).unwrap();
    stream
        .write_all(b"hello\n{\"request\":\"sing\"}\n{\"request\":\"status\"}\n")
        .unwrap();
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while text.lines().count() < 3 || !text.ends_with('\n') {
        let length = stream.read(&mut bytes).unwrap();
        text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
    let replies: Vec<Reply> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let bad = |reply: &Reply| matches!(reply, Reply::Failed(f) if f.why == Why::BadRequest);
    assert!(bad(&replies[0]) && bad(&replies[1]), "{text}");
    assert!(matches!(replies[2], Reply::Status(_)), "{text}");
}

#[test]
fn a_request_without_end_is_cut_off() {
    let broker = Broker::start();
    let mut stream = UnixStream::connect(broker.socket()).unwrap();
    let junk = vec![b'x'; 200_000];
    let _ = stream.write_all(&junk);
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    assert!(rest.is_empty() || read.is_err());
    assert_eq!(broker.status().sessions, 0);
}

#[test]
fn two_brokers_do_not_share_a_state() {
    let broker = Broker::start();
    let output = Command::new(env!("CARGO_BIN_EXE_heliostat-broker"))
        .arg("--config")
        .arg(broker.folder().join("broker.toml"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("another broker"), "{text}");
    let reply = broker.ask(Request::CardList);
    assert_eq!(reply, Reply::Cards(Vec::new()));
}

#[test]
fn a_policy_that_names_nobody_is_warned_of() {
    let policy = "# policy: rule = [{ when.group = \"no-such-group-here\", usb = true }]\n";
    let broker = Broker::with(policy, &[]);
    let Reply::Warnings(warnings) = broker.ask(Request::PolicyCheck) else {
        panic!("no warnings");
    };
    let expected = "rule 1 (line 2): no group \"no-such-group-here\" on this machine: this rule is about nobody";
    assert!(warnings.iter().any(|one| one == expected), "{warnings:?}");
    let file = broker.folder().join("policy.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_heliostat-broker"))
        .args(["check", "--policy"])
        .arg(&file)
        .arg("--config")
        .arg(broker.folder().join("broker.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = format!("{}: warning: {expected}\n", file.display());
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test]
async fn a_policy_that_is_refused_is_told_of_until_it_is_mended() {
    let broker = Broker::start();
    let refused = || match broker.ask(Request::Overview) {
        Reply::Overview(overview) => overview.policy_refused,
        other => panic!("{other:?}"),
    };
    let warned = || match broker.ask(Request::PolicyCheck) {
        Reply::Warnings(warnings) => warnings.join("; "),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(), None);
    let file = broker.folder().join("policy.toml");
    let before = std::fs::read(&file).unwrap();
    std::fs::write(&file, "default.prof = \"none\"\n").unwrap();
    eventually("the refusal", || broker.audited("policy_refused") == 1).await;
    let why = refused().expect("it is refused");
    assert!(why.contains("line 1") && why.contains("`prof`"), "{why}");
    assert!(warned().starts_with(&format!("{why}; the policy before still holds")));
    std::fs::write(&file, before).unwrap();
    eventually("the policy", || broker.audited("policy_changed") == 1).await;
    assert_eq!(refused(), None);
    assert!(!warned().contains("still holds"));
}

#[tokio::test]
async fn a_policy_of_groups_is_explained_before_anybody_has_come() {
    let person = people()[0].clone();
    let user = User::from_name(&person).unwrap().unwrap();
    let group = Group::from_gid(user.gid).unwrap().unwrap().name;
    let policy = format!("# policy: rule = [{{ when.group = {group:?}, idle = \"7min\" }}]\n");
    let broker = Broker::with(&policy, &[]);
    broker.add_card("c1", &person);
    let asked = Request::PolicyExplain {
        card: Some("c1".to_owned()),
        person: None,
        terminal: None,
    };
    let Reply::Policy(answer) = broker.ask(asked) else {
        panic!("no answer");
    };
    assert!(answer.groups.contains(&group), "{answer:?}");
    let idle = answer.values.iter().find(|(key, ..)| key == "idle");
    assert_eq!(idle.map(|(_, value, _)| value.as_str()), Some("7min"));
}

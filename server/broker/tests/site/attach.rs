//! Cards and what they open.

use std::fs;
use std::process::Command;

use heliostat_control::admin::{Reply, Request};
use heliostat_link::{CloseCode, Ended, LinkError};
use heliostat_wire::control::{CardRefusal, DetachReason, ToBroker, ToTerminal};
use heliostat_wire::receipt::{Receipt, Stage, StageTime};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User, chown};

use crate::broker::{Broker, alive, eventually, people};
use crate::terminal::within;

#[tokio::test]
async fn terminal_keeps_no_pixels_unless_the_site_lets_it() {
    let allowed = "# policy: default.keep_pixels = \"5min\"\n";
    for (more, keep_pixels_s) in [("", 0), (allowed, 300)] {
        let broker = Broker::with(more, &[]);
        let [person, _] = people();
        broker.add_card("c1", &person);
        let mut terminal = broker.terminal("a").await;
        terminal.insert("c1").await;
        assert!(matches!(terminal.recv().await, ToTerminal::Starting { .. }));
        let attach = terminal.attach().await;
        assert_eq!(attach.keep_pixels_s, keep_pixels_s);
        within(terminal.join(&attach)).await.unwrap();
    }
}

#[tokio::test]
async fn a_card_opens_a_session_that_runs_as_its_person_and_inherits_nothing() {
    let broker = Broker::start();
    let [person, _] = people();
    broker.add_card("c1", &person);
    let mut terminal = broker.terminal("a").await;
    terminal.insert("c1").await;
    let starting = terminal.recv().await;
    assert!(matches!(starting, ToTerminal::Starting { seq: 1, .. }));
    let attach = terminal.attach().await;
    assert_eq!(&*attach.person, person);
    let desktop = within(terminal.join(&attach)).await.unwrap();
    assert_eq!(desktop.person, person);

    let session = broker.sessions().remove(0);
    let user = User::from_name(&person).unwrap().unwrap();
    let proc = format!("/proc/{}", session.pid);
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    let ids = |name: &str| -> Vec<u32> {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let numbers = line.split_whitespace().skip(1);
        numbers.map(|number| number.parse().unwrap()).collect()
    };
    assert_eq!(ids("Uid:"), vec![user.uid.as_raw(); 4]);
    assert_eq!(ids("Gid:"), vec![user.gid.as_raw(); 4]);
    if !Uid::effective().is_root() {
        return;
    }
    assert!(!ids("Groups:").contains(&0), "root's group is shed");
    let environment = fs::read(format!("{proc}/environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let names: Vec<&str> = environment
        .split_terminator('\0')
        .map(|variable| variable.split_once('=').unwrap().0)
        .collect();
    let expected = [
        "HELIOSTAT_LOG",
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "SHELL",
        "USER",
        "XDG_CURRENT_DESKTOP",
        "XDG_RUNTIME_DIR",
        "XDG_SESSION_CLASS",
        "XDG_SESSION_DESKTOP",
        "XDG_SESSION_TYPE",
    ];
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    let runtime_dir = broker.folder().join(format!("run/user/{}", user.uid));
    let meta = fs::metadata(&runtime_dir).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        (meta.uid(), meta.mode() & 0o7777),
        (user.uid.as_raw(), 0o700)
    );
    // No file of the broker's is open in it.
    for entry in fs::read_dir(format!("{proc}/fd")).unwrap() {
        let target = fs::read_link(entry.unwrap().path()).unwrap();
        let target = target.display().to_string();
        assert!(
            !target.contains("sqlite") && !target.contains("jsonl"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn two_people_have_two_sessions_of_two_users() {
    if !Uid::effective().is_root() {
        return eprintln!("skipped: only root can be two people");
    }
    let broker = Broker::start();
    let [one, two] = people();
    broker.add_card("c1", &one);
    broker.add_card("c2", &two);
    let (mut a, mut b) = (broker.terminal("a").await, broker.terminal("b").await);
    let (on_a, on_b) = (a.desktop("c1").await, b.desktop("c2").await);
    assert_eq!((on_a.person, on_b.person), (one, two));
    let sessions = broker.sessions();
    assert_ne!(sessions[0].uid, sessions[1].uid);
    assert_ne!(sessions[0].port, sessions[1].port);
}

#[tokio::test]
async fn a_pulled_card_leaves_the_session_running_and_the_next_desk_finds_it() {
    let broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let (mut a, mut b) = (broker.terminal("a").await, broker.terminal("b").await);
    let mut desktop = a.desktop("c1").await;
    let pid = broker.sessions()[0].pid;
    a.pull().await;
    assert_eq!(desktop.bye().await, DetachReason::CardRemoved);
    b.desktop("c1").await;
    let sessions = broker.sessions();
    assert_eq!((sessions.len(), sessions[0].pid), (1, pid));
    assert_eq!(sessions[0].terminal.as_deref(), Some("desk b"));
    a.silence().await;
}

#[tokio::test]
async fn the_same_card_at_two_desks_moves_the_desktop_and_tells_the_older_one() {
    let broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let (mut a, mut b) = (broker.terminal("a").await, broker.terminal("b").await);
    let mut older = a.desktop("c1").await;
    b.desktop("c1").await;
    let moved = DetachReason::MovedElsewhere {
        terminal: "desk b".into(),
    };
    assert_eq!(older.bye().await, moved);
    assert_eq!(a.detached().await, (older.attach_id, moved.clone()));
    let attach_id = older.attach_id;
    let reason = moved;
    a.send(ToBroker::LinkEnded { attach_id, reason }).await;
    a.silence().await;
    b.silence().await;
}

fn close_code(error: LinkError) -> CloseCode {
    match error {
        LinkError::Ended(Ended::ByPeer { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_ticket_opens_the_session_once_and_only_for_its_terminal() {
    let broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let (mut a, b) = (broker.terminal("a").await, broker.terminal("b").await);
    a.insert("c1").await;
    let attach = a.attach().await;
    let _desktop = within(a.join(&attach)).await.unwrap();
    let again = within(a.join(&attach)).await.err().expect("refused");
    assert_eq!(close_code(again), CloseCode::TicketRefused);
    a.pull().await;
    a.insert("c1").await;
    let attach = a.attach().await;
    let stolen = within(b.join(&attach)).await.err().expect("refused");
    assert_eq!(close_code(stolen), CloseCode::TicketRefused);
}

#[tokio::test]
async fn cards_that_open_nothing_say_why_and_start_nothing() {
    let broker = Broker::start();
    broker.add_card("c-revoked", &people()[0]);
    let card = "c-revoked".to_owned();
    broker.ask(Request::CardRevoke { card });
    broker.add_card("c-nobody-has", "no-such-user-here");
    let mut terminal = broker.terminal("a").await;
    for (card, reason) in [
        ("c-unknown", CardRefusal::Unknown),
        ("c-revoked", CardRefusal::Revoked),
        ("c-nobody-has", CardRefusal::NoAccount),
    ] {
        terminal.insert(card).await;
        let (refusal, text) = terminal.refused().await;
        assert_eq!(refusal, reason, "{text}");
        terminal.pull().await;
    }
    assert!(broker.sessions().is_empty());
}

#[tokio::test]
async fn cards_without_proof_are_refused_where_the_site_says_so() {
    let broker = Broker::with("# strict", &[]);
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    terminal.insert("c1").await;
    let (refusal, text) = terminal.refused().await;
    assert_eq!(refusal, CardRefusal::Forbidden);
    assert!(text.contains("password"), "{text}");
}

#[tokio::test]
async fn revoking_a_card_parts_it_from_its_desktop_at_once() {
    let broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let mut desktop = terminal.desktop("c1").await;
    let card = "c1".to_owned();
    broker.ask(Request::CardRevoke { card });
    assert_eq!(desktop.bye().await, DetachReason::CardRevoked);
    assert_eq!(terminal.detached().await.1, DetachReason::CardRevoked);
    assert_eq!(terminal.refused().await.0, CardRefusal::Revoked);
    assert_eq!(broker.sessions().len(), 1, "the session lives on");
}

#[tokio::test]
async fn ending_a_session_ends_its_process_and_leaves_nothing_behind() {
    let broker = Broker::start();
    let [person, _] = people();
    broker.add_card("c1", &person);
    let mut terminal = broker.terminal("a").await;
    let mut desktop = terminal.desktop("c1").await;
    let session = broker.sessions().remove(0);
    broker.ask(Request::SessionEnd { session: person });
    assert_eq!(desktop.bye().await, DetachReason::ByAdmin);
    assert_eq!(terminal.detached().await.1, DetachReason::ByAdmin);
    eventually("the session goes", || broker.sessions().is_empty()).await;
    assert!(!alive(session.pid));
    let left = fs::read_dir(broker.folder().join("run/sessions")).unwrap();
    assert_eq!(left.count(), 0);
    let left = || fs::read_dir(broker.folder().join("run/user")).unwrap();
    eventually("the runtime folder goes", || left().count() == 0).await;
}

#[tokio::test]
async fn a_runtime_folder_is_removed_with_all_that_is_in_it_and_nothing_beyond() {
    let mut broker = Broker::start();
    let [person, _] = people();
    broker.add_card("c1", &person);
    let mut terminal = broker.terminal("a").await;
    let _desktop = terminal.desktop("c1").await;
    let user = User::from_name(&person).unwrap().unwrap();
    let runtime_dir = broker.folder().join(format!("run/user/{}", user.uid));
    let beyond = broker.folder().join("beyond");
    for folder in [&beyond, &runtime_dir.join("a/b/c"), &runtime_dir.join("m")] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("file"), "").unwrap();
    }
    std::os::unix::fs::symlink(&beyond, runtime_dir.join("a/b/link")).unwrap();
    for path in [&beyond, &beyond.join("file")] {
        chown(path, Some(user.uid), None).unwrap();
    }
    let made = Command::new("chown")
        .args(["-R", &person])
        .arg(&runtime_dir)
        .status();
    assert!(made.unwrap().success());
    let flags = MsFlags::empty();
    if let Err(error) = mount(
        Some("none"),
        &runtime_dir.join("m"),
        Some("tmpfs"),
        flags,
        None::<&str>,
    ) {
        eprintln!("without a mounted file system: {error}");
    }
    // What an earlier broker has not got to.
    let name = format!("run/user/left-{}-0", user.uid);
    fs::create_dir(broker.folder().join(name)).unwrap();
    broker.ask(Request::SessionEnd { session: person });
    let users = broker.folder().join("run/user");
    let left = || fs::read_dir(&users).unwrap();
    eventually("the runtime folder goes", || left().count() == 1).await;
    broker.kill(Signal::SIGKILL);
    broker.start_again();
    eventually("the older one goes", || left().count() == 0).await;
    assert!(beyond.join("file").exists());
}

#[tokio::test]
async fn receipts_are_kept_with_their_stages() {
    let broker = Broker::start();
    let [person, _] = people();
    broker.add_card("c1", &person);
    let mut terminal = broker.terminal("a").await;
    let desktop = terminal.desktop("c1").await;
    let stages = [(Stage::CardEdge, 0), (Stage::FirstFrameShown, 31_000)];
    let stages = stages.map(|(stage, us)| StageTime { stage, us });
    let receipt = Receipt {
        attach_id: desktop.attach_id,
        stages: heliostat_wire::List::truncated(stages.to_vec()),
    };
    terminal.send(ToBroker::Receipt(receipt)).await;
    terminal.silence().await;
    let Reply::Receipts(receipts) = broker.ask(Request::Receipts {
        since_ms: None,
        limit: 10,
    }) else {
        panic!("no receipts");
    };
    let rows = receipts.receipts;
    assert_eq!(rows.len(), 1);
    assert_eq!((&*rows[0].person, &*rows[0].terminal), (&*person, "desk a"));
    assert_eq!(rows[0].at(Stage::FirstFrameShown), Some(31_000));
    assert!(rows[0].started_session);
}

//! The broker goes and comes back under live sessions.

use heliostat_link::{CloseCode, Ended};
use heliostat_wire::control::{CardRefusal, DetachReason};
use nix::sys::signal::Signal;

use crate::broker::{Broker, alive, eventually, people};
use crate::terminal::within;

#[tokio::test]
async fn a_killed_broker_finds_session_and_terminal_as_they_were() {
    let mut broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let desktop = terminal.desktop("c1").await;
    let pid = broker.sessions()[0].pid;
    // The store is written behind the broker's back; what was asked for is written before it.
    broker.audit();
    broker.kill(Signal::SIGKILL);
    assert!(alive(pid));
    broker.start_again();
    let gone = within(terminal.control().closed()).await;
    assert!(matches!(gone, Ended::Forgotten | Ended::Silent), "{gone:?}");
    terminal.connect().await;
    terminal.repeat("c1").await;
    terminal.silence().await;
    assert_eq!(desktop.connection.ended(), None);
    let sessions = broker.sessions();
    assert_eq!((sessions.len(), sessions[0].pid), (1, pid));
    eventually("the session answers", || {
        broker.sessions()[0].state == "running"
    })
    .await;
    assert_eq!(broker.sessions()[0].terminal.as_deref(), Some("desk a"));
    // The card still works, at this desk and at another.
    let mut other = broker.terminal("b").await;
    other.desktop("c1").await;
    let (attach, reason) = terminal.detached().await;
    assert_eq!(attach, desktop.attach_id);
    assert!(matches!(reason, DetachReason::MovedElsewhere { .. }));
    assert_eq!(broker.sessions()[0].pid, pid);
}

#[tokio::test]
async fn a_session_is_heard_and_lives_while_no_broker_runs() {
    let says =
        "until [ -e $XDG_RUNTIME_DIR/go ]; do sleep 0.05; done; echo still here; exec sleep 1000";
    let mut broker = Broker::with_session_command("/bin/sh", "", &["-c", says]);
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    terminal.insert("c1").await;
    eventually("the session runs", || {
        broker.sessions().iter().any(|session| session.pid > 0)
    })
    .await;
    let session = broker.sessions().remove(0);
    broker.kill(Signal::SIGKILL);
    let runtime_dir = format!("run/user/{}", session.uid);
    std::fs::write(broker.folder().join(runtime_dir).join("go"), "").unwrap();
    let log = format!("state/log/session-{}.log", session.id);
    let log = broker.folder().join(log);
    eventually("the session is heard", || {
        std::fs::read_to_string(&log).unwrap() == "still here\n"
    })
    .await;
    assert!(alive(session.pid));
    broker.start_again();
    assert_eq!(broker.sessions()[0].pid, session.pid);
}

#[tokio::test]
async fn a_broker_that_is_asked_to_stop_says_so_and_sessions_run_on() {
    let mut broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let _desktop = terminal.desktop("c1").await;
    let pid = broker.sessions()[0].pid;
    broker.kill(Signal::SIGTERM);
    let ended = within(terminal.control().closed()).await;
    assert!(matches!(
        ended,
        Ended::ByPeer {
            code: CloseCode::ShuttingDown,
            ..
        }
    ));
    assert!(alive(pid));
    broker.start_again();
    assert_eq!(broker.sessions()[0].pid, pid);
}

#[tokio::test]
async fn a_session_that_died_while_the_broker_was_away_is_cleaned_up_and_started_anew() {
    let mut broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    drop(terminal.desktop("c1").await);
    let pid = broker.sessions()[0].pid;
    broker.kill(Signal::SIGKILL);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    eventually("the session dies", || !alive(pid)).await;
    broker.start_again();
    assert!(broker.sessions().is_empty());
    terminal.connect().await;
    let desktop = terminal.desktop("c1").await;
    assert_eq!(desktop.person, people()[0]);
    assert_ne!(broker.sessions()[0].pid, pid);
}

#[tokio::test]
async fn an_adopted_session_that_dies_is_noticed_and_said_to_have_crashed() {
    let mut broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let _desktop = terminal.desktop("c1").await;
    let pid = broker.sessions()[0].pid;
    broker.kill(Signal::SIGKILL);
    broker.start_again();
    terminal.connect().await;
    terminal.repeat("c1").await;
    terminal.silence().await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    assert_eq!(terminal.detached().await.1, DetachReason::SessionCrashed);
    assert_eq!(terminal.refused().await.0, CardRefusal::SessionFailed);
    assert!(broker.sessions().is_empty());
}

#[tokio::test]
async fn cards_and_attach_ids_survive_a_restart() {
    let mut broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminal = broker.terminal("a").await;
    let before = terminal.desktop("c1").await.attach_id;
    broker.kill(Signal::SIGKILL);
    broker.start_again();
    terminal.connect().await;
    let after = terminal.desktop("c1").await.attach_id;
    assert!(after > before);
}

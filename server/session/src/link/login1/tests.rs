use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::bus::{Message, rest_of};
use super::*;
use crate::tests::lack::Lack;

const SIGNAL: u8 = 4;

/// A bus of its own, on which anybody may be logind.
struct Daemon {
    folder: tempfile::TempDir,
    child: Child,
}

impl Daemon {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<busconfig><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            folder.path().display()
        );
        std::fs::write(&config, text).unwrap();
        let started = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address=1"])
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            Lack::Part("there is no dbus-daemon".to_owned()).skip();
            return None;
        };
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:"), "{line}");
        Some(Self { folder, child })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("bus")
    }

    async fn connect(&self) -> Bus {
        Bus::connect(&self.path()).await.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal, to everybody or to one.
async fn send(from: &mut Bus, session: &str, member: &str, to: Option<&str>) {
    let path = object(session);
    let mut fields = vec![(1, 'o', path.as_str()), (2, 's', SESSION), (3, 's', member)];
    fields.extend(to.map(|to| (6, 's', to)));
    from.send(&fields, SIGNAL).await.unwrap();
}

/// A session that listens; what it asks for, and its own name on the bus.
async fn listening(daemon: &Daemon, session: &str) -> (UnboundedReceiver<Ask>, String) {
    let (asks, asked) = unbounded_channel();
    let post: Post = Arc::new(move |event| match event {
        LinkEvent::Asked(ask) => asks.send(ask).is_ok(),
        _ => true,
    });
    let path = object(session);
    let bus = subscribe(&daemon.path(), &path).await.unwrap();
    let name = bus.name().to_owned();
    tokio::spawn(async move { hear(bus, &path, &post).await });
    (asked, name)
}

#[tokio::test]
async fn loginds_lock_of_this_session_locks_and_nothing_else_does() {
    let Some(daemon) = Daemon::start() else {
        return;
    };
    let (mut asked, name) = listening(&daemon, "7").await;
    let mut logind = daemon.connect().await;
    logind.take_name(LOGIND).await.unwrap();
    send(&mut logind, "7", "Lock", None).await;
    assert_eq!(asked.recv().await, Some(Ask::Lock));
    // Others of logind's, and what only passes for it, sent straight to the session as well.
    let mut stranger = daemon.connect().await;
    for to in [None, Some(name.as_str())] {
        send(&mut logind, "7", "Unlock", to).await;
        send(&mut logind, "8", "Lock", to).await;
        send(&mut stranger, "7", "Lock", to).await;
        // They have been passed on by the time that the bus has answered.
        stranger.owner_of(LOGIND).await.unwrap();
        logind.owner_of(LOGIND).await.unwrap();
    }
    // Another logind, as after an update, has the name and so the right.
    drop(logind);
    let mut logind = daemon.connect().await;
    logind.take_name(LOGIND).await.unwrap();
    // It waits in line until the bus has seen the other one go.
    while logind.owner_of(LOGIND).await.unwrap().as_deref() != Some(&*logind.name().to_owned()) {}
    send(&mut logind, "7", "Lock", None).await;
    assert_eq!(asked.recv().await, Some(Ask::Lock));
    // When the bus is gone, so is whoever listened, with all that came before.
    drop(daemon);
    assert_eq!(asked.recv().await, None);
}

#[tokio::test]
async fn a_bus_that_is_away_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let why = subscribe(&folder.path().join("bus"), "/x").await;
    assert!(format!("{:#}", why.unwrap_err()).contains("there is no bus"));
}

#[test]
fn sessions_have_the_paths_that_logind_gives_them() {
    let of = |id| object(id).rsplit('/').next().unwrap().to_owned();
    assert_eq!(of("7"), "_37");
    assert_eq!(of("c12"), "c12");
    assert_eq!(of("12"), "_312");
    assert_eq!(of("a-b"), "a_2db");
}

#[test]
fn addresses_of_buses_are_understood_where_they_are_paths() {
    let of = |text| socket(Some(text));
    assert_eq!(socket(None), Some(SYSTEM_BUS.into()));
    assert_eq!(of("unix:path=/a/b"), Some("/a/b".into()));
    assert_eq!(of("unix:guid=1,path=/a/b"), Some("/a/b".into()));
    assert_eq!(of("tcp:host=x;unix:path=/c"), Some("/c".into()));
    assert_eq!(of("unix:abstract=/x"), None);
    assert_eq!(of(""), None);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_message_or_none(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
    ) {
        let _ = rest_of(&bytes);
        let _ = Message::decode(&bytes);
        let mut like_one = bytes;
        like_one.splice(0..0, [b'l', 4, 0, 1]);
        let _ = Message::decode(&like_one);
        if let Ok(rest) = rest_of(&like_one) {
            proptest::prop_assert!(rest <= 3 * (64 << 10));
        }
    }
}

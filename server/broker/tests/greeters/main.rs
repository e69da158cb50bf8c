//! Other people's greeters, as they are, at the broker's greetd task.
//!
//! Debian has agreety in its package greetd; tuigreet comes with `cargo install tuigreet --root
//! target/greeters`. Neither needs to be installed: what lies in `target/greeters` is found.

mod person;
mod pty;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heliostat_broker::greetd::{
    Delays, Greeter, GreeterContext, GreeterEvent, Outcome, PamLogins, serve, socket,
};
use heliostat_broker::worker::{Worker, Workers};
use heliostat_wire::id::SessionId;
use nix::unistd::{Gid, Uid};
use person::Person;
use pty::Pty;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// What greeters' logins go through: this machine's passwords.
const SERVICE: &str = "\
auth     required pam_unix.so
account  required pam_unix.so
password required pam_unix.so
session  required pam_permit.so
";

struct Broker {
    runtime: Runtime,
    folder: socket::Folder,
    _run_dir: tempfile::TempDir,
    _context: watch::Sender<GreeterContext>,
    events: mpsc::Receiver<GreeterEvent<Worker>>,
}

impl Broker {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let run_dir = tempfile::tempdir().unwrap();
        let services = run_dir.path().join("pam.d");
        std::fs::create_dir(&services).unwrap();
        std::fs::write(services.join("heliostat"), SERVICE).unwrap();
        let session = SessionId([7; 16]);
        let owner = (Uid::effective().as_raw(), Gid::effective().as_raw());
        let inside = runtime.enter();
        let (listener, folder) = socket::listen(run_dir.path(), session, owner).unwrap();
        let (context, receiver) = watch::channel(GreeterContext::default());
        let (out, events) = mpsc::channel(8);
        let greeter = Greeter {
            session,
            uid: owner.0,
            listener,
            context: receiver,
            delay: Delays::default().of(None, "desk-1".to_owned(), Instant::now()),
        };
        let logins = PamLogins {
            workers: Workers {
                program: env!("CARGO_BIN_EXE_heliostat-broker").into(),
                services: Some(services),
                patience: Duration::from_secs(30),
            },
            service: "heliostat".to_owned(),
            rhost: "192.0.2.7".to_owned(),
            tty: "desk-1".to_owned(),
        };
        runtime.spawn(serve(greeter, logins, out));
        drop(inside);
        Self {
            runtime,
            folder,
            _run_dir: run_dir,
            _context: context,
            events,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.socket()
    }

    fn outcome(&mut self) -> Outcome<Worker> {
        let events = &mut self.events;
        let limit = Duration::from_secs(60);
        let next = async { tokio::time::timeout(limit, events.recv()).await };
        self.runtime.block_on(next).unwrap().unwrap().outcome
    }

    fn failed(&mut self) -> String {
        match self.outcome() {
            Outcome::Failed { text, .. } => text,
            other => panic!("{other:?}"),
        }
    }

    fn logged_in(&mut self) -> String {
        match self.outcome() {
            Outcome::LoggedIn { person, .. } => person,
            other => panic!("{other:?}"),
        }
    }
}

/// A greeter of this machine; says so where there is none.
fn find(name: &str, how: &str) -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/greeters");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = ["bin", "sbin", "usr/sbin", "usr/bin"].map(|place| ours.join(place));
    let places = places.into_iter().chain(std::env::split_paths(&path));
    let mut files = places.map(|place| place.join(name));
    let found = files.find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no {name} ({how})");
    }
    found
}

const AGREETY: (&str, &str) = (
    "agreety",
    "apt-get download greetd && dpkg-deb -x greetd_*.deb target/greeters",
);
const TUIGREET: (&str, &str) = ("tuigreet", "cargo install tuigreet --root target/greeters");

/// A greeter and somebody to log in; says so where one of them is missing.
fn prepare((name, how): (&str, &str)) -> Option<(PathBuf, Person)> {
    Some((find(name, how)?, Person::new("open sesame")?))
}

#[test]
fn agreety_logs_a_person_in() {
    let Some((agreety, person)) = prepare(AGREETY) else {
        return;
    };
    let mut broker = Broker::start();
    let mut pty = Pty::start(&agreety, &["--cmd", "anything"], &broker.socket());
    pty.until("login:");
    pty.enter(person.name());
    pty.until("Password:");
    pty.enter("wrong");
    assert!(!broker.failed().is_empty());
    pty.until("login:");
    pty.enter(person.name());
    pty.until("Password:");
    pty.enter("open sesame");
    assert_eq!(broker.logged_in(), person.name());
    assert!(pty.end().success());
}

#[test]
fn agreety_changes_an_expired_password() {
    let Some((agreety, person)) = prepare(AGREETY) else {
        return;
    };
    person.expire_password();
    let mut broker = Broker::start();
    let mut pty = Pty::start(&agreety, &["--cmd", "anything"], &broker.socket());
    pty.until("login:");
    pty.enter(person.name());
    pty.until("Password:");
    pty.enter("open sesame");
    pty.until("Current password:");
    pty.enter("open sesame");
    pty.until("New password:");
    pty.enter("barley 4 everyone");
    pty.until("Retype new password:");
    pty.enter("barley 4 everyone");
    assert_eq!(broker.logged_in(), person.name());
    assert!(pty.end().success());
}

#[test]
fn tuigreet_logs_a_person_in() {
    let Some((tuigreet, person)) = prepare(TUIGREET) else {
        return;
    };
    let mut broker = Broker::start();
    let arguments = ["--cmd", "anything"];
    let mut pty = Pty::start(&tuigreet, &arguments, &broker.socket());
    pty.until("Username:");
    pty.enter(person.name());
    pty.until("Password:");
    pty.enter("wrong");
    assert!(!broker.failed().is_empty());
    // It draws what has changed, and the colon has not.
    pty.until("Password");
    pty.enter("open sesame");
    assert_eq!(broker.logged_in(), person.name());
    assert!(pty.end().success());
}

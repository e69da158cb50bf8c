//! Other people's greeters, as they are, at the broker's greetd task.
//!
//! Debian has agreety in its package greetd; tuigreet comes with `cargo install tuigreet --root
//! target/greeters`. Neither needs to be installed: what lies in `target/greeters` is found.

mod pty;

use std::path::{Path, PathBuf};

use heliostat_broker::greetd::{
    Greeter, GreeterContext, GreeterEvent, LoginWorker, LoginWorkers, Outcome, serve, socket,
};
use heliostat_control::worker::{Failure, FromWorker, Secret, Style};
use heliostat_wire::id::SessionId;
use nix::unistd::{Gid, Uid};
use pty::Pty;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// A worker that knows one password.
#[derive(Debug)]
struct Doorkeeper {
    person: String,
    words: Vec<FromWorker>,
}

impl LoginWorker for Doorkeeper {
    async fn answer(&mut self, text: Option<Secret>) {
        let right = text.is_some_and(|text| text.reveal() == "open sesame");
        self.words.push(match right {
            true => FromWorker::Authenticated {
                person: self.person.clone(),
            },
            false => FromWorker::Failed {
                why: Failure::Denied,
                text: "Authentication failure".to_owned(),
            },
        });
    }

    async fn hear(&mut self) -> FromWorker {
        match self.words.pop() {
            Some(word) => word,
            None => std::future::pending().await,
        }
    }
}

struct Doorkeepers;

impl LoginWorkers for Doorkeepers {
    type Worker = Doorkeeper;

    async fn start(&mut self, person: &str) -> anyhow::Result<Doorkeeper> {
        let password = FromWorker::Prompt {
            style: Style::Secret,
            text: "Password: ".to_owned(),
        };
        Ok(Doorkeeper {
            person: person.to_owned(),
            words: vec![password],
        })
    }
}

struct Broker {
    runtime: Runtime,
    folder: socket::Folder,
    _run_dir: tempfile::TempDir,
    _context: watch::Sender<GreeterContext>,
    events: mpsc::Receiver<GreeterEvent<Doorkeeper>>,
}

impl Broker {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let run_dir = tempfile::tempdir().unwrap();
        let session = SessionId([7; 16]);
        let owner = (Uid::effective().as_raw(), Gid::effective().as_raw());
        let _inside = runtime.enter();
        let (listener, folder) = socket::listen(run_dir.path(), session, owner).unwrap();
        let (context, receiver) = watch::channel(GreeterContext::default());
        let (out, events) = mpsc::channel(8);
        let greeter = Greeter {
            session,
            uid: owner.0,
            listener,
            context: receiver,
        };
        runtime.spawn(serve(greeter, Doorkeepers, out));
        drop(_inside);
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

    fn outcome(&mut self) -> Outcome<Doorkeeper> {
        let events = &mut self.events;
        let limit = std::time::Duration::from_secs(30);
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

#[test]
fn agreety_logs_a_person_in() {
    let how = "apt-get download greetd && dpkg-deb -x greetd_*.deb target/greeters";
    let Some(agreety) = find("agreety", how) else {
        return;
    };
    let mut broker = Broker::start();
    let mut pty = Pty::start(&agreety, &["--cmd", "anything"], &broker.socket());
    pty.until("login:");
    pty.enter("ann");
    pty.until("Password:");
    pty.enter("wrong");
    assert_eq!(broker.failed(), "Authentication failure");
    pty.until("login:");
    pty.enter("ann");
    pty.until("Password:");
    pty.enter("open sesame");
    assert_eq!(broker.logged_in(), "ann");
    assert!(pty.end().success());
}

#[test]
fn tuigreet_logs_a_person_in() {
    let how = "cargo install tuigreet --root target/greeters";
    let Some(tuigreet) = find("tuigreet", how) else {
        return;
    };
    let mut broker = Broker::start();
    let arguments = ["--cmd", "anything"];
    let mut pty = Pty::start(&tuigreet, &arguments, &broker.socket());
    pty.until("Username:");
    pty.enter("ann");
    pty.until("Password:");
    pty.enter("wrong");
    assert_eq!(broker.failed(), "Authentication failure");
    pty.until("Password:");
    pty.enter("open sesame");
    assert_eq!(broker.logged_in(), "ann");
    assert!(pty.end().success());
}

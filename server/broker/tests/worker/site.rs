//! A folder with PAM services of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use heliostat_broker::worker::{Worker, Workers};
use heliostat_control::worker::{Begin, Credential, Failure, FromWorker, Secret, Style, ToWorker};
use nix::unistd::{Uid, User};
use tempfile::TempDir;

/// Nothing here takes as long unless it hangs.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Site {
    pub folder: TempDir,
    pub workers: Workers,
}

impl Site {
    /// A site with these services.
    pub fn with(services: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let workers = Workers {
            program: env!("CARGO_BIN_EXE_heliostat-broker").into(),
            services: Some(folder.path().join("pam.d")),
            patience: DEADLINE,
        };
        std::fs::create_dir(folder.path().join("pam.d")).unwrap();
        for (name, rules) in services {
            std::fs::write(folder.path().join("pam.d").join(name), rules).unwrap();
        }
        Self { folder, workers }
    }

    /// A site with one service, in which our module gets these arguments for everything.
    pub fn of_probe(arguments: &str) -> Self {
        Self::with(&[("heliostat", probe_rules(arguments))])
    }

    pub fn notes(&self) -> PathBuf {
        self.folder.path().join("notes")
    }

    /// A worker that has been told who comes.
    pub async fn login(&self, by: Credential) -> Worker {
        let mut worker = self.workers.start().unwrap();
        worker.say(&ToWorker::Begin(begin(by))).await;
        worker
    }
}

pub fn probe_rules(arguments: &str) -> String {
    let module = module().display();
    ["auth", "account", "password", "session"]
        .map(|kind| format!("{kind} required {module} {arguments}\n"))
        .concat()
}

pub fn begin(by: Credential) -> Begin {
    Begin {
        service: "heliostat".to_owned(),
        person: Some(person()),
        by,
        rhost: "192.0.2.7".to_owned(),
        tty: "desk 7".to_owned(),
    }
}

/// An account that is there on every machine.
pub fn person() -> String {
    match Uid::effective().is_root() {
        true => "games".to_owned(),
        false => User::from_uid(Uid::effective()).unwrap().unwrap().name,
    }
}

/// Our module, built once.
pub fn module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker/probe.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let built = folder.join(format!("probe-{}.so", std::process::id()));
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&built)
            .arg(source)
            .arg("-lpam")
            .status()
            .expect("cc is there: setup.sh installs it");
        assert!(status.success(), "the module builds with libpam0g-dev");
        let module = folder.join("probe.so");
        std::fs::rename(built, &module).unwrap();
        module
    })
}

pub async fn answer(worker: &mut Worker, text: &str) {
    let text = Some(Secret::new(text.to_owned()));
    worker.say(&ToWorker::Answer { text }).await;
}

pub fn prompt(style: Style, text: &str) -> FromWorker {
    let text = text.to_owned();
    FromWorker::Prompt { style, text }
}

pub fn authenticated(person: &str) -> FromWorker {
    let person = person.to_owned();
    FromWorker::Authenticated { person }
}

#[track_caller]
pub fn failed(said: FromWorker) -> (Failure, String) {
    match said {
        FromWorker::Failed { why, text } => (why, text),
        other => panic!("{other:?}"),
    }
}

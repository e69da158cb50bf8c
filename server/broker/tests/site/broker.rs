//! A broker in a folder of its own.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use heliostat_control::admin::{AuditFilter, AuditRow, Reply, Request, SessionRow, Status};
use heliostat_control::lines::{self, LineReader};
use heliostat_link::KeyPin;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use tempfile::TempDir;

use crate::terminal::{DEADLINE, Terminal};

pub struct Broker {
    folder: TempDir,
    child: Child,
    prefix: Vec<String>,
    more: String,
    port: u16,
}

/// Each broker has a port and session ports of its own.
static PORTS: AtomicU16 = AtomicU16::new(0);

pub fn small_session() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_small-session"))
}

/// The same where everybody may run it: the checkout may lie below a home that is its owner's alone.
pub fn lent_small_session() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let path = folder.path().join("small_session");
    std::fs::copy(small_session(), &path).unwrap();
    (folder, path)
}

/// Two users that every machine has.
pub fn people() -> [String; 2] {
    match Uid::effective().is_root() {
        true => ["nobody".to_owned(), "games".to_owned()],
        false => {
            let me = User::from_uid(Uid::effective()).unwrap().unwrap().name;
            [me.clone(), me]
        }
    }
}

impl Broker {
    pub fn start() -> Self {
        Self::with("", &[])
    }

    /// A broker with more lines in its configuration, whose sessions get these arguments first.
    pub fn with(more: &str, session_arguments: &[&str]) -> Self {
        let program = small_session().display().to_string();
        Self::with_session_command(&program, more, session_arguments)
    }

    pub fn with_session_command(program: &str, more: &str, arguments: &[&str]) -> Self {
        Self::behind(&[], program, more, arguments)
    }

    /// A broker that is started by another program.
    pub fn behind(prefix: &[&str], program: &str, more: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("heliostat-broker-")
            .tempdir()
            .unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let number = PORTS.fetch_add(1, Ordering::SeqCst);
        // Where another run of the tests has a port, the broker says so and the test fails.
        let port = 10_000 + (std::process::id() % 200) as u16 * 50 + number;
        let first = port + 12_000;
        let mut command = vec![program.to_owned()];
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        // Cards of terminals that are no terminals have no keys.
        let policy = match more.contains("# strict") {
            true => "",
            false => "default.proof = \"none\"\n",
        };
        let said = more
            .lines()
            .filter_map(|line| line.strip_prefix("# policy: "));
        let said = said.flat_map(|line| [line, "\n"]);
        let policy: String = std::iter::once(policy).chain(said).collect();
        std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
        // A greeter that only has to be there: tests speak in its place.
        let greeter = match more.contains("# greeter") {
            true => "user = \"games\"\ncommand = [\"/bin/true\"]",
            false => "command = []",
        };
        let more = format!(
            "site = \"Test\"\nlisten = \"127.0.0.1:{port}\"\nsession_ports = \"{first}-{last}\"\n\
             session_command = {command:?}\nmin_uid = 1\n\
             state_dir = \"{folder}/state\"\nrun_dir = \"{folder}/run\"\n\
             policy = \"{folder}/policy.toml\"\n{more}\n[greeter]\n{greeter}\n",
            last = first + 20,
            folder = folder.path().display(),
        );
        let more = format!("{more}\n{}", services(folder.path()));
        let prefix: Vec<String> = prefix.iter().map(|word| (*word).to_owned()).collect();
        let child = spawn(folder.path(), &prefix, &more);
        let broker = Self {
            folder,
            child,
            prefix,
            more,
            port,
        };
        broker.wait_until_up();
        broker
    }

    fn wait_until_up(&self) {
        let started = std::time::Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            assert!(started.elapsed() < DEADLINE, "the broker does not come up");
            // The socket appears when the broker is ready; there is no event to wait on.
            std::thread::yield_now();
        }
        self.status();
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.folder().join("run/admin.sock")
    }

    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        self.child.wait().unwrap();
    }

    /// A new broker in the place of one that was ended.
    pub fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), &self.prefix, &self.more);
        self.wait_until_up();
    }

    pub fn ask(&self, request: Request) -> Reply {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        std::io::Write::write_all(&mut stream, &lines::encode(&request)).unwrap();
        let mut reader = LineReader::default();
        let mut bytes = [0; 4096];
        loop {
            if let Some(reply) = reader.message().unwrap() {
                return reply;
            }
            let length = stream.read(&mut bytes).unwrap();
            assert!(length > 0, "the broker closed the admin socket");
            reader.push(&bytes[..length]);
        }
    }

    pub fn status(&self) -> Status {
        match self.ask(Request::Status) {
            Reply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    pub fn pin(&self) -> KeyPin {
        self.status().site_key.parse().unwrap()
    }

    pub fn add_card(&self, card: &str, person: &str) {
        let reply = self.ask(Request::CardAdd {
            card: card.to_owned(),
            person: person.to_owned(),
            label: String::new(),
            first_use: false,
            keys: Default::default(),
        });
        assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
    }

    pub fn sessions(&self) -> Vec<SessionRow> {
        match self.ask(Request::SessionList) {
            Reply::Sessions(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    /// How often an event is in the audit log.
    pub fn audited(&self, event: &str) -> usize {
        self.audit().iter().filter(|row| row.event == event).count()
    }

    pub fn audit(&self) -> Vec<AuditRow> {
        match self.ask(Request::Audit {
            limit: 10_000,
            only: AuditFilter::default(),
        }) {
            Reply::Audit(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    /// A terminal that has been welcomed.
    pub async fn terminal(&self, id: &str) -> Terminal {
        let mut terminal = Terminal::new(id, self.address(), self.pin());
        terminal.connect().await;
        terminal
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if UnixStream::connect(self.socket()).is_ok() {
            let started = std::time::Instant::now();
            // Their runtime folders are mounted until they are gone.
            loop {
                let sessions = self.sessions();
                if sessions.is_empty() || started.elapsed() >= DEADLINE {
                    break;
                }
                // One that is only starting has no number yet, and 0 would be our own group.
                for session in sessions.iter().filter(|session| session.pid > 0) {
                    let _ = kill(Pid::from_raw(session.pid as i32), Signal::SIGKILL);
                }
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Services of PAM's own modules in `folder`, for accounts whose shells let nobody in. The system's
/// are not ours to rely on.
fn services(folder: &Path) -> String {
    let services = folder.join("pam.d");
    std::fs::create_dir(&services).unwrap();
    let rules = "auth required pam_deny.so\n\
                 account required pam_unix.so\n\
                 session required pam_env.so\n\
                 session optional pam_umask.so umask=027\n";
    for service in ["heliostat", "heliostat-greeter"] {
        std::fs::write(services.join(service), rules).unwrap();
    }
    format!("[pam]\nservices = {services:?}\n")
}

fn spawn(folder: &Path, prefix: &[String], config: &str) -> Child {
    let path = folder.join("broker.toml");
    std::fs::write(&path, config).unwrap();
    let mut words = prefix.to_vec();
    words.push(env!("CARGO_BIN_EXE_heliostat-broker").to_owned());
    Command::new(&words[0])
        .args(&words[1..])
        .arg("--config")
        .arg(path)
        .env(
            "HELIOSTAT_LOG",
            std::env::var("HELIOSTAT_LOG").unwrap_or("warn".to_owned()),
        )
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether a process is there and not a zombie.
pub fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until something holds that no event tells of.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

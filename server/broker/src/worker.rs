//! The broker's side of a PAM worker: starting it, speaking with it, and not waiting for ever.
//!
//! ```text
//! Login ──Start──► Starting ──Started──► Session ──Ended──► Over
//!   └──────────────── Failed, silence, death ───────────────► Over
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use heliostat_control::lines::{self, LineReader};
use heliostat_control::worker::{Begin, Failure, FromWorker, MAX_LINE, Style, ToWorker};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroize;

use crate::config::Pam;
use crate::process::Process;

/// How long a worker may think without asking anything. Delays after a wrong password are a few
/// seconds; directories that do not answer are given up by their own modules before this.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long PAM has to close a session.
const CLOSING: Duration = Duration::from_secs(10);

/// Starts workers.
#[derive(Debug, Clone)]
pub struct Workers {
    /// The broker's own program.
    pub program: PathBuf,
    /// Where PAM's services are described, instead of /etc/pam.d.
    pub services: Option<PathBuf>,
    /// How long a worker may think without asking anything.
    pub patience: Duration,
}

impl Workers {
    /// Workers as the configuration wants them.
    pub fn new(pam: &Pam) -> Self {
        Self {
            program: "/proc/self/exe".into(),
            services: pam.services.clone(),
            patience: PATIENCE,
        }
    }

    /// Starts a worker, for one login. Must be called on a tokio runtime.
    pub fn start(&self) -> io::Result<Worker> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&self.program);
        command.arg("pam-worker");
        if let Some(services) = &self.services {
            command.arg("--services").arg(services);
        }
        let child = command
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        Ok(Worker {
            process: Process::watch(pid)?,
            child,
            stream: UnixStream::from_std(ours)?,
            reader: LineReader::new(MAX_LINE),
            patience: self.patience,
            until: None,
            stage: Stage::Login,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Login,
    Starting,
    Session,
    Over,
}

/// A worker and the way to it. Dropped before it was told to start a session it is killed; later it
/// sees the session to its end by itself.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    child: Child,
    stream: UnixStream,
    reader: LineReader,
    patience: Duration,
    /// When it has been silent for too long, while it is the worker's turn.
    until: Option<Instant>,
    stage: Stage,
}

impl Worker {
    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Says something. What goes wrong here is heard next.
    pub async fn say(&mut self, message: &ToWorker) {
        self.say_with(message, &[]).await;
    }

    /// Says something, with file descriptors. What goes wrong here is heard next.
    pub async fn say_with(&mut self, message: &ToWorker, fds: &[BorrowedFd<'_>]) {
        if matches!(message, ToWorker::Start(_)) && self.stage == Stage::Login {
            self.stage = Stage::Starting;
        }
        let until = Instant::now() + self.patience;
        self.until = Some(until);
        let mut line = lines::encode(message);
        // A worker that does not listen is silent, too.
        let _ = timeout_at(until, send(&self.stream, &line, fds)).await;
        line.zeroize();
    }

    /// What the worker says next; a worker that dies or thinks for too long has
    /// [`FromWorker::Failed`]. Cancel-safe.
    pub async fn hear(&mut self) -> FromWorker {
        let heard = match self.until {
            None => self.next().await,
            Some(until) => match timeout_at(until, self.next()).await {
                Ok(heard) => heard,
                Err(_) => {
                    self.kill();
                    return failed(
                        Failure::Hung,
                        "The login does not get on. Try again, or ask your administrator.",
                    );
                }
            },
        };
        match &heard {
            FromWorker::Prompt {
                style: Style::Info | Style::Error,
                ..
            } => {}
            // It is somebody else's turn.
            FromWorker::Prompt { .. } | FromWorker::Authenticated { .. } => self.until = None,
            FromWorker::Started { .. } => {
                self.until = None;
                self.stage = Stage::Session;
            }
            FromWorker::Failed { .. } | FromWorker::Ended { .. } => {
                self.until = None;
                self.stage = Stage::Over;
            }
        }
        heard
    }

    async fn next(&mut self) -> FromWorker {
        let mut bytes = [0; 4096];
        loop {
            match self.reader.message() {
                Ok(Some(message)) => return message,
                Ok(None) => {}
                Err(_) => break,
            }
            match self.stream.read(&mut bytes).await {
                Ok(length @ 1..) => self.reader.push(&bytes[..length]),
                _ => break,
            }
        }
        self.kill();
        failed(
            Failure::Crashed,
            "The login broke off. Try again, or ask your administrator.",
        )
    }

    /// Logs somebody in who is asked nothing: whose card has proven itself, greeters and kiosks.
    /// Gives the account's name, or what is in the way with words for the person.
    pub async fn admit(&mut self, begin: Begin) -> Result<String, (Failure, String)> {
        self.say(&ToWorker::Begin(begin)).await;
        loop {
            match self.hear().await {
                FromWorker::Prompt {
                    style: Style::Visible | Style::Secret,
                    ..
                } => {
                    self.say(&ToWorker::Answer { text: None }).await;
                }
                FromWorker::Authenticated { person } => return Ok(person),
                FromWorker::Failed { why, text } => return Err((why, text)),
                _ => {}
            }
        }
    }

    /// What is said at the end of a session whose process is gone; nothing where the worker hangs.
    pub async fn hear_end(&mut self) -> Option<FromWorker> {
        let end = async {
            loop {
                match self.hear().await {
                    FromWorker::Prompt { .. } => {}
                    said => return said,
                }
            }
        };
        timeout(CLOSING, end).await.ok()
    }

    /// Waits until the worker has closed what it opened and is gone; one that hangs is killed.
    pub async fn gone(mut self) {
        if timeout(CLOSING, self.child.wait()).await.is_err() {
            self.kill();
            let _ = self.child.wait().await;
        }
        self.stage = Stage::Over;
    }

    /// Ends it at once, and what its modules started.
    pub fn kill(&mut self) {
        self.process.kill_with_descendants();
        self.stage = Stage::Over;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Login | Stage::Starting) {
            self.kill();
        }
    }
}

/// Waits for the worker of a session that an earlier broker started; one that hangs is killed.
pub async fn wait_for_adopted(pid: u32, started: u64) {
    if pid == 0 || crate::process::start_time(pid) != Some(started) {
        return;
    }
    let Ok(process) = Process::watch(pid) else {
        return;
    };
    if timeout(CLOSING, process.exited()).await.is_err() {
        process.kill_with_descendants();
    }
}

async fn send(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let (mut rest, mut fds) = (bytes, fds);
    while !rest.is_empty() {
        stream.writable().await?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            crate::passing::send(stream.as_fd(), rest, fds)
        });
        match sent {
            Ok(sent) => (rest, fds) = (&rest[sent..], &[]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn failed(why: Failure, text: &str) -> FromWorker {
    FromWorker::Failed {
        why,
        text: text.to_owned(),
    }
}

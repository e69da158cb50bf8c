//! The last steps of a new session before its own program: `heliostat-broker exec-session`.
//!
//! The PAM worker starts this anew, so that the steps run in a process with one thread and nothing
//! of the worker's memory: become the person, shed what was inherited, run the program. The order
//! comes as a line on standard input, so that no environment of the person's is root's for a
//! moment; with it comes the session's listening socket, which leaves as file descriptor 3.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, setgid, setsid, setuid};
use rustix::fs::{Mode as FileMode, OFlags};
use serde::{Deserialize, Serialize};

use crate::passing;
use crate::sys;

/// Files a session may open: each client's buffers are some.
const MAX_FILES: u64 = 8192;

/// Where the socket that is handed down does not get in the way.
const ABOVE_SOCKET: RawFd = 16;

/// Whom to become and what to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The user's name.
    pub user: String,
    /// The user's number.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
    /// The home folder.
    pub home: PathBuf,
    /// All of the environment.
    pub environment: Vec<(String, String)>,
    /// The control group to enter.
    pub group: Option<PathBuf>,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// Takes the order and becomes the session; returns only why that failed.
pub fn exec() -> anyhow::Error {
    match take_order() {
        Ok((order, socket)) => order.exec(socket),
        Err(error) => error.context("cannot take the worker's order"),
    }
}

fn take_order() -> anyhow::Result<(Order, OwnedFd)> {
    let stdin = io::stdin();
    let (mut line, mut fds) = (vec![0; 4096], Vec::new());
    let length = passing::receive(stdin.as_fd(), &mut line, &mut fds)?;
    line.truncate(length);
    if !line.ends_with(b"\n") {
        // The worker says one line.
        io::BufRead::read_until(&mut io::BufReader::new(stdin.lock()), b'\n', &mut line)?;
    }
    let order: Order = serde_json::from_slice(&line)?;
    if order.command.is_empty() {
        bail!("there is no command");
    }
    Ok((order, fds.pop().context("there is no socket")?))
}

/// Runs a program that is open already; returns only why that failed. Scripts need their path.
fn exec_open(program: &OwnedFd, command: &Command) -> std::io::Error {
    let text = |text: &OsStr| CString::new(text.as_bytes());
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Result<Vec<CString>, _> = words.map(text).collect();
    let variables = command.get_envs().filter_map(|(name, value)| {
        let mut variable = name.to_owned();
        variable.push("=");
        variable.push(value?);
        Some(variable)
    });
    let variables: Result<Vec<CString>, _> = variables.map(|both| text(&both)).collect();
    match (words, variables) {
        (Ok(words), Ok(variables)) => match nix::unistd::fexecve(program, &words, &variables) {
            Err(error) => error.into(),
        },
        _ => std::io::ErrorKind::InvalidInput.into(),
    }
}

impl Order {
    fn exec(self, socket: OwnedFd) -> anyhow::Error {
        // Opened while the user is still root: the program may lie where the user may not go, as in
        // a checkout below a private home. Whether they may run it is asked again below.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let program = rustix::fs::open(self.command[0].as_str(), flags, FileMode::empty())
            .and_then(|low| rustix::io::fcntl_dupfd_cloexec(&low, ABOVE_SOCKET));
        match self.prepare(socket) {
            Ok(mut command) => {
                let mut error = command.exec();
                if error.kind() == std::io::ErrorKind::PermissionDenied
                    && let Ok(program) = program
                {
                    error = exec_open(&program, &command);
                }
                anyhow::Error::new(error).context(format!("cannot run {}", self.command[0]))
            }
            Err(error) => error,
        }
    }

    fn prepare(&self, socket: OwnedFd) -> anyhow::Result<Command> {
        // Fails only where it has been done already.
        let _ = setsid();
        if let Some(group) = &self.group {
            fs::write(group.join("cgroup.procs"), "0").context("cannot enter the control group")?;
        }
        self.limit()?;
        self.become_user()?;
        sys::hand_down_socket(socket).context("cannot hand the session's socket down")?;
        if std::env::set_current_dir(&self.home).is_err() {
            std::env::set_current_dir("/").context("cannot enter /")?;
        }
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command.env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn limit(&self) -> anyhow::Result<()> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let files = MAX_FILES.min(hard);
        setrlimit(Resource::RLIMIT_NOFILE, files, hard)?;
        // A core file of a desktop holds whatever was on it.
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        Ok(())
    }

    fn become_user(&self) -> anyhow::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        if !Uid::effective().is_root() {
            if Uid::effective() != uid {
                bail!("only root can become {}", self.user);
            }
            return Ok(());
        }
        // The other groups are the worker's, which took the person's and let modules add to them.
        setgid(gid).context("cannot take the user's group")?;
        setuid(uid).context("cannot become the user")?;
        if !uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
            bail!("the way back to root is still open");
        }
        Ok(())
    }
}

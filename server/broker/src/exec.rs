//! The last steps of a new session before its own program: `heliostat-broker exec-session`.
//!
//! The broker starts itself anew for this, so that the steps run in a process with one thread and
//! nothing of the broker's memory: become the person, shed what was inherited, run the program.
//! The session's listening socket comes as standard input and leaves as file descriptor 3.

use std::ffi::{CString, OsStr};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, initgroups, setgid, setsid, setuid};

use rustix::fs::{Mode as FileMode, OFlags};

use crate::sys;

/// Files a session may open: each client's buffers are some.
const MAX_FILES: u64 = 8192;

/// Where the socket that is handed down does not get in the way.
const ABOVE_SOCKET: RawFd = 16;

/// Whom to become and what to run.
#[derive(Debug, clap::Args)]
pub struct ExecSession {
    /// The user's name.
    #[arg(long)]
    user: String,
    /// The user's number.
    #[arg(long)]
    uid: u32,
    /// The user's own group.
    #[arg(long)]
    gid: u32,
    /// The home folder.
    #[arg(long)]
    home: PathBuf,
    /// The login shell.
    #[arg(long)]
    shell: PathBuf,
    /// XDG_RUNTIME_DIR.
    #[arg(long)]
    runtime_dir: PathBuf,
    /// The log filter.
    #[arg(long)]
    log: String,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
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

impl ExecSession {
    /// Becomes the session; returns only why that failed.
    pub fn exec(self) -> anyhow::Error {
        // Opened while the user is still root: the program may lie where the user may not go, as in
        // a checkout below a private home. Whether they may run it is asked again below.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let program = rustix::fs::open(self.command[0].as_str(), flags, FileMode::empty())
            .and_then(|low| rustix::io::fcntl_dupfd_cloexec(&low, ABOVE_SOCKET));
        match self.prepare() {
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

    fn prepare(&self) -> anyhow::Result<Command> {
        // Fails only where it has been done already.
        let _ = setsid();
        self.limit()?;
        self.become_user()?;
        umask(Mode::from_bits_truncate(0o022));
        sys::hand_down_socket().context("cannot hand the session's socket down")?;
        if std::env::set_current_dir(&self.home).is_err() {
            std::env::set_current_dir("/").context("cannot enter /")?;
        }
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        self.environment(&mut command);
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
        let name = CString::new(self.user.as_str())?;
        initgroups(&name, gid).context("cannot take the user's groups")?;
        setgid(gid).context("cannot take the user's group")?;
        setuid(uid).context("cannot become the user")?;
        if !uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
            bail!("the way back to root is still open");
        }
        Ok(())
    }

    fn environment(&self, command: &mut Command) {
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("USER", &self.user)
            .env("LOGNAME", &self.user)
            .env("SHELL", &self.shell)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/games")
            .env(
                "LANG",
                std::env::var("LANG").unwrap_or("C.UTF-8".to_owned()),
            )
            .env("XDG_RUNTIME_DIR", &self.runtime_dir)
            .env("XDG_SESSION_TYPE", "wayland")
            .env("XDG_SESSION_CLASS", "user")
            .env("XDG_CURRENT_DESKTOP", "heliostat")
            .env("HELIOSTAT_LOG", &self.log);
    }
}

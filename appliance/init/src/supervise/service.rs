//! One service.
//!
//! ```text
//!            start              exit
//!   Idle ───────────► Running ────────► BackingOff ──► (start when due)
//!    ▲                   │ exit while stopping  │
//!    └───────────────────┴──────────────────────┘
//! ```

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use heliostat_sys::fd::let_inherit;
use heliostat_sys::process::unblock_signals;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Pid;

use super::channel::Channel;
use super::log::LogPipe;
use super::restart::Restart;
use super::spec::ServiceSpec;

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What a service is doing.
pub(super) enum ServiceState {
    /// Not started, or stopped for good.
    Idle,
    /// Its process runs.
    Running(Running),
    /// It ended and starts again then.
    BackingOff { until: Instant },
}

/// A running process of a service.
pub(super) struct Running {
    pub pid: Pid,
    pub since: Instant,
}

/// A service with everything that belongs to it.
pub(super) struct Service {
    pub spec: ServiceSpec,
    pub state: ServiceState,
    pub restart: Restart,
    pub channel: Option<Channel>,
    pub log: Option<LogPipe>,
}

impl Service {
    pub fn new(spec: ServiceSpec) -> Service {
        Service {
            spec,
            state: ServiceState::Idle,
            restart: Restart::default(),
            channel: None,
            log: None,
        }
    }

    /// Starts the process. On an error the service backs off as if it had died at once.
    pub fn start(&mut self, now: Instant) -> io::Result<Pid> {
        match self.spawn() {
            Ok(pid) => {
                self.state = ServiceState::Running(Running { pid, since: now });
                Ok(pid)
            }
            Err(error) => {
                let until = self.restart.handle_exit(now, now);
                self.state = ServiceState::BackingOff { until };
                Err(error)
            }
        }
    }

    fn spawn(&mut self) -> io::Result<Pid> {
        let spec = &self.spec;
        let mut command = Command::new(&spec.program);
        command
            .arg0(
                spec.arg0
                    .as_deref()
                    .unwrap_or(&spec.program.to_string_lossy()),
            )
            .args(&spec.args)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .envs(spec.env.iter().map(|(key, value)| (key, value)))
            .current_dir("/")
            .process_group(0);
        unblock_signals(&mut command);
        let log = match &spec.tty {
            Some(tty) => connect_tty(&mut command, tty).map(|()| None),
            None => connect_log(&mut command).map(Some),
        }?;
        let mut channel = None;
        if let Some(flag) = &spec.channel_flag {
            let (ours, theirs) = Channel::pair()?;
            let_inherit(theirs.as_fd())?;
            command.arg(flag).arg(theirs.as_raw_fd().to_string());
            channel = Some((ours, theirs));
        }
        // Dropping the Child neither waits nor kills: PID 1 reaps every process in one place.
        let pid = Pid::from_raw(command.spawn()?.id().cast_signed());
        self.channel = channel.map(|(ours, _theirs)| ours);
        self.log = log;
        let score = format!("/proc/{pid}/oom_score_adj");
        // The process may be gone already; then its score does not matter.
        let _ = fs::write(score, self.spec.oom_score_adj.to_string());
        Ok(pid)
    }

    pub fn pid(&self) -> Option<Pid> {
        match &self.state {
            ServiceState::Running(running) => Some(running.pid),
            _ => None,
        }
    }
}

/// Lets `command` write into a pipe; its reading end.
fn connect_log(command: &mut Command) -> io::Result<LogPipe> {
    let (ours, theirs) = io::pipe()?;
    set_nonblocking(&ours)?;
    command
        .stdin(Stdio::null())
        .stdout(theirs.try_clone()?)
        .stderr(theirs);
    Ok(LogPipe::new(ours))
}

/// Lets `command` talk on a serial line.
fn connect_tty(command: &mut Command, tty: &Path) -> io::Result<()> {
    let noctty = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let line = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(noctty.bits())
        .open(tty)?;
    // Only the opening must not wait for a carrier; the program expects a line that blocks.
    let flags = OFlag::from_bits_retain(fcntl(&line, FcntlArg::F_GETFL)?);
    fcntl(&line, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    command
        .stdin(line.try_clone()?)
        .stdout(line.try_clone()?)
        .stderr(line);
    Ok(())
}

fn set_nonblocking(fd: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

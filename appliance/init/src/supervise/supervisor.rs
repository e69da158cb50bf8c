//! All services: starts those that are due, reaps what ended, and never waits for any of them.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use heliostat_terminal_state::LineError;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, wait};
use serde::Serialize;
use tracing::{debug, info, warn};

use super::channel::Channel;
use super::log::LogPipe;
use super::restart::MIN_RUN_TIME;
use super::service::{Running, Service, ServiceState};
use super::spec::{ServiceId, ServiceSpec};

/// How a service's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exited {
    /// Which service it was.
    pub id: ServiceId,
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
}

/// Owner of every service's process.
#[derive(Default)]
pub struct Supervisor {
    services: BTreeMap<ServiceId, Service>,
    stopping: bool,
}

impl Supervisor {
    /// Takes charge of a service and starts it. One that is in its charge already is left alone.
    pub fn start(&mut self, spec: ServiceSpec, now: Instant) {
        let id = spec.id;
        if !self.services.contains_key(&id) && !self.stopping {
            self.services.insert(id, Service::new(spec));
            self.start_now(id, now);
        }
    }

    /// Starts the service `id` if its pause is over.
    pub fn handle_timeout_of(&mut self, id: ServiceId, now: Instant) {
        let Some(service) = self.services.get_mut(&id) else {
            return;
        };
        match &service.state {
            ServiceState::BackingOff { until } if *until <= now && !self.stopping => {
                self.start_now(id, now);
            }
            ServiceState::Running(Running { since, .. }) => {
                service.restart.handle_alive(*since, now);
            }
            ServiceState::BackingOff { .. } | ServiceState::Idle => {}
        }
    }

    /// When [`Supervisor::handle_timeout_of`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.services.values().filter_map(due_at).min()
    }

    fn start_now(&mut self, id: ServiceId, now: Instant) {
        let Some(service) = self.services.get_mut(&id) else {
            return;
        };
        match service.start(now) {
            Ok(pid) => info!(service = %id, %pid, "service started"),
            Err(error) => {
                warn!(service = %id, program = %service.spec.program.display(), %error, "service not started");
            }
        }
    }

    /// Reaps every process that ended, ours and orphans; tells of the services among them.
    pub fn reap(&mut self, now: Instant) -> Vec<Exited> {
        let mut exited = Vec::new();
        loop {
            // Unlike that of nix, this knows the ends of those that a real-time signal has ended.
            let (pid, status) = match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if status.exited() || status.signaled() => {
                    (Pid::from_raw(pid.as_raw_pid()), status.exit_status())
                }
                Ok(None) | Err(rustix::io::Errno::CHILD) => return exited,
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => continue,
                Err(error) => {
                    warn!(%error, "processes cannot be reaped");
                    return exited;
                }
            };
            match self.handle_exit(pid, now) {
                Some(id) => exited.push(Exited { id, status }),
                None => debug!(%pid, ?status, "orphan reaped"),
            }
        }
    }

    fn handle_exit(&mut self, pid: Pid, now: Instant) -> Option<ServiceId> {
        let stopping = self.stopping;
        let (id, service) = self
            .services
            .iter_mut()
            .find(|(_, service)| service.pid() == Some(pid))?;
        let ServiceState::Running(Running { since, .. }) = service.state else {
            return None;
        };
        let until = service.restart.handle_exit(since, now);
        service.state = match stopping {
            true => ServiceState::Idle,
            false => ServiceState::BackingOff { until },
        };
        service.channel = None;
        // Whatever the service had started itself goes with it.
        let _ = killpg(pid, Signal::SIGKILL);
        Some(*id)
    }

    /// Sends a JSON line to a service, if it runs and has a channel.
    ///
    /// # Errors
    /// [`LineError`] when the message is too long for a line.
    pub fn send<T: Serialize>(&mut self, id: ServiceId, message: &T) -> Result<(), LineError> {
        match self.channel(id) {
            Some(channel) => channel.send(message),
            None => Ok(()),
        }
    }

    /// The channel of a running service.
    pub fn channel(&mut self, id: ServiceId) -> Option<&mut Channel> {
        self.services.get_mut(&id)?.channel.as_mut()
    }

    /// The output of a service, which may outlive its process by what it last said.
    pub fn log(&mut self, id: ServiceId) -> Option<&mut LogPipe> {
        self.services.get_mut(&id)?.log.as_mut()
    }

    /// Forgets a service's output, which has ended.
    pub fn close_log(&mut self, id: ServiceId) {
        if let Some(service) = self.services.get_mut(&id) {
            service.log = None;
        }
    }

    /// Forgets a service's channel, which the other end has closed.
    pub fn close_channel(&mut self, id: ServiceId) {
        if let Some(service) = self.services.get_mut(&id) {
            service.channel = None;
        }
    }

    /// Calls `see` with everything that may become readable or writable.
    pub fn each_source<'a>(
        &'a self,
        mut see: impl FnMut(ServiceId, Option<&'a Channel>, Option<&'a LogPipe>),
    ) {
        for (id, service) in &self.services {
            see(*id, service.channel.as_ref(), service.log.as_ref());
        }
    }

    /// True when the service's process runs.
    pub fn is_running(&self, id: ServiceId) -> bool {
        self.pid(id).is_some()
    }

    /// The service's process.
    pub fn pid(&self, id: ServiceId) -> Option<Pid> {
        self.services.get(&id)?.pid()
    }

    /// True when the service keeps dying.
    pub fn is_failing(&self, id: ServiceId) -> bool {
        self.services
            .get(&id)
            .is_some_and(|service| service.restart.is_failing())
    }

    /// Kills a service's processes; it starts again as after any death.
    pub fn kill(&mut self, id: ServiceId) {
        if let Some(pid) = self.pid(id) {
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }

    /// Asks every service to end; from now on none is started again.
    pub fn begin_stop(&mut self) {
        self.stopping = true;
        for (id, service) in &mut self.services {
            // An interactive shell ignores SIGTERM.
            let signal = match id {
                ServiceId::Shell => Signal::SIGKILL,
                _ => Signal::SIGTERM,
            };
            match service.pid() {
                Some(pid) => drop(killpg(pid, signal)),
                None => service.state = ServiceState::Idle,
            }
        }
    }

    /// The services whose processes are left.
    pub fn running(&self) -> Vec<ServiceId> {
        let running = self
            .services
            .iter()
            .filter(|(_, service)| service.pid().is_some());
        running.map(|(id, _)| *id).collect()
    }

    /// True when no service's process is left.
    pub fn is_quiet(&self) -> bool {
        self.running().is_empty()
    }
}

/// When a service wants to be looked at: at the end of its pause, or when a run that follows quick
/// deaths has become a long one.
fn due_at(service: &Service) -> Option<Instant> {
    match &service.state {
        ServiceState::BackingOff { until } => Some(*until),
        ServiceState::Running(Running { since, .. }) if service.restart.is_failing() => {
            Some(*since + MIN_RUN_TIME)
        }
        _ => None,
    }
}

/// How long PID 1 waits for its services to end by themselves.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Waits until `supervisor` is quiet or [`STOP_TIMEOUT`] is over, by the children's ends; used on
/// the way down only, when nothing else is left to do.
///
/// # Errors
/// When waiting itself fails.
pub fn wait_until_quiet(
    supervisor: &mut Supervisor,
    sigchld: &nix::sys::signalfd::SignalFd,
) -> io::Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let deadline = Instant::now() + STOP_TIMEOUT;
    loop {
        let now = Instant::now();
        supervisor.reap(now);
        if supervisor.is_quiet() || now >= deadline {
            return Ok(());
        }
        let timeout = PollTimeout::try_from(deadline - now).unwrap_or(PollTimeout::MAX);
        match poll(
            &mut [PollFd::new(sigchld.as_fd(), PollFlags::POLLIN)],
            timeout,
        ) {
            Ok(_) | Err(Errno::EINTR) => while let Ok(Some(_)) = sigchld.read_signal() {},
            Err(error) => return Err(error.into()),
        }
    }
}

//! PID 1's event loop. It only dispatches: it runs the phases of the plan whose time has come,
//! waits for something to happen, and hands it to its owner.

mod events;
mod steps;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::boot::facts::Facts;
use crate::boot::plan::{Phase, SETTLE_TIMEOUT, plan};
use crate::console::Consoles;
use crate::modules::Loader;
use crate::power::PowerButtons;
use crate::shutdown::{Shutdown, shutdown};
use crate::status::Status;
use crate::supervise::{ServiceId, Supervisor};
use crate::udev::Udev;
use crate::uevent::UeventSocket;

/// A terminal that has found no display device after this time says so.
const DISPLAY_PATIENCE: Duration = Duration::from_secs(10);
/// A client that has ever reported [`ClientReport::Alive`] is taken to hang when it has not done so
/// for this long.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// Uevents taken in one turn of the loop.
const UEVENTS_A_TURN: usize = 64;

/// What may become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signal,
    Uevent,
    Notify,
    Power,
    Channel(ServiceId),
    Log(ServiceId),
}

struct App<'a> {
    facts: Facts,
    started: Instant,
    phases: VecDeque<Phase>,
    display: bool,
    settled: bool,
    alive_at: Option<Instant>,
    name: Option<String>,
    status: Status,
    supervisor: Supervisor,
    loader: Option<Loader>,
    udev: Udev,
    uevents: UeventSocket,
    power: PowerButtons,
    signals: SignalFd,
    consoles: &'a mut Consoles,
    going: Option<Shutdown>,
}

/// Runs the terminal until it is taken down.
///
/// # Errors
/// When something without which PID 1 cannot work is refused: signals, uevents, sockets.
pub fn run(facts: Facts, started_ms: u64, consoles: &mut Consoles) -> anyhow::Result<()> {
    let mut app = App::new(facts, started_ms, consoles)?;
    app.say_hello();
    while app.going.is_none() {
        app.run_phases();
        app.tell();
        let ready = app.wait()?;
        ready.into_iter().for_each(|source| app.dispatch(source));
        app.handle_timeout(Instant::now());
    }
    let how = app.going.unwrap_or(Shutdown::Reboot);
    shutdown(how, &mut app.supervisor, &app.signals, app.consoles);
    Ok(())
}

impl<'a> App<'a> {
    fn new(facts: Facts, started_ms: u64, consoles: &'a mut Consoles) -> anyhow::Result<App<'a>> {
        let mut caught = SigSet::empty();
        for signal in [
            Signal::SIGCHLD,
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGPWR,
        ] {
            caught.add(signal);
        }
        caught.thread_block().context("signals cannot be blocked")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(App {
            phases: plan(&facts).into(),
            status: Status::new(
                facts.site_keys.clone(),
                facts.cmdline.name.clone(),
                started_ms,
            ),
            started: Instant::now(),
            display: has_display(),
            settled: false,
            alive_at: None,
            name: None,
            supervisor: Supervisor::default(),
            loader: None,
            udev: Udev::open().context("the readiness socket cannot be made")?,
            uevents: UeventSocket::open().context("uevents cannot be received")?,
            power: PowerButtons::default(),
            signals: SignalFd::with_flags(&caught, flags).context("signals cannot be received")?,
            consoles,
            going: None,
            facts,
        })
    }

    /// Waits until something is ready or due.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Signal, Source::Uevent, Source::Notify];
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.uevents.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.udev.as_fd(), PollFlags::POLLIN),
        ];
        for button in self.power.sources() {
            sources.push(Source::Power);
            fds.push(PollFd::new(button, PollFlags::POLLIN));
        }
        self.supervisor.each_source(|id, channel, log| {
            if let Some(channel) = channel {
                let room = if channel.wants_room() {
                    PollFlags::POLLOUT
                } else {
                    PollFlags::empty()
                };
                sources.push(Source::Channel(id));
                fds.push(PollFd::new(channel.as_fd(), PollFlags::POLLIN | room));
            }
            if let Some(log) = log {
                sources.push(Source::Log(id));
                fds.push(PollFd::new(log.as_fd(), PollFlags::POLLIN));
            }
        });
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let ready = sources.iter().zip(&fds).filter(|(_, fd)| ready(fd));
        Ok(ready.map(|(source, _)| *source).collect())
    }

    fn timeout(&self) -> PollTimeout {
        let display = self.started + DISPLAY_PATIENCE;
        let settle = self.started + SETTLE_TIMEOUT;
        let due = [
            self.supervisor.poll_timeout(),
            self.udev.poll_timeout(),
            self.alive_at.map(|at| at + ALIVE_TIMEOUT),
            (!self.settled).then_some(settle),
            (!self.display && Instant::now() < display).then_some(display),
        ];
        let Some(due) = due.into_iter().flatten().min() else {
            return PollTimeout::NONE;
        };
        // Rounded up, so that what is due has become due on waking.
        let left = due.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    fn dispatch(&mut self, source: Source) {
        match source {
            Source::Signal => self.handle_signals(),
            Source::Uevent => self.handle_uevents(),
            Source::Notify => self.udev.handle_readable(),
            Source::Power => self.handle_power(),
            Source::Channel(ServiceId::Client) => self.handle_client(),
            Source::Channel(id) => self.handle_network(id),
            Source::Log(id) => self.handle_log(id),
        }
    }
}

/// True when there is a display controller's node.
fn has_display() -> bool {
    let nodes = fs::read_dir("/dev/dri").into_iter().flatten().flatten();
    nodes
        .into_iter()
        .any(|node| node.file_name().to_string_lossy().starts_with("card"))
}

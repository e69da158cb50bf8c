//! PID 1's event loop. It only dispatches: it runs the phases of the plan whose time has come,
//! waits for something to happen, and hands it to its owner.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use heliostat_sys::vt;
use heliostat_terminal_state::{ClientReport, Code, EXIT_POWEROFF, EXIT_REBOOT};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::set_cad_enabled;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::sethostname;
use tracing::{debug, info, warn};

use crate::boot::facts::Facts;
use crate::boot::plan::{Action, EXTRA_MODULES, Phase, SETTLE_TIMEOUT, When, plan};
use crate::console::Consoles;
use crate::modules::{Catalogue, Loader, Tier, provide_modprobe};
use crate::network::{Ask, NetReport};
use crate::power::PowerButtons;
use crate::shutdown::{Shutdown, shutdown};
use crate::status::Status;
use crate::supervise::{Exited, ServiceId, Supervisor};
use crate::udev::Udev;
use crate::uevent::{Uevent, UeventError, UeventSocket};
use crate::uptime_ms;

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

    fn say_hello(&mut self) {
        self.consoles
            .say(&format!("terminal {} starts", env!("CARGO_PKG_VERSION")));
        for word in &self.facts.cmdline.refused {
            self.consoles
                .say(&format!("kernel command line: {word} cannot be used"));
        }
        if self.facts.modules_dir.is_none() {
            info!("no kernel modules in the image");
        }
    }

    /// Runs every phase whose condition holds.
    fn run_phases(&mut self) {
        self.note_display();
        for _ in 0..self.phases.len() {
            let Some(phase) = self.phases.pop_front() else {
                return;
            };
            if !self.holds(phase.when) {
                self.phases.push_back(phase);
                continue;
            }
            debug!(phase = phase.name, "phase");
            for action in phase.actions {
                if let Err(error) = self.act(action) {
                    warn!(
                        phase = phase.name,
                        error = format!("{error:#}"),
                        "step failed"
                    );
                }
            }
        }
    }

    fn holds(&self, when: When) -> bool {
        match when {
            When::Now => true,
            When::Display => self.display,
            When::Settled => self.settled,
        }
    }

    fn note_display(&mut self) {
        if self.display && self.status.boot().display_ms.is_none() {
            self.status.handle_display(true, uptime_ms());
        }
    }

    fn act(&mut self, action: Action) -> anyhow::Result<()> {
        let now = Instant::now();
        match action {
            Action::Setting(path, value) => {
                // Some settings are taken with the newline only.
                let line = format!("{value}\n");
                fs::write(Path::new("/proc/sys").join(path), line).context(path)?;
            }
            Action::CatchCtrlAltDel => set_cad_enabled(false).context("Ctrl-Alt-Del")?,
            Action::ProvideModprobe => provide_modprobe().context("modprobe")?,
            Action::QuietScreen => quiet_screen(),
            Action::LoadModules => self.load_modules()?,
            Action::OpenTier(tier) => self.loader.iter().for_each(|loader| loader.open(tier)),
            Action::Start(spec) => self.start(spec.id, |app| app.supervisor.start(spec, now)),
            Action::WatchPowerButton => self.power.watch(),
        }
        Ok(())
    }

    fn load_modules(&mut self) -> anyhow::Result<()> {
        let Some(dir) = &self.facts.modules_dir else {
            return Ok(());
        };
        let began = Instant::now();
        let catalogue = Catalogue::read(dir, &self.facts.cmdline);
        let (modules, patterns) = catalogue.sizes();
        let ms = began.elapsed().as_millis() as u64;
        info!(modules, patterns, ms, "module indexes read");
        let threads = self.facts.cpus.clamp(2, 4);
        let loader = Loader::start(catalogue, Path::new("/sys"), threads)?;
        EXTRA_MODULES
            .iter()
            .for_each(|name| loader.add_module(Tier::Network, name));
        loader.coldplug();
        self.loader = Some(loader);
        Ok(())
    }

    /// Runs `start`, and when it brought the service `id` up, does what belongs to that.
    fn start(&mut self, id: ServiceId, start: impl FnOnce(&mut Self)) {
        let before = self.supervisor.pid(id);
        start(self);
        if self.supervisor.is_running(id) && self.supervisor.pid(id) != before {
            self.handle_started(id);
        }
    }

    fn handle_started(&mut self, id: ServiceId) {
        match id {
            ServiceId::Client => self.handle_client_started(),
            ServiceId::Udevd => self.udev.handle_started(Instant::now()),
            ServiceId::Network | ServiceId::Pcscd | ServiceId::Shell => {}
        }
    }

    fn handle_client_started(&mut self) {
        self.alive_at = None;
        self.status.handle_client_started(uptime_ms());
        self.consoles.say("client started");
        let state = self.status.state();
        if let Err(error) = self.supervisor.send(ServiceId::Client, &state) {
            warn!(%error, "state not told to the client");
        }
    }

    /// Tells the client and the consoles what has changed.
    fn tell(&mut self) {
        self.status.handle_failing(self.failing());
        let Some(change) = self.status.poll_change() else {
            return;
        };
        change.lines.iter().for_each(|line| self.consoles.say(line));
        self.set_host_name(change.state.name.as_deref());
        if let Err(error) = self.supervisor.send(ServiceId::Client, &change.state) {
            warn!(%error, "state not told to the client");
        }
    }

    /// The codes of the services that keep dying, and of those that the image lacks.
    fn failing(&self) -> Vec<Code> {
        let failing = ServiceId::ALL
            .into_iter()
            .filter(|id| self.supervisor.is_failing(*id));
        let mut codes: Vec<Code> = failing.filter_map(ServiceId::failing_code).collect();
        codes.extend(self.facts.udevd.is_none().then_some(Code::NoUdev));
        codes.extend(self.facts.pcscd.is_none().then_some(Code::NoCardService));
        codes
    }

    fn set_host_name(&mut self, name: Option<&str>) {
        if let Some(name) = name.filter(|name| self.name.as_deref() != Some(name)) {
            self.name = Some(name.to_owned());
            if let Err(error) = sethostname(name) {
                warn!(name, %error, "host name not set");
            }
        }
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

    fn handle_timeout(&mut self, now: Instant) {
        self.udev.handle_timeout(now);
        for id in ServiceId::ALL {
            self.start(id, |app| app.supervisor.handle_timeout_of(id, now));
        }
        if now >= self.started + SETTLE_TIMEOUT {
            self.settled = true;
        }
        if !self.display && now >= self.started + DISPLAY_PATIENCE {
            self.status.handle_display(false, uptime_ms());
        }
        if self
            .alive_at
            .take_if(|at| *at + ALIVE_TIMEOUT <= now)
            .is_some()
        {
            warn!("the client hangs: it is started anew");
            self.supervisor.kill(ServiceId::Client);
        }
    }

    fn handle_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match Signal::try_from(info.ssi_signo.cast_signed()) {
                Ok(Signal::SIGINT) => self.go(Shutdown::Reboot, "Ctrl-Alt-Del"),
                Ok(Signal::SIGTERM) => self.go(Shutdown::Reboot, "SIGTERM"),
                Ok(Signal::SIGPWR) => self.go(Shutdown::PowerOff, "power failure"),
                _ => {}
            }
        }
        let exited = self.supervisor.reap(Instant::now());
        exited
            .into_iter()
            .for_each(|exited| self.handle_exited(exited));
    }

    fn handle_exited(&mut self, exited: Exited) {
        match (exited.id, exited.status) {
            (ServiceId::Client, Some(EXIT_REBOOT)) => self.go(Shutdown::Reboot, "client"),
            (ServiceId::Client, Some(EXIT_POWEROFF)) => self.go(Shutdown::PowerOff, "client"),
            (id, status) => warn!(service = %id, ?status, "service ended"),
        }
        if exited.id == ServiceId::Client {
            self.alive_at = None;
            self.consoles.say("client ended");
        }
    }

    fn handle_uevents(&mut self) {
        for _ in 0..UEVENTS_A_TURN {
            match self.uevents.receive() {
                Ok(Some(event)) => self.handle_uevent(&event),
                Ok(None) => return,
                Err(UeventError::Lost) => self.look_at_all_devices(),
                Err(UeventError::Io(error)) => {
                    warn!(%error, "uevent not received");
                    return;
                }
            }
        }
    }

    fn handle_uevent(&mut self, event: &Uevent) {
        self.display |= event.adds_display();
        if let Some(node) = event.added_input() {
            self.power.consider(node);
        }
        if let (Some(loader), Some(modalias), "add") =
            (&self.loader, &event.modalias, event.action.as_str())
        {
            loader.add_device(modalias);
        }
    }

    fn look_at_all_devices(&mut self) {
        info!("uevents were lost: all devices are looked at again");
        self.display |= has_display();
        self.loader.iter().for_each(Loader::coldplug);
    }

    fn handle_power(&mut self) {
        if self.power.handle_readable() {
            self.go(Shutdown::PowerOff, "power button");
        }
    }

    fn handle_client(&mut self) {
        let reports = self.receive::<ClientReport>(ServiceId::Client);
        reports
            .into_iter()
            .for_each(|report| self.handle_report(report));
    }

    fn handle_report(&mut self, report: ClientReport) {
        match report {
            ClientReport::ScreenShown => self.handle_screen_shown(),
            ClientReport::Alive => self.alive_at = Some(Instant::now()),
            ClientReport::Status { code, text } => self.status.handle_client_status(code, text),
            ClientReport::BrokersUnreachable => self.ask_network(&Ask::LookAgain),
            ClientReport::Reboot => self.go(Shutdown::Reboot, "client"),
            ClientReport::PowerOff => self.go(Shutdown::PowerOff, "client"),
        }
    }

    fn handle_screen_shown(&mut self) {
        self.settled = true;
        let now_ms = uptime_ms();
        self.status.handle_screen_shown(now_ms);
        let since_start = now_ms.saturating_sub(self.status.boot().init_ms.unwrap_or(0));
        self.consoles.say(&format!(
            "screen shown {since_start} ms after PID 1 started"
        ));
    }

    fn ask_network(&mut self, ask: &Ask) {
        if let Err(error) = self.supervisor.send(ServiceId::Network, ask) {
            warn!(%error, "network process not asked");
        }
    }

    fn handle_network(&mut self, id: ServiceId) {
        if let Some(report) = self.receive::<NetReport>(id).pop() {
            self.status.handle_network(report, uptime_ms());
        }
    }

    /// Reads and writes what the channel of `id` has and wants.
    fn receive<T: serde::de::DeserializeOwned>(&mut self, id: ServiceId) -> Vec<T> {
        let Some(channel) = self.supervisor.channel(id) else {
            return Vec::new();
        };
        channel.flush();
        let received = channel.receive::<T>();
        let closed = received.as_ref().map_or(true, |received| received.closed);
        if closed {
            self.supervisor.close_channel(id);
        }
        let messages = received
            .map(|received| received.messages)
            .unwrap_or_default();
        let sound = |message: Result<T, heliostat_terminal_state::LineError>| {
            message
                .inspect_err(|error| warn!(service = %id, %error, "report not understood"))
                .ok()
        };
        messages.into_iter().filter_map(sound).collect()
    }

    fn handle_log(&mut self, id: ServiceId) {
        let Some(log) = self.supervisor.log(id) else {
            return;
        };
        let (lines, more) = log.receive(Instant::now()).unwrap_or_default();
        lines.iter().for_each(|line| info!("{id}: {line}"));
        if !more {
            self.supervisor.close_log(id);
        }
    }

    fn go(&mut self, how: Shutdown, why: &str) {
        info!(?how, why, "asked to go down");
        self.going.get_or_insert(how);
    }
}

/// True when there is a display controller's node.
fn has_display() -> bool {
    let nodes = fs::read_dir("/dev/dri").into_iter().flatten().flatten();
    nodes
        .into_iter()
        .any(|node| node.file_name().to_string_lossy().starts_with("card"))
}

/// The kernel's text console stops drawing. There is none on kernels without virtual terminals.
fn quiet_screen() {
    let set = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty0")
        .and_then(vt::set_graphics);
    if let Err(error) = set {
        debug!(%error, "text console not silenced");
    }
}

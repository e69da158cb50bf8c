//! What happens: each event goes to its owner.

use std::time::Instant;

use heliostat_terminal_state::{ClientReport, EXIT_POWEROFF, EXIT_REBOOT, LineError};
use nix::sys::signal::Signal;
use tracing::{info, warn};

use super::{ALIVE_TIMEOUT, App, DISPLAY_PATIENCE, UEVENTS_A_TURN, has_display};
use crate::boot::plan::SETTLE_TIMEOUT;
use crate::modules::Loader;
use crate::network::{Ask, NetReport};
use crate::shutdown::Shutdown;
use crate::supervise::{Exited, ServiceId};
use crate::uevent::{Uevent, UeventError};
use crate::uptime_ms;

impl App<'_> {
    pub(super) fn handle_timeout(&mut self, now: Instant) {
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

    pub(super) fn handle_signals(&mut self) {
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

    pub(super) fn handle_uevents(&mut self) {
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

    pub(super) fn handle_power(&mut self) {
        if self.power.handle_readable() {
            self.go(Shutdown::PowerOff, "power button");
        }
    }

    pub(super) fn handle_client(&mut self) {
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
        let first = self.status.boot().screen_ms.is_none();
        self.status.handle_screen_shown(now_ms);
        let since_start = now_ms.saturating_sub(self.status.boot().init_ms.unwrap_or(0));
        match first {
            true => self.consoles.say(&format!(
                "screen shown {since_start} ms after PID 1 started"
            )),
            false => self.consoles.say("screen shown again"),
        }
    }

    fn ask_network(&mut self, ask: &Ask) {
        if let Err(error) = self.supervisor.send(ServiceId::Network, ask) {
            warn!(%error, "network process not asked");
        }
    }

    pub(super) fn handle_network(&mut self, id: ServiceId) {
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
        let sound = |message: Result<T, LineError>| {
            message
                .inspect_err(|error| warn!(service = %id, %error, "report not understood"))
                .ok()
        };
        messages.into_iter().filter_map(sound).collect()
    }

    pub(super) fn handle_log(&mut self, id: ServiceId) {
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

//! The plan's steps, and what is told to others when they have changed something.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use heliostat_sys::vt;
use heliostat_terminal_state::Code;
use nix::sys::reboot::set_cad_enabled;
use nix::unistd::sethostname;
use tracing::{debug, info, warn};

use super::App;
use crate::boot::plan::{Action, EXTRA_MODULES, When};
use crate::modules::{Catalogue, Loader, Tier, provide_modprobe};
use crate::supervise::ServiceId;
use crate::uptime_ms;

impl App<'_> {
    pub(super) fn say_hello(&mut self) {
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
    pub(super) fn run_phases(&mut self) {
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
    pub(super) fn start(&mut self, id: ServiceId, start: impl FnOnce(&mut Self)) {
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
    pub(super) fn tell(&mut self) {
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

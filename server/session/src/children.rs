//! The session's programs: the message bus, what starts with the session, what shortcuts start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use smithay::reexports::calloop::channel::Sender;
use tracing::{info, warn};

use crate::app::Event;
use crate::autostart;
use crate::sys;

/// Starts programs and tells when they end.
#[derive(Debug)]
pub struct Children {
    wayland_display: String,
    bus: Option<String>,
    display: Option<String>,
    environment: Vec<(String, String)>,
    events: Sender<Event>,
    groups: Arc<Mutex<Vec<u32>>>,
    path: OsString,
}

impl Children {
    /// For clients of this Wayland socket.
    pub fn new(wayland_display: &str, events: Sender<Event>) -> Self {
        Self {
            wayland_display: wayland_display.to_owned(),
            bus: None,
            display: None,
            environment: Vec::new(),
            events,
            groups: Arc::default(),
            path: path(),
        }
    }

    /// X11 programs find this display.
    pub fn set_display(&mut self, display: String) {
        self.display = Some(display);
    }

    /// Starts the message bus; [`Event::Bus`] comes when it listens, or when there is none.
    pub fn start_bus(&self) {
        if let Some(bus) = bus_of_the_person() {
            let _ = self.events.send(Event::Bus(Some(bus)));
            return;
        }
        let mut command = Command::new("dbus-daemon");
        command.args([
            "--session",
            "--nofork",
            "--nopidfile",
            "--nosyslog",
            "--print-address=1",
        ]);
        // Where programs look for it, and gone with the session; the default is a litter in /tmp.
        if let Ok(folder) = std::env::var("XDG_RUNTIME_DIR") {
            command.arg(format!("--address=unix:path={folder}/bus"));
        }
        command.stdout(Stdio::piped()).stdin(Stdio::null());
        sys::end_with_parent(&mut command);
        match command.process_group(0).spawn() {
            Ok(child) => self.watch_bus(child),
            Err(error) => {
                info!("the session has no message bus: dbus-daemon: {error}");
                let _ = self.events.send(Event::Bus(None));
            }
        }
    }

    fn watch_bus(&self, mut child: Child) {
        let events = self.events.clone();
        let output = child.stdout.take();
        self.watch("dbus-daemon".to_owned(), child);
        spawn("bus", move || {
            let mut line = String::new();
            let read = output.map(|output| BufReader::new(output).read_line(&mut line));
            let address = line.trim();
            let found = matches!(read, Some(Ok(_))) && !address.is_empty();
            let _ = events.send(Event::Bus(found.then(|| address.to_owned())));
        });
    }

    /// Programs find the message bus at this address.
    pub fn set_bus(&mut self, bus: Option<String>) {
        self.bus = bus;
    }

    /// What programs find in their environment besides.
    pub fn set_environment(&mut self, environment: &BTreeMap<String, String>) {
        let sound = |(name, value): &(&String, &String)| {
            !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
        };
        let (good, bad): (Vec<_>, Vec<_>) = environment.iter().partition(sound);
        for (name, _) in bad {
            warn!("{name:?} is no name of a variable, or its value is none");
        }
        self.environment = good
            .into_iter()
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
    }

    /// Starts a command, as a shell understands it.
    pub fn run(&self, line: &str) {
        self.run_named(line, line);
    }

    /// Starts a command that has a name. Returns whether it did; how it ended is told by that name.
    pub fn run_named(&self, name: &str, line: &str) -> bool {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("exec {line}")])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("WAYLAND_DISPLAY", &self.wayland_display)
            .env("XDG_SESSION_TYPE", "wayland")
            .env("XDG_CURRENT_DESKTOP", autostart::DESKTOP)
            .env_remove("DISPLAY")
            .env("PATH", &self.path)
            .stdin(Stdio::null())
            .process_group(0);
        sys::end_with_parent(&mut command);
        if let Some(display) = &self.display {
            command.env("DISPLAY", display);
        }
        if let Some(bus) = &self.bus {
            command.env("DBUS_SESSION_BUS_ADDRESS", bus);
        }
        match command.spawn() {
            Ok(child) => {
                info!(pid = child.id(), "started: {line}");
                self.watch(name.to_owned(), child);
                true
            }
            Err(error) => {
                warn!("cannot start {line:?}: {error}");
                false
            }
        }
    }

    fn watch(&self, name: String, mut child: Child) {
        let (events, groups) = (self.events.clone(), self.groups.clone());
        let pid = child.id();
        locked(&groups).push(pid);
        spawn("child", move || {
            let how = match child.wait() {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            locked(&groups).retain(|group| *group != pid);
            let _ = events.send(Event::ChildEnded(name, how));
        });
    }

    /// Ends all of them.
    pub fn end(&self) {
        for pid in locked(&self.groups).iter() {
            if let Some(pid) = Pid::from_raw(*pid as i32) {
                let _ = kill_process_group(pid, Signal::TERM);
            }
        }
    }
}

/// Where programs are looked for: also beside this one, where `heliostat-leave` lies.
fn path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    folders.extend(own.filter(|own| !folders.contains(own)));
    std::env::join_paths(folders).unwrap_or(path)
}

/// The bus that the person's service manager has in this session's runtime folder; one from
/// elsewhere, such as of a desktop in which this was started, is not for the session.
fn bus_of_the_person() -> Option<String> {
    let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok()?;
    let folder = std::env::var("XDG_RUNTIME_DIR").ok()?;
    (bus == format!("unix:path={folder}/bus")).then_some(bus)
}

fn locked(groups: &Mutex<Vec<u32>>) -> std::sync::MutexGuard<'_, Vec<u32>> {
    groups.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(128 << 10);
    if let Err(error) = thread.spawn(work) {
        warn!("cannot start a thread: {error}");
    }
}

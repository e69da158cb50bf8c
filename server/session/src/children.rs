//! The session's programs: the message bus, what starts with the session, what shortcuts start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use smithay::reexports::calloop::channel::Sender;
use tracing::{info, warn};

use crate::app::Event;
use crate::autostart;
use crate::sys;
use crate::threads::Threads;

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
    threads: Threads,
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
            threads: Threads::System,
        }
    }

    /// Threads come from there.
    #[cfg(test)]
    pub fn take_threads_of(&mut self, threads: Threads) {
        self.threads = threads;
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
        self.start_own_bus();
    }

    fn start_own_bus(&self) {
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
        let events = self.events.clone();
        let (hand, handed) = channel();
        let listening = self.begin("bus", move || {
            let output = handed.recv().ok().flatten();
            let _ = events.send(Event::Bus(output.and_then(address)));
        });
        if let Err(error) = listening {
            warn!("the session has no message bus: no thread to wait for it: {error}");
            let _ = self.events.send(Event::Bus(None));
            return;
        }
        match self.start("dbus-daemon", &mut command) {
            Ok((_, output)) => {
                let _ = hand.send(output);
            }
            // Who waits for its output hears that there is none.
            Err(error) => info!("the session has no message bus: dbus-daemon: {error}"),
        }
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
            .stdin(Stdio::null());
        sys::end_with_parent(&mut command);
        if let Some(display) = &self.display {
            command.env("DISPLAY", display);
        }
        if let Some(bus) = &self.bus {
            command.env("DBUS_SESSION_BUS_ADDRESS", bus);
        }
        match self.start(name, &mut command) {
            Ok((pid, _)) => {
                info!(pid, "started: {line}");
                true
            }
            Err(error) => {
                warn!("cannot start {line:?}: {error}");
                false
            }
        }
    }

    /// Starts a program whose end is told by this name. Returns its number, and its output where that
    /// is a pipe.
    fn start(&self, name: &str, command: &mut Command) -> io::Result<(u32, Option<ChildStdout>)> {
        let (events, groups) = (self.events.clone(), self.groups.clone());
        let (hand, handed) = channel::<Child>();
        let name = name.to_owned();
        // First who waits for its end: without that nobody would start it again, and its number would
        // be signalled when it is another's.
        self.begin("child", move || {
            let Ok(mut child) = handed.recv() else {
                return;
            };
            let how = match child.wait() {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            locked(&groups).retain(|group| *group != child.id());
            let _ = events.send(Event::ChildEnded(name, how));
        })?;
        let mut child = command.process_group(0).spawn()?;
        let (pid, output) = (child.id(), child.stdout.take());
        locked(&self.groups).push(pid);
        let _ = hand.send(child);
        Ok((pid, output))
    }

    fn begin(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(128 << 10);
        self.threads.start(thread, work)
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

/// What the bus says first: where it listens.
fn address(output: ChildStdout) -> Option<String> {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).ok()?;
    let address = line.trim();
    (!address.is_empty()).then(|| address.to_owned())
}

fn locked(groups: &Mutex<Vec<u32>>) -> std::sync::MutexGuard<'_, Vec<u32>> {
    groups.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use smithay::reexports::calloop::channel::{Channel, channel};

    use super::*;

    fn children(threads: Threads) -> (Children, Channel<Event>) {
        let (events, told) = channel();
        let mut children = Children::new("wayland-test", events);
        children.threads = threads;
        (children, told)
    }

    #[test]
    fn end_of_a_program_is_told_and_forgets_its_group() {
        let (children, told) = children(Threads::System);
        assert!(children.run_named("part", "sh -c 'exit 3'"));
        let event = told.recv().unwrap();
        assert!(
            matches!(&event, Event::ChildEnded(name, how) if name == "part" && how.contains('3'))
        );
        assert!(locked(&children.groups).is_empty());
    }

    #[test]
    fn program_whose_end_nobody_would_hear_of_is_not_started() {
        let (children, told) = children(Threads::few(0));
        assert!(!children.run_named("part", "true"));
        assert!(locked(&children.groups).is_empty());
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn desktop_begins_without_a_bus_where_nobody_can_wait_for_one() {
        for most in [0, 1] {
            let (children, told) = children(Threads::few(most));
            children.start_own_bus();
            assert!(matches!(told.recv().unwrap(), Event::Bus(None)));
            assert!(locked(&children.groups).is_empty());
            assert!(told.try_recv().is_err());
        }
    }
}

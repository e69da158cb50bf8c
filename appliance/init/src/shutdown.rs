//! The last page: how a terminal goes down. Every step is bounded in time, and none may be in the
//! way of the last.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;
use tracing::{error, info, warn};

use crate::boot::mount;
use crate::console::Consoles;
use crate::supervise::{Supervisor, wait_until_quiet};

/// How a terminal goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Start anew, from the network.
    Reboot,
    /// Switch off.
    PowerOff,
}

/// How long data may take to reach devices; a terminal has none of its own, a USB stick may.
const SYNC_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes the terminal down. Returns only where the kernel refuses, which it does not for PID 1.
pub fn shutdown(
    how: Shutdown,
    supervisor: &mut Supervisor,
    sigchld: &SignalFd,
    consoles: &mut Consoles,
) {
    consoles.say(match how {
        Shutdown::Reboot => "going down to reboot",
        Shutdown::PowerOff => "going down to power off",
    });
    supervisor.begin_stop();
    if let Err(error) = wait_until_quiet(supervisor, sigchld) {
        warn!(%error, "services were not waited for");
    }
    for id in supervisor.running() {
        warn!(service = %id, "did not end by itself");
    }
    // -1 is every process but PID 1.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    sync_in_time();
    mount::unmount_all();
    last_step(how);
}

/// The step that cannot fail, also for [`crate::rescue`], where nothing else can be relied upon.
pub fn last_step(how: Shutdown) {
    let mode = match how {
        Shutdown::Reboot => RebootMode::RB_AUTOBOOT,
        Shutdown::PowerOff => RebootMode::RB_POWER_OFF,
    };
    match reboot(mode) {
        Ok(never) => match never {},
        Err(error) => error!(%error, "the kernel refuses to go down"),
    }
}

fn sync_in_time() {
    let (done, synced) = mpsc::channel();
    let spawned = thread::Builder::new().name("sync".into()).spawn(move || {
        nix::unistd::sync();
        let _ = done.send(());
    });
    match spawned.map(|_| synced.recv_timeout(SYNC_TIMEOUT)) {
        Ok(Ok(())) => info!("data written"),
        _ => warn!("data was not written in time"),
    }
}

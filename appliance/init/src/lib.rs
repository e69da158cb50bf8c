//! The terminal as PID 1: facts → plan → supervision.
//!
//! In the order of reading: [`boot`] mounts, finds and plans; [`app`] runs the plan and dispatches
//! events ever after; [`modules`], [`supervise`], [`udev`], [`power`] do the work; [`status`] says
//! how far it has come; [`shutdown`] and [`rescue`] end it. [`network`] is a process of its own.

#![forbid(unsafe_code)]

pub mod app;
pub mod boot;
pub mod cmdline;
pub mod console;
pub mod modules;
pub mod names;
pub mod network;
pub mod power;
pub mod rescue;
pub mod shutdown;
pub mod status;
pub mod supervise;
pub mod udev;
pub mod uevent;

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since the kernel started, sleep included.
pub fn uptime_ms() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(std::time::Duration::from);
    time.map_or(0, |time| time.as_millis() as u64)
}

/// True when this process is PID 1, so that [`run`] is the thing to do.
pub fn is_pid_one() -> bool {
    std::process::id() == 1
}

/// Runs as PID 1 and never returns: the terminal is taken down instead.
pub fn run() -> ! {
    let started_ms = uptime_ms();
    let mount_errors = boot::mount::mount_all(boot::mount::MOUNTS);
    let facts = boot::facts::Facts::gather();
    console::init_logging(facts.cmdline.debug);
    for error in &mount_errors {
        tracing::warn!(%error, "file system missing");
    }
    let mut consoles = console::Consoles::open(&facts.cmdline.consoles);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        app::run(facts, started_ms, &mut consoles)
    }));
    let why = match &outcome {
        Ok(Ok(())) => "the kernel refused to go down".to_owned(),
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => rescue::reason(panic.as_ref()).to_owned(),
    };
    rescue::rescue(&why, &mut consoles)
}

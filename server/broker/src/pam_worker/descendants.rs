//! The end of everything that a session has left running.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, WaitOptions, pidfd_open, wait};

/// How long to go on with programs that make new ones as fast as they are ended; a control group
/// ends those.
const LONGEST: Duration = Duration::from_secs(5);

/// How the session's program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

/// Waits for the end of `session`. Other children are buried on the way.
pub fn wait_for(session: Pid) -> End {
    let session = rustix_pid(session);
    loop {
        // Unlike that of nix, this knows the ends of those that a real-time signal has ended.
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == session && (status.exited() || status.signaled()) => {
                return End {
                    code: status.exit_status(),
                    signal: status.terminating_signal(),
                };
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // It is not there any more, and nobody knows how it ended.
            Err(_) => {
                return End {
                    code: None,
                    signal: None,
                };
            }
        }
    }
}

/// Ends all children, theirs, and so on: whose parent ends becomes our child, since we are their
/// subreaper.
pub fn end_all() {
    let started = Instant::now();
    while started.elapsed() < LONGEST {
        let children = children();
        if children.is_empty() {
            return;
        }
        for child in &children {
            let _ = kill(*child, Signal::SIGKILL);
        }
        for child in children {
            bury(child, started);
        }
    }
}

/// Waits for a child that has been ended; one that hangs in the kernel is left there.
fn bury(child: Pid, started: Instant) {
    let Ok(fd) = pidfd_open(rustix_pid(child), PidfdFlags::empty()) else {
        return;
    };
    let left = LONGEST.saturating_sub(started.elapsed());
    let left = Timespec::try_from(left).unwrap_or_default();
    let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left));
    let _ = waitpid(child, Some(WaitPidFlag::WNOHANG));
}

fn rustix_pid(pid: Pid) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(pid.as_raw()).unwrap_or(rustix::process::Pid::INIT)
}

fn children() -> Vec<Pid> {
    let ours = getpid().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name is in parentheses and may hold anything; state and parent follow it.
        let after = stat.rsplit_once(')').map(|(_, after)| after);
        after.and_then(|after| after.split_whitespace().nth(1)) == Some(ours.as_str())
    })
    .map(Pid::from_raw)
    .collect()
}

//! A session's process, whether this broker started it or found it running.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

use crate::sys;

/// How often to look for what a process has started, where there is more each time.
const MAX_LOOKS: u32 = 16;

/// A process that is watched and can be ended.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    fd: AsyncFd<OwnedFd>,
}

impl Process {
    /// Watches the process `pid`.
    pub fn watch(pid: u32) -> io::Result<Self> {
        let pid = to_pid(pid).ok_or(io::ErrorKind::InvalidInput)?;
        let fd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        Ok(Self {
            pid,
            fd: sys::watch(fd)?,
        })
    }

    /// Waits for its end. Cancel-safe.
    pub async fn exited(&self) {
        // The descriptor stays readable once the process is gone; an error means as much.
        let _ = self.fd.readable().await;
    }

    /// Ends it at once, and all that it has started, however that hides: what leaves the group
    /// still has it for an ancestor, if it is a subreaper.
    pub fn kill_with_descendants(&self) {
        // What stands still makes nothing new while its descendants are looked for.
        if pidfd_send_signal(self.fd.get_ref(), Signal::STOP).is_err() {
            return;
        }
        for _ in 0..MAX_LOOKS {
            let found = descendants(self.pid);
            if found.is_empty() {
                break;
            }
            // The eldest first, so that none is left to start another.
            for (pid, parent) in found {
                end_child(pid, parent);
            }
        }
        self.kill();
    }

    /// Ends it and what belongs to it at once.
    pub fn kill(&self) {
        if pidfd_send_signal(self.fd.get_ref(), Signal::KILL).is_ok() {
            // It made a group of its own before anything else.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// When a process started, in clock ticks since boot.
pub fn start_time(pid: u32) -> Option<u64> {
    field(pid, 19)?.parse().ok()
}

/// A field of a process's status, counted from behind its name.
fn field(pid: u32, number: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses that may hold anything.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(number).map(str::to_owned)
}

/// Ends a process if it is still the child of `parent`, and not another of its number.
fn end_child(pid: u32, parent: u32) {
    let Some(raw) = to_pid(pid) else { return };
    let Ok(fd) = pidfd_open(raw, PidfdFlags::empty()) else {
        return;
    };
    if parent_of(pid) == Some(parent) {
        let _ = pidfd_send_signal(fd, Signal::KILL);
    }
}

fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn parent_of(pid: u32) -> Option<u32> {
    field(pid, 1)?.parse().ok()
}

/// The living processes below `of` with their parents, parents before their children.
fn descendants(of: Pid) -> Vec<(u32, u32)> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in pids.filter(|pid| field(*pid, 0).is_some_and(|state| state != "Z")) {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut parents = VecDeque::from([of.as_raw_nonzero().get().unsigned_abs()]);
    while let Some(parent) = parents.pop_front() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.push((child, parent));
            parents.push_back(child);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_told_from_a_later_one_and_its_end_is_seen() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let started = start_time(child.id()).unwrap();
        assert!(started >= start_time(std::process::id()).unwrap());
        assert_eq!(start_time(child.id()), Some(started));
        let process = Process::watch(child.id()).unwrap();
        process.kill();
        process.exited().await;
        assert!(!child.wait().unwrap().success());
        assert!(Process::watch(child.id()).is_err());
    }
}

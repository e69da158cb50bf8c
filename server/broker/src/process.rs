//! A session's process, whether this broker started it or found it running.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

use crate::sys;

/// A process that is watched and can be ended.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    fd: AsyncFd<OwnedFd>,
}

impl Process {
    /// Watches the process `pid`.
    pub fn watch(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::InvalidInput)?;
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
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses that may hold anything.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19)?.parse().ok()
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

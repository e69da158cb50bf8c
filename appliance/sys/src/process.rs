//! Starting children.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

/// Lets the child of `command` begin with no signal blocked. PID 1 has blocked those it reads from
/// a descriptor, children inherit that across exec, and most programs never look: they would be
/// deaf to SIGTERM.
pub fn unblock_signals(command: &mut Command) {
    let unblock = || {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        Ok(())
    };
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe
    // calls are allowed: it makes one, sigprocmask, allocates nothing and takes no lock.
    unsafe { command.pre_exec(unblock) };
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    fn blocked_in_child(prepare: impl FnOnce(&mut Command)) -> String {
        let mut command = Command::new("grep");
        command.args(["SigBlk", "/proc/self/status"]);
        prepare(&mut command);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    #[test]
    fn a_child_blocks_nothing_though_its_parent_does() {
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTERM);
        blocked.thread_block().unwrap();
        assert_eq!(blocked_in_child(|_| {}), "SigBlk:\t0000000000004000\n");
        assert_eq!(
            blocked_in_child(unblock_signals),
            "SigBlk:\t0000000000000000\n"
        );
        blocked.thread_unblock().unwrap();
    }
}

//! What a worker, and with it the session, does not inherit from the broker.

use std::fs::{self, File};
use std::io;

use anyhow::Context;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Uid, setsid};

use crate::sys;

/// The mask of a login where PAM sets none.
const UMASK: Mode = Mode::from_bits_truncate(0o022);

/// Leaves what is the broker's, before PAM gives anything: modules may set all of this anew.
pub fn prepare() -> anyhow::Result<()> {
    // What ends the broker's group, as Ctrl-C does, shall not end this; and it has no terminal.
    setsid().context("cannot leave the broker's group")?;
    std::env::set_current_dir("/")?;
    umask(UMASK);
    // What the session's programs leave behind becomes this process's children, and is ended.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // A password may be in memory.
    nix::sys::prctl::set_dumpable(false)?;
    ordinary_scheduling();
    if Uid::effective().is_root() {
        sys::clear_inheritable_capabilities().context("cannot drop inheritable capabilities")?;
    }
    // A session keyring of root's is nobody else's. Kernels without keyrings have none to leak.
    sys::join_new_keyring();
    Ok(())
}

/// A broker that an administrator prefers to everything else does not pass that on.
fn ordinary_scheduling() {
    sys::ordinary_scheduler();
    let score = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    if score.trim().starts_with('-') {
        let _ = fs::write("/proc/self/oom_score_adj", "0");
    }
}

/// The socket was standard input; programs that modules start shall not find it there.
pub fn forget_standard_input() -> io::Result<()> {
    let nothing = File::open("/dev/null")?;
    nix::unistd::dup2_stdin(&nothing)?;
    Ok(())
}

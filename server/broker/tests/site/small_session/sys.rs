//! The session's only unsafe code: what it was started with.

use std::os::fd::{FromRawFd, OwnedFd};

/// The listening socket that every session is started with.
pub fn inherited_listener() -> std::io::Result<std::os::unix::net::UnixListener> {
    // SAFETY: the broker hands file descriptor 3 down for this purpose, and nothing else in this
    // process takes it.
    let fd = unsafe { OwnedFd::from_raw_fd(3) };
    let listener = std::os::unix::net::UnixListener::from(fd);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

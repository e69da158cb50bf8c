//! The broker's only unsafe code: file descriptors on the way into a session, and into tokio.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// Where a session expects its listening socket.
const SOCKET: i32 = 3;

/// Makes standard input file descriptor 3, puts nothing in its place, and closes everything above.
/// For a process of one thread that is about to run another program.
pub fn hand_down_socket() -> io::Result<()> {
    let nothing = File::open("/dev/null")?;
    // SAFETY: these calls take numbers only. The process has one thread and owns no file descriptor
    // below or at SOCKET but `nothing` and the standard ones, so that nothing loses its descriptor
    // unawares: those above stay open until the program is run. Where
    // `nothing` is descriptor 3 itself, it is replaced after its last use and not closed twice,
    // since it is forgotten below.
    let done = unsafe {
        let null = libc::dup(nothing.as_raw_fd());
        null >= 0
            && libc::dup2(0, SOCKET) >= 0
            && libc::dup2(null, 0) >= 0
            && libc::syscall(
                libc::SYS_close_range,
                SOCKET + 1,
                u32::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            ) >= 0
    };
    let result = match done {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    };
    std::mem::forget(nothing);
    result
}

/// Has tokio wait for events of `fd`. Must be called on a tokio runtime.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the value that is registered, so it stays open and the
    // same until tokio gives it up.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

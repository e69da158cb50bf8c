//! The broker's unsafe code beside PAM's: file descriptors on the way into a session and into
//! tokio, and calls of the kernel's that no crate has.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// Where a session expects its listening socket.
const SOCKET: i32 = 3;

/// Makes `socket` file descriptor 3, puts nothing in the place of standard input, and has everything
/// above closed when another program is run. For a process of one thread that is about to do that.
pub fn hand_down_socket(socket: OwnedFd) -> io::Result<()> {
    let nothing = File::open("/dev/null")?;
    // SAFETY: these calls take numbers only. The process has one thread, and at or below SOCKET it
    // owns the standard descriptors and perhaps these two. Both are copied out of the way before
    // SOCKET and 0 are replaced, and are forgotten below, so that nothing is closed twice or loses
    // its descriptor unawares: those above SOCKET stay open until the program is run.
    let done = unsafe {
        let null = libc::fcntl(nothing.as_raw_fd(), libc::F_DUPFD, SOCKET + 1);
        let socket = libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD, SOCKET + 1);
        null >= 0
            && socket >= 0
            && libc::dup2(socket, SOCKET) >= 0
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
    std::mem::forget((nothing, socket));
    result
}

/// Has everything above the standard descriptors closed when another program is run: whoever started
/// the broker may have left some open.
pub fn close_others_on_exec() -> io::Result<()> {
    // SAFETY: the call takes numbers only and closes nothing while this program runs.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            SOCKET,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has tokio wait for events of `fd`. Must be called on a tokio runtime.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the value that is registered, so it stays open and the
    // same until tokio gives it up.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// Drops the capabilities that programs would inherit through a change of user. The bounding set
/// stays as every login has it.
pub fn clear_inheritable_capabilities() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    // _LINUX_CAPABILITY_VERSION_3, of which each set has two words.
    let mut header = Header {
        version: 0x2008_0522,
        pid: 0,
    };
    let mut sets = [Sets::default(); 2];
    // SAFETY: header and sets have the layout of linux/capability.h for version 3 and outlive the
    // calls; the other call takes numbers only.
    let done = unsafe {
        let got = libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) == 0;
        sets.iter_mut().for_each(|set| set.inheritable = 0);
        got && libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) == 0
            && libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_CLEAR_ALL,
                0,
                0,
                0,
            ) == 0
    };
    match done {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    }
}

/// Leaves the session keyring for a new one. Kernels without keyrings refuse, and have none.
pub fn join_new_keyring() {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null pointer asks for a keyring without a name.
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<u8>(),
        )
    };
}

/// Takes the ordinary scheduler, processor share and disk share. What is refused is ordinary
/// already, or no right of ours.
pub fn ordinary_scheduler() {
    const OF_A_PROCESS: libc::c_int = 1;
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters outlive the call; the others take numbers only.
    unsafe {
        if libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK != libc::SCHED_OTHER {
            libc::sched_setscheduler(0, libc::SCHED_OTHER, &parameters);
        }
        libc::setpriority(libc::PRIO_PROCESS, 0, 0);
        libc::syscall(libc::SYS_ioprio_set, OF_A_PROCESS, 0, 0);
    }
}

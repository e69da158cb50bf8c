//! File descriptors that a parent process handed down by number.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Takes ownership of descriptor `number`, which the parent left open across exec, and marks it
/// close-on-exec. Call it before anything in this process could have opened descriptors without
/// close-on-exec.
///
/// # Errors
/// `EBADF` when nothing is open there or it is one of the three standard descriptors; `EBUSY` when
/// the descriptor has the close-on-exec flag: then this process opened or took it already.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: the borrow ends with this function; fcntl(F_GETFD) on a number that is not open is
    // defined and answers EBADF, and `number` is not -1.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = FdFlag::from_bits_retain(fcntl(borrowed, FcntlArg::F_GETFD)?);
    if flags.contains(FdFlag::FD_CLOEXEC) {
        return Err(Errno::EBUSY.into());
    }
    fcntl(borrowed, FcntlArg::F_SETFD(flags | FdFlag::FD_CLOEXEC))?;
    // SAFETY: the descriptor is open (fcntl succeeded). It lacked close-on-exec, which the standard
    // library and the crates used here set on all they open, so it came from the parent and has no
    // owner in this process; the flag just set makes a second call fail.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets `fd` survive the next exec, to be handed to a child by its number. Only for programs that
/// start children from one thread: any child started meanwhile inherits it as well.
///
/// # Errors
/// What fcntl says.
pub fn let_inherit(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd, IntoRawFd};

    use super::*;

    #[test]
    fn an_inherited_descriptor_is_taken_once() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(
            take_inherited(file.as_raw_fd()).unwrap_err().raw_os_error(),
            Some(Errno::EBUSY as i32)
        );
        let_inherit(file.as_fd()).unwrap();
        let number = file.into_raw_fd();
        let taken = take_inherited(number).unwrap();
        assert!(take_inherited(number).is_err());
        drop(taken);
    }

    #[test]
    fn numbers_that_are_not_open_are_refused() {
        assert!(take_inherited(-1).is_err());
        assert!(take_inherited(2).is_err());
        assert!(take_inherited(1_000_000).is_err());
    }
}

//! The kernel's text console on the screen.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

mod ioctl {
    // linux/kd.h: KDSETMODE takes KD_TEXT or KD_GRAPHICS by value.
    nix::ioctl_write_int_bad!(kd_set_mode, 0x4B3A);
}

const KD_GRAPHICS: i32 = 1;

/// Tells the kernel that the virtual terminal behind `tty` shows graphics: it stops drawing text
/// and its cursor there. Keys still reach the kernel, so Ctrl-Alt-Del does.
///
/// # Errors
/// `ENOTTY` when `tty` is no virtual terminal, else what ioctl says.
pub fn set_graphics(tty: impl AsFd) -> io::Result<()> {
    // SAFETY: KDSETMODE reads its argument as an integer and touches no memory of ours; the
    // descriptor is open for as long as the borrow.
    unsafe { ioctl::kd_set_mode(tty.as_fd().as_raw_fd(), KD_GRAPHICS) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_virtual_terminal() {
        let file = tempfile::tempfile().unwrap();
        assert!(set_graphics(&file).is_err());
    }
}

//! The kernel's own device events, as far as screens come and go with them.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt,
    socket, sockopt,
};
use tracing::warn;

/// Longest message the kernel sends.
const MAX_MESSAGE: usize = 8192;
/// Room for bursts, such as a dock full of devices.
const RECEIVE_BUFFER: usize = 2 << 20;
/// The multicast group on which the kernel itself speaks.
const KERNEL_GROUP: u32 = 1;

/// A socket on which they come; one that may not have more room than others have what others have.
pub fn open() -> anyhow::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkKObjectUEvent;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    let forced = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    if let Err(error) = forced.or_else(|_| setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER)) {
        warn!(%error, "device events have little room");
    }
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
    Ok(fd)
}

/// Reads all that have come; whether the screens are to be looked at.
pub fn read(fd: BorrowedFd<'_>) -> bool {
    concern_screens(|room| recv(fd.as_raw_fd(), room, MsgFlags::empty()))
}

/// Takes events in until there are none; whether one was of a screen, or may have been.
fn concern_screens(mut receive: impl FnMut(&mut [u8]) -> nix::Result<usize>) -> bool {
    let mut room = [0; MAX_MESSAGE];
    let mut screens = false;
    loop {
        match receive(&mut room) {
            Ok(count @ 1..) => {
                let mut fields = room[..count].split(|byte| *byte == 0);
                screens |= fields.any(|field| field == b"SUBSYSTEM=drm");
            }
            Err(Errno::EINTR) => {}
            // The socket's room was not enough. Nobody repeats what was lost.
            Err(Errno::ENOBUFS) => {
                warn!("device events were lost, the screens are looked at");
                screens = true;
            }
            Ok(0) | Err(Errno::EAGAIN) => return screens,
            Err(error) => {
                warn!(%error, "device events cannot be read");
                return screens;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;

    use super::*;

    const SCREEN: &[u8] = b"change@/devices/card0\0ACTION=change\0SUBSYSTEM=drm\0HOTPLUG=1\0";
    const MOUSE: &[u8] = b"add@/devices/usb1\0ACTION=add\0SUBSYSTEM=input\0";

    /// Whether screens are looked at after this has come, and how much of it was taken in.
    fn after(events: &[nix::Result<&[u8]>]) -> (bool, usize) {
        let mut events = events.iter();
        let screens = concern_screens(|room| match events.next() {
            None => Err(Errno::EAGAIN),
            Some(Err(error)) => Err(*error),
            Some(Ok(event)) => {
                room[..event.len()].copy_from_slice(event);
                Ok(event.len())
            }
        });
        (screens, events.len())
    }

    #[test]
    fn screens_are_looked_at_when_one_has_changed() {
        assert_eq!(after(&[]), (false, 0));
        assert_eq!(after(&[Ok(MOUSE), Ok(MOUSE)]), (false, 0));
        assert_eq!(after(&[Ok(SCREEN), Ok(MOUSE)]), (true, 0));
    }

    #[test]
    fn screens_are_looked_at_when_it_is_not_known_whether_one_has_changed() {
        let lost = Err(Errno::ENOBUFS);
        assert_eq!(after(&[Ok(MOUSE), lost, Ok(MOUSE)]), (true, 0));
        assert_eq!(after(&[Err(Errno::EINTR), Ok(SCREEN)]), (true, 0));
        // What goes on to fail is not asked for ever.
        assert_eq!(after(&[Err(Errno::EIO), Ok(SCREEN)]), (false, 1));
    }

    #[test]
    fn events_have_more_room_than_sockets_have_of_themselves() {
        let protocol = SockProtocol::NetlinkKObjectUEvent;
        let family = AddressFamily::Netlink;
        let plain = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).unwrap();
        // As much as somebody may have who is nobody.
        setsockopt(&plain, sockopt::RcvBuf, &RECEIVE_BUFFER).unwrap();
        let expected = getsockopt(&plain, sockopt::RcvBuf).unwrap();
        let fd = open().unwrap();
        assert!(getsockopt(&fd, sockopt::RcvBuf).unwrap() >= expected);
    }
}

//! Kernel uevents: devices that come, change and go. [`Uevent::parse`] is pure, [`UeventSocket`]
//! receives.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvmsg,
    setsockopt, socket, sockopt,
};

/// Longest message the kernel sends.
const MAX_MESSAGE: usize = 8 * 1024;
/// Room for bursts, such as a hub full of devices.
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;
/// The multicast group on which the kernel itself speaks.
const KERNEL_GROUP: u32 = 1;

/// What happened to one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uevent {
    /// `add`, `remove`, `change`, `bind` …
    pub action: String,
    /// Path below /sys, with a leading slash.
    pub devpath: String,
    /// `drm`, `input`, `net`, `usb` …
    pub subsystem: String,
    /// Node below /dev, when it has one.
    pub devname: Option<String>,
    /// What modules.alias is searched for, when it has one.
    pub modalias: Option<String>,
}

impl Uevent {
    /// Reads a message of the kernel: `action@devpath`, then `KEY=value` fields, each ended by a
    /// zero byte. `None` when it is not one (udevd's own messages have another head).
    pub fn parse(message: &[u8]) -> Option<Uevent> {
        let mut fields = message.split(|byte| *byte == 0).map(std::str::from_utf8);
        let (action, devpath) = fields.next()?.ok()?.split_once('@')?;
        let mut event = Uevent {
            action: action.to_owned(),
            devpath: devpath.to_owned(),
            ..Uevent::default()
        };
        for field in fields.map_while(Result::ok) {
            match field.split_once('=') {
                Some(("SUBSYSTEM", value)) => event.subsystem = value.to_owned(),
                Some(("DEVNAME", value)) => event.devname = Some(value.to_owned()),
                Some(("MODALIAS", value)) => event.modalias = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(event)
    }

    /// True when a display controller's node appeared.
    pub fn adds_display(&self) -> bool {
        let node = self.devname.as_deref().unwrap_or("");
        self.action == "add" && self.subsystem == "drm" && node.starts_with("dri/card")
    }

    /// The input node, such as `input/event3`, when one appeared.
    pub fn added_input(&self) -> Option<&str> {
        let node = self.devname.as_deref()?;
        let added = self.action == "add" && self.subsystem == "input";
        (added && node.starts_with("input/event")).then_some(node)
    }
}

/// The kernel's end of the uevent multicast.
pub struct UeventSocket {
    fd: OwnedFd,
}

/// Why nothing came out of the socket.
#[derive(Debug, thiserror::Error)]
pub enum UeventError {
    /// Messages were lost: the devices have to be looked at anew.
    #[error("uevents were lost")]
    Lost,
    /// The socket failed.
    #[error("uevent socket failed: {0}")]
    Io(#[from] io::Error),
}

impl UeventSocket {
    /// Opens it; every message from now on is kept until it is read.
    ///
    /// # Errors
    /// When the kernel has no such socket or refuses it.
    pub fn open() -> io::Result<UeventSocket> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(UeventSocket { fd })
    }

    /// The next uevent that waits; `None` when none does.
    ///
    /// # Errors
    /// [`UeventError::Lost`] when the buffer had run over.
    pub fn receive(&self) -> Result<Option<Uevent>, UeventError> {
        let mut buffer = [0; MAX_MESSAGE];
        loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let received = recvmsg::<NetlinkAddr>(
                self.fd.as_raw_fd(),
                &mut slices,
                None,
                MsgFlags::MSG_DONTWAIT,
            );
            let (bytes, sender) = match received {
                Ok(message) => (message.bytes, message.address),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(Errno::ENOBUFS) => return Err(UeventError::Lost),
                Err(error) => return Err(io::Error::from(error).into()),
            };
            // Port 0 is the kernel; any process with the right capability could send as well.
            let from_kernel = sender.is_some_and(|address| address.pid() == 0);
            match Uevent::parse(&buffer[..bytes]) {
                Some(event) if from_kernel => return Ok(Some(event)),
                _ => {}
            }
        }
    }
}

impl AsFd for UeventSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_display_that_appears_is_seen() {
        let message = b"add@/devices/pci0000:00/0000:00:02.0/virtio1/drm/card0\0ACTION=add\0DEVPATH=/x\0SUBSYSTEM=drm\0MAJOR=226\0DEVNAME=dri/card0\0";
        let event = Uevent::parse(message).unwrap();
        assert!(event.adds_display());
        assert_eq!(
            event.devpath,
            "/devices/pci0000:00/0000:00:02.0/virtio1/drm/card0"
        );
        assert_eq!(event.added_input(), None);
    }

    #[test]
    fn a_render_node_is_no_display_and_a_change_adds_nothing() {
        let render = Uevent::parse(b"add@/d\0SUBSYSTEM=drm\0DEVNAME=dri/renderD128\0").unwrap();
        assert!(!render.adds_display());
        let change = Uevent::parse(b"change@/d\0SUBSYSTEM=drm\0DEVNAME=dri/card0\0").unwrap();
        assert!(!change.adds_display());
        let input = Uevent::parse(b"add@/d\0SUBSYSTEM=input\0DEVNAME=input/event3\0").unwrap();
        assert_eq!(input.added_input(), Some("input/event3"));
    }

    #[test]
    fn messages_of_udevd_are_not_of_the_kernel() {
        assert_eq!(Uevent::parse(b"libudev\0\xfe\xed\xca\xfe"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Uevent::parse(&bytes);
        }
    }
}

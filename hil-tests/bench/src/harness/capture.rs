//! When packets leave: what the kernel notes of each packet on the loopback interface.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc;

use anyhow::Context;
use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

/// Room for what comes while the reader does not run.
const ROOM: usize = 32 << 20;
const UDP: u8 = 17;
/// Session links have these ports.
const SESSIONS: std::ops::RangeInclusive<u16> = 4500..=4599;
/// Acknowledgements are smaller, updates larger.
const LEAST: usize = 64;

/// A UDP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// When the kernel had it, in nanoseconds of CLOCK_REALTIME.
    pub at_ns: u64,
    /// Where it came from.
    pub port: u16,
    /// Bytes of its payload.
    pub bytes: usize,
}

impl Packet {
    /// Whether a session sent it, and it is no mere acknowledgement.
    pub fn is_update(&self) -> bool {
        SESSIONS.contains(&self.port) && self.bytes >= LEAST
    }
}

/// Packets as they come; ends with the network namespace.
pub struct Capture {
    packets: mpsc::Receiver<Packet>,
}

impl Capture {
    /// Starts noting packets.
    pub fn start() -> anyhow::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (family, protocol) = (AddressFamily::Packet, SockProtocol::EthAll);
        let socket = socket(family, SockType::Datagram, flags, protocol)
            .context("open a packet socket, which takes root")?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::RcvBufForce, &ROOM)?;
        let (sender, packets) = mpsc::channel();
        std::thread::spawn(move || note(&socket, &sender));
        Ok(Self { packets })
    }

    /// What has come so far.
    pub fn take(&self) -> Vec<Packet> {
        self.packets.try_iter().collect()
    }
}

fn note(socket: &OwnedFd, sender: &mpsc::Sender<Packet>) {
    let mut bytes = vec![0; 1 << 17];
    let mut control = cmsg_space!(TimeSpec);
    loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::empty();
        let received = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
        let Ok(received) = received else { return };
        let length = received.bytes;
        let at = received.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(at) => Some(at),
                _ => None,
            })
        });
        let at_ns = at.map(|at| at.tv_sec() as u64 * 1_000_000_000 + at.tv_nsec() as u64);
        let packet = at_ns.and_then(|at_ns| udp(&bytes[..length], at_ns));
        if let Some(packet) = packet
            && sender.send(packet).is_err()
        {
            return;
        }
    }
}

/// Reads the headers of an IPv4 packet.
fn udp(packet: &[u8], at_ns: u64) -> Option<Packet> {
    let first = *packet.first()?;
    let header = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || *packet.get(9)? != UDP {
        return None;
    }
    let port = packet.get(header..header + 2)?;
    Some(Packet {
        at_ns,
        port: u16::from_be_bytes(port.try_into().ok()?),
        bytes: packet.len().checked_sub(header + 8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_is_read_and_all_else_is_not() {
        let mut packet = vec![0; 20 + 8 + 5];
        (packet[0], packet[9]) = (0x45, UDP);
        packet[20..22].copy_from_slice(&4500u16.to_be_bytes());
        let read = udp(&packet, 7).unwrap();
        assert_eq!((read.at_ns, read.port, read.bytes), (7, 4500, 5));
        packet[9] = 6;
        assert_eq!(udp(&packet, 7), None);
        assert_eq!(udp(&packet[..3], 7), None);
    }
}

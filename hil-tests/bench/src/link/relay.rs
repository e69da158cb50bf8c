//! Carries packets between two descriptors, each direction over a line of its own.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};

use super::no_udp::UDP;
use super::{Line, Shape};
use crate::draw::timespec;

/// A link header, as Ethernet has it; TUN devices have none.
const LINK_HEADER: u64 = 14;
/// TUN devices carry no larger packets than their MTU.
const LARGEST: usize = 1 << 16;

/// Of the way from the first end to the other; the way back has the next one.
const FIRST_SEED: u64 = 1;

/// A running relay. Ended when dropped.
pub struct Relay {
    bytes: Arc<AtomicU64>,
    udp_passes: Arc<AtomicBool>,
    ways: Vec<(UnixStream, JoinHandle<()>)>,
}

impl Relay {
    /// Starts carrying packets between two ends that do not wait, both ways.
    pub fn start(one: File, other: File, shape: Shape) -> anyhow::Result<Self> {
        let bytes = Arc::new(AtomicU64::new(0));
        let udp_passes = Arc::new(AtomicBool::new(true));
        let both = [(one.try_clone()?, other.try_clone()?), (other, one)];
        let mut ways = Vec::new();
        for (seed, (from, to)) in (FIRST_SEED..).zip(both) {
            let way = Way {
                line: Line::new(shape, seed, Instant::now()),
                on_the_way: VecDeque::new(),
                bytes: bytes.clone(),
                udp_passes: udp_passes.clone(),
            };
            let (own_end, end) = UnixStream::pair()?;
            let thread = std::thread::spawn(move || way.carry(from, to, &end));
            ways.push((own_end, thread));
        }
        Ok(Self {
            bytes,
            udp_passes,
            ways,
        })
    }

    /// Whether UDP is carried as anything else, or lost on the way, in both directions.
    pub fn pass_udp(&self, passes: bool) {
        self.udp_passes.store(passes, Ordering::Relaxed);
    }

    /// Bytes that were sent, whether they arrived or not.
    pub fn bytes_so_far(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The devices must be gone before others of their names are made.
        for (own_end, thread) in self.ways.drain(..) {
            drop(own_end);
            let _ = thread.join();
        }
    }
}

/// One direction.
struct Way {
    line: Line,
    on_the_way: VecDeque<(Instant, Vec<u8>)>,
    bytes: Arc<AtomicU64>,
    udp_passes: Arc<AtomicBool>,
}

impl Way {
    /// Carries packets until the other end of `end` is closed, or one of the devices is.
    fn carry(mut self, mut from: File, mut to: File, end: &UnixStream) {
        let mut buffer = vec![0; LARGEST];
        loop {
            let next = self.on_the_way.front().map(|(at, _)| *at);
            let limit = next.map(|at| at.saturating_duration_since(Instant::now()));
            {
                let mut fds = [
                    PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN),
                    PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN),
                ];
                let polled = poll(&mut fds, timespec(limit).as_ref());
                if polled.is_err() || !fds[1].revents().is_empty() {
                    return;
                }
            }
            if self.take(&mut from, &mut buffer).is_err() {
                return;
            }
            self.deliver(&mut to);
        }
    }

    /// Takes what was sent.
    fn take(&mut self, from: &mut File, buffer: &mut [u8]) -> std::io::Result<()> {
        loop {
            match from.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.send(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self, packet: &[u8]) {
        let bytes = packet.len() as u64 + LINK_HEADER;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // It has used the line as well, as what is lost: a firewall is at its far end.
        let at = self.line.offer(Instant::now(), bytes);
        if let Some(at) = at.filter(|_| !is_udp(packet) || self.udp_passes.load(Ordering::Relaxed))
        {
            self.on_the_way.push_back((at, packet.to_vec()));
        }
    }

    /// Hands over what has arrived. A packet that the far kernel does not take is lost.
    fn deliver(&mut self, to: &mut File) {
        let now = Instant::now();
        while self.on_the_way.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, packet)) = self.on_the_way.pop_front() {
                let _ = to.write(&packet);
            }
        }
    }
}

/// Whether a packet of IP, of either version, carries UDP.
fn is_udp(packet: &[u8]) -> bool {
    let protocol = match packet.first().map(|byte| byte >> 4) {
        Some(4) => packet.get(9),
        Some(6) => packet.get(6),
        _ => None,
    };
    protocol == Some(&UDP)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use rustix::io::ioctl_fionbio;

    use super::*;

    const SHAPE: Shape = Shape {
        bits: 8_000_000,
        delay: Duration::from_millis(40),
        loss: 0.0,
        queue_bytes: 1 << 20,
    };
    /// With its link header a packet has a thousand bytes.
    const PAYLOAD: usize = 986;
    /// Sockets hold so many packets while nobody reads.
    const BATCH: u32 = 40;

    /// A relay, and the far ends of what it joins.
    fn relay(shape: Shape) -> (Relay, File, File) {
        let end = || {
            let (kind, flags) = (SockType::SeqPacket, SockFlag::SOCK_CLOEXEC);
            let (far, near) = socketpair(AddressFamily::Unix, kind, None, flags).unwrap();
            ioctl_fionbio(&near, true).unwrap();
            (File::from(far), File::from(near))
        };
        let ((one, near_one), (other, near_other)) = (end(), end());
        let relay = Relay::start(near_one, near_other, shape).unwrap();
        (relay, one, other)
    }

    fn send(mut to: &File, number: u32) {
        let mut packet = number.to_le_bytes().to_vec();
        packet.resize(PAYLOAD, 0);
        assert_eq!(to.write(&packet).unwrap(), PAYLOAD);
    }

    fn receive(mut from: &File) -> (u32, Instant) {
        let mut packet = [0; 2000];
        assert_eq!(from.read(&mut packet).unwrap(), PAYLOAD);
        let number = u32::from_le_bytes(packet[..4].try_into().unwrap());
        (number, Instant::now())
    }

    #[test]
    fn packets_arrive_in_order_no_sooner_than_the_line_allows_in_both_directions() {
        let (relay, one, other) = relay(SHAPE);
        for (from, to) in [(&one, &other), (&other, &one)] {
            let start = Instant::now();
            (0..BATCH).for_each(|number| send(from, number));
            for number in 0..BATCH {
                let (got, at) = receive(to);
                assert_eq!(got, number);
                // A thousand bytes take a millisecond.
                let soonest = SHAPE.delay + Duration::from_millis(u64::from(number) + 1);
                assert!(at - start >= soonest, "{number} after {:?}", at - start);
            }
        }
        assert_eq!(relay.bytes_so_far(), 2 * u64::from(BATCH) * 1000);
    }

    #[test]
    fn those_packets_are_lost_that_the_line_loses_and_no_others() {
        let shape = Shape {
            bits: 800_000_000,
            loss: 0.2,
            ..SHAPE
        };
        let (relay, one, other) = relay(shape);
        let mut line = Line::new(shape, FIRST_SEED, Instant::now());
        for batch in 0..10 {
            let numbers = batch * BATCH..(batch + 1) * BATCH;
            numbers.clone().for_each(|number| send(&one, number));
            for number in numbers {
                if line.offer(Instant::now(), 1000).is_some() {
                    assert_eq!(receive(&other).0, number);
                }
            }
        }
        assert_eq!(relay.bytes_so_far(), 10 * u64::from(BATCH) * 1000);
    }

    #[test]
    fn udp_is_lost_in_both_directions_while_it_does_not_pass_and_nothing_else_is() {
        let (relay, one, other) = relay(SHAPE);
        let of = |version: u8, place: usize, protocol: u8| {
            let mut packet = vec![0; PAYLOAD];
            (packet[0], packet[place]) = (version << 4, protocol);
            packet
        };
        let (v4, v6) = (of(4, 9, UDP), of(6, 6, UDP));
        let rest = [of(4, 9, 6), of(6, 6, 6), of(4, 6, UDP), of(6, 9, UDP)];
        for (mut from, mut to) in [(&one, &other), (&other, &one)] {
            let mut arrive = |packets: &[&Vec<u8>]| {
                for packet in packets {
                    let mut got = vec![0; 2000];
                    assert_eq!(to.read(&mut got).unwrap(), PAYLOAD);
                    assert_eq!(got[..PAYLOAD], packet[..]);
                }
            };
            relay.pass_udp(false);
            for packet in [&v4, &v6].into_iter().chain(&rest) {
                assert_eq!(from.write(packet).unwrap(), PAYLOAD);
            }
            arrive(&rest.each_ref());
            relay.pass_udp(true);
            for packet in [&v4, &v6] {
                assert_eq!(from.write(packet).unwrap(), PAYLOAD);
            }
            arrive(&[&v4, &v6]);
        }
        assert_eq!(relay.bytes_so_far(), 2 * 8 * 1000);
    }
}

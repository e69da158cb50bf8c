//! What the kernel knows of a TCP connection.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Bytes of `struct tcp_info` (linux/tcp.h) up to `tcpi_bytes_retrans`. The kernel only ever
/// appends to it, and older ones fill in less.
const SIZE: usize = 216;

/// Measures of one connection; what the kernel does not tell is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TcpInfo {
    /// Round-trip time, smoothed.
    pub(super) rtt: Duration,
    /// The shortest round trip of late.
    pub(super) min_rtt: Duration,
    /// Bytes a second that were delivered when last measured.
    pub(super) delivery_rate: u64,
    /// Segments retransmitted.
    pub(super) retransmitted: u64,
    /// Bytes that may be under way unacknowledged.
    pub(super) congestion_window: u64,
    /// Bytes sent, and received in order.
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    /// Segments sent and received.
    pub(super) sent_segments: u64,
    pub(super) received_segments: u64,
}

/// Asks the kernel; all zeroes where it does not answer.
pub(super) fn tcp_info(socket: BorrowedFd<'_>) -> TcpInfo {
    let mut bytes = [0u8; SIZE];
    let mut length = SIZE as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, so it is open. The kernel writes at most `length` bytes,
    // which `bytes` has, and any bytes are valid in it.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &mut length,
        )
    };
    match status {
        0 => parse(&bytes),
        _ => TcpInfo::default(),
    }
}

fn parse(bytes: &[u8; SIZE]) -> TcpInfo {
    let number = |at: usize| {
        let field = bytes[at..].first_chunk().copied().unwrap_or_default();
        u64::from(u32::from_ne_bytes(field))
    };
    let long = |at: usize| {
        let field = bytes[at..].first_chunk().copied().unwrap_or_default();
        u64::from_ne_bytes(field)
    };
    TcpInfo {
        rtt: Duration::from_micros(number(68)),
        min_rtt: Duration::from_micros(number(148)),
        delivery_rate: long(160),
        retransmitted: number(100),
        congestion_window: number(80) * number(16),
        sent_bytes: long(200),
        received_bytes: long(128),
        sent_segments: number(136),
        received_segments: number(140),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_kernel_counts_what_was_sent_and_received() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(&[1; 1000]).unwrap();
        far.read_exact(&mut [0; 1000]).unwrap();
        far.write_all(&[1; 300]).unwrap();
        near.read_exact(&mut [0; 300]).unwrap();
        let info = tcp_info(near.as_fd());
        assert_eq!((info.sent_bytes, info.received_bytes), (1000, 300));
        assert!(info.rtt > Duration::ZERO && info.rtt < Duration::from_secs(1));
        assert!(info.min_rtt < Duration::from_secs(1));
        assert!(info.delivery_rate > 0);
        assert!(info.congestion_window > 1000);
        assert!(info.sent_segments >= 2 && info.received_segments >= 2);
        assert_eq!(info.retransmitted, 0);
    }
}

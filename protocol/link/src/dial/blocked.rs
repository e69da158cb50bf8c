//! To whom UDP does not pass. Time is given.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long it is remembered that UDP did not pass: networks change, and QUIC is better.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Addresses remembered at most. A terminal knows a handful.
const MAX_ADDRESSES: usize = 64;
/// The start that QUIC has over TCP. On a network that passes it, it needs one round trip.
pub(super) const HEAD_START: Duration = Duration::from_millis(500);

/// Addresses that were reached over TCP, and not over QUIC in its head start, and when.
#[derive(Debug, Default)]
pub(super) struct Blocked(HashMap<IpAddr, Instant>);

impl Blocked {
    /// How long QUIC is tried alone.
    pub(super) fn head_start(&self, now: Instant, address: IpAddr) -> Duration {
        match self.0.get(&address) {
            Some(since) if now.saturating_duration_since(*since) < REMEMBERED => Duration::ZERO,
            _ => HEAD_START,
        }
    }

    /// TCP was quicker, though it had started later.
    pub(super) fn tcp_won(&mut self, now: Instant, address: IpAddr) {
        self.0
            .retain(|_, since| now.saturating_duration_since(*since) < REMEMBERED);
        if self.0.len() >= MAX_ADDRESSES {
            let oldest = self.0.iter().min_by_key(|(_, since)| **since);
            let oldest = oldest.map(|(address, _)| *address);
            self.0.retain(|address, _| Some(*address) != oldest);
        }
        self.0.insert(address, now);
    }

    /// QUIC passed.
    pub(super) fn quic_won(&mut self, address: IpAddr) {
        self.0.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn an_address_that_udp_did_not_reach_is_tried_both_ways_at_once_for_a_while() {
        let mut blocked = Blocked::default();
        let now = Instant::now();
        assert_eq!(blocked.head_start(now, address(1)), HEAD_START);
        blocked.tcp_won(now, address(1));
        assert_eq!(blocked.head_start(now, address(1)), Duration::ZERO);
        assert_eq!(blocked.head_start(now, address(2)), HEAD_START);
        let later = now + REMEMBERED;
        assert_eq!(blocked.head_start(later, address(1)), HEAD_START);
    }

    #[test]
    fn an_address_that_quic_has_reached_is_blocked_no_more() {
        let mut blocked = Blocked::default();
        let now = Instant::now();
        blocked.tcp_won(now, address(1));
        blocked.quic_won(address(1));
        assert_eq!(blocked.head_start(now, address(1)), HEAD_START);
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_newest() {
        let mut blocked = Blocked::default();
        let mut now = Instant::now();
        for n in 0..200 {
            now += Duration::from_millis(1);
            blocked.tcp_won(now, address(n));
        }
        assert_eq!(blocked.0.len(), MAX_ADDRESSES);
        assert_eq!(blocked.head_start(now, address(199)), Duration::ZERO);
    }
}

//! To whom UDP does not pass. Time is given.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::recent::Recent;

/// How long it is remembered that UDP did not pass: networks change, and QUIC is better.
const REMEMBERED: Duration = Duration::from_secs(300);
/// The start that QUIC has over TCP. On a network that passes it, it needs one round trip.
pub(super) const HEAD_START: Duration = Duration::from_millis(500);

/// Addresses that were reached over TCP, and not over QUIC in its head start, and when.
#[derive(Debug)]
pub(super) struct Blocked(Recent<()>);

impl Default for Blocked {
    fn default() -> Self {
        Self(Recent::new(REMEMBERED))
    }
}

impl Blocked {
    /// How long QUIC is tried alone.
    pub(super) fn head_start(&self, now: Instant, address: IpAddr) -> Duration {
        match self.0.get(now, address) {
            Some(()) => Duration::ZERO,
            None => HEAD_START,
        }
    }

    /// TCP was quicker, though it had started later.
    pub(super) fn tcp_won(&mut self, now: Instant, address: IpAddr) {
        self.0.insert(now, address, ());
    }

    /// QUIC passed.
    pub(super) fn quic_won(&mut self, address: IpAddr) {
        self.0.remove(address);
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
}

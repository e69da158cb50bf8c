//! How many bytes a frame may have: as many as the way to the terminal carries without a queue.
//!
//! What is changed goes out in pieces that fit, newest pixels first come; what does not fit stays
//! dirty and is looked at again. So a key's answer never waits behind a photograph for longer than
//! [`SLACK`].

use std::time::Duration;

use heliostat_link::Path;

/// Time for which the way may be kept busy beyond its round trip; a little more than a frame's
/// time, so that pieces of one picture follow each other without a gap.
const SLACK: Duration = Duration::from_millis(20);
/// Queue beyond the round trip, of which a way that has become wider is noticed.
const PROBE: f64 = 1.1;
/// A way of which nothing is known gets this much.
const UNKNOWN: u64 = 32 << 10;
/// A piece of less is not worth its frame.
pub const SMALLEST: u64 = 2 << 10;

/// What is under way to a terminal.
#[derive(Debug, Clone, Default)]
pub struct Allowance {
    /// Bytes of frames sent since the count began.
    sent: u64,
    /// What the path had delivered when the count began.
    base: u64,
}

impl Allowance {
    /// Bytes that the next frame may have; nothing where it had better wait. `idle` says that no
    /// frame is under way.
    pub fn bytes(&mut self, path: &Path, idle: bool) -> Option<u64> {
        if idle {
            (self.sent, self.base) = (0, path.delivered);
        }
        // Packets have headers and other things too, so that this counts a little too few; the
        // count begins anew often enough.
        let delivered = path.delivered.saturating_sub(self.base);
        let under_way = self.sent.saturating_sub(delivered);
        let left = holds(path).saturating_sub(under_way);
        match under_way {
            0 => Some(left.max(SMALLEST)),
            _ => Some(left).filter(|left| *left >= SMALLEST),
        }
    }

    /// A frame of so many bytes was sent.
    pub fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }
}

/// Bytes that may be under way.
fn holds(path: &Path) -> u64 {
    let Some((rate, rtt)) = path.rate.zip(path.min_rtt) else {
        return UNKNOWN;
    };
    let time = rtt.as_secs_f64() * PROBE + SLACK.as_secs_f64();
    // Far above what any link carries, and far below what the sum could overflow.
    (rate as f64 * time).min(1e12) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(rate: u64, rtt_ms: u64, delivered: u64) -> Path {
        Path {
            rate: Some(rate),
            min_rtt: Some(Duration::from_millis(rtt_ms)),
            delivered,
        }
    }

    #[test]
    fn fast_way_takes_a_whole_picture_and_a_slow_one_a_piece() {
        let fast = Allowance::default().bytes(&path(125_000_000, 0, 0), true);
        assert!(fast.unwrap() > 1_500_000);
        let slow = Allowance::default().bytes(&path(250_000, 150, 0), true);
        assert!((30_000..70_000).contains(&slow.unwrap()), "{slow:?}");
    }

    #[test]
    fn what_is_under_way_counts_until_it_is_delivered() {
        let mut allowance = Allowance::default();
        let first = allowance.bytes(&path(1_000_000, 20, 5000), true).unwrap();
        allowance.sent(first);
        assert_eq!(allowance.bytes(&path(1_000_000, 20, 5000), false), None);
        let half = 5000 + first / 2;
        let then = allowance.bytes(&path(1_000_000, 20, half), false).unwrap();
        assert!((first / 2).abs_diff(then) <= 1);
    }

    #[test]
    fn nothing_under_way_always_lets_something_go() {
        let mut allowance = Allowance::default();
        allowance.sent(1 << 40);
        assert_eq!(allowance.bytes(&path(10, 1, 0), true), Some(SMALLEST));
    }
}

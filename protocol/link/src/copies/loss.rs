//! Whether the way loses packets; time is given.

use std::time::{Duration, Instant};

/// How long a lost packet is remembered: at one loss in a hundred, typing sends enough in this time
/// to see the next.
const MEMORY: Duration = Duration::from_secs(30);

/// When a packet was lost last.
#[derive(Debug, Default)]
pub(super) struct Losses {
    lost: u64,
    last: Option<Instant>,
}

impl Losses {
    /// Whether a packet has been lost of late, when `lost` have been in all.
    pub(super) fn are_recent(&mut self, lost: u64, now: Instant) -> bool {
        if lost > self.lost {
            self.lost = lost;
            self.last = Some(now);
        }
        self.last
            .is_some_and(|last| now.saturating_duration_since(last) < MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_remembered_for_a_while_and_no_longer() {
        let now = Instant::now();
        let mut losses = Losses::default();
        assert!(!losses.are_recent(0, now));
        assert!(losses.are_recent(3, now));
        assert!(losses.are_recent(3, now + MEMORY / 2));
        assert!(!losses.are_recent(3, now + MEMORY));
        assert!(losses.are_recent(4, now + MEMORY * 2));
    }
}

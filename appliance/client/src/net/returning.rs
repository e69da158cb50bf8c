//! When a session link over TCP looks whether QUIC passes again, so that the desktop goes back to it.
//!
//! ```text
//!   over TCP ── waits, tries ──► QUIC passes: the desktop goes over ── lasts ──► as at first
//!      ▲ ◄── fails: waits longer ──┘                                      │
//!      └ ◄── the first wait is longer from now on ─────────── breaks soon ┘
//! ```
//!
//! Pure: the clock is an argument.

use std::time::{Duration, Instant};

/// The first wait of a link. Its dialling has found a moment ago that QUIC does not pass.
const FIRST: Duration = Duration::from_secs(2);
/// The longest wait between two tries.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest first wait, where going back has not lasted again and again: each time costs a person
/// the idle timeout.
const RAREST: Duration = Duration::from_secs(15 * 60);
/// A link that has lived for so long was worth it.
const LASTING: Duration = Duration::from_secs(5 * 60);

/// What is known of a terminal's ways back to QUIC.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Returning {
    /// How often one did not last, since one has.
    breaks: u32,
    /// When the present link went back to QUIC, where it did.
    since: Option<Instant>,
}

/// The waits of one link over TCP, before spreading.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waits {
    next: Duration,
}

impl Returning {
    /// A session link over TCP begins.
    pub(super) fn waits(&self) -> Waits {
        let next = match self.breaks.checked_sub(1) {
            None => FIRST,
            Some(more) => LONGEST.saturating_mul(1 << more.min(8)).min(RAREST),
        };
        Waits { next }
    }

    /// A desktop has gone over from TCP to QUIC.
    pub(super) fn went_back(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// A session link over QUIC is over, because it broke or not.
    pub(super) fn ended(&mut self, now: Instant, broke: bool) {
        let Some(since) = self.since.take() else {
            return;
        };
        if now.saturating_duration_since(since) >= LASTING {
            self.breaks = 0;
        } else if broke {
            self.breaks = self.breaks.saturating_add(1);
        }
    }
}

impl Waits {
    /// How long to wait before the next try. `jitter` is any random number; the wait is shortened by
    /// up to a quarter of it, so that a room full of terminals does not try in one instant.
    pub(super) fn next(&mut self, jitter: u32) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(LONGEST.max(wait));
        let spread = wait / 4;
        wait - spread.mul_f64(f64::from(jitter) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(returning: &Returning) -> Duration {
        returning.waits().next(0)
    }

    #[test]
    fn tries_are_soon_at_first_and_each_minute_in_the_end() {
        let mut waits = Returning::default().waits();
        let seconds: Vec<u64> = (0..8).map(|_| waits.next(0).as_secs()).collect();
        assert_eq!(seconds, [2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn way_back_that_does_not_last_is_taken_ever_more_rarely_until_one_lasts() {
        let mut returning = Returning::default();
        let mut now = Instant::now();
        let mut minutes = Vec::new();
        for _ in 0..7 {
            returning.went_back(now);
            now += Duration::from_secs(20);
            returning.ended(now, true);
            minutes.push(after(&returning).as_secs() / 60);
        }
        assert_eq!(minutes, [1, 2, 4, 8, 15, 15, 15]);
        // The tries of such a link are no more frequent than its first one.
        let mut waits = returning.waits();
        assert!((0..5).all(|_| waits.next(0) == RAREST));

        returning.went_back(now);
        returning.ended(now + LASTING, true);
        assert_eq!(after(&returning), FIRST);
    }

    #[test]
    fn card_that_is_pulled_and_a_link_that_began_over_quic_say_nothing_of_the_way_back() {
        let mut returning = Returning::default();
        let now = Instant::now();
        returning.went_back(now);
        returning.ended(now + Duration::from_secs(1), false);
        assert_eq!(after(&returning), FIRST);
        // It did not go back: it was there from the start.
        returning.ended(now + Duration::from_secs(2), true);
        assert_eq!(after(&returning), FIRST);
    }

    proptest! {
        #[test]
        fn no_wait_is_shorter_than_three_quarters_of_the_first_or_longer_than_the_rarest(
            jitters in prop::collection::vec(any::<u32>(), 1..40),
            breaks in any::<u32>(),
        ) {
            let returning = Returning { breaks, since: None };
            let mut waits = returning.waits();
            for jitter in jitters {
                let wait = waits.next(jitter);
                prop_assert!((FIRST * 3 / 4..=RAREST).contains(&wait));
            }
        }
    }
}

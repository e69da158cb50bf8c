//! When to try again after a failure.

use std::time::{Duration, Instant};

/// Waits that double from [`Backoff::FIRST`] to [`Backoff::LONGEST`], spread so that a room full of
/// terminals does not come back in one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after the first failure, before spreading.
    pub const FIRST: Duration = Duration::from_millis(100);
    /// The longest wait, before spreading.
    pub const LONGEST: Duration = Duration::from_secs(5);

    /// Notes a failure at `now`. `jitter` is any random number; the wait is shortened by up to half
    /// of it. Returns when to try again.
    pub fn failed(&mut self, now: Instant, jitter: u32) -> Instant {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let full = Self::FIRST
            .saturating_mul(1 << doublings)
            .min(Self::LONGEST);
        let spread = full / 2;
        let shorter = spread.mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        now + (full - shorter)
    }

    /// Notes that it worked: the next failure waits shortest again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since it last worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_the_longest_and_never_shorter_than_half_the_first(
            jitters in proptest::collection::vec(any::<u32>(), 1..80)
        ) {
            let mut backoff = Backoff::default();
            let now = Instant::now();
            for jitter in jitters {
                let wait = backoff.failed(now, jitter) - now;
                prop_assert!(wait <= Backoff::LONGEST);
                prop_assert!(wait >= Backoff::FIRST / 2);
            }
        }
    }

    #[test]
    fn waits_double_until_success_makes_them_short_again() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        assert_eq!(backoff.failed(now, 0), now + Duration::from_millis(100));
        assert_eq!(backoff.failed(now, 0), now + Duration::from_millis(200));
        assert_eq!(backoff.failed(now, 0), now + Duration::from_millis(400));
        backoff.succeeded();
        assert_eq!(backoff.failed(now, 0), now + Duration::from_millis(100));
    }
}

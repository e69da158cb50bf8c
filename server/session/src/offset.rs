//! Where the terminal's clock stands against ours.
//!
//! A time that the terminal tells has travelled: it comes late by the way, and by whatever else
//! held it up. The smallest lateness of the last minute is the way alone, and of that half a round
//! trip is subtracted. Clocks drift apart by some millionths, so that older samples are forgotten.

use std::time::{Duration, Instant};

/// How long a sample counts, at least; at most twice as long.
const WINDOW: Duration = Duration::from_secs(30);

/// An estimate of the difference between two clocks. Any times may be told: what is made of them
/// stays within the bounds that the caller gives.
#[derive(Debug, Clone)]
pub struct Offset {
    origin: Instant,
    began: Instant,
    /// Smallest lateness of this window, and of the one before, in microseconds.
    smallest: Option<i64>,
    before: Option<i64>,
}

impl Offset {
    /// Nothing has been told yet.
    pub fn new(now: Instant) -> Self {
        Self {
            origin: now,
            began: now,
            smallest: None,
            before: None,
        }
    }

    /// The time `told_us` was told, and heard at `now`.
    pub fn hear(&mut self, told_us: u64, now: Instant) {
        if now.saturating_duration_since(self.began) >= WINDOW {
            self.began = now;
            self.before = self.smallest.take().or(self.before);
        }
        let late = self.ours(now).wrapping_sub(told_us.cast_signed());
        self.smallest = Some(self.smallest.map_or(late, |least| least.min(late)));
    }

    /// The time `told_us` by our clock, between `earliest` and `latest`.
    pub fn local(
        &self,
        told_us: u64,
        one_way: Duration,
        (earliest, latest): (Instant, Instant),
    ) -> Instant {
        let late = self.smallest.into_iter().chain(self.before).min();
        let Some(late) = late else {
            return latest;
        };
        let ours = told_us.cast_signed().wrapping_add(late);
        let ours = ours.saturating_sub(one_way.as_micros() as i64);
        let (low, high) = (self.ours(earliest), self.ours(latest));
        let since = ours.clamp(low.min(high), high).max(0);
        let at = self.origin + Duration::from_micros(since.cast_unsigned());
        at.max(earliest).min(latest)
    }

    /// A time of our clock by the terminal's.
    pub fn theirs(&self, at: Instant, one_way: Duration) -> Option<u64> {
        let late = self.smallest.into_iter().chain(self.before).min()?;
        let theirs = self.ours(at).wrapping_sub(late);
        let theirs = theirs.saturating_add(one_way.as_micros() as i64);
        u64::try_from(theirs).ok()
    }

    fn ours(&self, at: Instant) -> i64 {
        let since = at.saturating_duration_since(self.origin).as_micros();
        i64::try_from(since).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn times_are_told_late_and_the_least_late_one_says_by_how_much() {
        let start = Instant::now();
        let mut offset = Offset::new(start);
        let way = 3 * MS;
        // The terminal has been up for an hour, and holds most of its words back for a while.
        let told = |at: Duration| 3_600_000_000 + at.as_micros() as u64;
        for n in 1..100 {
            let at = 16 * n * MS;
            let held = if n % 16 == 0 { Duration::ZERO } else { 8 * MS };
            offset.hear(told(at), start + at + way + held);
        }
        let at = 99 * 16 * MS;
        let bounds = (start, start + at + 20 * MS);
        assert_eq!(offset.local(told(at), way, bounds), start + at);
    }

    #[test]
    fn clocks_that_drift_apart_are_followed() {
        let start = Instant::now();
        let mut offset = Offset::new(start);
        let mut last = 0;
        for s in 0..3600u32 {
            // A hundred millionths fast.
            last = u64::from(s) * 1_000_100;
            offset.hear(last, start + s * 1000 * MS);
        }
        let at = start + 3599 * 1000 * MS;
        let heard = offset.local(last, Duration::ZERO, (start, at + 1000 * MS));
        assert!(
            heard.max(at) - heard.min(at) <= 7 * MS,
            "{:?}",
            heard.max(at) - heard.min(at)
        );
    }

    proptest! {
        #[test]
        fn no_terminal_can_make_a_time_outside_its_bounds(
            told: Vec<u64>, asked: u64, one_way_us: u64, earliest_ms in 0u32..5000, more_ms in 0u32..5000,
        ) {
            let start = Instant::now();
            let mut offset = Offset::new(start);
            for (n, told) in (0u32..).zip(told) {
                offset.hear(told, start + n * 700 * MS);
            }
            let (earliest, latest) = (start + earliest_ms * MS, start + (earliest_ms + more_ms) * MS);
            let at = offset.local(asked, Duration::from_micros(one_way_us), (earliest, latest));
            prop_assert!(earliest <= at && at <= latest);
        }
    }
}

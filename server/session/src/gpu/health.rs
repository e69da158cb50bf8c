//! When a device that has failed is asked again.
//!
//! ```text
//!              fails                          fails too often
//!   well ───────────────► resting until … ─────────────────────► lost
//!    ▲ ◄─ many pictures ─┘ (longer each time)
//! ```

use std::time::{Duration, Instant};

/// How long it rests after its first failure.
const REST: Duration = Duration::from_secs(5);
/// Each rest is so many times as long as the one before.
const LONGER: u32 = 4;
/// Failures after which it is not asked again.
const MOST_FAILURES: u32 = 5;
/// Pictures after which what has failed before does not count any more.
const WELL_AGAIN: u32 = 1000;

/// How a device is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It is used.
    Well {
        /// Failures not long ago.
        failures: u32,
        /// Pictures since the last one.
        pictures: u32,
    },
    /// It is left alone.
    Resting {
        /// How long.
        until: Instant,
        /// Failures so far.
        failures: u32,
    },
    /// It is not used any more.
    Lost,
}

impl Default for Health {
    fn default() -> Self {
        Self::Well {
            failures: 0,
            pictures: 0,
        }
    }
}

impl Health {
    /// Whether it may be used now. Its rest ends by this.
    pub fn may_be_used(&mut self, now: Instant) -> bool {
        if let Self::Resting { until, failures } = *self
            && until <= now
        {
            *self = Self::Well {
                failures,
                pictures: 0,
            };
        }
        matches!(self, Self::Well { .. })
    }

    /// It has done its work.
    pub fn did_well(&mut self) {
        if let Self::Well { failures, pictures } = self {
            *pictures = pictures.saturating_add(1);
            if *pictures >= WELL_AGAIN {
                *failures = 0;
            }
        }
    }

    /// It has failed. Failures of what it was given before the first of them tell nothing new.
    pub fn failed(&mut self, now: Instant) {
        if let Self::Well { failures, .. } = *self {
            let failures = failures + 1;
            *self = match failures < MOST_FAILURES {
                true => Self::Resting {
                    until: now + REST * LONGER.pow(failures - 1),
                    failures,
                },
                false => Self::Lost,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_rests_longer_after_each_failure_and_is_lost_in_the_end() {
        let mut now = Instant::now();
        let mut health = Health::default();
        let mut rests = Vec::new();
        while health != Health::Lost {
            assert!(health.may_be_used(now));
            health.failed(now);
            // What was under way fails as well, and counts once.
            health.failed(now);
            if let Health::Resting { until, .. } = health {
                assert!(!health.may_be_used(until - Duration::from_millis(1)));
                rests.push((until - now).as_secs());
                now = until;
            }
        }
        assert_eq!(rests, [5, 20, 80, 320]);
        assert!(!health.may_be_used(now + Duration::from_secs(1 << 20)));
    }

    #[test]
    fn failure_long_ago_does_not_count() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..100 {
            health.failed(now);
            assert!(health.may_be_used(now + REST));
            (0..WELL_AGAIN).for_each(|_| health.did_well());
        }
    }
}

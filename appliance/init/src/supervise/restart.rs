//! When a service that ended may start again. Pure: the clock is an argument.

use std::time::{Duration, Instant};

/// The pause after the first quick death.
pub const FIRST_DELAY: Duration = Duration::from_millis(200);
/// The longest pause.
pub const MAX_DELAY: Duration = Duration::from_secs(30);
/// A service that ran this long died of something new: the pauses begin anew.
pub const MIN_RUN_TIME: Duration = Duration::from_secs(20);
/// After this many quick deaths in a row the service counts as failing and its code is shown.
pub const FAILING_AFTER: u32 = 3;

/// How often a service has died of late.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restart {
    quick_deaths: u32,
}

impl Restart {
    /// The service started at `started` ended at `now`: when to start it again.
    pub fn handle_exit(&mut self, started: Instant, now: Instant) -> Instant {
        if now.saturating_duration_since(started) >= MIN_RUN_TIME {
            self.quick_deaths = 0;
        }
        let delay = FIRST_DELAY
            .saturating_mul(1 << self.quick_deaths.min(16))
            .min(MAX_DELAY);
        self.quick_deaths = self.quick_deaths.saturating_add(1);
        now + delay
    }

    /// True when it keeps dying.
    pub fn is_failing(&self) -> bool {
        self.quick_deaths >= FAILING_AFTER
    }

    /// The service started at `started` still runs at `now`; long enough means that it is well.
    pub fn handle_alive(&mut self, started: Instant, now: Instant) {
        if now.saturating_duration_since(started) >= MIN_RUN_TIME {
            self.quick_deaths = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quick_deaths_double_the_pause_up_to_the_longest() {
        let now = Instant::now();
        let mut restart = Restart::default();
        let pauses: Vec<u128> = (0..10)
            .map(|_| (restart.handle_exit(now, now) - now).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]
        );
    }

    #[test]
    fn a_long_run_is_forgiven() {
        let start = Instant::now();
        let mut restart = Restart::default();
        for _ in 0..5 {
            restart.handle_exit(start, start);
        }
        assert!(restart.is_failing());
        let later = start + MIN_RUN_TIME;
        assert_eq!(restart.handle_exit(start, later), later + FIRST_DELAY);
        assert!(!restart.is_failing());
    }

    proptest! {
        #[test]
        fn the_pause_is_always_within_its_bounds(runs_ms in proptest::collection::vec(0u64..100_000, 1..200)) {
            let mut now = Instant::now();
            let mut restart = Restart::default();
            for run in runs_ms {
                let started = now;
                now += Duration::from_millis(run);
                let until = restart.handle_exit(started, now);
                prop_assert!(until >= now + FIRST_DELAY && until <= now + MAX_DELAY);
                now = until;
            }
        }

        #[test]
        fn a_service_that_always_dies_at_once_starts_seldom(hours in 1u64..5) {
            let begin = Instant::now();
            let (mut now, mut starts) = (begin, 0u64);
            let mut restart = Restart::default();
            while now < begin + Duration::from_secs(hours * 3600) {
                now = restart.handle_exit(now, now);
                starts += 1;
            }
            prop_assert!(starts <= 10 + hours * 120);
        }
    }
}

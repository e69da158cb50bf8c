//! How much somebody who is not trusted may still say to the hub.

use std::time::Instant;

/// Messages at once, and how many more each second.
const BURST: f64 = 200.0;
const PER_SECOND: f64 = 50.0;

/// Of one terminal's link, or of one session.
#[derive(Debug)]
pub struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    /// All of it.
    pub fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            at: now,
        }
    }

    /// Takes a message from it; whether it was there to be taken.
    pub fn spend(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * PER_SECOND).min(BURST);
        self.at = now;
        let is_enough = self.left >= 1.0;
        if is_enough {
            self.left -= 1.0;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_floods_is_stopped_and_who_is_lively_is_not() {
        let now = Instant::now();
        let mut lively = Allowance::new(now);
        for n in 0..2000u64 {
            assert!(lively.spend(now + Duration::from_millis(25 * n)));
        }
        let mut flood = Allowance::new(now);
        let stopped = (0..300).position(|_| !flood.spend(now));
        assert_eq!(stopped, Some(200));
        assert!(flood.spend(now + Duration::from_secs(1)));
    }
}

//! So many of something in a time, for what the other end may make us do.

use std::time::{Duration, Instant};

/// A number that is there anew in each period.
#[derive(Debug)]
pub struct Quota {
    most: u32,
    period: Duration,
    left: u32,
    since: Instant,
}

impl Quota {
    /// `most` in each `period`, the first of which begins now.
    pub fn new(most: u32, period: Duration, now: Instant) -> Self {
        Self {
            most,
            period,
            left: most,
            since: now,
        }
    }

    /// Takes one, if one is left. Returns how many have been taken in this period.
    pub fn take(&mut self, now: Instant) -> Option<u32> {
        if now >= self.renewed_at() {
            (self.left, self.since) = (self.most, now);
        }
        self.left = self.left.checked_sub(1)?;
        Some(self.most - self.left)
    }

    /// When all are there again.
    pub fn renewed_at(&self) -> Instant {
        self.since + self.period
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_in_a_period() {
        let start = Instant::now();
        let period = Duration::from_secs(1);
        let mut quota = Quota::new(3, period, start);
        let taken: Vec<_> = (0..5).filter_map(|_| quota.take(start)).collect();
        assert_eq!(taken, [1, 2, 3]);
        assert_eq!(quota.renewed_at(), start + period);
        assert_eq!(quota.take(start + period), Some(1));
    }
}

//! How long everybody may wait for clients that draw into what they have committed.

use std::time::{Duration, Instant};

/// The longest that is waited at once. Commits have waited for their fences, so that only a client that
/// draws into what it has committed, or one with more fences than are waited for, is met here.
pub(super) const MOST: Duration = Duration::from_millis(20);
/// The part of all time that is waited at most where every buffer is one of those.
const SHARE: u32 = 20;

/// What is left of it: some at once, and a little more as time goes by.
#[derive(Debug, Default)]
pub(super) struct Patience {
    spent: Duration,
    /// When that was true.
    at: Option<Instant>,
}

impl Patience {
    /// For how long may be waited now.
    pub(super) fn left(&mut self, now: Instant) -> Duration {
        let since = self.at.map(|at| now.saturating_duration_since(at));
        self.spent = self.spent.saturating_sub(since.unwrap_or_default() / SHARE);
        self.at = Some(now);
        MOST.saturating_sub(self.spent)
    }

    /// It was waited for so long.
    pub(super) fn spend(&mut self, waited: Duration) {
        self.spent += waited;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_everybody_waits_for_a_twentieth_of_the_time() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let (mut now, mut waited) = (start, Duration::ZERO);
        assert_eq!(patience.left(now), MOST);
        // Everything that is ever read is being drawn, a thousand times a second.
        for _ in 0..10_000 {
            let wait = patience.left(now);
            patience.spend(wait);
            waited += wait;
            now += wait + Duration::from_millis(1);
        }
        let all = now - start;
        assert!(waited <= MOST + all / SHARE, "{waited:?} of {all:?}");
        assert!(waited > all / (SHARE + 1), "{waited:?} of {all:?}");
        // One that draws once in a while is waited for as before.
        assert_eq!(patience.left(now + MOST * SHARE), MOST);
    }

    #[test]
    fn what_took_longer_than_it_should_have_is_owed() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        patience.left(start);
        patience.spend(3 * MOST);
        assert_eq!(patience.left(start + MOST * SHARE), Duration::ZERO);
        assert_eq!(patience.left(start + 3 * MOST * SHARE), MOST);
    }
}

//! When the terminal is told of cursors. Time is given.
//!
//! Messages go ahead of all pictures, so that a client which draws its cursor anew all the time would
//! have the link to itself. Cursors have turns instead: one word of them in an interval of the output,
//! and an image that the terminal does not know only as often as a share of the link carries them, and
//! after the one before it has gone. Whatever changes in between, the newest is told.

use std::time::{Duration, Instant};

/// Images take no more than one of so many bytes that the link carries.
const SHARE: f64 = 4.0;
/// The longest that one waits: of a link that has stood still, what is known is next to nothing.
const LONGEST: Duration = Duration::from_secs(1);

/// When the next word of a cursor may go.
#[derive(Debug, Default)]
pub(super) struct Turns {
    word: Option<Instant>,
    image: Option<Instant>,
}

impl Turns {
    /// When anything may be told.
    pub(super) fn next(&self, now: Instant) -> Instant {
        self.word.map_or(now, |word| word.max(now))
    }

    /// Whether an image may go. `said` is whether what was said before has gone.
    pub(super) fn may_define(&self, now: Instant, said: bool) -> bool {
        said && self.image.is_none_or(|image| image <= now)
    }

    /// The cursor was looked at, on an output of this interval.
    pub(super) fn looked(&mut self, now: Instant, interval: Duration) {
        self.word = Some(now + interval);
    }

    /// An image of so many bytes was told, on a link that carries so many in a second, where that is
    /// known.
    pub(super) fn defined(&mut self, now: Instant, bytes: usize, rate: Option<u64>) {
        let share = rate.map(|rate| rate.max(1) as f64 / SHARE);
        let takes = share.map_or(Duration::ZERO, |share| {
            Duration::try_from_secs_f64(bytes as f64 / share).unwrap_or(Duration::MAX)
        });
        self.image = Some(now + takes.min(LONGEST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(16);

    #[test]
    fn first_word_goes_at_once_and_the_next_one_an_interval_later() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert_eq!(turns.next(now), now);
        turns.looked(now, INTERVAL);
        assert_eq!(turns.next(now), now + INTERVAL);
        let later = now + INTERVAL * 5;
        assert_eq!(turns.next(later), later);
    }

    #[test]
    fn images_take_a_quarter_of_the_link() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        assert!(turns.may_define(now, true));
        let (rate, bytes) = (250_000, 6_250);
        turns.defined(now, bytes, Some(rate));
        let then = now + Duration::from_millis(100);
        assert!(!turns.may_define(then - INTERVAL, true));
        assert!(turns.may_define(then, true));
        assert!(!turns.may_define(then, false), "one waits already");
    }

    #[test]
    fn link_of_which_nothing_is_known_or_that_stands_still_holds_up_no_image_for_ever() {
        for rate in [None, Some(0), Some(1), Some(u64::MAX)] {
            let (mut turns, now) = (Turns::default(), Instant::now());
            turns.defined(now, usize::MAX, rate);
            assert_eq!(turns.may_define(now, true), rate.is_none());
            assert!(turns.may_define(now + LONGEST, true));
        }
    }
}

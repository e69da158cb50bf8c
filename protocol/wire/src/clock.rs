//! Times of a terminal's monotonic clock, told as differences.
//!
//! On the main stream of a session link every time is told as the microseconds since the time told
//! before it, in the order of the messages; the first counts from zero. A difference takes two or
//! three bytes where the time itself takes five.

/// One end's idea of the time told last. Both ends begin with [`Clock::default`] at an attach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    last_us: u64,
}

impl Clock {
    /// How to tell the time `at_us`.
    pub fn tell(&mut self, at_us: u64) -> i64 {
        let after = at_us.wrapping_sub(self.last_us).cast_signed();
        self.last_us = at_us;
        after
    }

    /// The time that was told.
    pub fn hear(&mut self, after_us: i64) -> u64 {
        self.last_us = self.last_us.wrapping_add_signed(after_us);
        self.last_us
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_time_is_heard_as_it_was_told(times: Vec<u64>) {
            let (mut teller, mut listener) = (Clock::default(), Clock::default());
            for time in times {
                prop_assert_eq!(listener.hear(teller.tell(time)), time);
            }
        }
    }
}

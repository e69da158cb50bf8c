//! What becomes of a device whose GLES has ended: pure.
//!
//! ```text
//!          reset, for another program's sake                 it was tried out
//!   well ──────────────────────────────────► resting until … ────────────────► well: it is opened anew
//!    │                                          │ it cannot be opened: it rests again, for longer
//!    │ hung; reset for ours; resets too often   │ it does not answer
//!    └───────────────► given up ◄───────────────┘
//! ```
//!
//! What was opened before the device ended is of no use after that, whoever has found it out.

use std::time::{Duration, Instant};

use super::drawing::Ended;

/// How long a device rests after it was reset: its kernel's driver takes a second or two.
const REST: Duration = Duration::from_secs(5);
/// Each rest is so many times as long as the one before.
const LONGER: u32 = 4;
/// Resets that count.
const WINDOW: Duration = Duration::from_secs(3600);
/// One more within that, and it is given up.
const MOST_RESETS: usize = 3;

/// How long is waited after so many times that it went wrong before.
pub fn rest_after(before: u32) -> Duration {
    REST * LONGER.saturating_pow(before.min(MOST_RESETS as u32))
}

/// How a device is doing.
#[derive(Debug, Default)]
pub struct Fate {
    phase: Phase,
    /// How often it has ended: what was opened at an earlier time is gone.
    time: u32,
    /// When it was reset within the last [`WINDOW`].
    resets: Vec<Instant>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Well,
    Resting {
        until: Instant,
    },
    GivenUp {
        /// It may hang still: what was opened on it is never let go.
        has_hung: bool,
    },
}

impl Fate {
    /// Which time it is that something is opened.
    pub fn time(&self) -> u32 {
        self.time
    }

    /// Whether what was opened at a time may be used.
    pub fn check(&self, time: u32) -> Result<(), Ended> {
        match self.phase {
            Phase::GivenUp { has_hung: true } => Err(Ended::Hung),
            Phase::Well if time == self.time => Ok(()),
            Phase::Well | Phase::Resting { .. } | Phase::GivenUp { .. } => {
                Err(Ended::Lost("as was found before"))
            }
        }
    }

    /// What was opened at a time has ended so. What somebody else has found out before tells nothing new.
    pub fn ended(&mut self, time: u32, ended: &Ended, now: Instant) {
        if self.phase != Phase::Well || time != self.time || !ended.is_of_device() {
            return;
        }
        self.time += 1;
        match ended {
            Ended::Lost(_) => self.rest(now),
            Ended::Hung => self.phase = Phase::GivenUp { has_hung: true },
            _ => self.phase = Phase::GivenUp { has_hung: false },
        }
    }

    /// When it may be tried out; nothing where that is at once, or never.
    pub fn rests_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Resting { until } => Some(until),
            Phase::Well | Phase::GivenUp { .. } => None,
        }
    }

    /// Whether it was given up.
    pub fn is_given_up(&self) -> bool {
        matches!(self.phase, Phase::GivenUp { .. })
    }

    /// It was tried out after its rest, by one of those who use it. Another may have been faster.
    pub fn tried(&mut self, went: Result<(), Ended>, now: Instant) {
        if self.rests_until().is_none_or(|until| until > now) {
            return;
        }
        match went {
            Ok(()) => self.phase = Phase::Well,
            Err(Ended::Hung) => self.phase = Phase::GivenUp { has_hung: true },
            Err(_) => self.rest(now),
        }
    }

    fn rest(&mut self, now: Instant) {
        let is_new = |at: &Instant| now.saturating_duration_since(*at) < WINDOW;
        self.resets.retain(is_new);
        let count = self.resets.len();
        self.resets.push(now);
        self.phase = match count < MOST_RESETS {
            true => Phase::Resting {
                until: now + rest_after(count as u32),
            },
            false => Phase::GivenUp { has_hung: false },
        };
    }

    /// As when its rest is over.
    #[cfg(test)]
    pub fn wake(&mut self) {
        if let Phase::Resting { until } = &mut self.phase {
            *until = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lost() -> Ended {
        Ended::Lost("in a test")
    }

    /// Resets a device that is well, and has it tried out after its rest. Returns how long that was.
    fn reset(fate: &mut Fate, now: &mut Instant) -> Option<u64> {
        fate.ended(fate.time(), &lost(), *now);
        let until = fate.rests_until()?;
        let rest = until - *now;
        fate.tried(Ok(()), until - SECOND);
        assert!(fate.check(fate.time()).is_err(), "it is too early");
        *now = until;
        fate.tried(Ok(()), *now);
        assert!(fate.check(fate.time()).is_ok());
        Some(rest.as_secs())
    }

    #[test]
    fn device_that_is_reset_is_opened_again_some_times_an_hour() {
        let (mut fate, mut now) = (Fate::default(), Instant::now());
        let rests: Vec<_> = std::iter::from_fn(|| reset(&mut fate, &mut now)).collect();
        assert_eq!(rests, [5, 20, 80]);
        assert!(fate.is_given_up() && fate.check(fate.time()).is_err());
        fate.tried(Ok(()), now + WINDOW * 2);
        assert!(fate.is_given_up());
        // Long after one another they are mishaps.
        let (mut fate, mut now) = (Fate::default(), Instant::now());
        for _ in 0..50 {
            assert_eq!(reset(&mut fate, &mut now), Some(5));
            now += WINDOW;
        }
    }

    #[test]
    fn device_that_hangs_or_was_reset_for_what_is_drawn_here_is_given_up() {
        for (ended, is_hung) in [(Ended::Hung, true), (Ended::Guilty, false)] {
            let (mut fate, now) = (Fate::default(), Instant::now());
            fate.ended(0, &ended, now);
            assert!(fate.is_given_up() && fate.rests_until().is_none());
            assert_eq!(matches!(fate.check(0), Err(Ended::Hung)), is_hung);
            fate.tried(Ok(()), now + WINDOW);
            fate.ended(1, &lost(), now + WINDOW);
            assert!(fate.is_given_up());
            assert_eq!(matches!(fate.check(1), Err(Ended::Hung)), is_hung);
        }
    }

    #[test]
    fn what_two_have_found_out_counts_once_and_what_was_opened_before_is_gone() {
        let (mut fate, now) = (Fate::default(), Instant::now());
        fate.ended(0, &lost(), now);
        fate.ended(0, &lost(), now);
        let until = fate.rests_until().expect("it rests");
        assert_eq!(until - now, REST);
        fate.tried(Ok(()), until);
        // The other has tried it as well, and was later, or has not heard of anything yet.
        fate.tried(Err(Ended::Hung), until);
        fate.ended(0, &Ended::Hung, until);
        assert!(fate.check(0).is_err() && fate.check(fate.time()).is_ok());
    }

    #[test]
    fn device_that_cannot_be_opened_after_its_rest_rests_longer_and_one_that_is_silent_is_given_up()
    {
        let (mut fate, now) = (Fate::default(), Instant::now());
        fate.ended(0, &lost(), now);
        let until = fate.rests_until().expect("it rests");
        fate.tried(Err(Ended::Broken(anyhow::anyhow!("no node"))), until);
        let next = fate.rests_until().expect("it rests again");
        assert_eq!(next - until, REST * LONGER);
        fate.tried(Err(Ended::Hung), next);
        assert!(fate.is_given_up());
    }

    #[test]
    fn what_is_not_the_devices_says_nothing_of_it() {
        let mut fate = Fate::default();
        for ended in [
            Ended::Broken(anyhow::anyhow!("")),
            Ended::Refused(anyhow::anyhow!("")),
        ] {
            fate.ended(0, &ended, Instant::now());
            assert!(fate.check(0).is_ok());
        }
    }
}

//! When a picture that could not be shown is tried again, and when its screen goes dark instead.
//!
//! ```text
//!   well ── fails ──► failing: waits, twice as long each time ── MOST in a row ──► and is dark
//!    ▲───────────────────────────────── works ─────────────────────────────────────┘
//! ```
//!
//! Pure: the clock is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use heliostat_wire::id::OutputId;
use heliostat_wire::output::Outputs;

/// Failures in a row after which a screen is dark: until then it shows what was there before, which may
/// be a person's who has gone.
const MOST: u32 = 4;
/// The wait after the first failure: a refresh.
const FIRST_WAIT: Duration = Duration::from_millis(16);
/// No wait is longer. A picture that cannot be shown costs as much as one that can.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The first of them: it is worth a line.
    Begins,
    /// It is tried again.
    Again,
    /// As many as can be borne: the screen goes dark.
    GoesDark,
    /// The screen stays dark.
    StaysDark,
}

#[derive(Debug, Clone, Copy)]
struct Failing {
    times: u32,
    again_ns: u64,
}

/// Outputs whose pictures cannot be shown.
#[derive(Debug, Default)]
pub struct Retries(BTreeMap<OutputId, Failing>);

impl Retries {
    /// Whether a picture may be tried now.
    pub fn may_try(&self, output: OutputId, now_ns: u64) -> bool {
        let failing = self.0.get(&output);
        failing.is_none_or(|failing| now_ns >= failing.again_ns)
    }

    /// A picture could not be shown.
    pub fn failed(&mut self, output: OutputId, now_ns: u64) -> Then {
        let failing = self.0.entry(output).or_insert(Failing {
            times: 0,
            again_ns: 0,
        });
        let doubled = FIRST_WAIT.saturating_mul(1 << failing.times.min(16));
        failing.times = failing.times.saturating_add(1);
        failing.again_ns = now_ns.saturating_add(doubled.min(LONGEST_WAIT).as_nanos() as u64);
        match failing.times {
            1 => Then::Begins,
            MOST => Then::GoesDark,
            times if times > MOST => Then::StaysDark,
            _ => Then::Again,
        }
    }

    /// Whether pictures have failed so often that the screen is dark.
    pub fn is_dark(&self, output: OutputId) -> bool {
        let failing = self.0.get(&output);
        failing.is_some_and(|failing| failing.times >= MOST)
    }

    /// A picture was shown, or none was wanted. Whether pictures had failed before.
    pub fn worked(&mut self, output: OutputId) -> bool {
        self.0.remove(&output).is_some()
    }

    /// Something else is to be shown from now on: it does not wait for its turn.
    pub fn hurry(&mut self) {
        self.0.values_mut().for_each(|failing| failing.again_ns = 0);
    }

    /// Screens came, went or changed.
    pub fn set_outputs(&mut self, outputs: &Outputs) {
        self.0
            .retain(|id, _| outputs.iter().any(|output| output.id == *id));
    }

    /// How long until a picture is to be tried again on one of the outputs that are `free`.
    pub fn left(&self, now_ns: u64, free: impl Fn(OutputId) -> bool) -> Option<Duration> {
        let waiting = self.0.iter().filter(|(id, _)| free(**id));
        let left = waiting.map(|(_, failing)| failing.again_ns.saturating_sub(now_ns));
        left.min().map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: OutputId = OutputId(1);

    #[test]
    fn failures_wait_longer_and_longer_and_soon_make_the_screen_dark() {
        let mut retries = Retries::default();
        let (mut now, mut waited) = (5, Vec::new());
        assert!(retries.may_try(OUT, now) && retries.left(now, |_| true).is_none());
        let mut then = Vec::new();
        for _ in 0..12 {
            then.push(retries.failed(OUT, now));
            let left = retries.left(now, |_| true).unwrap();
            assert!(!retries.may_try(OUT, now) && retries.left(now, |_| false).is_none());
            waited.push(left.as_millis());
            now += left.as_nanos() as u64;
            assert!(retries.may_try(OUT, now));
        }
        assert_eq!(waited[..5], [16, 32, 64, 128, 256]);
        assert_eq!(*waited.last().unwrap(), LONGEST_WAIT.as_millis());
        assert_eq!(
            then[..5],
            [
                Then::Begins,
                Then::Again,
                Then::Again,
                Then::GoesDark,
                Then::StaysDark
            ]
        );
        assert!(retries.worked(OUT) && !retries.worked(OUT));
        assert_eq!(retries.failed(OUT, now), Then::Begins);
        retries.hurry();
        assert!(retries.may_try(OUT, now));
        assert_eq!(retries.failed(OUT, now), Then::Again);
    }
}

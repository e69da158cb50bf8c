//! The desktop's parts, such as a panel: they are started again when they end.
//!
//! ```text
//!            ended                       its time has come
//!   Runs ───────────► Waits (twice as long each time) ─────────► Runs
//! ```
//!
//! Time in, names of what to start out; who starts them is [`crate::children`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a part that has ended waits at least, and at most.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// Who has run for this long has not failed to start.
const SOUND: Duration = Duration::from_secs(20);

/// All parts.
#[derive(Debug, Default)]
pub struct Parts(BTreeMap<String, Part>);

#[derive(Debug)]
struct Part {
    command: String,
    state: State,
    /// How long it waits when it ends.
    wait: Duration,
    /// How often it has ended in a row before it was sound.
    falls: u32,
}

#[derive(Debug)]
enum State {
    Runs { since: Instant },
    Waits { until: Instant },
}

impl Parts {
    /// A part that is to run from now on. Nothing changes where it is there already.
    pub fn want(&mut self, name: &str, command: &str, now: Instant) {
        let new = || Part {
            command: command.to_owned(),
            state: State::Waits { until: now },
            wait: SHORTEST,
            falls: 0,
        };
        self.0.entry(name.to_owned()).or_insert_with(new);
    }

    /// A part that need not run again.
    pub fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// A part has ended. Returns when it is started again, if it is one.
    pub fn ended(&mut self, name: &str, now: Instant) -> Option<Duration> {
        let part = self.0.get_mut(name)?;
        let State::Runs { since } = part.state else {
            return None;
        };
        if now.saturating_duration_since(since) >= SOUND {
            part.wait = SHORTEST;
            part.falls = 0;
        }
        part.falls = part.falls.saturating_add(1);
        let wait = part.wait;
        part.state = State::Waits { until: now + wait };
        part.wait = (wait * 2).min(LONGEST);
        Some(wait)
    }

    /// How often a part has ended in a row without having held.
    pub fn falls(&self, name: &str) -> u32 {
        self.0.get(name).map_or(0, |part| part.falls)
    }

    /// When something is to be started.
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = self.0.values().filter_map(|part| match part.state {
            State::Waits { until } => Some(until),
            State::Runs { .. } => None,
        });
        waiting.min()
    }

    /// What is to be started now: names and commands.
    pub fn take_due(&mut self, now: Instant) -> Vec<(String, String)> {
        let due = |part: &Part| matches!(part.state, State::Waits { until } if until <= now);
        let parts = self.0.iter_mut().filter(|(_, part)| due(part));
        parts
            .map(|(name, part)| {
                part.state = State::Runs { since: now };
                (name.clone(), part.command.clone())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_that_keeps_ending_is_started_ever_more_rarely_until_it_holds() {
        let mut now = Instant::now();
        let mut parts = Parts::default();
        parts.want("panel", "waybar", now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert_eq!(parts.take_due(now).len(), 1);
            assert_eq!(parts.deadline(), None);
            waits.push(parts.ended("panel", now).unwrap());
            assert!(parts.take_due(now).is_empty());
            now = parts.deadline().unwrap();
        }
        assert_eq!(waits[..3], [500, 1000, 2000].map(Duration::from_millis));
        assert_eq!(waits[7], LONGEST);
        assert_eq!(parts.falls("panel"), 8);
        parts.take_due(now);
        assert_eq!(parts.ended("panel", now + SOUND), Some(SHORTEST));
        assert_eq!((parts.falls("panel"), parts.falls("none")), (1, 0));
    }

    #[test]
    fn what_is_no_part_is_not_started_again() {
        let now = Instant::now();
        let mut parts = Parts::default();
        assert_eq!(parts.ended("foot", now), None);
        parts.want("locker", "swaylock", now);
        parts.take_due(now);
        parts.forget("locker");
        assert_eq!(parts.ended("locker", now), None);
        assert_eq!(parts.deadline(), None);
    }
}

//! Whether the peer is still there. Time is given.

use std::time::Instant;

use crate::transport::{IDLE_TIMEOUT, KEEP_ALIVE};

/// What is known of the peer's life.
///
/// ```text
/// heard ─► (KEEP_ALIVE) probe, once ─► (IDLE_TIMEOUT) over
///   ▲ anything from the peer │
///   └────────────────────────┘
/// ```
#[derive(Debug)]
pub(crate) struct Alive {
    heard: Instant,
    probe: Probe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// This end never asks: only terminals do.
    Never,
    /// It will ask.
    Due,
    /// It has asked, and TCP repeats the question by itself.
    Asked,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// Nothing.
    Fine,
    /// Ask whether it is there.
    Ask,
    /// Give it up.
    Over,
}

impl Alive {
    /// A peer that has just been heard. `probes` tells whether this end asks.
    pub(crate) fn new(now: Instant, probes: bool) -> Self {
        Self {
            heard: now,
            probe: match probes {
                true => Probe::Due,
                false => Probe::Never,
            },
        }
    }

    /// Something came.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
        if self.probe == Probe::Asked {
            self.probe = Probe::Due;
        }
    }

    /// What to do at `now`.
    pub(crate) fn check(&mut self, now: Instant) -> Pulse {
        let silent = now.saturating_duration_since(self.heard);
        if silent >= IDLE_TIMEOUT {
            return Pulse::Over;
        }
        if self.probe == Probe::Due && silent >= KEEP_ALIVE {
            self.probe = Probe::Asked;
            return Pulse::Ask;
        }
        Pulse::Fine
    }

    /// When to check next, if nothing comes before.
    pub(crate) fn deadline(&self) -> Instant {
        match self.probe {
            Probe::Due => self.heard + KEEP_ALIVE,
            Probe::Never | Probe::Asked => self.heard + IDLE_TIMEOUT,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_silent_peer_is_asked_once_and_then_given_up() {
        let start = Instant::now();
        let mut alive = Alive::new(start, true);
        assert_eq!(alive.check(start + Duration::from_secs(1)), Pulse::Fine);
        assert_eq!(alive.deadline(), start + KEEP_ALIVE);
        assert_eq!(alive.check(alive.deadline()), Pulse::Ask);
        assert_eq!(alive.check(start + KEEP_ALIVE), Pulse::Fine);
        assert_eq!(alive.check(alive.deadline()), Pulse::Over);
        assert_eq!(alive.deadline(), start + IDLE_TIMEOUT);
    }

    #[test]
    fn a_peer_that_answers_is_asked_again_and_never_given_up() {
        let mut now = Instant::now();
        let mut alive = Alive::new(now, true);
        for _ in 0..100 {
            now = alive.deadline();
            assert_eq!(alive.check(now), Pulse::Ask);
            alive.heard(now);
        }
    }

    #[test]
    fn a_server_only_waits() {
        let start = Instant::now();
        let mut alive = Alive::new(start, false);
        assert_eq!(alive.check(start + KEEP_ALIVE), Pulse::Fine);
        assert_eq!(alive.check(start + IDLE_TIMEOUT), Pulse::Over);
    }
}

//! When a device that has failed is asked again, and for whom.
//!
//! ```text
//!              fails                          fails too often
//!   well ───────────────► resting until … ─────────────────────► lost
//!    ▲ ◄─ many pictures ─┘ (longer each time)
//! ```
//!
//! Each client has such a state, and the device has one: what fails with the buffers of one client may
//! be these buffers' fault, and costs the others nothing. Where it fails with those of two, it is the
//! device's.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long it rests after its first failure.
const REST: Duration = Duration::from_secs(5);
/// Each rest is so many times as long as the one before.
const LONGER: u32 = 4;
/// Failures after which it is not asked again.
const MOST_FAILURES: u32 = 5;
/// Pictures after which what has failed before does not count any more.
const WELL_AGAIN: u32 = 1000;

/// How a device is doing, and with whom.
#[derive(Debug)]
pub struct Healths<C> {
    device: Health,
    clients: HashMap<C, Health>,
}

impl<C> Default for Healths<C> {
    fn default() -> Self {
        Self {
            device: Health::default(),
            clients: HashMap::new(),
        }
    }
}

impl<C: Clone + Eq + Hash> Healths<C> {
    /// Whether it may be used for a client now, or for ourselves.
    pub fn may_be_used(&mut self, client: Option<&C>, now: Instant) -> bool {
        let known = client.and_then(|client| self.clients.get_mut(client));
        let is_for_it = known.is_none_or(|known| known.may_be_used(now));
        self.device.may_be_used(now) && is_for_it
    }

    /// It has done its work for a client.
    pub fn did_well(&mut self, client: Option<&C>) {
        self.device.did_well();
        if let Some(known) = client.and_then(|client| self.clients.get_mut(client)) {
            known.did_well();
        }
    }

    /// It has failed with a client's buffers, or by itself. Clients that are gone are forgotten.
    pub fn failed(&mut self, client: Option<&C>, is_here: impl Fn(&C) -> bool, now: Instant) {
        // Rests that are over end by being asked for.
        if !self.device.may_be_used(now) {
            return;
        }
        let Some(client) = client else {
            return self.device.failed(now);
        };
        self.clients.retain(|client, _| is_here(client));
        let mut others = self.clients.iter_mut();
        if others.any(|(other, known)| other != client && !known.may_be_used(now)) {
            return self.device.failed(now);
        }
        let known = self.clients.entry(client.clone()).or_default();
        if known.may_be_used(now) {
            known.failed(now);
        }
    }
}

/// How it is doing with one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It is used.
    Well {
        /// Failures not long ago.
        failures: u32,
        /// Pictures since the last one.
        pictures: u32,
    },
    /// It is left alone.
    Resting {
        /// How long.
        until: Instant,
        /// Failures so far.
        failures: u32,
    },
    /// It is not used any more.
    Lost,
}

impl Default for Health {
    fn default() -> Self {
        Self::Well {
            failures: 0,
            pictures: 0,
        }
    }
}

impl Health {
    /// Whether it may be used now. Its rest ends by this.
    pub fn may_be_used(&mut self, now: Instant) -> bool {
        if let Self::Resting { until, failures } = *self
            && until <= now
        {
            *self = Self::Well {
                failures,
                pictures: 0,
            };
        }
        matches!(self, Self::Well { .. })
    }

    /// It has done its work.
    pub fn did_well(&mut self) {
        if let Self::Well { failures, pictures } = self {
            *pictures = pictures.saturating_add(1);
            if *pictures >= WELL_AGAIN {
                *failures = 0;
            }
        }
    }

    /// It has failed. Failures of what it was given before the first of them tell nothing new.
    pub fn failed(&mut self, now: Instant) {
        if let Self::Well { failures, .. } = *self {
            let failures = failures + 1;
            *self = match failures < MOST_FAILURES {
                true => Self::Resting {
                    until: now + REST * LONGER.pow(failures - 1),
                    failures,
                },
                false => Self::Lost,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_rests_longer_after_each_failure_and_is_lost_in_the_end() {
        let mut now = Instant::now();
        let mut health = Health::default();
        let mut rests = Vec::new();
        while health != Health::Lost {
            assert!(health.may_be_used(now));
            health.failed(now);
            // What was under way fails as well, and counts once.
            health.failed(now);
            if let Health::Resting { until, .. } = health {
                assert!(!health.may_be_used(until - Duration::from_millis(1)));
                rests.push((until - now).as_secs());
                now = until;
            }
        }
        assert_eq!(rests, [5, 20, 80, 320]);
        assert!(!health.may_be_used(now + Duration::from_secs(1 << 20)));
    }

    #[test]
    fn failures_with_one_client_are_its_own_and_those_with_two_the_devices() {
        let mut now = Instant::now();
        let mut healths = Healths::<u32>::default();
        let here = |_: &u32| true;
        for _ in 0..MOST_FAILURES {
            healths.failed(Some(&1), here, now);
            // What was under way with it fails as well.
            healths.failed(Some(&1), here, now);
            assert!(!healths.may_be_used(Some(&1), now));
            assert!(healths.may_be_used(Some(&2), now) && healths.may_be_used(None, now));
            now += REST * LONGER.pow(MOST_FAILURES);
        }
        assert!(
            !healths.may_be_used(Some(&1), now),
            "it is lost to this one"
        );
        assert!(healths.may_be_used(Some(&2), now));

        let mut healths = Healths::<u32>::default();
        healths.failed(Some(&1), here, now);
        healths.failed(Some(&2), here, now);
        assert!(!healths.may_be_used(Some(&3), now) && !healths.may_be_used(None, now));
        assert!(healths.may_be_used(Some(&3), now + REST));
        // Long after one another they are two mishaps.
        healths.failed(Some(&4), here, now + REST);
        healths.failed(Some(&5), here, now + REST * 2);
        assert!(healths.may_be_used(Some(&3), now + REST * 2));
        // What is our own has nobody else to blame, and clients that have left are not remembered.
        healths.failed(None, here, now + REST * 3);
        assert!(!healths.may_be_used(Some(&3), now + REST * 3));
        healths.failed(Some(&6), |client| *client == 6, now + REST * 100);
        assert_eq!(healths.clients.len(), 1);
    }

    #[test]
    fn failure_long_ago_does_not_count() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..100 {
            health.failed(now);
            assert!(health.may_be_used(now + REST));
            (0..WELL_AGAIN).for_each(|_| health.did_well());
        }
    }
}

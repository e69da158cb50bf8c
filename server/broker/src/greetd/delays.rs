//! What terminals have still to wait for logins that were given up, beyond the greeter at which
//! that was: whoever leaves it and asks for another waits no less. Terminals name themselves, so where
//! many of one network wait, its others do as well.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::network::Network;

/// Terminals that are remembered; more do not give up logins within the seconds that one waits.
const MAX_TERMINALS: usize = 4096;
/// Terminals of one network that wait for themselves alone. So many people do not give up a login
/// within the same seconds.
const MAX_OF_NETWORK: usize = 8;

/// A terminal's network, and the name that it gives itself.
type Place = (Option<Network>, String);

/// All terminals that have to wait.
#[derive(Debug, Clone, Default)]
pub struct Delays(Arc<Mutex<HashMap<Place, Instant>>>);

impl Delays {
    /// That of one terminal, for a greeter that begins now. It waits once, and no longer than those
    /// who have given up logins, however many go on to do so.
    pub fn of(&self, network: Option<Network>, terminal: String, now: Instant) -> Delay {
        let delay = Delay {
            all: self.clone(),
            place: (network, terminal),
        };
        if let Some(until) = self.latest_of_many(network, now) {
            delay.extend(until, now);
        }
        delay
    }

    /// When the last of a network need not wait any more, where there are too many of them.
    fn latest_of_many(&self, network: Option<Network>, now: Instant) -> Option<Instant> {
        let all = self.lock();
        let waiting = all.iter();
        let waiting = waiting.filter(|((of, _), until)| *of == network && **until > now);
        let (mut many, mut latest) = (0, None);
        for (_, until) in waiting {
            many += 1;
            latest = latest.max(Some(*until));
        }
        latest.filter(|_| many >= MAX_OF_NETWORK)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One terminal's, which its greeters share.
#[derive(Debug, Clone)]
pub struct Delay {
    all: Delays,
    place: Place,
}

impl Delay {
    /// No login begins there before.
    pub fn until(&self) -> Option<Instant> {
        self.all.lock().get(&self.place).copied()
    }

    /// Has the next login there wait.
    pub fn extend(&self, until: Instant, now: Instant) {
        let mut all = self.all.lock();
        all.retain(|_, until| *until > now);
        if all.len() >= MAX_TERMINALS && !all.contains_key(&self.place) {
            let soonest = all.iter().min_by_key(|(_, until)| **until);
            let soonest = soonest.map(|(place, _)| place.clone());
            soonest.and_then(|place| all.remove(&place));
        }
        let held = all.entry(self.place.clone()).or_insert(until);
        *held = until.max(*held);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn network(n: u64) -> Option<Network> {
        Some(Network::V6(n))
    }

    #[test]
    fn each_terminal_waits_for_itself_and_few_are_remembered() {
        let now = Instant::now();
        let later = |ms| now + Duration::from_millis(ms);
        let delays = Delays::default();
        let of = |name: &str| delays.of(network(0), name.to_owned(), now);
        of("a").extend(later(9_000), now);
        of("a").extend(later(8_000), now);
        assert_eq!(of("a").until(), Some(later(9_000)));
        assert_eq!(of("b").until(), None);
        let elsewhere = |number| delays.of(network(number), "a".to_owned(), now);
        assert_eq!(elsewhere(1).until(), None);
        for number in 1..2 * MAX_TERMINALS as u64 {
            elsewhere(number).extend(later(number), now);
        }
        assert_eq!(delays.lock().len(), MAX_TERMINALS);
        // Those go first that would have waited least.
        assert_eq!(of("a").until(), Some(later(9_000)));
        assert_eq!(elsewhere(1).until(), None);
        of("b").extend(later(20_000), later(9_000));
        assert_eq!(delays.lock().len(), 1);
    }

    #[test]
    fn a_new_name_for_each_login_is_no_way_around_the_delay() {
        let now = Instant::now();
        let later = |ms| now + Duration::from_millis(ms);
        let delays = Delays::default();
        let of = |n, name: &str, now| delays.of(network(n), name.to_owned(), now);
        let free = (0..100).filter(|made_up| {
            let delay = of(1, &made_up.to_string(), now);
            let is_free = delay.until().is_none();
            delay.extend(later(3_000 + made_up), now);
            is_free
        });
        assert_eq!(free.count(), MAX_OF_NETWORK);
        assert_eq!(of(2, "desk", now).until(), None);
        assert_eq!(delays.of(None, "desk".to_owned(), now).until(), None);
        // Who has come meanwhile waits with them, once: what others go on to give up is not theirs.
        let late = of(1, "desk", now);
        assert_eq!(late.until(), Some(later(3_099)));
        of(1, "0", now).extend(later(6_000), later(2_000));
        assert_eq!(late.until(), Some(later(3_099)));
        // When they need not wait any more, nobody has to.
        assert_eq!(of(1, "another desk", later(6_000)).until(), None);
    }
}

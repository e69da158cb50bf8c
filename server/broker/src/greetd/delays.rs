//! What terminals have still to wait for logins that were given up, beyond the greeter at which
//! that was: whoever leaves it and asks for another waits no less.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Terminals that are remembered; more do not give up logins within the seconds that one waits.
const MAX_TERMINALS: usize = 4096;

/// All terminals that have to wait.
#[derive(Debug, Clone, Default)]
pub struct Delays(Arc<Mutex<HashMap<String, Instant>>>);

impl Delays {
    /// That of one terminal.
    pub fn of(&self, terminal: String) -> Delay {
        Delay {
            all: self.clone(),
            terminal,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One terminal's, which its greeters share.
#[derive(Debug, Clone)]
pub struct Delay {
    all: Delays,
    terminal: String,
}

impl Delay {
    /// No login begins there before.
    pub fn until(&self) -> Option<Instant> {
        self.all.lock().get(&self.terminal).copied()
    }

    /// Has the next login there wait.
    pub fn extend(&self, until: Instant, now: Instant) {
        let mut all = self.all.lock();
        all.retain(|_, until| *until > now);
        if all.len() >= MAX_TERMINALS && !all.contains_key(&self.terminal) {
            let soonest = all.iter().min_by_key(|(_, until)| **until);
            let soonest = soonest.map(|(terminal, _)| terminal.clone());
            soonest.and_then(|terminal| all.remove(&terminal));
        }
        let held = all.entry(self.terminal.clone()).or_insert(until);
        *held = until.max(*held);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_terminal_waits_for_itself_and_few_are_remembered() {
        let now = Instant::now();
        let later = |ms| now + Duration::from_millis(ms);
        let delays = Delays::default();
        delays.of("a".to_owned()).extend(later(9_000), now);
        delays.of("a".to_owned()).extend(later(8_000), now);
        assert_eq!(delays.of("a".to_owned()).until(), Some(later(9_000)));
        assert_eq!(delays.of("b".to_owned()).until(), None);
        for number in 0..2 * MAX_TERMINALS as u64 {
            delays.of(number.to_string()).extend(later(number), now);
        }
        assert_eq!(delays.lock().len(), MAX_TERMINALS);
        // Those go first that would have waited least.
        assert_eq!(delays.of("a".to_owned()).until(), Some(later(9_000)));
        assert_eq!(delays.of("0".to_owned()).until(), None);
        delays
            .of("b".to_owned())
            .extend(later(20_000), later(9_000));
        assert_eq!(delays.lock().len(), 1);
    }
}

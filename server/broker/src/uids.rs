//! Numbers of users that greeters and kiosks have for themselves, so that one which is taken over
//! reaches none of the others (ADR 0017).

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use heliostat_wire::id::SessionId;
use nix::unistd::{Uid, User};

/// The numbers of a range, and whose they are.
#[derive(Debug)]
pub struct OwnUids {
    range: Option<RangeInclusive<u32>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where to look next: a number that was just given back rests longest.
    next: u32,
    held: HashMap<SessionId, u32>,
    /// Those that no account has, as far as was asked.
    free: HashSet<u32>,
}

impl OwnUids {
    /// The numbers of this range. Only root can become somebody else.
    pub fn new(range: Option<RangeInclusive<u32>>) -> Self {
        Self {
            range: range.filter(|_| Uid::effective().is_root()),
            state: Mutex::default(),
        }
    }

    /// A number for a session, or nothing where sessions run as their account.
    pub fn take(&self, session: SessionId) -> anyhow::Result<Option<u32>> {
        let Some(range) = &self.range else {
            return Ok(None);
        };
        let mut state = self.state();
        let running = running().context("cannot see whose processes run")?;
        let from = state.next.clamp(*range.start(), *range.end());
        let taken: HashSet<u32> = state.held.values().copied().collect();
        // What an earlier session has left running would reach the next one of its number.
        let candidates = (from..=*range.end()).chain(*range.start()..from);
        let candidates = candidates.filter(|uid| !taken.contains(uid) && !running.contains(uid));
        for uid in candidates {
            if !state.free.contains(&uid) && User::from_uid(Uid::from_raw(uid))?.is_some() {
                continue;
            }
            state.free.insert(uid);
            state.held.insert(session, uid);
            state.next = if uid == *range.end() { 0 } else { uid + 1 };
            return Ok(Some(uid));
        }
        bail!("all numbers of session_uids are in use; give it more of them")
    }

    /// A session that was found running has this number.
    pub fn hold(&self, session: SessionId, uid: u32) {
        if self
            .range
            .as_ref()
            .is_some_and(|range| range.contains(&uid))
        {
            self.state().held.insert(session, uid);
        }
    }

    /// A session is gone.
    pub fn give_back(&self, session: SessionId) {
        self.state().held.remove(&session);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The users as whom something runs on this machine.
fn running() -> std::io::Result<HashSet<u32>> {
    let mut users = HashSet::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        // Real, effective, saved, and of files.
        let words = line.unwrap_or_default().split_whitespace();
        users.extend(words.filter_map(|word| word.parse::<u32>().ok()));
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    /// Numbers that nobody has on the machine of the tests.
    fn of_two() -> OwnUids {
        OwnUids {
            range: Some(1_900_000_001..=1_900_000_002),
            state: Mutex::default(),
        }
    }

    #[test]
    fn each_session_has_a_number_of_its_own_and_there_is_an_end_of_them() {
        let uids = of_two();
        let first = uids.take(session(1)).unwrap().unwrap();
        let second = uids.take(session(2)).unwrap().unwrap();
        assert_ne!(first, second);
        let none = uids.take(session(3)).unwrap_err().to_string();
        assert!(none.contains("session_uids"), "{none}");
        uids.give_back(session(1));
        assert_eq!(uids.take(session(3)).unwrap(), Some(first));
    }

    #[test]
    fn a_number_that_was_given_back_rests_as_long_as_it_can() {
        let uids = of_two();
        let first = uids.take(session(1)).unwrap();
        uids.give_back(session(1));
        assert_ne!(uids.take(session(2)).unwrap(), first);
    }

    #[test]
    fn numbers_of_sessions_that_were_found_running_are_theirs() {
        let uids = of_two();
        uids.hold(session(1), 1_900_000_001);
        uids.hold(session(2), 1000);
        assert_eq!(uids.take(session(3)).unwrap(), Some(1_900_000_002));
        assert!(uids.take(session(4)).is_err());
    }

    #[test]
    fn numbers_of_accounts_and_of_running_processes_are_left_alone() {
        let ours = Uid::effective().as_raw();
        assert!(running().unwrap().contains(&ours));
        let nobody = User::from_name("nobody").unwrap().unwrap().uid.as_raw();
        for uid in [ours, nobody] {
            let uids = OwnUids {
                range: Some(uid..=uid),
                state: Mutex::default(),
            };
            assert!(uids.take(session(1)).is_err(), "{uid}");
        }
        let none = OwnUids::new(None);
        assert_eq!(none.take(session(1)).unwrap(), None);
    }
}

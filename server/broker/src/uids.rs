//! Numbers of users that greeters and kiosks have for themselves, so that one which is taken over
//! reaches none of the others (ADR 0017).

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use heliostat_wire::id::SessionId;
use nix::unistd::{Uid, User};

/// The numbers of a range, and whose they are.
#[derive(Debug, Clone)]
pub struct OwnUids {
    range: Option<RangeInclusive<u32>>,
    is_account: fn(u32) -> nix::Result<bool>,
    state: Arc<Mutex<State>>,
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
        Self::of(range.filter(|_| Uid::effective().is_root()), |uid| {
            Ok(User::from_uid(Uid::from_raw(uid))?.is_some())
        })
    }

    fn of(range: Option<RangeInclusive<u32>>, is_account: fn(u32) -> nix::Result<bool>) -> Self {
        Self {
            range,
            is_account,
            state: Arc::default(),
        }
    }

    /// A number for a session, or nothing where sessions run as their account. Must be called on a
    /// tokio runtime; the name service may be slow, and is asked beside it.
    pub async fn take(&self, session: SessionId) -> anyhow::Result<Option<u32>> {
        let Some(range) = &self.range else {
            return Ok(None);
        };
        loop {
            let (asked, range) = (self.clone(), range.clone());
            let found = tokio::task::spawn_blocking(move || asked.find(&range));
            let uid = found.await.context("the search for a number broke off")??;
            let mut state = self.state();
            state.free.insert(uid);
            // Another session may have been faster; who is not waited for any more takes none.
            if state.held.values().all(|held| *held != uid) {
                state.held.insert(session, uid);
                state.next = uid.checked_add(1).unwrap_or_default();
                return Ok(Some(uid));
            }
        }
    }

    /// A number that nobody has now.
    fn find(&self, range: &RangeInclusive<u32>) -> anyhow::Result<u32> {
        let running = running().context("cannot see whose processes run")?;
        let state = self.state();
        let from = match range.contains(&state.next) {
            true => state.next,
            false => *range.start(),
        };
        let taken: HashSet<u32> = state.held.values().copied().collect();
        let free = state.free.clone();
        // Sessions that end give their numbers back meanwhile.
        drop(state);
        // What an earlier session has left running would reach the next one of its number.
        let candidates = (from..=*range.end()).chain(*range.start()..from);
        let candidates = candidates.filter(|uid| !taken.contains(uid) && !running.contains(uid));
        for uid in candidates {
            if free.contains(&uid) || !(self.is_account)(uid)? {
                return Ok(uid);
            }
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
    use std::sync::OnceLock;

    use tokio::sync::Notify;

    use super::*;

    fn session(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    /// Numbers that nobody has on the machine of the tests.
    fn of_two() -> OwnUids {
        let uids = OwnUids::new(None);
        OwnUids::of(Some(1_900_000_001..=1_900_000_002), uids.is_account)
    }

    #[tokio::test]
    async fn each_session_has_a_number_of_its_own_and_there_is_an_end_of_them() {
        let uids = of_two();
        let (first, second) = tokio::join!(uids.take(session(1)), uids.take(session(2)));
        let first = first.unwrap().unwrap();
        assert_ne!(first, second.unwrap().unwrap());
        let none = uids.take(session(3)).await.unwrap_err().to_string();
        assert!(none.contains("session_uids"), "{none}");
        uids.give_back(session(1));
        assert_eq!(uids.take(session(3)).await.unwrap(), Some(first));
    }

    #[tokio::test]
    async fn a_number_that_was_given_back_rests_as_long_as_it_can() {
        let uids = of_two();
        let first = uids.take(session(1)).await.unwrap();
        uids.give_back(session(1));
        assert_ne!(uids.take(session(2)).await.unwrap(), first);
    }

    #[tokio::test]
    async fn numbers_of_sessions_that_were_found_running_are_theirs() {
        let uids = of_two();
        uids.hold(session(1), 1_900_000_001);
        uids.hold(session(2), 1000);
        assert_eq!(uids.take(session(3)).await.unwrap(), Some(1_900_000_002));
        assert!(uids.take(session(4)).await.is_err());
    }

    #[tokio::test]
    async fn numbers_of_accounts_and_of_running_processes_are_left_alone() {
        let ours = Uid::effective().as_raw();
        assert!(running().unwrap().contains(&ours));
        let nobody = User::from_name("nobody").unwrap().unwrap().uid.as_raw();
        for uid in [ours, nobody] {
            let uids = OwnUids::of(Some(uid..=uid), of_two().is_account);
            assert!(uids.take(session(1)).await.is_err(), "{uid}");
        }
        let none = OwnUids::new(None);
        assert_eq!(none.take(session(1)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn while_the_name_service_thinks_everything_else_goes_on() {
        static ASKED: Notify = Notify::const_new();
        static MAY_ANSWER: OnceLock<()> = OnceLock::new();
        let uids = OwnUids::of(Some(1_900_000_001..=1_900_000_002), |uid| {
            if uid == 1_900_000_002 {
                ASKED.notify_one();
                MAY_ANSWER.wait();
            }
            Ok(false)
        });
        assert_eq!(uids.take(session(1)).await.unwrap(), Some(1_900_000_001));
        let other = uids.clone();
        let waits = tokio::spawn(async move { other.take(session(2)).await });
        ASKED.notified().await;
        uids.give_back(session(1));
        uids.hold(session(3), 1_900_000_001);
        let called_off = tokio::spawn({
            let uids = uids.clone();
            async move { uids.take(session(4)).await }
        });
        ASKED.notified().await;
        called_off.abort();
        assert!(called_off.await.unwrap_err().is_cancelled());
        MAY_ANSWER.set(()).unwrap();
        assert_eq!(waits.await.unwrap().unwrap(), Some(1_900_000_002));
        assert!(!uids.state().held.contains_key(&session(4)));
    }
}

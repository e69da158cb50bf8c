//! How many DMA-BUFs clients may have, and who has to go where there are too many.

use std::collections::HashMap;
use std::hash::Hash;

use rustix::process::{Resource, getrlimit};

use super::buffers::Refused;

/// The most of all clients together. Drivers keep four for a window, and twice that while its size
/// changes.
const MOST: usize = 2048;

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    of_a_client: usize,
    all: usize,
}

impl Default for Room {
    /// That of this process.
    fn default() -> Self {
        Self::among(getrlimit(Resource::Nofile).current)
    }
}

impl Room {
    /// Where a process may have so many descriptors, or as many as it likes. A buffer takes one or two,
    /// so half of them are left for everything else; and a client has half of all buffers, as all windows
    /// of X11 are one client's.
    fn among(descriptors: Option<u64>) -> Self {
        let most = descriptors.and_then(|most| usize::try_from(most / 4).ok());
        let all = most.unwrap_or(MOST).min(MOST);
        Self {
            of_a_client: all / 2,
            all,
        }
    }

    /// This much for a client, and twice that for all.
    #[cfg(test)]
    pub fn for_each(of_a_client: usize) -> Self {
        Self {
            of_a_client,
            all: 2 * of_a_client,
        }
    }

    /// Whether any client may have one more where there are so many.
    pub(super) fn is_ample(&self, count: usize) -> bool {
        count < self.of_a_client
    }

    /// Whether `client` may have one more beside those of `owners`, and who has to go for that.
    pub(super) fn make<C: Eq + Hash>(
        &self,
        owners: impl Iterator<Item = Option<C>>,
        client: Option<C>,
    ) -> Result<Option<C>, Refused> {
        let mut counts = HashMap::<_, usize>::new();
        owners.for_each(|owner| *counts.entry(owner).or_default() += 1);
        let own = counts.get(&client).copied().unwrap_or(0);
        if own >= self.of_a_client {
            return Err(Refused::TooMany);
        }
        if counts.values().sum::<usize>() < self.all {
            return Ok(None);
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let hoarder = most.filter(|(_, count)| *count > own);
        match hoarder {
            Some((Some(hoarder), _)) => Ok(Some(hoarder)),
            _ => Err(Refused::TooMany),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of the next buffer of `client` where each of these has so many.
    fn next_beside(counts: &[(u32, usize)], client: u32) -> Result<Option<u32>, Refused> {
        let owners = counts.iter();
        let owners = owners.flat_map(|(owner, count)| std::iter::repeat_n(Some(*owner), *count));
        Room::among(Some(8192)).make(owners, Some(client))
    }

    #[test]
    fn who_has_most_goes_where_there_are_too_many() {
        assert!(matches!(next_beside(&[(1, 1023), (2, 1000)], 1), Ok(None)));
        let own = next_beside(&[(1, 1024)], 1);
        assert!(matches!(own, Err(Refused::TooMany)));
        let full = [(1, 1000), (2, 900), (3, 148)];
        assert!(matches!(next_beside(&full, 3), Ok(Some(1))));
        assert!(matches!(next_beside(&full, 4), Ok(Some(1))));
        assert!(matches!(next_beside(&full, 1), Err(Refused::TooMany)));
    }

    #[test]
    fn there_is_room_for_what_the_process_may_open() {
        for (descriptors, all) in [
            (Some(0), 0),
            (Some(1024), 256),
            (Some(4096), 1024),
            (Some(8192), 2048),
            (Some(u64::MAX), 2048),
            (None, 2048),
        ] {
            let room = Room::among(descriptors);
            assert_eq!((room.all, room.of_a_client), (all, all / 2));
        }
    }
}

//! What is known of addresses for a while, of the newest ones alone. Time is given.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Addresses remembered at most. A terminal knows a handful.
const MAX_ADDRESSES: usize = 64;

/// Something of each address, and since when.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    lasts: Duration,
    known: HashMap<IpAddr, (T, Instant)>,
}

impl<T: Copy> Recent<T> {
    /// Of what is true for so long.
    pub(crate) fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            known: HashMap::new(),
        }
    }

    /// What is known of `address`.
    pub(crate) fn get(&self, now: Instant, address: IpAddr) -> Option<T> {
        let (what, since) = self.known.get(&address)?;
        (now.saturating_duration_since(*since) < self.lasts).then_some(*what)
    }

    /// This is so from now on. The oldest makes room.
    pub(crate) fn insert(&mut self, now: Instant, address: IpAddr, what: T) {
        self.known
            .retain(|_, (_, since)| now.saturating_duration_since(*since) < self.lasts);
        if self.known.len() >= MAX_ADDRESSES && !self.known.contains_key(&address) {
            let oldest = self.known.iter().min_by_key(|(_, (_, since))| *since);
            let oldest = oldest.map(|(address, _)| *address);
            self.known.retain(|address, _| Some(*address) != oldest);
        }
        self.known.insert(address, (what, now));
    }

    /// Nothing is known of `address` any more.
    pub(crate) fn remove(&mut self, address: IpAddr) {
        self.known.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_keeps_the_newest() {
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let (mut recent, mut now) = (Recent::new(Duration::from_secs(60)), Instant::now());
        for n in 0..200 {
            now += Duration::from_millis(1);
            recent.insert(now, address(n), n);
        }
        assert_eq!(recent.known.len(), MAX_ADDRESSES);
        assert_eq!(recent.get(now, address(199)), Some(199));
        assert_eq!(recent.get(now, address(100)), None);
        recent.insert(now, address(199), 7);
        assert_eq!(recent.known.len(), MAX_ADDRESSES);
        now += Duration::from_secs(60);
        assert_eq!(recent.get(now, address(199)), None);
        recent.insert(now, address(1), 1);
        assert_eq!(recent.known.len(), 1, "what is too old goes");
    }
}

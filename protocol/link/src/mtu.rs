//! How large packets may be on the way to an address: what the last QUIC link to it has found out.
//! Time is given.
//!
//! A link searches with a packet of the largest size ([`crate::transport`]), at each end. A terminal
//! whose person comes back a minute later need not search again, and neither need the server: those
//! two packets are a third of what a desktop needs that comes back. If the way has become narrower
//! since, QUIC finds out by what it loses; a link that does not come about is forgotten at once, and
//! an hour after it was found out, the next one searches.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::recent::Recent;

/// What every way carries, as QUIC wants it (RFC 9000, section 14).
const SMALLEST: u16 = 1200;
/// How long it is remembered: networks change.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Bytes of UDP payload that the ways to addresses have carried, and when that was found out.
#[derive(Debug)]
pub(crate) struct Mtus(Recent<u16>);

impl Default for Mtus {
    fn default() -> Self {
        Self(Recent::new(REMEMBERED))
    }
}

impl Mtus {
    /// Bytes with which a link to `address` may begin, if that is known.
    pub(crate) fn known(&self, now: Instant, address: IpAddr) -> Option<u16> {
        self.0.get(now, address)
    }

    /// A link to `address` ended that carried packets of `mtu` bytes.
    pub(crate) fn carried(&mut self, now: Instant, address: IpAddr, mtu: u16) {
        if mtu <= SMALLEST {
            self.forget(address);
        } else if self.known(now, address) != Some(mtu) {
            // One that began with it has not found it out: nothing of that size may have gone.
            self.0.insert(now, address, mtu);
        }
    }

    /// No link to `address` came about.
    pub(crate) fn forget(&mut self, address: IpAddr) {
        self.0.remove(address);
    }
}

/// The memory of one endpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remembered(Arc<Mutex<Mtus>>);

impl Remembered {
    /// Does something with it.
    pub(crate) fn with<T>(&self, action: impl FnOnce(&mut Mtus) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A link to `address` begins.
    pub(crate) fn begin(&self, address: IpAddr) -> Beginning {
        Beginning {
            address: Some(address),
            remembered: self.clone(),
        }
    }
}

/// A link that is about to come about. Unless it does, its address is forgotten.
#[derive(Debug)]
pub(crate) struct Beginning {
    address: Option<IpAddr>,
    remembered: Remembered,
}

impl Beginning {
    /// It has come about. Remembers what it finds out, when what is returned is dropped.
    pub(crate) fn came_about(mut self, quic: &quinn::Connection) -> Note {
        self.address = None;
        Note {
            quic: quic.clone(),
            remembered: self.remembered.clone(),
            counts: AtomicBool::new(false),
        }
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.remembered.with(|mtus| mtus.forget(address));
        }
    }
}

/// A live link, of which there will be something to remember once its peer is no stranger.
#[derive(Debug)]
pub(crate) struct Note {
    quic: quinn::Connection,
    remembered: Remembered,
    counts: AtomicBool,
}

impl Note {
    /// The peer is no stranger.
    pub(crate) fn count(&self) {
        self.counts.store(true, Ordering::Relaxed);
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if !*self.counts.get_mut() {
            return;
        }
        let mtu = self.quic.stats().path.current_mtu;
        let address = self.quic.remote_address().ip();
        self.remembered
            .with(|mtus| mtus.carried(clock::now(), address, mtu));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn what_a_link_has_carried_is_known_for_an_hour_and_the_newest_counts() {
        let (mut mtus, now) = (Mtus::default(), Instant::now());
        assert_eq!(mtus.known(now, address(1)), None);
        mtus.carried(now, address(1), 1452);
        mtus.carried(now, address(1), 1400);
        assert_eq!(mtus.known(now, address(1)), Some(1400));
        assert_eq!(mtus.known(now, address(2)), None);
        // Links that begin with it do not make it any newer.
        let later = now + REMEMBERED / 2;
        mtus.carried(later, address(1), 1400);
        assert_eq!(mtus.known(later, address(1)), Some(1400));
        assert_eq!(mtus.known(now + REMEMBERED, address(1)), None);
        mtus.carried(now + REMEMBERED, address(1), 1400);
        assert_eq!(mtus.known(now + REMEMBERED, address(1)), Some(1400));
    }

    #[test]
    fn way_that_carried_no_more_than_every_way_or_nothing_is_searched_again() {
        let (mut mtus, now) = (Mtus::default(), Instant::now());
        mtus.carried(now, address(1), 1452);
        mtus.carried(now, address(1), SMALLEST);
        assert_eq!(mtus.known(now, address(1)), None);
        mtus.carried(now, address(1), 1452);
        mtus.forget(address(1));
        assert_eq!(mtus.known(now, address(1)), None);
        mtus.carried(now, address(2), SMALLEST);
        assert_eq!(mtus.known(now, address(2)), None);
    }
}

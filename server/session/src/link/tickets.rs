//! Tickets: announced by the broker, shown once by the terminal they were made for.
//!
//! ```text
//!            expect                redeem: right secret, right key, in time
//!   unknown ────────► announced ─────────────────────────────────────────► used (forgotten)
//!                         └── expired, or announced anew ──► forgotten
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heliostat_control::session::Expect;
use heliostat_wire::id::{AttachId, KeyPin, Ticket};
use sha2::{Digest, Sha256};

/// Tickets that may wait; older ones make room.
const MOST: usize = 64;
/// No ticket lives longer.
const LONGEST: Duration = Duration::from_secs(120);

/// Announced tickets.
#[derive(Debug, Default)]
pub struct Tickets(BTreeMap<AttachId, (Expect, Instant)>);

/// What a terminal shows.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The attach it was told of.
    pub attach: AttachId,
    /// The secret.
    pub ticket: &'a Ticket,
    /// The key it has proven.
    pub key: KeyPin,
}

/// Why a ticket opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It was not announced, was used before, or has expired.
    #[error("no such ticket: it was used before, has expired, or was never announced")]
    Unknown,
    /// The secret or the terminal is another one.
    #[error("the ticket is not this terminal's")]
    Wrong,
}

impl Tickets {
    /// The broker announces a ticket.
    pub fn expect(&mut self, expect: Expect, now: Instant) {
        self.0.retain(|_, (_, until)| *until > now);
        while self.0.len() >= MOST {
            self.0.pop_first();
        }
        let lives = Duration::from_millis(u64::from(expect.expires_ms)).min(LONGEST);
        self.0.insert(expect.attach_id, (expect, now + lives));
    }

    /// A terminal shows a ticket. Returns what was announced of it; the ticket is used then.
    pub fn redeem(
        &mut self,
        presented: Presented<'_>,
        now: Instant,
    ) -> Result<Expect, TicketError> {
        self.0.retain(|_, (_, until)| *until > now);
        let (expect, _) = self.0.get(&presented.attach).ok_or(TicketError::Unknown)?;
        let digest: [u8; 32] = Sha256::digest(presented.ticket.0).into();
        // Both are compared whole, so that time tells nothing.
        let secret = equal(&digest, &expect.ticket_sha256.0);
        let key = equal(&presented.key.0, &expect.terminal_key_sha256.0);
        if !(secret & key) {
            return Err(TicketError::Wrong);
        }
        let (expect, _) = self
            .0
            .remove(&presented.attach)
            .ok_or(TicketError::Unknown)?;
        Ok(expect)
    }
}

/// Whether two digests are equal, in a time that does not depend on where they differ.
fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differing = a
        .iter()
        .zip(b)
        .fold(0, |differing, (a, b)| differing | (a ^ b));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use heliostat_control::hex::Hex;

    use super::*;

    const SECRET: Ticket = Ticket([7; 32]);
    const KEY: KeyPin = KeyPin([9; 32]);

    fn expect(attach: u64) -> Expect {
        Expect {
            attach_id: AttachId(attach),
            ticket_sha256: Hex(Sha256::digest(SECRET.0).into()),
            terminal_key_sha256: Hex(KEY.0),
            terminal_name: "a".to_owned(),
            expires_ms: 10_000,
            idle_s: None,
            keep_pixels_s: 300,
        }
    }

    fn presented(attach: u64) -> Presented<'static> {
        Presented {
            attach: AttachId(attach),
            ticket: &SECRET,
            key: KEY,
        }
    }

    #[test]
    fn ticket_opens_once() {
        let now = Instant::now();
        let mut tickets = Tickets::default();
        tickets.expect(expect(1), now);
        assert_eq!(tickets.redeem(presented(1), now), Ok(expect(1)));
        assert_eq!(tickets.redeem(presented(1), now), Err(TicketError::Unknown));
    }

    #[test]
    fn ticket_of_another_terminal_or_with_another_secret_opens_nothing_and_stays() {
        let now = Instant::now();
        let mut tickets = Tickets::default();
        tickets.expect(expect(1), now);
        let stolen = Presented {
            key: KeyPin([8; 32]),
            ..presented(1)
        };
        assert_eq!(tickets.redeem(stolen, now), Err(TicketError::Wrong));
        let guessed = Presented {
            ticket: &Ticket([1; 32]),
            ..presented(1)
        };
        assert_eq!(tickets.redeem(guessed, now), Err(TicketError::Wrong));
        assert_eq!(tickets.redeem(presented(2), now), Err(TicketError::Unknown));
        assert!(tickets.redeem(presented(1), now).is_ok());
    }

    #[test]
    fn ticket_expires() {
        let now = Instant::now();
        let mut tickets = Tickets::default();
        tickets.expect(expect(1), now);
        let late = now + Duration::from_secs(10);
        assert_eq!(
            tickets.redeem(presented(1), late),
            Err(TicketError::Unknown)
        );
    }

    #[test]
    fn announced_tickets_are_few() {
        let now = Instant::now();
        let mut tickets = Tickets::default();
        (0..1000).for_each(|attach| tickets.expect(expect(attach), now));
        assert_eq!(tickets.0.len(), MOST);
        assert!(tickets.redeem(presented(999), now).is_ok());
    }
}

//! Tickets: announced by the broker, shown once by the terminal they were made for.
//!
//! ```text
//!            expect                redeem: right secret, right key, in time
//!   unknown ────────► announced ─────────────────────────────────────────► used (forgotten)
//!                         └── expired, or announced anew ──► forgotten
//! ```

use std::time::{Duration, Instant};

use heliostat_control::session::Expect;
use heliostat_wire::id::{AttachId, KeyPin, Ticket};
use sha2::{Digest, Sha256};

/// No ticket lives longer.
const LONGEST: Duration = Duration::from_secs(120);

/// The ticket that was announced last.
#[derive(Debug, Default)]
pub struct Tickets(Option<(Expect, Instant)>);

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
    /// The broker announces a ticket. It takes the place of the one before: a desktop goes where it
    /// was called last.
    pub fn expect(&mut self, expect: Expect, now: Instant) {
        let lives = Duration::from_millis(u64::from(expect.expires_ms)).min(LONGEST);
        self.0 = Some((expect, now + lives));
    }

    /// An attach is off, or whichever there is: nobody is to come with its ticket any more.
    pub fn forget(&mut self, attach: Option<AttachId>) {
        self.0
            .take_if(|(known, _)| attach.is_none_or(|attach| attach == known.attach_id));
    }

    /// A terminal shows a ticket. Returns what was announced of it; the ticket is used then.
    pub fn redeem(
        &mut self,
        presented: Presented<'_>,
        now: Instant,
    ) -> Result<Expect, TicketError> {
        self.0.take_if(|(_, until)| *until <= now);
        let (expect, _) = self.0.as_ref().ok_or(TicketError::Unknown)?;
        if expect.attach_id != presented.attach {
            return Err(TicketError::Unknown);
        }
        let digest: [u8; 32] = Sha256::digest(presented.ticket.0).into();
        // Both are compared whole, so that time tells nothing.
        let secret = equal(&digest, &expect.ticket_sha256.0);
        let key = equal(&presented.key.0, &expect.terminal_key_sha256.0);
        if !(secret & key) {
            return Err(TicketError::Wrong);
        }
        let (expect, _) = self.0.take().ok_or(TicketError::Unknown)?;
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
    fn newest_ticket_takes_the_place_of_the_one_before() {
        let now = Instant::now();
        let mut tickets = Tickets::default();
        tickets.expect(expect(1), now);
        tickets.expect(expect(2), now);
        assert_eq!(tickets.redeem(presented(1), now), Err(TicketError::Unknown));
        assert!(tickets.redeem(presented(2), now).is_ok());
    }

    #[test]
    fn ticket_of_an_attach_that_is_off_opens_nothing() {
        let now = Instant::now();
        let mut tickets = Tickets::default();
        tickets.expect(expect(2), now);
        tickets.forget(Some(AttachId(1)));
        assert!(tickets.redeem(presented(2), now).is_ok());
        for off in [Some(AttachId(3)), None] {
            tickets.expect(expect(3), now);
            tickets.forget(off);
            assert_eq!(tickets.redeem(presented(3), now), Err(TicketError::Unknown));
        }
    }
}

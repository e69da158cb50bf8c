//! Attaches that terminals do not take up, and links of which they say nothing. Drawn at [`Phase`].

use heliostat_wire::control::{CardRefusal, DetachReason};

use super::*;

/// How long a terminal has to say what it makes of a link that its session lost.
pub(super) const SAY_MS: u64 = 1_500;
/// How long a terminal has to show its ticket; a little longer than the ticket lives.
const OFFER_MS: u64 = 20_000;
/// How long it needs for that: QUIC has half a second before TCP is tried as well.
pub(super) const TAKE_UP_MS: u64 = 1_500;

impl Directory {
    /// A terminal was sent a ticket and has not shown it.
    pub(super) fn never_came(&mut self, now: Moment, id: SessionId) {
        let holder = self.sessions[&id].holder.clone().expect("it was offered");
        match self.terminals[&holder.terminal].online {
            None => self.vacate(&holder.terminal, DetachReason::LinkLost),
            Some(_) => {
                self.vacate_parked(&holder.terminal, DetachReason::LinkLost);
                let text = "Your desktop cannot be reached from here. Try again.";
                self.refuse(now, &holder.terminal, CardRefusal::SessionFailed, text);
            }
        }
    }

    /// A terminal whose control link broke has its card still. An offer that was made on that link may
    /// have been lost with it, and is made again: not before it could have been taken up, for who is
    /// given another attach leaves the one that it is opening.
    pub(super) fn said_again(&mut self, now: Moment, terminal: &str, id: SessionId) {
        let holder = self.sessions.get_mut(&id).and_then(|s| s.holder.as_mut());
        match holder.map(|holder| &mut holder.phase) {
            Some(Phase::Offered {
                since_ms,
                is_in_doubt,
            }) if now.ms < *since_ms + TAKE_UP_MS => *is_in_doubt = true,
            Some(Phase::Offered { .. } | Phase::Lost { .. }) => self.mend(now, terminal),
            Some(Phase::Live) | None => {}
        }
    }

    /// An offer was not taken up that may have been lost. A terminal that is away again will say its
    /// card again.
    pub(super) fn still_in_doubt(&mut self, now: Moment, id: SessionId) {
        let session = self.sessions.get_mut(&id).expect("a known session");
        let holder = session.holder.as_mut().expect("it was offered");
        let terminal = &self.terminals[&holder.terminal];
        if let (Slot::Joined(_), Some(_)) = (&terminal.slot, terminal.online) {
            let terminal = holder.terminal.clone();
            return self.mend(now, &terminal);
        }
        if let Phase::Offered { is_in_doubt, .. } = &mut holder.phase {
            *is_in_doubt = false;
        }
        if holder.phase.until().is_some_and(|until| until <= now.ms) {
            self.never_came(now, id);
        }
    }

    /// The terminal has not said anything of a link that its session lost, as where it lost that
    /// link while its control link was down.
    pub(super) fn still_lost(&mut self, now: Moment, id: SessionId) {
        let holder = self.sessions[&id].holder.clone().expect("lost by a holder");
        let terminal = &self.terminals[&holder.terminal];
        match (&terminal.slot, terminal.online) {
            (Slot::Joined(_), Some(_)) => self.mend(now, &holder.terminal),
            _ => self.vacate(&holder.terminal, DetachReason::LinkLost),
        }
    }
}

impl Phase {
    /// When it has lasted too long.
    pub(super) fn until(self) -> Option<u64> {
        match self {
            Self::Offered {
                since_ms,
                is_in_doubt,
            } => Some(since_ms + if is_in_doubt { TAKE_UP_MS } else { OFFER_MS }),
            Self::Lost { until_ms } => Some(until_ms),
            Self::Live => None,
        }
    }
}

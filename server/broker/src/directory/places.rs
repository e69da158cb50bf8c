//! What follows from a person's coming and going: hooks, graces, sessions without a terminal, and
//! locking.

use heliostat_control::session::{Ask, ToSession};
use heliostat_wire::control::{CardRefusal, DetachReason, ToTerminal};

use super::*;
use crate::policy::{Outcome, Proof};

/// Cards whose strong proof still counts; those that have waited longest are asked again sooner.
const MAX_GRACES: usize = 8192;

impl Vacant {
    /// A session that has no terminal as of now.
    pub fn new(now: Moment, outcome: &Outcome) -> Self {
        let limit = outcome.detached.0.map(|limit| limit.as_millis() as u64);
        Self {
            since_ms: now.ms,
            limit_ms: limit,
        }
    }

    /// When it has been vacant for too long.
    pub fn until(self) -> Option<u64> {
        Some(self.since_ms.saturating_add(self.limit_ms?))
    }
}

impl Directory {
    /// A session is on a terminal: its person is there now.
    pub(super) fn arrived(&mut self, id: SessionId) {
        self.place(id, true);
    }

    /// Notes where a session's person is, for when they leave; `news` where they have just come.
    pub(super) fn place(&mut self, id: SessionId, news: bool) {
        let session = &self.sessions[&id];
        let Some(terminal) = session.holder.as_ref().map(|h| h.terminal.clone()) else {
            return;
        };
        let there = |placed: &Placed| placed.terminal == terminal;
        if session.kind != Kind::Desktop || session.placed.as_ref().is_some_and(there) {
            return;
        }
        let person = session.person.clone();
        self.departed(id);
        let known = &self.terminals[&terminal];
        let edge = known.slot.edge();
        let outcome = self.decide(&terminal, edge.and_then(Edge::id), Some(&person));
        let placed = Placed {
            terminal_name: known.name.clone(),
            places: self
                .policy
                .places_of(&terminal, &known.name)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            address: known
                .online
                .map(|on| on.address.ip().to_string())
                .unwrap_or_default(),
            on_detach: outcome.on_detach.0,
            terminal,
        };
        if news {
            self.hook(id, "attach", outcome.on_attach.0, true, placed.clone());
        }
        let session = self.sessions.get_mut(&id).expect("just found");
        session.placed = Some(placed);
    }

    /// A session has left its terminal.
    pub(super) fn departed(&mut self, id: SessionId) {
        let session = self.sessions.get(&id);
        let ending = session.is_some_and(|session| matches!(session.state, State::Ending { .. }));
        self.depart(id, !ending);
    }

    /// A session has left its terminal, and goes on or does not.
    pub(super) fn depart(&mut self, id: SessionId, goes_on: bool) {
        let session = self.sessions.get_mut(&id);
        if let Some(placed) = session.and_then(|session| session.placed.take()) {
            self.hook(id, "detach", placed.on_detach.clone(), goes_on, placed);
        }
    }

    fn hook(
        &mut self,
        id: SessionId,
        event: &'static str,
        command: Vec<String>,
        within: bool,
        placed: Placed,
    ) {
        if command.is_empty() {
            return;
        }
        let person = self.sessions[&id].person.clone();
        let outcome = self.decide(&placed.terminal, None, Some(&person));
        self.act(Action::Hook(Hook {
            person,
            command,
            event,
            session: id,
            within,
            outcome: Box::new(outcome),
            placed,
        }));
    }

    /// A session has no terminal any more, and its card's proof counts for a while yet.
    pub(super) fn vacated(&mut self, terminal: &str, join: &Join) {
        let now = self.now;
        let Some(session) = self.sessions.get(&join.session) else {
            return;
        };
        let person = session.person.clone();
        let outcome = self.decide(terminal, join.edge.id(), Some(&person));
        self.departed(join.session);
        let session = self.sessions.get_mut(&join.session).expect("just found");
        session.vacant = Vacant::new(now, &outcome);
        let grace_ms = outcome.grace.0.as_millis() as u64;
        if grace_ms == 0 || join.shown <= Proof::Card || join.edge.id().is_none() {
            return;
        }
        self.graces.retain(|_, grace| now.ms < grace.until_ms);
        if self.graces.len() >= MAX_GRACES {
            let soonest = self.graces.iter().min_by_key(|(_, grace)| grace.until_ms);
            if let Some(soonest) = soonest.map(|(who, _)| who.clone()) {
                self.graces.remove(&soonest);
            }
        }
        let who = (join.edge.card.clone(), person);
        let grace = Grace {
            since_ms: now.ms,
            until_ms: now.ms + grace_ms,
        };
        self.graces.insert(who, grace);
    }

    /// A session has been without a terminal for too long.
    pub(super) fn vacant_too_long(&mut self, now: Moment, id: SessionId) {
        let who = Who {
            person: &self.sessions[&id].person.clone(),
            ..Who::default()
        };
        self.audit(now, "session_expired", who, id.to_string());
        let reason = DetachReason::ByPolicy;
        self.ending(now, id, reason.clone());
        self.act(Action::ToSession(id, ToSession::End { reason }));
    }

    /// What a session asks of us for its person.
    pub(super) fn asks(&mut self, now: Moment, id: SessionId, ask: Ask) {
        // Its last words may come when its process is gone already.
        if !self.sessions.contains_key(&id) {
            return;
        }
        match ask {
            Ask::Lock => self.lock(now, id, "asked for by the person"),
            Ask::Idle if self.sessions.get(&id).is_some_and(Session::is_greeter) => {
                // There is nothing to lock, and the terminal is free for the next one.
                drop(self.send_away(now, id, DetachReason::ByPerson));
            }
            Ask::Idle => self.lock(now, id, "nobody there"),
            Ask::Detach => drop(self.send_away(now, id, DetachReason::ByPerson)),
            Ask::LogOut => {
                let reason = DetachReason::SessionEnded;
                self.ending(now, id, reason.clone());
                self.act(Action::ToSession(id, ToSession::End { reason }));
            }
        }
    }

    /// Parts a session from its terminal by somebody's wish; the card stays parked.
    fn send_away(
        &mut self,
        now: Moment,
        id: SessionId,
        reason: DetachReason,
    ) -> Option<(String, Edge)> {
        let session = self.sessions.get(&id)?;
        let holder = session.holder.clone()?;
        let edge = self.terminals[&holder.terminal].slot.edge()?.clone();
        let who = Who {
            person: &session.person.clone(),
            terminal: &holder.terminal,
            card: &edge.card,
        };
        self.audit(now, "detached", who, format!("{reason:?}"));
        let message = ToTerminal::Detach {
            attach_id: holder.attach,
            reason: reason.clone(),
        };
        self.tell(&holder.terminal, message);
        self.vacate_parked(&holder.terminal, reason);
        Some((holder.terminal, edge))
    }

    /// Takes a desktop off its terminal until its person has shown again that it is they.
    pub(super) fn lock(&mut self, now: Moment, id: SessionId, why: &str) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        if session.kind != Kind::Desktop {
            return;
        }
        let person = session.person.clone();
        let Some((terminal, edge)) = self.send_away(now, id, DetachReason::Locked) else {
            return;
        };
        self.graces.retain(|(_, owner), _| *owner != person);
        let who = Who {
            person: &person,
            terminal: &terminal,
            card: &edge.card,
        };
        self.audit(now, "locked", who, why);
        let outcome = self.decide(&terminal, edge.id(), Some(&person));
        let needs = match edge.id() {
            Some(card) => outcome.needs(kind_of(card)),
            None => Some(Proof::Password),
        };
        // Where the card alone opens the desktop, being asked for it again at once would lock
        // nothing: it takes somebody at the terminal.
        match needs {
            Some(Proof::CardPin | Proof::Password) => self.open(now, &terminal, edge),
            _ => {
                let text = "Your desktop is locked";
                self.refuse(now, &terminal, CardRefusal::Locked, text);
            }
        }
    }
}

impl Edge {
    /// The card id, where there is a card.
    pub fn id(&self) -> Option<&str> {
        (!self.card.is_empty()).then_some(self.card.as_str())
    }
}

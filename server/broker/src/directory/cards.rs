//! What a card opens: the way from a card edge to an attach.

use heliostat_wire::control::{CardRefusal, DetachReason, ToTerminal};
use heliostat_wire::id::{AttachId, SessionId};

use super::*;

impl Directory {
    /// Opens what `edge`'s card opens at `terminal`, whose slot is vacant.
    pub(super) fn open(&mut self, now: Moment, terminal: &str, edge: Edge) {
        let known = self.terminals.get_mut(terminal).expect("a known terminal");
        known.slot = Slot::Parked(edge.clone());
        let card = match self.cards.get(&edge.card) {
            None => {
                let text = format!(
                    "This card is not known here. Your administrator can add it: {}",
                    edge.card
                );
                return self.refuse(now, terminal, CardRefusal::Unknown, &text);
            }
            Some(card) => card,
        };
        if card.revoked_s.is_some() {
            let text = "This card has been revoked. Ask your administrator for another.";
            return self.refuse(now, terminal, CardRefusal::Revoked, text);
        }
        if !self.policy.unproven_cards {
            let text = "This site takes only cards that prove themselves, and this card does not.";
            return self.refuse(now, terminal, CardRefusal::Forbidden, text);
        }
        let person = card.person.clone();
        match self.session_of(&person) {
            Some((id, State::Running(_))) => self.offer(now, id, terminal, edge, vec![], false),
            Some((id, _)) => self.wait(now, id, terminal, edge),
            None => self.start(now, terminal, edge, person),
        }
    }

    /// A person's session that takes terminals or is about to.
    pub(super) fn session_of(&self, person: &str) -> Option<(SessionId, &State)> {
        self.sessions
            .iter()
            .find(|(_, session)| {
                session.person == person && !matches!(session.state, State::Ending { .. })
            })
            .map(|(id, session)| (*id, &session.state))
    }

    fn start(&mut self, now: Moment, terminal: &str, edge: Edge, person: String) {
        if self.sessions.len() >= self.policy.max_sessions {
            let text = "The server can take no more desktops at the moment. Try again later.";
            return self.refuse(now, terminal, CardRefusal::Busy, text);
        }
        let id = now.fresh;
        let session = Session {
            person: person.clone(),
            uid: 0,
            pid: 0,
            started_s: now.unix_ms / 1000,
            state: State::Starting {
                until_ms: now.ms + self.policy.start_ms,
            },
            holder: None,
            answers: Answers::default(),
            first_frame: None,
        };
        let kept = Record::SessionStarted(id, person.clone(), session.started_s);
        self.sessions.insert(id, session);
        let who = Who {
            person: &person,
            terminal,
            card: &edge.card,
        };
        self.audit(now, "session_start", who, id.to_string());
        self.act(Action::Start {
            session: id,
            person,
        });
        self.act(Action::Keep(kept));
        self.wait(now, id, terminal, edge);
    }

    /// The newest terminal waits; one that waited before is told where the desktop goes.
    fn wait(&mut self, now: Moment, id: SessionId, terminal: &str, edge: Edge) {
        if let Some(other) = self.waiting_for(id) {
            let text = format!(
                "Your desktop was called to {}.",
                self.terminals[terminal].name
            );
            self.refuse(now, &other, CardRefusal::Busy, &text);
        }
        let session = &self.sessions[&id];
        if matches!(session.state, State::Starting { .. }) {
            let message = ToTerminal::Starting {
                seq: edge.seq,
                person: session.person.as_str().into(),
            };
            self.tell(terminal, message);
        }
        let known = self.terminals.get_mut(terminal).expect("a known terminal");
        known.slot = Slot::Waiting {
            edge,
            session: id,
            until_ms: now.ms + self.policy.start_ms + 1000,
        };
    }

    /// The terminal that waits for a session.
    pub(super) fn waiting_for(&self, id: SessionId) -> Option<String> {
        self.terminals
            .iter()
            .find(|(_, t)| matches!(t.slot, Slot::Waiting { session, .. } if session == id))
            .map(|(id, _)| id.clone())
    }

    /// Attaches a running session to a terminal that is online. The terminal that had it is told.
    pub(super) fn offer(
        &mut self,
        now: Moment,
        id: SessionId,
        terminal: &str,
        edge: Edge,
        breaks: Vec<u64>,
        started_session: bool,
    ) {
        let known = &self.terminals[terminal];
        let (Some(online), Some(key)) = (known.online, known.key) else {
            return;
        };
        let State::Running(door) = self.sessions[&id].state.clone() else {
            return;
        };
        let name = known.name.clone();
        let attach = AttachId(self.next_attach);
        self.next_attach += 1;
        let old = self.sessions[&id].holder.clone();
        if let Some(old) = old.filter(|old| old.terminal != terminal) {
            self.move_away(now, &old, &name);
        }
        let session = self.sessions.get_mut(&id).expect("a known session");
        let person = session.person.clone();
        let offer = Offer {
            link: online.link,
            seq: edge.seq,
            attach,
            session: id,
            port: door.port,
            pin: door.pin,
            person: person.clone(),
            terminal_name: name,
            terminal_key: key,
        };
        session.holder = Some(Holder {
            terminal: terminal.to_owned(),
            attach,
            phase: Phase::Offered,
        });
        let record = AttachRecord {
            attach,
            session: id,
            person: person.clone(),
            terminal: terminal.to_owned(),
            key,
            edge: edge.clone(),
            started_session,
        };
        let known = self.terminals.get_mut(terminal).expect("a known terminal");
        known.slot = Slot::Joined(Join {
            edge: edge.clone(),
            session: id,
            attach,
            breaks,
        });
        self.act(Action::Offer(offer));
        self.act(Action::Keep(Record::Attach(record.clone())));
        let who = Who {
            person: &person,
            terminal,
            card: &edge.card,
        };
        self.audit(now, "attach", who, attach.to_string());
        self.attaches.insert(attach, record);
        self.forget_attaches();
    }

    /// Tells the terminal that had a session where it goes. The session tells it as well, when the
    /// new ticket is shown.
    fn move_away(&mut self, now: Moment, old: &Holder, to: &str) {
        let edge = self.park(&old.terminal);
        let reason = DetachReason::MovedElsewhere {
            terminal: to.into(),
        };
        let message = ToTerminal::Detach {
            attach_id: old.attach,
            reason,
        };
        self.tell(&old.terminal, message);
        let card = edge.map(|edge| edge.card).unwrap_or_default();
        let person = self.person_of(&card).unwrap_or_default().to_owned();
        let who = Who {
            person: &person,
            terminal: &old.terminal,
            card: &card,
        };
        self.audit(now, "moved", who, format!("to {to}"));
    }

    /// Forgets old attaches, never one that is live.
    fn forget_attaches(&mut self) {
        while self.attaches.len() > MAX_ATTACHES {
            let sessions = &self.sessions;
            let live = |record: &AttachRecord| {
                let holder = sessions
                    .get(&record.session)
                    .and_then(|s| s.holder.as_ref());
                holder.is_some_and(|holder| holder.attach == record.attach)
            };
            let Some(oldest) = self.attaches.values().find(|record| !live(record)) else {
                return;
            };
            let oldest = oldest.attach;
            self.attaches.remove(&oldest);
        }
    }
}

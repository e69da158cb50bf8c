//! What a card opens: the way from a card edge to an attach.

use heliostat_wire::control::{CardRefusal, DetachReason, ToTerminal};
use heliostat_wire::id::{AttachId, SessionId};
use heliostat_wire::limits::MAX_KEEP_S;

use super::*;
use crate::policy::{Enrol, Given, Outcome, Proof};

/// How long the name service has to say which groups somebody is in.
const LOOK_UP_MS: u64 = 15_000;

/// How a session is come by.
#[derive(Debug)]
pub(super) struct Admission {
    /// Whose session.
    pub person: String,
    /// What was shown for it.
    pub shown: Proof,
    /// The login that can start it.
    pub login: Option<LoginId>,
}

/// A session that is to be started.
#[derive(Debug)]
pub(super) struct New {
    pub id: SessionId,
    pub kind: Kind,
    /// Whose.
    pub person: String,
    /// The login that can start it.
    pub login: Option<LoginId>,
    pub outcome: Outcome,
}

/// What brings a session to a terminal.
#[derive(Debug)]
pub(super) struct Entry {
    pub edge: Edge,
    /// What was shown for it.
    pub shown: Proof,
    /// When links of this card edge broke lately.
    pub breaks: Vec<u64>,
}

impl Directory {
    /// Opens what `edge`'s card opens at `terminal`, whose slot is vacant.
    pub(super) fn open(&mut self, now: Moment, terminal: &str, edge: Edge) {
        let known = self.terminals.get_mut(terminal).expect("a known terminal");
        if known.online.is_none() {
            // It says again what is in its reader when it is back.
            known.slot = Slot::Empty;
            return;
        }
        known.slot = Slot::Parked(edge.clone());
        match self.cards.get(&edge.card).cloned() {
            None => self.open_unknown(now, terminal, edge),
            Some(card) => self.open_known(now, terminal, edge, card),
        }
    }

    /// A card that is nobody's, or no card at all.
    fn open_unknown(&mut self, now: Moment, terminal: &str, edge: Edge) {
        let outcome = self.decide(terminal, edge.id(), None);
        let may = outcome.enrol != Enrol::No && outcome.needs(kind_of(&edge.card)).is_some();
        let free = edge.id().is_none() || outcome.proof == Proof::None;
        if !outcome.kiosk.0.is_empty() && free {
            let admission = Admission {
                person: outcome.kiosk_user,
                shown: Proof::None,
                login: None,
            };
            return self.admit(now, terminal, edge, admission);
        }
        if edge.id().is_none() {
            return match outcome.login {
                true => self.greet(now, terminal, edge, None),
                false => {
                    let text = "Nobody can log in without a card here. Insert your card.";
                    self.refuse(now, terminal, CardRefusal::Forbidden, text);
                }
            };
        }
        if may && self.setup.greeter_user.is_some() {
            return self.greet(now, terminal, edge, None);
        }
        let text = format!(
            "This card is not known here. Your administrator can add it: {}",
            edge.card
        );
        self.refuse(now, terminal, CardRefusal::Unknown, &text);
    }

    fn open_known(&mut self, now: Moment, terminal: &str, edge: Edge, card: Card) {
        if card.revoked_s.is_some() {
            let text = "This card has been revoked. Ask your administrator for another.";
            return self.refuse(now, terminal, CardRefusal::Revoked, text);
        }
        if card.standing == Standing::Asked {
            let text = "An administrator has yet to agree to this card.";
            return self.refuse(now, terminal, CardRefusal::Forbidden, text);
        }
        if self.policy.asks_for_groups() && !self.groups.contains_key(&card.person) {
            // A rule that asks for more may be for a group of theirs.
            let waiting = Ungrouped {
                seq: edge.seq,
                until_ms: now.ms + LOOK_UP_MS,
            };
            let waits = self.ungrouped.insert(terminal.to_owned(), waiting);
            // One question at a time for one card edge.
            return match waits {
                Some(before) if before.seq == edge.seq => {}
                _ => self.act(Action::LookUp(card.person)),
            };
        }
        let outcome = self.decide(terminal, Some(&edge.card), Some(&card.person));
        let Some(needed) = outcome.needs(kind_of(&edge.card)) else {
            let text = "This site takes only cards that prove themselves, and this card cannot.";
            return self.refuse(now, terminal, CardRefusal::Forbidden, text);
        };
        // A card without a bound key has nothing to show in place of what is asked for.
        let needed = match card.keys == Keys::default() {
            true => needed,
            false => self.after_grace(now, &edge.card, &card.person, &outcome, needed),
        };
        match needed {
            Proof::None => {
                let admission = Admission {
                    person: card.person,
                    shown: Proof::None,
                    login: None,
                };
                self.admit(now, terminal, edge, admission);
            }
            Proof::Card | Proof::CardPin => self.challenge(now, terminal, edge, &card, needed),
            Proof::Password => self.greet(now, terminal, edge, Some(card.person)),
        }
    }

    /// What the policy says of a card and a person at a terminal.
    pub(super) fn decide(
        &self,
        terminal: &str,
        card: Option<&str>,
        person: Option<&str>,
    ) -> Outcome {
        let name = self
            .terminals
            .get(terminal)
            .map(|known| known.name.as_str());
        let groups = person.and_then(|person| self.groups.get(person));
        self.policy.decide(&Given {
            card,
            person,
            groups: groups.map(Vec::as_slice).unwrap_or_default(),
            terminal,
            terminal_name: name.unwrap_or_default(),
        })
    }

    /// What is left to be shown of `needed` where the card's last strong proof still counts: by the
    /// policy of where it left, and by that of where it is now, `outcome`.
    pub(super) fn after_grace(
        &self,
        now: Moment,
        card: &str,
        person: &str,
        outcome: &Outcome,
        needed: Proof,
    ) -> Proof {
        let here_ms = outcome.grace.0.as_millis() as u64;
        let counts = |grace: &Grace| {
            now.ms < grace.until_ms && now.ms < grace.since_ms.saturating_add(here_ms)
        };
        let grace = self.graces.get(&(card.to_owned(), person.to_owned()));
        match grace.is_some_and(counts) {
            true => needed.min(Proof::Card),
            false => needed,
        }
    }

    /// Whether what was shown for a person's desktop is still what the policy asks for: it may have
    /// changed since the card was challenged.
    pub(super) fn is_enough(
        &self,
        now: Moment,
        terminal: &str,
        edge: &Edge,
        person: &str,
        shown: Proof,
    ) -> bool {
        if shown == Proof::Password {
            return true;
        }
        let outcome = self.decide(terminal, edge.id(), Some(person));
        let needed = outcome.needs(kind_of(&edge.card));
        needed.is_some_and(|needed| {
            shown >= self.after_grace(now, &edge.card, person, &outcome, needed)
        })
    }

    /// Everything that is needed has been shown: brings the person's session to the terminal.
    pub(super) fn admit(&mut self, now: Moment, terminal: &str, edge: Edge, admission: Admission) {
        let known = self.terminals.get_mut(terminal).expect("a known terminal");
        known.slot = Slot::Parked(edge.clone());
        let outcome = self.decide(terminal, edge.id(), Some(&admission.person));
        let server = outcome.server.as_str();
        if !server.is_empty() && server != self.setup.server {
            self.drop_login(admission.login);
            let text = format!("Your desktop is on the server {server}, not on this one.");
            return self.refuse(now, terminal, CardRefusal::Forbidden, &text);
        }
        let (kind, admission) = match outcome.kiosk.0.is_empty() {
            true => (Kind::Desktop, admission),
            false => {
                self.drop_login(admission.login);
                // A card that nobody knows is no more than a terminal's word.
                let bound_to = match edge.id().filter(|card| self.cards.contains_key(*card)) {
                    Some(card) => format!("card {card}"),
                    None => format!("terminal {terminal}"),
                };
                let admission = Admission {
                    person: outcome.kiosk_user.clone(),
                    login: None,
                    ..admission
                };
                (Kind::Kiosk(bound_to), admission)
            }
        };
        let found = match &kind {
            Kind::Desktop => self.session_of(&admission.person),
            kiosk => {
                let user = admission.person.as_str();
                self.session_like(|session| session.kind == *kiosk && session.person == user)
            }
        };
        let shown = admission.shown;
        match found.map(|(id, state)| (id, state.clone())) {
            None => self.start(now, terminal, edge, kind, admission, outcome),
            Some((id, state)) => {
                self.drop_login(admission.login);
                match state {
                    State::Running(_) => {
                        let entry = Entry {
                            edge,
                            shown,
                            breaks: Vec::new(),
                        };
                        self.offer(now, id, terminal, entry, false);
                    }
                    _ => self.wait(now, id, terminal, edge, shown),
                }
            }
        }
    }

    /// A person's desktop that takes terminals or is about to.
    pub(super) fn session_of(&self, person: &str) -> Option<(SessionId, &State)> {
        self.session_like(|session| session.kind == Kind::Desktop && session.person == person)
    }

    /// The session of which `wanted` holds and that takes terminals or is about to.
    fn session_like(&self, wanted: impl Fn(&Session) -> bool) -> Option<(SessionId, &State)> {
        self.sessions
            .iter()
            .find(|(_, session)| wanted(session) && !matches!(session.state, State::Ending { .. }))
            .map(|(id, session)| (*id, &session.state))
    }

    fn start(
        &mut self,
        now: Moment,
        terminal: &str,
        edge: Edge,
        kind: Kind,
        admission: Admission,
        outcome: Outcome,
    ) {
        let desktops = self.sessions.values().filter(|s| s.kind != Kind::Greeter);
        if desktops.count() >= self.setup.max_sessions {
            self.drop_login(admission.login);
            let text = "The server can take no more desktops at the moment. Try again later.";
            return self.refuse(now, terminal, CardRefusal::Busy, text);
        }
        let (id, person) = (self.fresh_id(), admission.person.clone());
        let who = Who {
            person: &person,
            terminal,
            card: &edge.card,
        };
        self.audit(now, "session_start", who, id.to_string());
        let started_s = now.unix_ms / 1000;
        let new = New {
            id,
            kind,
            person: person.clone(),
            login: admission.login,
            outcome,
        };
        self.launch(now, terminal, new);
        self.act(Action::Keep(Record::SessionStarted(id, person, started_s)));
        self.wait(now, id, terminal, edge, admission.shown);
    }

    /// Has a session's process started.
    pub(super) fn launch(&mut self, now: Moment, terminal: &str, new: New) {
        let New {
            id,
            kind,
            person,
            login,
            outcome,
        } = new;
        let online = self.terminals[terminal].online;
        let greets = online.filter(|_| kind == Kind::Greeter);
        let greets = greets.map(|online| {
            let address = online.address.ip().to_canonical();
            (terminal.to_owned(), address)
        });
        let session = Session {
            kind: kind.clone(),
            person: person.clone(),
            uid: 0,
            pid: 0,
            started_s: now.unix_ms / 1000,
            state: State::Starting {
                until_ms: now.ms + self.setup.start_ms,
            },
            holder: None,
            answers: Answers::default(),
            first_frame: None,
            vacant: Vacant::new(now, &outcome),
            greets,
            placed: None,
        };
        self.sessions.insert(id, session);
        let known = &self.terminals[terminal];
        let address = known.online.map(|online| online.address.ip().to_string());
        self.act(Action::Start(Start {
            session: id,
            kind,
            person,
            login,
            outcome: Box::new(outcome),
            terminal_name: known.name.clone(),
            address: address.unwrap_or_default(),
        }));
    }

    /// The newest terminal waits; one that waited before is told where the desktop goes.
    pub(super) fn wait(
        &mut self,
        now: Moment,
        id: SessionId,
        terminal: &str,
        edge: Edge,
        shown: Proof,
    ) {
        if let Some(other) = self.waiting_for(id) {
            let text = format!(
                "Your desktop was called to {}.",
                self.terminals[terminal].name
            );
            self.refuse(now, &other, CardRefusal::Busy, &text);
        }
        let session = &self.sessions[&id];
        if matches!(session.state, State::Starting { .. }) && session.kind == Kind::Desktop {
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
            shown,
            until_ms: now.ms + self.setup.start_ms + 1000,
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
        entry: Entry,
        started_session: bool,
    ) {
        let Entry {
            edge,
            shown,
            breaks,
        } = entry;
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
        let person = self.sessions[&id].person.clone();
        let outcome = self.decide(terminal, edge.id(), Some(&person));
        let idle_s = Self::idle_of(&self.sessions[&id].kind, &outcome);
        let keep = u32::try_from(outcome.keep_pixels.0.as_secs()).unwrap_or(u32::MAX);
        let old = self.sessions[&id].holder.clone();
        match old {
            Some(old) if old.terminal != terminal => self.move_away(now, &old, &name),
            Some(old) => self.attach_over(old.attach, &DetachReason::LinkLost),
            None => {}
        }
        let session = self.sessions.get_mut(&id).expect("a known session");
        session.vacant.limit_ms = Vacant::new(now, &outcome).limit_ms;
        let desktop = session.kind == Kind::Desktop;
        let offer = Offer {
            link: online.link,
            seq: edge.seq,
            attach,
            session: id,
            port: door.port,
            pin: door.pin,
            // A greeter's or a kiosk's user is nobody to be greeted by name.
            person: if desktop {
                person.clone()
            } else {
                String::new()
            },
            terminal_name: name,
            terminal_key: key,
            idle_s,
            keep_pixels_s: if desktop { keep.min(MAX_KEEP_S) } else { 0 },
        };
        session.holder = Some(Holder {
            terminal: terminal.to_owned(),
            attach,
            phase: Phase::Offered {
                since_ms: now.ms,
                is_in_doubt: false,
            },
        });
        let record = AttachRecord {
            attach,
            session: id,
            person: person.clone(),
            terminal: terminal.to_owned(),
            key,
            edge: edge.clone(),
            shown,
            started_session,
            over: None,
        };
        let known = self.terminals.get_mut(terminal).expect("a known terminal");
        known.slot = Slot::Joined(Join {
            edge: edge.clone(),
            shown,
            session: id,
            attach,
            breaks,
            confirmed: true,
        });
        self.act(Action::Offer(offer));
        self.act(Action::Keep(Record::Attach(record.clone())));
        let who = Who {
            person: &person,
            terminal,
            card: &edge.card,
        };
        self.audit(now, "attach", who, format!("{attach} by {shown}"));
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
        self.attach_over(old.attach, &reason);
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

//! What sessions say, and what becomes of them.

use heliostat_control::hex::Hex;
use heliostat_control::session::{FromSession, Ready, ToSession};
use heliostat_wire::control::{CardRefusal, DetachReason, ToTerminal};
use heliostat_wire::id::{AttachId, KeyPin, SessionId};

use super::cards::Entry;
use super::offers::SAY_MS;
use super::*;

/// A session that dies within this time has not really started.
const YOUNG_MS: u64 = 5_000;

impl Directory {
    /// Takes up a session that was found running, with what is remembered of its last attach. A
    /// second one of the same person, left over from an end that was cut short, is ended; so the
    /// newest is to be adopted first.
    pub fn adopt(&mut self, now: Moment, id: SessionId, owner: &Owner) -> Vec<Action> {
        self.now = now;
        let second = owner.kind == Kind::Desktop && self.session_of(&owner.person).is_some();
        let session = Session {
            kind: owner.kind.clone(),
            person: owner.person.clone(),
            uid: owner.uid,
            pid: owner.pid,
            started_s: owner.started_s,
            state: State::Adopting {
                until_ms: now.ms + self.setup.start_ms,
            },
            holder: None,
            answers: Answers::default(),
            first_frame: None,
            vacant: Vacant {
                since_ms: now.ms,
                limit_ms: None,
            },
            greets: None,
            placed: None,
        };
        self.sessions.insert(id, session);
        if self.policy.asks_for_groups() && !self.groups.contains_key(&owner.person) {
            // A rule for a group of theirs may let it stay; until that is known it does.
            self.act(Action::LookUp(owner.person.clone()));
        } else {
            self.settle_limit(id);
        }
        match second {
            true => self.end_second(now, id),
            false => self.rejoin(id),
        }
        // Who was logging in begins anew: the greeter's way to a broker that is gone is gone too. For
        // the terminal that is a broken link, after which it asks again by itself.
        self.end_lost_greeters(now, DetachReason::LinkLost);
        std::mem::take(&mut self.actions)
    }

    /// Sets how long a desktop without a terminal may stay that was found running: by the policy of
    /// the terminal that had it last.
    fn settle_limit(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let records = self.attaches.values().filter(|record| record.session == id);
        let last = records.max_by_key(|record| record.attach);
        let (terminal, card) = last.map_or(("", None), |record| {
            (record.terminal.as_str(), record.edge.id())
        });
        let outcome = self.decide(terminal, card, Some(&session.person));
        let limit_ms = Vacant::new(self.now, &outcome).limit_ms;
        let session = self.sessions.get_mut(&id).expect("just found");
        session.vacant.limit_ms = limit_ms;
    }

    /// The groups of people are known: so is how long their desktops may stay.
    pub(super) fn settle_limits(&mut self, groups: &BTreeMap<String, Option<Vec<String>>>) {
        let known = |person: &str| groups.get(person).is_some_and(Option::is_some);
        let theirs = |session: &Session| session.holder.is_none() && known(&session.person);
        let sessions = self.sessions.iter().filter(|(_, session)| theirs(session));
        let theirs: Vec<SessionId> = sessions.map(|(id, _)| *id).collect();
        for id in theirs {
            self.settle_limit(id);
        }
    }

    fn end_second(&mut self, now: Moment, id: SessionId) {
        let reason = DetachReason::SessionEnded;
        self.ending(now, id, reason.clone());
        self.act(Action::ToSession(id, ToSession::End { reason }));
    }

    /// Puts an adopted session where it was attached last, if that terminal may still have it.
    fn rejoin(&mut self, id: SessionId) {
        let attaches = self.attaches.values();
        let last = attaches.filter(|record| record.session == id && record.over.is_none());
        let Some(last) = last.max_by_key(|record| record.attach).cloned() else {
            return;
        };
        let Some(terminal) = self.terminals.get_mut(&last.terminal) else {
            return;
        };
        let greeter = self.sessions[&id].kind == Kind::Greeter;
        if greeter || terminal.slot != Slot::Empty || terminal.key != Some(last.key) {
            return;
        }
        terminal.slot = Slot::Resumable(Join {
            edge: last.edge,
            shown: last.shown,
            session: id,
            attach: last.attach,
            breaks: Vec::new(),
            confirmed: false,
        });
        let session = self.sessions.get_mut(&id).expect("just inserted");
        session.holder = Some(Holder {
            terminal: last.terminal,
            attach: last.attach,
            phase: Phase::Live,
        });
    }

    pub(super) fn started(&mut self, id: SessionId, pid: u32, uid: u32) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.pid = pid;
            session.uid = uid;
        }
    }

    pub(super) fn ready(&mut self, now: Moment, id: SessionId, ready: Ready) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if matches!(session.state, State::Ending { .. }) {
            return;
        }
        session.answers.connected();
        let started = matches!(session.state, State::Starting { .. });
        let Hex(pin) = ready.spki_sha256;
        session.state = State::Running(Door {
            port: ready.port,
            pin: KeyPin(pin),
            wayland_display: ready.wayland_display.chars().take(64).collect(),
            since_ms: now.ms,
        });
        let attached = ready.attached.map(|attached| attached.attach_id);
        self.reconcile(now, id, attached);
        let Some(terminal) = self.waiting_for(id) else {
            return;
        };
        let Slot::Waiting { shown, .. } = self.terminals[&terminal].slot else {
            return;
        };
        if let Some(edge) = self.park(&terminal) {
            let session = &self.sessions[&id];
            let (kind, person) = (session.kind.clone(), session.person.clone());
            if kind == Kind::Desktop && !self.is_enough(now, &terminal, &edge, &person, shown) {
                return self.open(now, &terminal, edge);
            }
            let entry = Entry {
                edge,
                shown,
                breaks: Vec::new(),
            };
            self.offer(now, id, &terminal, entry, started);
        }
    }

    /// Compares who is attached, as the session says, with what is remembered. An offer may have
    /// been lost with an old connection, so it is made again.
    fn reconcile(&mut self, now: Moment, id: SessionId, attached: Option<AttachId>) {
        let session = self.sessions.get_mut(&id).expect("a known session");
        let ours = session.holder.as_ref().map(|holder| holder.attach);
        if let Some(strange) = attached.filter(|attach| ours != Some(*attach)) {
            self.part(id, strange);
        }
        let session = self.sessions.get_mut(&id).expect("a known session");
        let Some(holder) = &mut session.holder else {
            return;
        };
        let terminal = holder.terminal.clone();
        if attached == Some(holder.attach) {
            holder.phase = Phase::Live;
            if let Some(Slot::Joined(join) | Slot::Resumable(join)) = self.slot_mut(&terminal) {
                join.confirmed = true;
            }
            // An earlier broker has run what was to be run when the person came.
            return self.place(id, false);
        }
        let known = &self.terminals[&terminal];
        match (&known.slot, known.online) {
            // An earlier broker's word that there was an attach is no proof that there still is.
            (Slot::Joined(join), Some(_)) if !join.confirmed => {
                let edge = join.edge.clone();
                self.vacate_parked(&terminal, DetachReason::LinkLost);
                self.open(now, &terminal, edge);
            }
            (Slot::Joined(join), Some(_)) => {
                let (edge, breaks) = (join.edge.clone(), join.breaks.clone());
                let shown = join.shown;
                let entry = Entry {
                    edge,
                    shown,
                    breaks,
                };
                self.offer(now, id, &terminal, entry, false);
            }
            _ => self.vacate(&terminal, DetachReason::LinkLost),
        }
    }

    pub(super) fn session_says(&mut self, now: Moment, id: SessionId, message: FromSession) {
        match message {
            FromSession::Ready(ready) => self.ready(now, id, ready),
            FromSession::Attached(attached) => self.phase(id, attached.attach_id, Phase::Live),
            FromSession::FirstFrame { attach_id, took_ms } => {
                self.first_frame(now, id, attach_id, took_ms);
            }
            FromSession::Detached { attach_id, reason } => {
                self.detached(now, id, attach_id, reason);
            }
            FromSession::Stats(stats) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.answers.said(now.ms, *stats);
                }
            }
            FromSession::Ending { reason } => self.ending(now, id, reason),
            FromSession::Asks(ask) => self.asks(now, id, ask),
        }
    }

    pub(super) fn phase(&mut self, id: SessionId, attach: AttachId, phase: Phase) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        match &mut session.holder {
            Some(holder) if holder.attach == attach => {
                holder.phase = phase;
                if phase == Phase::Live {
                    self.arrived(id);
                }
            }
            // A terminal that came with its ticket when the attach was off already.
            _ if phase == Phase::Live => self.part(id, attach),
            _ => {}
        }
    }

    /// Parts a session from a terminal that is not to have it.
    fn part(&mut self, id: SessionId, attach: AttachId) {
        let detach = ToSession::Detach {
            attach_id: Some(attach),
            reason: DetachReason::LinkLost,
        };
        self.act(Action::ToSession(id, detach));
    }

    fn first_frame(&mut self, now: Moment, id: SessionId, attach: AttachId, took_ms: u32) {
        let Some(record) = self.attaches.get(&attach).filter(|r| r.session == id) else {
            return;
        };
        let record = record.clone();
        // A session is its person's, who may have it say this over and over.
        match self.sessions.get_mut(&id) {
            Some(session) if session.first_frame < Some(attach) => {
                session.first_frame = Some(attach);
            }
            _ => return,
        }
        let who = Who {
            person: &record.person,
            terminal: &record.terminal,
            card: &record.edge.card,
        };
        self.audit(now, "first_frame", who, format!("after {took_ms} ms"));
    }

    fn detached(&mut self, now: Moment, id: SessionId, attach: AttachId, reason: DetachReason) {
        let holder = self.sessions.get(&id).and_then(|s| s.holder.clone());
        let Some(holder) = holder.filter(|holder| holder.attach == attach) else {
            return;
        };
        let terminal = &self.terminals[&holder.terminal];
        let person = self.sessions[&id].person.clone();
        let card = terminal.slot.edge().map(|edge| edge.card.clone());
        let joined = matches!(terminal.slot, Slot::Joined(_)) && terminal.online.is_some();
        let broken = matches!(
            reason,
            DetachReason::LinkLost | DetachReason::ProtocolViolation | DetachReason::CardRemoved
        );
        let who = Who {
            person: &person,
            terminal: &holder.terminal,
            card: &card.unwrap_or_default(),
        };
        self.audit(now, "detached", who, format!("{reason:?}"));
        match (joined, broken) {
            // The terminal says itself what it makes of it: LinkEnded or CardRemoved.
            (true, true) => {
                let until_ms = now.ms + SAY_MS;
                self.phase(id, attach, Phase::Lost { until_ms });
            }
            (true, false) => self.vacate_parked(&holder.terminal, reason),
            (false, _) => self.vacate(&holder.terminal, reason),
        }
    }

    /// The session ends, by its own or our wish; whoever has it is told.
    pub(super) fn ending(&mut self, now: Moment, id: SessionId, reason: DetachReason) {
        let until_ms = now.ms + self.setup.end_ms;
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if matches!(session.state, State::Ending { .. }) {
            return;
        }
        session.state = State::Ending {
            until_ms,
            reason: reason.clone(),
        };
        let holder = session.holder.take();
        self.departed(id);
        if let Some(holder) = holder {
            self.attach_over(holder.attach, &reason);
            self.park(&holder.terminal);
            let message = ToTerminal::Detach {
                attach_id: holder.attach,
                reason,
            };
            self.tell(&holder.terminal, message);
        }
        if let Some(terminal) = self.waiting_for(id) {
            let text = "Your desktop was ended. Try again to start another.";
            self.refuse(now, &terminal, CardRefusal::SessionFailed, text);
        }
    }

    pub(super) fn overdue(&mut self, now: Moment, id: SessionId) {
        let session = self.sessions.get_mut(&id).expect("a known session");
        if matches!(session.state, State::Running(_)) {
            return match session.holder.as_ref().map(|holder| holder.phase) {
                None => self.vacant_too_long(now, id),
                Some(Phase::Offered {
                    is_in_doubt: true, ..
                }) => self.still_in_doubt(now, id),
                Some(Phase::Offered { .. }) => self.never_came(now, id),
                Some(Phase::Lost { .. } | Phase::Live) => self.still_lost(now, id),
            };
        }
        // Its process being gone is an event of its own; this deadline shall not pass again.
        let far = now.ms + self.setup.end_ms;
        if let State::Starting { until_ms }
        | State::Adopting { until_ms }
        | State::Ending { until_ms, .. } = &mut session.state
        {
            *until_ms = far;
        }
        self.act(Action::Kill(id));
    }

    pub(super) fn gone(&mut self, now: Moment, id: SessionId, how: Gone) {
        // Whoever was there has left with it, though nobody has said so.
        self.depart(id, false);
        let Some(mut session) = self.sessions.remove(&id) else {
            return;
        };
        let failures = self.count_failure(now, &session, &how);
        let (word, reason) = match (&session.state, &how) {
            (State::Ending { reason, .. }, _) => ("session_ended", reason.clone()),
            (State::Running(_), Gone::Exited) => ("session_ended", DetachReason::SessionEnded),
            _ => ("session_crashed", DetachReason::SessionCrashed),
        };
        let person = session.person.clone();
        let who = Who {
            person: &person,
            ..Who::default()
        };
        let detail = match &session.state {
            State::Ending { reason, .. } => format!("{reason:?}"),
            _ => how.in_words(),
        };
        self.audit(now, word, who, format!("{id}: {detail}"));
        let kept = Record::SessionEnded(id, now.unix_ms / 1000, detail);
        self.act(Action::Keep(kept));
        let holder = session.holder.take();
        let waiting = self.waiting_for(id);
        if let Some(holder) = &holder {
            self.attach_over(holder.attach, &reason);
            self.park(&holder.terminal);
            let message = ToTerminal::Detach {
                attach_id: holder.attach,
                reason: reason.clone(),
            };
            self.tell(&holder.terminal, message);
        }
        let failed = reason == DetachReason::SessionCrashed;
        let told = waiting.or(holder.filter(|_| failed).map(|holder| holder.terminal));
        if let Some(terminal) = told {
            let (refusal, text) = how.for_the_person(&session.kind, failures);
            self.refuse(now, &terminal, refusal, &text);
        }
    }

    /// How many of a person's sessions in a row have died young.
    fn count_failure(&mut self, now: Moment, session: &Session, how: &Gone) -> u32 {
        let young = match &session.state {
            State::Starting { .. } => true,
            State::Running(door) => now.ms < door.since_ms + YOUNG_MS && *how != Gone::Exited,
            State::Adopting { .. } | State::Ending { .. } => false,
        };
        if !young {
            self.failures.remove(&session.person);
            return 0;
        }
        let failures = self.failures.entry(session.person.clone()).or_default();
        *failures = failures.saturating_add(1);
        *failures
    }
}

impl Gone {
    fn in_words(&self) -> String {
        match self {
            Self::NoAccount(text) | Self::NotStarted(text) | Self::Died(text) => text.clone(),
            Self::Exited => "exited".to_owned(),
        }
    }

    fn for_the_person(&self, kind: &Kind, failures: u32) -> (CardRefusal, String) {
        let again = match failures {
            0..=2 => "Try again.".to_owned(),
            n => format!("It has failed {n} times in a row: ask your administrator."),
        };
        let what = match kind {
            Kind::Desktop => "Your desktop",
            Kind::Greeter => "The page for logging in",
            Kind::Kiosk(_) => "What this terminal shows",
        };
        let text = match self {
            // An account of the system's own is none of the person's.
            Self::NoAccount(text) if *kind == Kind::Desktop => {
                return (CardRefusal::NoAccount, text.clone());
            }
            Self::NoAccount(text) | Self::NotStarted(text) => {
                format!("{what} could not be started: {text}. {again}")
            }
            Self::Exited => format!("{what} ended as soon as it had started. {again}"),
            Self::Died(text) => format!("{what} has crashed: {text}. {again}"),
        };
        (CardRefusal::SessionFailed, text)
    }
}

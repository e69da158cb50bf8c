//! What terminals say.

use heliostat_wire::close::CloseCode;
use heliostat_wire::control::{CardRefusal, DetachReason, Hello, LoginOffer, ToBroker, ToTerminal};
use heliostat_wire::id::{AttachId, KeyPin};
use heliostat_wire::receipt::Receipt;

use super::cards::Entry;
use super::offers::SAY_MS;
use super::*;
use crate::card_ids;
use crate::policy::Proof;

/// Links of one card edge that may break within [`BREAKS_WITHIN_MS`] before it takes a person to
/// try again.
const MAX_BREAKS: usize = 5;
const BREAKS_WITHIN_MS: u64 = 20_000;

impl Directory {
    pub(super) fn hello(&mut self, now: Moment, online: Online, key: KeyPin, hello: Hello) {
        let said_id = hello.terminal_id.as_str();
        let id = card_ids::in_one_case(said_id);
        if id.is_empty() {
            let text = "a terminal needs an id".to_owned();
            self.act(Action::Close(
                online.link,
                CloseCode::ProtocolViolation,
                text,
            ));
            return;
        }
        if self.is_taken(&id, key) {
            let text = format!("a terminal with the id {id} is here already");
            return self.act(Action::Close(online.link, CloseCode::IdTaken, text));
        }
        self.make_room(&id);
        self.supersede(now, &id);
        let known = self.terminals.entry(id.clone()).or_insert_with(unknown);
        let same_boot = known.key == Some(key);
        known.name = match hello.name.as_str() {
            "" => id.clone(),
            name => name.to_owned(),
        };
        known.software = hello.software.as_str().to_owned();
        known.outputs = hello.outputs;
        known.boot_ms = hello.boot_ms;
        known.seen_s = now.unix_ms / 1000;
        known.key = Some(key);
        known.said_id = said_id.to_owned();
        known.online = Some(online);
        let (kept, name) = (known.clone(), known.name.clone());
        self.links.insert(online.link, id.clone());
        if same_boot {
            self.make_resumable(&id);
        } else {
            self.vacate(&id, DetachReason::LinkLost);
        }
        let welcome = ToTerminal::Welcome {
            terminal_name: name.as_str().into(),
            site: self.setup.site.as_str().into(),
            unix_time_s: now.unix_ms / 1000,
            login: self.note_login(&id).0,
        };
        self.act(Action::ToTerminal(online.link, welcome));
        self.audit(now, "terminal_online", at(&id), online.address.to_string());
        self.act(Action::Keep(Record::Terminal(id, kept)));
    }

    /// Tells terminals whose logins without a card are other than they know.
    pub(super) fn offer_logins(&mut self) {
        let online: Vec<String> = self.links.values().cloned().collect();
        for id in online {
            if let (login, true) = self.note_login(&id) {
                self.tell(&id, ToTerminal::Login(login));
            }
        }
    }

    /// What a terminal that is online is to know of logins without a card, and whether that is new.
    fn note_login(&mut self, id: &str) -> (LoginOffer, bool) {
        let login = self.login_at(id);
        let known = self.terminals.get_mut(id);
        let Some(online) = known.and_then(|known| known.online.as_mut()) else {
            return (login, false);
        };
        let told = std::mem::replace(&mut online.login, login);
        (login, told != login)
    }

    /// What a terminal is told of logins without a card.
    fn login_at(&self, id: &str) -> LoginOffer {
        let outcome = self.decide(id, None, None);
        match (
            outcome.kiosk.0.is_empty(),
            outcome.login && self.setup.greeter_user.is_some(),
        ) {
            (false, _) => LoginOffer::Now,
            (true, true) => LoginOffer::Offered,
            (true, false) => LoginOffer::None,
        }
    }

    /// Whether a live link with another key has this id. Ids are no secrets, so whoever names one
    /// takes nobody's place; a terminal that has booted anew waits until its former link is found
    /// dead.
    fn is_taken(&self, id: &str, key: KeyPin) -> bool {
        let known = self.terminals.get(id);
        known.is_some_and(|terminal| terminal.online.is_some() && terminal.key != Some(key))
    }

    /// A second link of a terminal takes the place of the first.
    fn supersede(&mut self, now: Moment, id: &str) {
        let old = self.terminals.get_mut(id).and_then(|t| t.online.take());
        if let Some(old) = old {
            self.links.remove(&old.link);
            let text = "a newer link of this terminal has come".to_owned();
            self.act(Action::Close(old.link, CloseCode::Superseded, text));
            self.audit(now, "terminal_superseded", at(id), old.address.to_string());
        }
    }

    /// After a broken link the terminal repeats its card edge if the card is still there.
    fn make_resumable(&mut self, id: &str) {
        let old = self.replace(id, Slot::Empty);
        if let Slot::Joined(join) | Slot::Resumable(join) = old {
            self.replace(id, Slot::Resumable(join));
        }
    }

    /// Forgets the terminal that has been away longest where there are too many.
    fn make_room(&mut self, id: &str) {
        if self.terminals.len() < MAX_TERMINALS || self.terminals.contains_key(id) {
            return;
        }
        let away = self
            .terminals
            .iter()
            .filter(|(_, t)| t.online.is_none() && t.slot == Slot::Empty)
            .min_by_key(|(_, t)| t.seen_s)
            .map(|(id, _)| id.clone());
        if let Some(away) = away {
            self.terminals.remove(&away);
            self.act(Action::Keep(Record::TerminalForgotten(away)));
        }
    }

    pub(super) fn link_down(&mut self, now: Moment, link: LinkId) {
        let Some(id) = self.links.remove(&link) else {
            return;
        };
        self.audit(now, "terminal_offline", at(&id), "");
        let terminal = self.terminals.get_mut(&id).expect("links name terminals");
        terminal.online = None;
        terminal.seen_s = now.unix_ms / 1000;
        if !matches!(terminal.slot, Slot::Joined(_) | Slot::Resumable(_)) {
            self.replace(&id, Slot::Empty);
        }
        self.drop_lost(&id);
    }

    /// An attach whose session link and control link are both gone is over.
    fn drop_lost(&mut self, id: &str) {
        let terminal = &self.terminals[id];
        let (Slot::Joined(join) | Slot::Resumable(join)) = &terminal.slot else {
            return;
        };
        let session = &self.sessions[&join.session];
        if session.is_lost() {
            self.vacate(id, DetachReason::LinkLost);
        }
    }

    pub(super) fn terminal_says(&mut self, now: Moment, link: LinkId, message: ToBroker) {
        let Some(id) = self.links.get(&link).cloned() else {
            return;
        };
        match message {
            ToBroker::Hello(_) => self.violation(link, "a terminal says hello once"),
            ToBroker::CardInserted { seq, card, .. } => {
                self.inserted(now, &id, seq, card.id.as_str());
            }
            ToBroker::CardUnreadable { why, reader, .. } => {
                self.vacate(&id, DetachReason::CardRemoved);
                let detail = format!("{why:?} in {reader}");
                self.audit(now, "card_unreadable", at(&id), detail);
            }
            ToBroker::CardRemoved { seq } => self.removed(now, &id, seq),
            ToBroker::Retry { seq } => self.retry(now, &id, seq),
            ToBroker::LinkEnded { attach_id, reason } => {
                self.link_ended(now, &id, attach_id, reason);
            }
            ToBroker::Receipt(receipt) => self.receipt(&id, receipt),
            ToBroker::Outputs(outputs) => self.outputs(&id, outputs),
            ToBroker::Login { seq } => self.inserted(now, &id, seq, ""),
            ToBroker::Proof(signed) => self.proof(now, &id, &signed),
            ToBroker::NoProof { seq, why } => self.no_proof(now, &id, seq, why),
            ToBroker::Ping(number) => self.act(Action::ToTerminal(link, ToTerminal::Pong(number))),
        }
    }

    fn violation(&mut self, link: LinkId, text: &str) {
        let code = CloseCode::ProtocolViolation;
        self.act(Action::Close(link, code, text.to_owned()));
    }

    fn outputs(&mut self, id: &str, outputs: heliostat_wire::output::Outputs) {
        let terminal = self.terminals.get_mut(id).expect("links name terminals");
        terminal.outputs = outputs;
        let kept = terminal.clone();
        self.act(Action::Keep(Record::Terminal(id.to_owned(), kept)));
    }

    fn inserted(&mut self, now: Moment, id: &str, seq: u32, said_card: &str) {
        let card = &card_ids::in_one_case(said_card);
        let good = self.is_still_good(card);
        let terminal = self.terminals.get_mut(id).expect("links name terminals");
        said_card.clone_into(&mut terminal.said_card);
        let same = |edge: &Edge| edge.seq == seq && edge.card == *card;
        match &terminal.slot {
            Slot::Joined(join) if same(&join.edge) => return,
            Slot::Waiting { edge, .. } if same(edge) => return,
            Slot::Proving(proving) if same(&proving.edge) => return,
            Slot::Resumable(join) if same(&join.edge) && good => {
                let (session, join) = (join.session, join.clone());
                terminal.slot = Slot::Joined(join);
                return self.said_again(now, id, session);
            }
            _ => {}
        }
        self.vacate(id, DetachReason::CardRemoved);
        let edge = Edge {
            seq,
            card: card.to_owned(),
            at_ms: now.unix_ms,
        };
        match self.was_called_away(id, &edge) {
            None => self.open(now, id, edge),
            Some(text) => {
                let terminal = self.terminals.get_mut(id).expect("links name terminals");
                terminal.slot = Slot::Parked(edge);
                self.refuse(now, id, CardRefusal::Busy, &text);
            }
        }
    }

    /// Whether a card that opened something earlier may still do so.
    fn is_still_good(&self, card: &str) -> bool {
        let known = self.cards.get(card);
        known.is_none_or(|card| card.revoked_s.is_none() && card.standing != Standing::Asked)
    }

    /// An edge that is repeated after a broken control link does not call a desktop back that has
    /// gone elsewhere or ended since; that takes a person. Says where it is.
    fn was_called_away(&self, id: &str, edge: &Edge) -> Option<String> {
        let key = self.terminals[id].key;
        let greeter = self.setup.greeter_user.as_deref();
        let earlier = self.attaches.values().rfind(|record| {
            record.terminal == id
                // Logging in begins anew as often as it has to.
                && Some(record.person.as_str()) != greeter
                && Some(record.key) == key
                && (record.edge.seq, &record.edge.card) == (edge.seq, &edge.card)
        })?;
        let Some(session) = self.sessions.get(&earlier.session) else {
            return Some("Your desktop has ended. Try again to start another.".to_owned());
        };
        let wanted = session.holder.is_none() && earlier.over == Some(Over::Wanted);
        if wanted && !self.takes_a_person(id, &edge.card, &session.person) {
            return Some("Your desktop waits for you. Try again to have it here.".to_owned());
        }
        let holder = session.holder.as_ref().filter(|h| h.terminal != id)?;
        let name = &self.terminals[&holder.terminal].name;
        Some(format!(
            "Your desktop is at {name}. Try again to call it here."
        ))
    }

    /// Whether a card opens nothing without somebody who types something.
    fn takes_a_person(&self, terminal: &str, card: &str, person: &str) -> bool {
        let outcome = self.decide(terminal, Some(card), Some(person));
        let needed = outcome.needs(kind_of(card));
        let needed =
            needed.map(|needed| self.after_grace(self.now, card, person, &outcome, needed));
        matches!(needed, Some(Proof::CardPin | Proof::Password))
    }

    fn removed(&mut self, now: Moment, id: &str, seq: u32) {
        let edge = self.terminals[id].slot.edge();
        let Some(edge) = edge.filter(|edge| edge.seq == seq).cloned() else {
            return;
        };
        self.vacate(id, DetachReason::CardRemoved);
        let person = self.person_of(&edge.card).unwrap_or_default().to_owned();
        let who = Who {
            person: &person,
            terminal: id,
            card: &edge.card,
        };
        self.audit(now, "card_removed", who, "");
    }

    fn retry(&mut self, now: Moment, id: &str, seq: u32) {
        let Slot::Parked(edge) = &self.terminals[id].slot else {
            return;
        };
        if edge.seq == seq {
            let edge = edge.clone();
            self.open(now, id, edge);
        }
    }

    fn link_ended(&mut self, now: Moment, id: &str, attach: AttachId, reason: DetachReason) {
        let terminal = self.terminals.get_mut(id).expect("links name terminals");
        let Slot::Joined(join) = &terminal.slot else {
            return;
        };
        if join.attach != attach {
            return;
        }
        if reason == DetachReason::SessionCrashed {
            // The end of its process is about to be heard of, and says why.
            let (session, until_ms) = (join.session, now.ms + SAY_MS);
            return self.phase(session, attach, Phase::Lost { until_ms });
        }
        let broken = matches!(
            reason,
            DetachReason::LinkLost | DetachReason::ProtocolViolation
        );
        if !broken {
            self.vacate_parked(id, reason);
            return;
        }
        self.mend(now, id);
    }

    /// A session link broke though the card is there: it is offered again, but not for ever.
    pub(super) fn mend(&mut self, now: Moment, id: &str) {
        let terminal = self.terminals.get_mut(id).expect("a known terminal");
        let Slot::Joined(join) = &mut terminal.slot else {
            return;
        };
        join.breaks.retain(|at| at + BREAKS_WITHIN_MS > now.ms);
        join.breaks.push(now.ms);
        if join.breaks.len() > MAX_BREAKS {
            self.vacate_parked(id, DetachReason::LinkLost);
            let text = "The connection to your desktop breaks again and again. Try again.";
            self.refuse(now, id, CardRefusal::SessionFailed, text);
            return;
        }
        let (session, edge, breaks) = (join.session, join.edge.clone(), join.breaks.clone());
        let shown = join.shown;
        if matches!(self.sessions[&session].state, State::Running(_)) {
            let entry = Entry {
                edge,
                shown,
                breaks,
            };
            self.offer(now, session, id, entry, false);
        }
    }

    /// Parts a terminal from its session; the card stays parked.
    pub(super) fn vacate_parked(&mut self, id: &str, reason: DetachReason) {
        let edge = self.terminals.get(id).and_then(|t| t.slot.edge()).cloned();
        self.vacate(id, reason);
        if let Some(edge) = edge {
            let slot = self.parked(id, edge);
            if let Some(terminal) = self.terminals.get_mut(id) {
                terminal.slot = slot;
            }
        }
    }

    /// Keeps a receipt, if the attach was this terminal's.
    fn receipt(&mut self, id: &str, receipt: Receipt) {
        let record = self.attaches.get(&receipt.attach_id);
        let Some(record) = record.filter(|record| record.terminal == id).cloned() else {
            return;
        };
        let name = self.terminals[id].name.clone();
        self.act(Action::Keep(Record::Receipt(record, name, receipt)));
    }
}

fn unknown() -> Terminal {
    Terminal {
        name: String::new(),
        software: String::new(),
        outputs: Default::default(),
        boot_ms: (0, 0),
        seen_s: 0,
        key: None,
        said_id: String::new(),
        said_card: String::new(),
        online: None,
        slot: Slot::Empty,
    }
}

fn at(terminal: &str) -> Who<'_> {
    Who {
        terminal,
        ..Who::default()
    }
}

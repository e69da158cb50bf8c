//! Who is where: cards, people, terminals, sessions and attaches.
//!
//! Pure: events and the time in, actions out. One owner, the hub, holds it and does what it asks
//! for. What must hold at any time is written down in [`Directory::check`] and property-tested.
//!
//! A terminal's slot says what its card has led to, a session's holder where it is shown; the two
//! always agree:
//!
//! ```text
//! Empty ──edge──► Parked            card refused
//!            ├──► Proving ──proof──► Waiting, Joined, or Parked
//!            ├──► Waiting ──ready──► Joined ──moved, ended──► Parked
//!            └──► Joined             │ ▲ link broken: offered again
//! Parked ──retry, edge──► as above   └─┘
//! Joined to a greeter ──logged in──► Proving, Waiting, Joined, or Parked
//! Joined ──control link back──► Resumable ──same edge──► Joined
//! any ──card pulled──► Empty
//! ```

mod admin;
mod cards;
mod explain;
mod greeting;
mod offers;
mod places;
mod proving;
mod sessions;
mod stats;
mod terminals;
#[cfg(test)]
mod tests;
mod types;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use heliostat_control::admin::AuditRow;
use heliostat_control::session::ToSession;
use heliostat_control::stats::SessionStats;
use heliostat_wire::card::CardKind;
use heliostat_wire::control::{CardRefusal, DetachReason, LoginOffer, ToTerminal};
use heliostat_wire::id::{AttachId, SessionId};
use sha2::{Digest, Sha256};

pub use admin::Changed;
pub use stats::Answers;
pub use types::*;
pub use view::Counts;

use crate::policy::Policy;
use crate::proof::Authorities;

/// Attaches whose receipts may still come.
const MAX_ATTACHES: usize = 1024;
/// Terminals that are remembered.
const MAX_TERMINALS: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct Directory {
    setup: Setup,
    policy: Policy,
    /// What is wrong with the policy on the disk, where the one before still holds.
    policy_refused: Option<String>,
    /// Whose certificates count, where any do.
    authorities: Option<Authorities>,
    /// The groups of people, as far as they are known.
    groups: BTreeMap<String, Vec<String>>,
    /// Terminals whose card waits until its person's groups are known.
    ungrouped: BTreeMap<String, Ungrouped>,
    /// Cards whose last strong proof still counts, by card and person.
    graces: BTreeMap<(String, String), Grace>,
    /// The moment of the event that is being handled.
    now: Moment,
    /// How often something random was drawn.
    drawn: u64,
    people: BTreeSet<String>,
    cards: BTreeMap<String, Card>,
    terminals: BTreeMap<String, Terminal>,
    links: BTreeMap<LinkId, String>,
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions in a row that died young, by person.
    failures: BTreeMap<String, u32>,
    attaches: BTreeMap<AttachId, AttachRecord>,
    next_attach: u64,
    actions: Vec<Action>,
}

/// What a directory starts from.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Known people.
    pub people: BTreeSet<String>,
    /// All cards.
    pub cards: BTreeMap<String, Card>,
    /// All terminals.
    pub terminals: BTreeMap<String, Terminal>,
    /// The latest attaches.
    pub attaches: Vec<AttachRecord>,
    /// The first attach id that was never used.
    pub next_attach: u64,
}

impl Directory {
    /// The directory of a site, starting from what is remembered.
    pub fn new(
        setup: Setup,
        policy: Policy,
        authorities: Option<Authorities>,
        remembered: Remembered,
    ) -> Self {
        let attaches = remembered
            .attaches
            .into_iter()
            .map(|record| (record.attach, record))
            .collect();
        Self {
            setup,
            policy,
            policy_refused: None,
            authorities,
            groups: BTreeMap::new(),
            ungrouped: BTreeMap::new(),
            graces: BTreeMap::new(),
            now: Moment::default(),
            drawn: 0,
            people: remembered.people,
            cards: remembered.cards,
            terminals: remembered.terminals,
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            failures: BTreeMap::new(),
            attaches,
            next_attach: remembered.next_attach,
            actions: Vec::new(),
        }
    }

    /// Takes an event in and gives out what is to be done, in order.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Action> {
        self.now = now;
        match event {
            Event::Hello {
                link,
                key,
                address,
                exporter,
                hello,
            } => {
                let online = Online {
                    link,
                    address,
                    exporter,
                    login: LoginOffer::None,
                };
                self.hello(now, online, key, hello);
            }
            Event::Terminal { link, message } => self.terminal_says(now, link, message),
            Event::LinkDown { link } => self.link_down(now, link),
            Event::SessionStarted { session, pid, uid } => self.started(session, pid, uid),
            Event::SessionReady { session, ready } => self.ready(now, session, ready),
            Event::Session { session, message } => self.session_says(now, session, message),
            Event::SessionGone { session, how } => self.gone(now, session, how),
            Event::LoggedIn(said) => self.logged_in(now, said),
            Event::LoginFailed {
                greeter,
                person,
                text,
            } => self.login_failed(now, greeter, &person, &text),
            Event::Groups(groups) => self.groups_are(now, groups),
            Event::Policy(policy) => self.policy_changed(now, *policy),
            Event::HookFailed {
                person,
                terminal,
                text,
            } => {
                let who = Who {
                    person: &person,
                    terminal: &terminal,
                    card: "",
                };
                self.audit(now, "hook_failed", who, text);
            }
            Event::PolicyRefused(why) => {
                self.policy_refused = Some(why.clone());
                self.audit(now, "policy_refused", Who::default(), why);
            }
            Event::Tick => self.tick(now),
        }
        self.end_lost_greeters(now, DetachReason::SessionEnded);
        std::mem::take(&mut self.actions)
    }

    /// Opens what had to wait until it was known which groups these people are in.
    fn groups_are(&mut self, now: Moment, groups: BTreeMap<String, Option<Vec<String>>>) {
        for (person, groups) in &groups {
            if let Some(groups) = groups {
                self.groups.insert(person.clone(), groups.clone());
            }
        }
        for (terminal, waiting) in std::mem::take(&mut self.ungrouped) {
            let Some(edge) = self.waits_for_groups(&terminal, waiting) else {
                continue;
            };
            let person = self.person_of(&edge.card).unwrap_or_default();
            if !groups.contains_key(person) {
                self.ungrouped.insert(terminal, waiting);
            } else if self.groups.contains_key(person) {
                self.open(now, &terminal, edge);
            } else {
                self.cannot_be_looked_up(now, &terminal);
            }
        }
        self.settle_limits(&groups);
    }

    /// The card that still waits at a terminal.
    fn waits_for_groups(&mut self, terminal: &str, waiting: Ungrouped) -> Option<Edge> {
        match self.slot_mut(terminal) {
            Some(Slot::Parked(edge)) if edge.seq == waiting.seq => Some(edge.clone()),
            _ => None,
        }
    }

    fn cannot_be_looked_up(&mut self, now: Moment, terminal: &str) {
        let text = "The server cannot look you up at the moment. Try again.";
        self.refuse(now, terminal, CardRefusal::SessionFailed, text);
    }

    /// People whose groups are known, and may have changed.
    pub fn grouped(&self) -> Vec<String> {
        self.groups.keys().cloned().collect()
    }

    fn policy_changed(&mut self, now: Moment, policy: Policy) {
        self.policy = policy;
        self.policy_refused = None;
        // What was shown under the old one may not be enough under the new.
        self.graces.clear();
        self.audit(now, "policy_changed", Who::default(), "");
        self.offer_logins();
    }

    /// Greeters from which their terminal has turned away.
    fn end_lost_greeters(&mut self, now: Moment, reason: DetachReason) {
        let alone = |session: &Session| session.kind == Kind::Greeter && session.holder.is_none();
        let sessions = self.sessions.iter().filter(|(_, session)| alone(session));
        let alone: Vec<SessionId> = sessions.map(|(id, _)| *id).collect();
        for id in alone {
            if self.waiting_for(id).is_none() {
                self.end_greeter(now, id, reason.clone());
            }
        }
    }

    /// When [`Event::Tick`] is due next, in milliseconds of the clock that never goes back.
    pub fn next_deadline(&self) -> Option<u64> {
        let sessions = self.sessions.values().filter_map(|session| session.until());
        let slots = self.terminals.values().filter_map(|t| match t.slot {
            Slot::Waiting { until_ms, .. } => Some(until_ms),
            Slot::Proving(ref proving) => Some(proving.until_ms),
            _ => None,
        });
        let ungrouped = self.ungrouped.values().map(|waiting| waiting.until_ms);
        sessions.chain(slots).chain(ungrouped).min()
    }

    fn tick(&mut self, now: Moment) {
        let overdue: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.until().is_some_and(|until| until <= now.ms))
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            self.overdue(now, id);
        }
        for (terminal, waiting) in self.ungrouped.clone() {
            if waiting.until_ms <= now.ms {
                self.ungrouped.remove(&terminal);
                if self.waits_for_groups(&terminal, waiting).is_some() {
                    self.cannot_be_looked_up(now, &terminal);
                }
            }
        }
        let tired: Vec<_> = self
            .terminals
            .iter()
            .filter(|(_, t)| match &t.slot {
                Slot::Waiting { until_ms, .. } => *until_ms <= now.ms,
                Slot::Proving(proving) => proving.until_ms <= now.ms,
                _ => false,
            })
            .map(|(id, _)| id.clone())
            .collect();
        for terminal in tired {
            if matches!(self.terminals[&terminal].slot, Slot::Proving(_)) {
                self.proving_overdue(now, &terminal);
                continue;
            }
            let text = "Your desktop does not answer. Try again, or ask your administrator.";
            self.refuse(now, &terminal, CardRefusal::SessionFailed, text);
        }
    }

    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn tell(&mut self, terminal: &str, message: ToTerminal) {
        let online = self.terminals.get(terminal).and_then(|t| t.online);
        if let Some(online) = online {
            self.act(Action::ToTerminal(online.link, message));
        }
    }

    fn audit(&mut self, now: Moment, event: &str, who: Who<'_>, detail: impl Into<String>) {
        let name = |id: &str| match self.terminals.get(id) {
            Some(terminal) => terminal.name.clone(),
            None => id.to_owned(),
        };
        let online = self.terminals.get(who.terminal).and_then(|t| t.online);
        let row = AuditRow {
            from: online.map(|online| online.address.ip()),
            at_ms: now.unix_ms,
            event: event.to_owned(),
            outcome: outcome_of(event).to_owned(),
            person: who.person.to_owned(),
            terminal: name(who.terminal),
            card: who.card.to_owned(),
            detail: detail.into(),
            ..AuditRow::default()
        };
        self.act(Action::Audit(row));
    }

    /// Tells a terminal that the card in it opens nothing; the card stays parked.
    fn refuse(&mut self, now: Moment, terminal: &str, reason: CardRefusal, text: &str) {
        let Some(edge) = self.park(terminal) else {
            return;
        };
        let person = self.person_of(&edge.card).unwrap_or_default().to_owned();
        let who = Who {
            person: &person,
            terminal,
            card: &edge.card,
        };
        self.audit(now, "card_refused", who, format!("{reason:?}"));
        let message = ToTerminal::CardRefused {
            seq: edge.seq,
            reason,
            text: text.into(),
        };
        self.tell(terminal, message);
    }

    /// Leaves the card in its reader without a session. The caller sees to the session.
    fn park(&mut self, terminal: &str) -> Option<Edge> {
        let edge = self.terminals.get(terminal)?.slot.edge()?.clone();
        let slot = self.parked(terminal, edge.clone());
        self.replace(terminal, slot);
        Some(edge)
    }

    /// The slot of a terminal whose card has no desktop now. One that is offline says anew which card it
    /// has, and is one that may be forgotten.
    fn parked(&self, terminal: &str, edge: Edge) -> Slot {
        let known = self.terminals.get(terminal);
        match known.is_some_and(|known| known.online.is_some()) {
            true => Slot::Parked(edge),
            false => Slot::Empty,
        }
    }

    /// Puts a slot in the place of another; a login that was to go on there goes nowhere then.
    fn replace(&mut self, terminal: &str, slot: Slot) -> Slot {
        let Some(known) = self.terminals.get_mut(terminal) else {
            return Slot::Empty;
        };
        let old = std::mem::replace(&mut known.slot, slot);
        if let Slot::Proving(proving) = &old {
            self.drop_login(proving.login);
        }
        old
    }

    /// Parts a terminal from whatever its card led to and tells the session why.
    fn vacate(&mut self, terminal: &str, reason: DetachReason) {
        let slot = self.replace(terminal, Slot::Empty);
        let (Slot::Joined(join) | Slot::Resumable(join)) = slot else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(&join.session) {
            session.holder = None;
        }
        self.attach_over(join.attach, &reason);
        self.vacated(terminal, &join);
        let detach = ToSession::Detach {
            attach_id: Some(join.attach),
            reason,
        };
        self.act(Action::ToSession(join.session, detach));
    }

    /// Notes that an attach is over, for whoever asks later and for a later broker.
    fn attach_over(&mut self, attach: AttachId, reason: &DetachReason) {
        let Some(record) = self.attaches.get_mut(&attach) else {
            return;
        };
        record.over = Some(match reason {
            DetachReason::LinkLost
            | DetachReason::ProtocolViolation
            | DetachReason::CardRemoved
            | DetachReason::SessionCrashed => Over::Lost,
            DetachReason::MovedElsewhere { .. }
            | DetachReason::SessionEnded
            | DetachReason::ByAdmin
            | DetachReason::ByPerson
            | DetachReason::Locked
            | DetachReason::ByPolicy
            | DetachReason::CardRevoked => Over::Wanted,
        });
        let record = record.clone();
        self.act(Action::Keep(Record::Attach(record)));
    }

    /// An id for a session, another one each time.
    fn fresh_id(&mut self) -> SessionId {
        let bytes: [u8; 32] = self.fresh(b"session", &self.now.fresh.0.clone());
        let (id, _) = bytes.split_first_chunk().expect("16 of 32");
        SessionId(*id)
    }

    /// A nonce for a challenge, another one each time.
    fn fresh_nonce(&mut self) -> [u8; 32] {
        self.fresh(b"nonce", &self.now.nonce.clone())
    }

    /// One event may begin several things, so what is random is drawn from what it came with.
    fn fresh(&mut self, what: &[u8], seed: &[u8]) -> [u8; 32] {
        self.drawn += 1;
        let drawn = self.drawn.to_le_bytes();
        let parts = [what, seed, &drawn];
        let hash = parts
            .iter()
            .fold(Sha256::new(), |hash, part| hash.chain_update(part));
        hash.finalize().into()
    }

    fn person_of(&self, card: &str) -> Option<&str> {
        self.cards.get(card).map(|card| card.person.as_str())
    }

    /// Panics where something does not hold that must hold between any two events.
    #[cfg(test)]
    pub fn check(&self) {
        for (id, terminal) in &self.terminals {
            match &terminal.slot {
                Slot::Joined(join) | Slot::Resumable(join) => {
                    let holder = self.sessions[&join.session].holder.as_ref();
                    let holder = holder.expect("a joined session knows its holder");
                    assert_eq!((&holder.terminal, holder.attach), (id, join.attach));
                    assert!(self.attaches.contains_key(&join.attach));
                }
                Slot::Waiting { session, .. } => {
                    let state = &self.sessions[session].state;
                    assert!(matches!(
                        state,
                        State::Starting { .. } | State::Adopting { .. }
                    ));
                }
                Slot::Proving(_) => assert!(terminal.online.is_some(), "nobody to answer"),
                Slot::Parked(_) => assert!(terminal.online.is_some(), "kept for nobody"),
                Slot::Empty => {}
            }
            if let Some(online) = terminal.online {
                assert_eq!(self.links.get(&online.link), Some(id));
            }
        }
        for (id, session) in &self.sessions {
            if let Some(holder) = &session.holder {
                let slot = &self.terminals[&holder.terminal].slot;
                let (Slot::Joined(join) | Slot::Resumable(join)) = slot else {
                    panic!("a session's holder does not know of it: {slot:?}");
                };
                assert_eq!((join.session, join.attach), (*id, holder.attach));
            }
            let waiting = self.terminals.values();
            let waiting = waiting
                .filter(|t| matches!(&t.slot, Slot::Waiting { session, .. } if session == id));
            assert!(waiting.count() <= 1, "two terminals wait for one session");
        }
        let mut people = BTreeSet::new();
        for session in self.sessions.values() {
            let ending = matches!(session.state, State::Ending { .. });
            let desktop = session.kind == Kind::Desktop;
            assert!(
                !desktop || ending || people.insert(&session.person),
                "two desktops"
            );
        }
        for (link, terminal) in &self.links {
            let online = self.terminals[terminal].online;
            assert_eq!(online.map(|online| online.link), Some(*link));
        }
    }
}

/// How an event came out, for whoever reads the audit.
fn outcome_of(event: &str) -> &'static str {
    match event {
        "card_refused" | "proof_refused" | "no_proof" | "policy_refused" => "refused",
        "login_failed" | "session_crashed" | "card_unreadable" | "hook_failed" => "failed",
        _ => "ok",
    }
}

/// What sort of card an id names. Terminals say it as well, but the id is what was added.
pub fn kind_of(card: &str) -> CardKind {
    match card.split(':').next() {
        Some("uid") => CardKind::ContactlessUid,
        Some("atr") => CardKind::AtrSerial,
        _ => CardKind::Piv,
    }
}

/// Whom an audit line concerns.
#[derive(Debug, Clone, Copy, Default)]
struct Who<'a> {
    person: &'a str,
    terminal: &'a str,
    card: &'a str,
}

impl Slot {
    /// The card in it.
    pub fn edge(&self) -> Option<&Edge> {
        match self {
            Self::Empty => None,
            Self::Parked(edge) | Self::Waiting { edge, .. } => Some(edge),
            Self::Proving(proving) => Some(&proving.edge),
            Self::Joined(join) | Self::Resumable(join) => Some(&join.edge),
        }
    }
}

impl Session {
    fn is_greeter(&self) -> bool {
        self.kind == Kind::Greeter
    }

    /// When its present state has lasted too long.
    fn until(&self) -> Option<u64> {
        match (&self.state, self.holder.as_ref().map(|holder| holder.phase)) {
            (
                State::Starting { until_ms }
                | State::Adopting { until_ms }
                | State::Ending { until_ms, .. },
                _,
            ) => Some(*until_ms),
            (State::Running(_), Some(phase)) => phase.until(),
            (State::Running(_), None) => self.vacant.until(),
        }
    }

    /// Whether it says that the link to its terminal is gone.
    fn is_lost(&self) -> bool {
        let phase = self.holder.as_ref().map(|holder| holder.phase);
        matches!(phase, Some(Phase::Lost { .. }))
    }
}

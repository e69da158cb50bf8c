//! Everything that may happen, in any order.

use std::collections::BTreeSet;

use heliostat_wire::card::Unreadable;
use heliostat_wire::proof::{ProofFailure, ProofKey, Purpose};
use hil_card::Recipe;
use proptest::prelude::*;

use super::proofs::Asked;
use super::*;
use crate::policy::Proof;

/// Anything that may happen, with small numbers so that things meet.
#[derive(Debug, Clone)]
enum Op {
    Online(u8, u8),
    Down(u8),
    Insert(u8, u32, u8),
    Unreadable(u8),
    Remove(u8, u32),
    Retry(u8, u32),
    LinkEnded(u8, u8, u8),
    Ready(u8, u8),
    AttachedSays(u8, u8),
    Detached(u8, u8, u8),
    Ending(u8),
    Gone(u8, u8),
    Revoke(u8),
    Add(u8),
    End(u8),
    Tick(u16),
    Login(u8, u32),
    Prove(u8, Answer),
    NoProof(u8, ProofFailure),
    LoggedIn(u8, u8, bool),
    Asks(u8, Ask),
    Policy(u8),
}

/// What a terminal makes of the last challenge that it got.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// What the card signs.
    Good,
    /// What another card signs.
    OfAnotherCard,
    /// What the card signs for another link.
    OfAnotherLink,
}

fn op() -> impl Strategy<Value = Op> {
    use Op::*;
    prop_oneof![
        2 => (0..3u8, 0..3u8).prop_map(|(t, boot)| Online(t, boot)),
        1 => (0..4u8).prop_map(Down),
        6 => (0..4u8, 0..4u32, 0..4u8).prop_map(|(l, seq, card)| Insert(l, seq, card)),
        1 => (0..4u8).prop_map(Unreadable),
        2 => (0..4u8, 0..4u32).prop_map(|(l, seq)| Remove(l, seq)),
        2 => (0..4u8, 0..4u32).prop_map(|(l, seq)| Retry(l, seq)),
        3 => (0..4u8, 0..4u8, 0..3u8).prop_map(|(l, attach, why)| LinkEnded(l, attach, why)),
        4 => (0..3u8, 0..4u8).prop_map(|(s, attach)| Ready(s, attach)),
        2 => (0..3u8, 0..4u8).prop_map(|(s, attach)| AttachedSays(s, attach)),
        2 => (0..3u8, 0..4u8, 0..3u8).prop_map(|(s, attach, why)| Detached(s, attach, why)),
        1 => (0..3u8).prop_map(Ending),
        1 => (0..3u8, 0..3u8).prop_map(|(s, how)| Gone(s, how)),
        1 => (0..4u8).prop_map(Revoke),
        1 => (0..4u8).prop_map(Add),
        1 => (0..3u8).prop_map(End),
        1 => (0..30_000u16).prop_map(Tick),
        2 => (0..4u8, 0..4u32).prop_map(|(l, seq)| Login(l, seq)),
        6 => (0..3u8, answer()).prop_map(|(l, answer)| Prove(l, answer)),
        1 => (0..3u8, failure()).prop_map(|(l, why)| NoProof(l, why)),
        3 => (0..2u8, 0..3u8, any::<bool>()).prop_map(|(s, who, enrol)| LoggedIn(s, who, enrol)),
        2 => (0..3u8, ask()).prop_map(|(s, ask)| Asks(s, ask)),
        1 => (0..POLICIES.len() as u8).prop_map(Policy),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Good),
        1 => Just(Answer::OfAnotherCard),
        1 => Just(Answer::OfAnotherLink),
    ]
}

fn failure() -> impl Strategy<Value = ProofFailure> {
    use ProofFailure::*;
    prop_oneof![Just(NoKey), Just(NoPin), Just(TornOut)]
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        Just(Ask::Lock),
        Just(Ask::Idle),
        Just(Ask::Detach),
        Just(Ask::LogOut)
    ]
}

/// Policies, and what each asks of a card that is somebody's, at least.
const POLICIES: [(&str, Proof); 6] = [
    (
        "default.proof = \"none\"\ndefault.keep_pixels = \"5min\"",
        Proof::None,
    ),
    (
        "default.proof = \"card\"\ndefault.enrol = \"offer\"",
        Proof::Card,
    ),
    (
        "default.proof = \"card+pin\"\ndefault.detached = \"10s\"",
        Proof::CardPin,
    ),
    // Within the grace the card alone.
    (
        "default.proof = \"card+pin\"\ndefault.grace = \"15s\"",
        Proof::Card,
    ),
    (
        "default.proof = \"password\"\ndefault.enrol = \"approval\"",
        Proof::Password,
    ),
    (
        "default.proof = \"card\"\n[[rule]]\nwhen = { terminal = \"c\" }\n\
         kiosk = [\"/bin/map\"]\nkiosk_user = \"map\"\n",
        Proof::Card,
    ),
];

const CARDS: [&str; 4] = ["c-alice", "c-alice-2", "c-bob", "c-new"];
const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

impl Site {
    /// A site of the first policy, with a card whose keys are bound, and one that may bind them.
    fn shuffled() -> Self {
        let mut site = Self::with(POLICIES[0].0, Remembered::default());
        let card = |site: &mut Self, id: &str| site.directory.cards.remove(id).unwrap();
        let mut bound = card(&mut site, "c-alice");
        let key = |slot| EnrolledKey::from_spki(&recipe("c-alice").spki(slot).unwrap()).ok();
        bound.keys = Keys {
            card: key(hil_card::Slot::CardAuthentication),
            owner: key(hil_card::Slot::PivAuthentication),
        };
        let mut first_use = card(&mut site, "c-bob");
        first_use.standing = Standing::FirstUse;
        for (id, card) in [("c-alice", bound), ("c-bob", first_use)] {
            site.directory.cards.insert(id.to_owned(), card);
        }
        site
    }
}

/// The plastic with this id.
fn recipe(card: &str) -> Recipe {
    Recipe::new(card)
}

fn reason(n: u8) -> DetachReason {
    match n {
        0 => DetachReason::LinkLost,
        1 => DetachReason::SessionEnded,
        _ => DetachReason::MovedElsewhere {
            terminal: "x".into(),
        },
    }
}

/// What a broker's surroundings remember of one run.
#[derive(Default)]
struct Seen {
    links: Vec<LinkId>,
    sessions: Vec<SessionId>,
    attaches: Vec<AttachId>,
    /// By session: the terminal link that was last offered it.
    holder: BTreeMap<SessionId, LinkId>,
    /// Greeters among the sessions.
    greeters: Vec<SessionId>,
    /// By link: the last challenge.
    asked: BTreeMap<LinkId, Asked>,
    /// Logins so far.
    logins: u64,
}

impl Seen {
    fn link(&self, n: u8) -> LinkId {
        let from_newest = self.links.len().checked_sub(1 + usize::from(n));
        from_newest.map_or(LinkId(9999), |n| self.links[n])
    }

    fn session(&self, n: u8) -> SessionId {
        let from_newest = self.sessions.len().checked_sub(1 + usize::from(n));
        from_newest.map_or(SessionId([255; 16]), |n| self.sessions[n])
    }

    fn attach(&self, n: u8) -> AttachId {
        let from_newest = self.attaches.len().checked_sub(1 + usize::from(n));
        from_newest.map_or(AttachId(9999), |n| self.attaches[n])
    }

    fn greeter(&self, n: u8) -> SessionId {
        let from_newest = self.greeters.len().checked_sub(1 + usize::from(n));
        from_newest.map_or(SessionId([255; 16]), |n| self.greeters[n])
    }

    /// Notes whom the last challenges of these are for.
    fn note_challenges(&mut self, site: &Site, actions: &[Action]) {
        for (link, message) in said(actions) {
            let ToTerminal::Prove(challenge) = message else {
                continue;
            };
            let terminal = site.directory.links[&link].clone();
            let slot = &site.directory.terminals[&terminal].slot;
            let Slot::Proving(proving) = slot else {
                panic!("a challenge without its slot: {slot:?}");
            };
            let asked = Asked {
                link,
                exporter: exporter_of(link),
                card: proving.edge.card.clone(),
                challenge: challenge.clone(),
                terminal,
            };
            self.asked.insert(link, asked);
        }
    }

    fn note(&mut self, actions: &[Action]) {
        let mut newer = BTreeSet::new();
        for action in actions {
            match action {
                Action::Start(start) => {
                    self.sessions.push(start.session);
                    if start.kind == Kind::Greeter {
                        self.greeters.push(start.session);
                    }
                }
                Action::Offer(offer) => {
                    assert!(
                        self.attaches.iter().all(|old| *old < offer.attach),
                        "an attach id was used twice"
                    );
                    assert!(
                        newer.insert(offer.session),
                        "two offers of one session at once"
                    );
                    self.attaches.push(offer.attach);
                    self.holder.insert(offer.session, offer.link);
                }
                _ => {}
            }
        }
    }
}

fn perform(site: &mut Site, seen: &mut Seen, op: Op) -> Vec<Action> {
    match op {
        Op::Online(terminal, boot) => {
            let (link, actions) = site.online(["a", "b", "c"][usize::from(terminal)], boot);
            seen.links.push(link);
            actions
        }
        Op::Down(link) => site.event(Event::LinkDown {
            link: seen.link(link),
        }),
        Op::Insert(link, seq, card) => site.insert(seen.link(link), seq, CARDS[usize::from(card)]),
        Op::Unreadable(link) => {
            let message = ToBroker::CardUnreadable {
                seq: 1,
                reader: "r".into(),
                why: Unreadable::Mute,
            };
            site.says(seen.link(link), message)
        }
        Op::Remove(link, seq) => site.says(seen.link(link), ToBroker::CardRemoved { seq }),
        Op::Retry(link, seq) => site.says(seen.link(link), ToBroker::Retry { seq }),
        Op::LinkEnded(link, attach, why) => site.says(
            seen.link(link),
            link_ended(seen.attach(attach), reason(why)),
        ),
        Op::Ready(session, attach) => {
            let attached = (attach > 0).then(|| seen.attach(attach - 1));
            site.ready(seen.session(session), attached)
        }
        Op::AttachedSays(session, attach) => {
            site.attached_says(seen.session(session), seen.attach(attach))
        }
        Op::Detached(session, attach, why) => site.event(Event::Session {
            session: seen.session(session),
            message: FromSession::Detached {
                attach_id: seen.attach(attach),
                reason: reason(why),
            },
        }),
        Op::Ending(session) => site.event(Event::Session {
            session: seen.session(session),
            message: FromSession::Ending {
                reason: DetachReason::SessionEnded,
            },
        }),
        Op::Gone(session, how) => {
            let how = match how {
                0 => Gone::Exited,
                1 => Gone::Died("x".to_owned()),
                _ => Gone::NoAccount("x".to_owned()),
            };
            site.gone(seen.session(session), how)
        }
        Op::Revoke(card) => {
            let now = site.now();
            let changed = site.directory.revoke_card(now, CARDS[usize::from(card)]);
            changed.map(|(_, actions)| actions).unwrap_or_default()
        }
        Op::Add(card) => {
            let now = site.now();
            let person = ["alice", "alice", "bob", "carol"][usize::from(card)];
            let card = CARDS[usize::from(card)];
            let changed =
                site.directory
                    .add_card(now, card, person, "", Standing::Good, Keys::default());
            changed.map(|(_, actions)| actions).unwrap_or_default()
        }
        Op::Login(link, seq) => site.says(seen.link(link), ToBroker::Login { seq }),
        Op::Prove(link, answer) => {
            let Some(asked) = seen.asked.get(&seen.link(link)) else {
                return Vec::new();
            };
            let message = match answer {
                Answer::Good => asked.answer(&recipe(&asked.card)),
                Answer::OfAnotherCard => asked.answer(&recipe("mallory")),
                Answer::OfAnotherLink => {
                    let mut other = asked.clone();
                    other.exporter = [255; 32];
                    other.answer(&recipe(&asked.card))
                }
            };
            site.says(asked.link, message)
        }
        Op::NoProof(link, why) => {
            let link = seen.link(link);
            let seq = seen.asked.get(&link).map_or(0, |asked| asked.challenge.seq);
            site.says(link, ToBroker::NoProof { seq, why })
        }
        Op::LoggedIn(greeter, person, enrol) => {
            seen.logins += 1;
            site.event(Event::LoggedIn(LoggedIn {
                greeter: seen.greeter(greeter),
                person: PEOPLE[usize::from(person)].to_owned(),
                groups: Some(Vec::new()),
                login: LoginId(seen.logins),
                enrol,
            }))
        }
        Op::Asks(session, ask) => site.event(Event::Session {
            session: seen.session(session),
            message: FromSession::Asks(ask),
        }),
        Op::Policy(number) => {
            let text = POLICIES[usize::from(number)].0;
            let policy = Policy::parse("policy.toml", text).unwrap();
            site.event(Event::Policy(Box::new(policy)))
        }
        Op::End(session) => {
            let now = site.now();
            let id = seen.session(session).to_string();
            let changed = site.directory.end_session(now, &id);
            changed.map(|(_, actions)| actions).unwrap_or_default()
        }
        Op::Tick(ms) => {
            site.ms += u64::from(ms);
            let actions = site.event(Event::Tick);
            let next = site.directory.next_deadline();
            assert!(
                next.is_none_or(|next| next > site.ms),
                "a deadline passes twice"
            );
            actions
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The invariants are in [`Directory::check`]; beside them, no attach id comes twice, and a
    /// terminal that loses a session to another is told in the same breath.
    #[test]
    fn whatever_happens_the_directory_agrees_with_itself(
        ops in proptest::collection::vec(op(), 1..120)
    ) {
        let mut site = Site::shuffled();
        let mut seen = Seen::default();
        for op in ops {
            let before = holders(&site.directory);
            let actions = perform(&mut site, &mut seen, op);
            site.directory.check();
            for (session, holder) in holders(&site.directory) {
                let Some(old) = before.get(&session) else { continue };
                if old.terminal == holder.terminal {
                    continue;
                }
                let online = site.directory.terminals[&old.terminal].online;
                if let Some(online) = online {
                    let told = detach(&actions).expect("the older terminal is told");
                    prop_assert_eq!((told.0, told.1), (online.link, old.attach));
                }
            }
            seen.note_challenges(&site, &actions);
            seen.note(&actions);
        }
    }

    /// No desktop comes to a terminal where what was really shown there, for this edge and by whom
    /// it belongs to, is less than the policy of that moment asks. And every login that a greeter
    /// brings is started with, let go, or waits for a card, once.
    #[test]
    fn whatever_happens_no_desktop_comes_without_its_proof(
        ops in proptest::collection::vec(op(), 1..150)
    ) {
        let mut site = Site::shuffled();
        let mut seen = Seen::default();
        let mut witness = Witness::default();
        for op in ops {
            let before = Before::of(&site);
            witness.expect(&site, &seen, &op);
            let actions = perform(&mut site, &mut seen, op.clone());
            site.directory.check();
            seen.note_challenges(&site, &actions);
            witness.compare(&site, &before, &op, &actions);
            seen.note(&actions);
        }
    }

    /// From any state, a person who pulls the card and inserts it again gets an answer at once.
    #[test]
    fn a_new_card_edge_is_always_answered(ops in proptest::collection::vec(op(), 1..60)) {
        let mut site = Site::shuffled();
        let mut seen = Seen::default();
        for op in ops {
            let actions = perform(&mut site, &mut seen, op);
            seen.note_challenges(&site, &actions);
            seen.note(&actions);
        }
        // A terminal that has booted anew comes in once its former link is found dead.
        let former = site.directory.terminals.get("a").and_then(|terminal| terminal.online);
        if let Some(former) = former {
            site.event(Event::LinkDown { link: former.link });
        }
        let (link, _) = site.online("a", 7);
        let actions = site.insert(link, 77, "c-alice");
        let answered = offer_of(&actions).is_some_and(|offer| offer.link == link)
            || said(&actions).iter().any(|(to, _)| *to == link)
            // A greeter has nothing to say before it is there.
            || started(&actions).any(|start| start.kind == Kind::Greeter);
        prop_assert!(answered, "{:?}", actions);
    }
}

fn holders(directory: &Directory) -> BTreeMap<SessionId, Holder> {
    let sessions = directory.sessions.iter();
    let held = sessions.filter_map(|(id, session)| Some((*id, session.holder.clone()?)));
    held.collect()
}

/// How terminals stood before something happened.
struct Before {
    slots: BTreeMap<String, Slot>,
}

impl Before {
    fn of(site: &Site) -> Self {
        let terminals = site.directory.terminals.iter();
        Self {
            slots: terminals
                .map(|(id, terminal)| (id.clone(), terminal.slot.clone()))
                .collect(),
        }
    }

    fn edge(&self, terminal: &str) -> Option<&Edge> {
        self.slots.get(terminal)?.edge()
    }

    /// The desktop that this edge had there already.
    fn joined(&self, terminal: &str) -> Option<(SessionId, &Edge)> {
        match self.slots.get(terminal)? {
            Slot::Joined(join) | Slot::Resumable(join) => Some((join.session, &join.edge)),
            _ => None,
        }
    }
}

/// Who saw what was really shown, whatever the directory makes of it.
#[derive(Default)]
struct Witness {
    policy: usize,
    /// By terminal: whose proof was shown for the edge there, and how strong it is.
    shown: BTreeMap<String, (String, Proof)>,
    /// Challenges that were answered, rightly or not, by their nonce.
    spent: BTreeSet<[u8; 32]>,
    /// Cards whose keys may be another card's.
    taken: BTreeSet<String>,
    /// Logins that are held open.
    logins: BTreeSet<LoginId>,
}

impl Witness {
    /// Notes what is shown by what is about to happen.
    fn expect(&mut self, site: &Site, seen: &Seen, op: &Op) {
        match op {
            Op::Prove(link, answer) => {
                let Some(asked) = seen.asked.get(&seen.link(*link)) else {
                    return;
                };
                let terminal = &site.directory.terminals[&asked.terminal];
                let edge = terminal.slot.edge();
                let same = edge.is_some_and(|edge| {
                    (edge.seq, &edge.card) == (asked.challenge.seq, &asked.card)
                });
                let online = terminal.online.is_some_and(|on| on.link == asked.link);
                let fresh = self.spent.insert(asked.challenge.nonce);
                // Where keys are being bound, they are those of whichever card is there.
                if asked.challenge.purpose == Purpose::Enrol && fresh {
                    match answer {
                        Answer::OfAnotherCard => drop(self.taken.insert(asked.card.clone())),
                        Answer::Good | Answer::OfAnotherLink => {}
                    }
                }
                let good = match answer {
                    Answer::Good => true,
                    Answer::OfAnotherCard => self.taken.contains(&asked.card),
                    Answer::OfAnotherLink => false,
                };
                if !(same && online && fresh && good) {
                    return;
                }
                let proof = match asked.challenge.key {
                    ProofKey::CardAuthentication => Proof::Card,
                    ProofKey::PivAuthentication => Proof::CardPin,
                };
                let owner = site.directory.cards.get(&asked.card);
                let shown = self.shown.entry(asked.terminal.clone());
                match owner.map(|card| card.person.clone()) {
                    Some(owner) => {
                        let shown = shown.or_insert_with(|| (owner.clone(), proof));
                        if shown.0 == owner {
                            shown.1 = shown.1.max(proof);
                        }
                    }
                    // The card of somebody who has logged in.
                    None => drop(shown.or_insert((String::new(), Proof::None))),
                }
            }
            Op::NoProof(link, _) => {
                if let Some(asked) = seen.asked.get(&seen.link(*link)) {
                    self.spent.insert(asked.challenge.nonce);
                }
            }
            Op::LoggedIn(greeter, person, _) => {
                self.logins.insert(LoginId(seen.logins + 1));
                let session = site.directory.sessions.get(&seen.greeter(*greeter));
                if let Some(holder) = session.and_then(|session| session.holder.as_ref()) {
                    let person = PEOPLE[usize::from(*person)].to_owned();
                    self.shown
                        .insert(holder.terminal.clone(), (person, Proof::Password));
                }
            }
            Op::Asks(session, Ask::Lock | Ask::Idle) => {
                let session = site.directory.sessions.get(&seen.session(*session));
                if let Some(holder) = session.and_then(|session| session.holder.as_ref()) {
                    self.shown.remove(&holder.terminal);
                }
            }
            Op::Policy(number) => self.policy = usize::from(*number),
            _ => {}
        }
    }

    fn compare(&mut self, site: &Site, before: &Before, op: &Op, actions: &[Action]) {
        let directory = &site.directory;
        for (id, terminal) in &directory.terminals {
            let edge = terminal.slot.edge();
            if edge != before.edge(id) && !matches!(op, Op::LoggedIn(..)) {
                self.shown.remove(id);
            }
        }
        for action in actions {
            if let Action::Offer(offer) = action {
                self.judge(site, before, offer);
            }
            let over = match action {
                Action::Start(start) => start.login,
                Action::DropLogin(login) => Some(*login),
                _ => None,
            };
            if let Some(login) = over {
                assert!(self.logins.remove(&login), "{login:?} ends twice");
            }
        }
        let held = directory.terminals.values();
        let held = held.filter_map(|terminal| match &terminal.slot {
            Slot::Proving(proving) => proving.login,
            _ => None,
        });
        assert_eq!(self.logins, held.collect(), "logins are lost");
        for (id, terminal) in &directory.terminals {
            if matches!(terminal.slot, Slot::Empty | Slot::Parked(_)) {
                self.shown.remove(id);
            }
        }
    }

    fn judge(&self, site: &Site, before: &Before, offer: &Offer) {
        let directory = &site.directory;
        let session = &directory.sessions[&offer.session];
        if session.kind != Kind::Desktop {
            return;
        }
        let terminal = &directory.links[&offer.link];
        let Slot::Joined(join) = &directory.terminals[terminal].slot else {
            panic!("an offer without its slot");
        };
        // A broken link is mended for what was shown when it was made.
        if before.joined(terminal) == Some((join.session, &join.edge)) {
            return;
        }
        let owner = directory.cards.get(&join.edge.card);
        let owner = owner.map(|card| card.person.as_str());
        let needed = match owner {
            Some(_) => POLICIES[self.policy].1,
            None => Proof::Password,
        };
        let nobody = (String::new(), Proof::None);
        let (person, shown) = self.shown.get(terminal).unwrap_or(&nobody);
        assert!(
            *shown >= needed,
            "{shown} was shown where {needed} is needed"
        );
        assert!(
            join.shown <= (*shown).max(Proof::None),
            "more is noted than was shown"
        );
        let whose = match needed.max(*shown) {
            Proof::None => owner.unwrap_or_default(),
            _ => person,
        };
        assert_eq!(session.person, whose, "somebody else's desktop");
    }
}

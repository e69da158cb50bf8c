//! The directory's stories, and a property test that mixes them all.

mod any_order;
mod greeters;
mod offers;
mod proofs;

use std::collections::BTreeSet;

use heliostat_control::hex::Hex;
use heliostat_control::session::{Ask, Attached, FromSession, Ready, ToSession};
use heliostat_wire::card::{Card as ReadCard, CardKind};
use heliostat_wire::close::CloseCode;
use heliostat_wire::control::{CardRefusal, DetachReason, Hello, LoginOffer, ToBroker, ToTerminal};
use heliostat_wire::id::{AttachId, KeyPin, SessionId};
use heliostat_wire::receipt::{Receipt, Stage, StageTime};

use super::*;
use crate::proof::EnrolledKey;

/// A directory with a clock, and what it asked for.
struct Site {
    directory: Directory,
    ms: u64,
    links: u64,
    sessions: u8,
}

impl Site {
    fn new() -> Self {
        Self::with(
            "default.proof = \"none\"\ndefault.keep_pixels = \"5min\"",
            Remembered::default(),
        )
    }

    /// A site of this policy.
    fn with(policy: &str, remembered: Remembered) -> Self {
        let setup = Setup {
            site: "Site".to_owned(),
            greeter_user: Some("greeter".to_owned()),
            max_sessions: 3,
            max_greeters: 2,
            ..Setup::default()
        };
        let policy = Policy::parse("policy.toml", policy).unwrap();
        let mut site = Self {
            directory: Directory::new(setup, policy, None, remembered),
            ms: 1_000,
            links: 0,
            sessions: 0,
        };
        for (card, person) in [
            ("c-alice", "alice"),
            ("c-alice-2", "alice"),
            ("c-bob", "bob"),
        ] {
            site.admin(|directory, now| {
                directory.add_card(now, card, person, "", Standing::Good, Keys::default())
            });
        }
        site
    }

    fn now(&mut self) -> Moment {
        self.ms += 1;
        self.sessions = self.sessions.wrapping_add(1);
        Moment {
            ms: self.ms,
            unix_ms: 1_000_000 + self.ms,
            fresh: SessionId([self.sessions; 16]),
            nonce: [self.sessions; 32],
        }
    }

    fn admin(&mut self, change: impl FnOnce(&mut Directory, Moment) -> Changed) -> Vec<Action> {
        let now = self.now();
        let actions = change(&mut self.directory, now).unwrap().1;
        self.directory.check();
        actions
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        let now = self.now();
        let actions = self.directory.handle(now, event);
        self.directory.check();
        actions
    }

    /// A terminal comes online; `boot` makes its key.
    fn online(&mut self, id: &str, boot: u8) -> (LinkId, Vec<Action>) {
        self.links += 1;
        let link = LinkId(self.links);
        let hello = Hello {
            terminal_id: id.into(),
            name: format!("desk {id}").as_str().into(),
            software: "1".into(),
            outputs: Default::default(),
            boot_ms: (1, 2),
        };
        let actions = self.event(Event::Hello {
            link,
            key: KeyPin([boot; 32]),
            address: ([127, 0, 0, 1], 1).into(),
            exporter: exporter_of(link),
            hello,
        });
        (link, actions)
    }

    fn says(&mut self, link: LinkId, message: ToBroker) -> Vec<Action> {
        self.event(Event::Terminal { link, message })
    }

    fn insert(&mut self, link: LinkId, seq: u32, card: &str) -> Vec<Action> {
        self.says(link, inserted(seq, card))
    }

    fn ready(&mut self, session: SessionId, attached: Option<AttachId>) -> Vec<Action> {
        let attached = attached.map(|attach_id| Attached {
            attach_id,
            terminal: "somewhere".to_owned(),
        });
        self.event(Event::SessionReady {
            session,
            ready: Ready {
                pid: 42,
                uid: 1000,
                port: 4500,
                spki_sha256: Hex([1; 32]),
                wayland_display: "wayland-0".to_owned(),
                attached,
            },
        })
    }

    fn gone(&mut self, session: SessionId, how: Gone) -> Vec<Action> {
        self.event(Event::SessionGone { session, how })
    }

    /// A terminal with a card whose session is attached and seen.
    fn attached(&mut self, id: &str, boot: u8, card: &str) -> (LinkId, SessionId, AttachId) {
        let (link, _) = self.online(id, boot);
        let started = start_of(&self.insert(link, 1, card)).expect("a start");
        let offer = offer_of(&self.ready(started, None)).expect("an offer");
        self.attached_says(started, offer.attach);
        (link, started, offer.attach)
    }

    fn attached_says(&mut self, session: SessionId, attach_id: AttachId) -> Vec<Action> {
        self.event(Event::Session {
            session,
            message: FromSession::Attached(Attached {
                attach_id,
                terminal: String::new(),
            }),
        })
    }
}

fn exporter_of(link: LinkId) -> [u8; 32] {
    [link.0 as u8; 32]
}

fn owner_of(person: &str) -> Owner {
    Owner {
        person: person.to_owned(),
        ..Owner::default()
    }
}

fn inserted(seq: u32, card: &str) -> ToBroker {
    ToBroker::CardInserted {
        seq,
        reader: "reader".into(),
        card: ReadCard {
            id: card.into(),
            kind: CardKind::Piv,
            atr: Default::default(),
        },
    }
}

fn started(actions: &[Action]) -> impl Iterator<Item = &Start> {
    actions.iter().filter_map(|action| match action {
        Action::Start(start) => Some(start),
        _ => None,
    })
}

fn start_of(actions: &[Action]) -> Option<SessionId> {
    actions.iter().find_map(|action| match action {
        Action::Start(start) => Some(start.session),
        _ => None,
    })
}

fn offer_of(actions: &[Action]) -> Option<Offer> {
    actions.iter().find_map(|action| match action {
        Action::Offer(offer) => Some(offer.clone()),
        _ => None,
    })
}

fn said(actions: &[Action]) -> Vec<(LinkId, &ToTerminal)> {
    let said = actions.iter().filter_map(|action| match action {
        Action::ToTerminal(link, message) => Some((*link, message)),
        _ => None,
    });
    said.collect()
}

fn refusal(actions: &[Action]) -> Option<(LinkId, CardRefusal)> {
    said(actions)
        .into_iter()
        .find_map(|(link, message)| match message {
            ToTerminal::CardRefused { reason, .. } => Some((link, *reason)),
            _ => None,
        })
}

fn refusal_text(actions: &[Action]) -> String {
    said(actions)
        .into_iter()
        .find_map(|(_, message)| match message {
            ToTerminal::CardRefused { text, .. } => Some(text.to_string()),
            _ => None,
        })
        .expect("a refusal")
}

fn detach(actions: &[Action]) -> Option<(LinkId, AttachId, DetachReason)> {
    said(actions)
        .into_iter()
        .find_map(|(link, message)| match message {
            ToTerminal::Detach { attach_id, reason } => Some((link, *attach_id, reason.clone())),
            _ => None,
        })
}

fn told(actions: &[Action], session: SessionId) -> Vec<&ToSession> {
    let told = actions.iter().filter_map(|action| match action {
        Action::ToSession(id, message) if *id == session => Some(message),
        _ => None,
    });
    told.collect()
}

fn link_ended(attach_id: AttachId, reason: DetachReason) -> ToBroker {
    ToBroker::LinkEnded { attach_id, reason }
}

#[test]
fn the_first_card_starts_a_session_and_the_next_one_finds_it() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    let session = start_of(&actions).expect("a start");
    assert!(matches!(
        said(&actions)[..],
        [(link, ToTerminal::Starting { seq: 1, .. })] if link == a
    ));
    let actions = site.ready(session, None);
    let offer = offer_of(&actions).expect("an offer");
    assert_eq!((offer.link, offer.seq, offer.session), (a, 1, session));
    assert_eq!((offer.port, offer.pin), (4500, KeyPin([1; 32])));
    assert_eq!(offer.terminal_key, KeyPin([1; 32]));
    assert_eq!(offer.keep_pixels_s, 300);

    let actions = site.says(a, ToBroker::CardRemoved { seq: 1 });
    assert!(matches!(
        told(&actions, session)[..],
        [ToSession::Detach { attach_id: Some(id), reason: DetachReason::CardRemoved }]
            if *id == offer.attach
    ));
    let actions = site.insert(a, 2, "c-alice-2");
    assert_eq!(start_of(&actions), None);
    let again = offer_of(&actions).expect("an offer");
    assert_eq!(again.session, session);
    assert!(again.attach > offer.attach);
}

#[test]
fn the_newer_terminal_wins_and_the_older_is_told_where_the_desktop_went() {
    let mut site = Site::new();
    let (a, session, attach) = site.attached("a", 1, "c-alice");
    let (b, _) = site.online("b", 2);
    let actions = site.insert(b, 1, "c-alice");
    assert_eq!(offer_of(&actions).expect("an offer").session, session);
    let moved = DetachReason::MovedElsewhere {
        terminal: "desk b".into(),
    };
    assert_eq!(detach(&actions), Some((a, attach, moved.clone())));
    // Its session link ends as a consequence, which is no reason to call the desktop back.
    let actions = site.says(a, link_ended(attach, moved));
    assert_eq!(offer_of(&actions), None);
    // The person may.
    let actions = site.says(a, ToBroker::Retry { seq: 1 });
    assert_eq!(offer_of(&actions).expect("an offer").link, a);
    assert_eq!(detach(&actions).expect("a detach").0, b);
}

#[test]
fn of_two_terminals_that_wait_for_one_session_the_newer_gets_it() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let (b, _) = site.online("b", 2);
    let session = start_of(&site.insert(a, 1, "c-alice")).expect("a start");
    let actions = site.insert(b, 1, "c-alice-2");
    assert_eq!(start_of(&actions), None);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Busy)));
    let offer = offer_of(&site.ready(session, None)).expect("an offer");
    assert_eq!(offer.link, b);
}

#[test]
fn cards_that_open_nothing_say_why() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-stranger");
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Unknown)));
    assert!(refusal_text(&actions).contains("c-stranger"));
    site.admin(|directory, now| directory.revoke_card(now, "c-bob"));
    let actions = site.insert(a, 2, "c-bob");
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Revoked)));
}

#[test]
fn a_card_that_is_revoked_opens_nothing_by_any_of_its_ids() {
    let (piv, uid, other) = ("c-alice", "uid:04112233445566", "c-newer");
    for named in [piv, uid, other] {
        let mut site = Site::new();
        site.admin(|directory, now| directory.alias_card(now, piv, uid));
        // The other id of another id is one of the first's.
        site.admin(|directory, now| directory.alias_card(now, uid, other));
        let (a, session, _) = site.attached("a", 1, other);
        let now = site.now();
        let (text, actions) = site.directory.revoke_card(now, named).unwrap();
        let kept: BTreeSet<_> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Keep(Record::Card(id, card)) => card.revoked_s.map(|_| id.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(kept, BTreeSet::from([piv, uid, other]), "{named}");
        assert!(
            [piv, uid, other].iter().all(|id| text.contains(id)),
            "{text}"
        );
        // It lay in a reader by another of its ids.
        assert_eq!(detach(&actions).map(|detach| detach.0), Some(a), "{named}");
        for (seq, id) in (2..).zip([piv, uid, other]) {
            let actions = site.insert(a, seq, id);
            assert_eq!(refusal(&actions), Some((a, CardRefusal::Revoked)), "{id}");
        }
        // Alice's other card is another one, and her desktop goes on.
        let offer = offer_of(&site.insert(a, 9, "c-alice-2")).expect("an offer");
        assert_eq!(offer.session, session);
    }
}

#[test]
fn an_id_that_is_given_anew_after_a_revocation_is_a_card_of_its_own() {
    let mut site = Site::new();
    site.admin(|directory, now| directory.alias_card(now, "c-alice", "c-other"));
    let again = site.now();
    for (card, alias) in [
        ("c-alice", "c-other"),
        ("c-other", "c-alice"),
        ("c-bob", "c-bob"),
    ] {
        assert!(site.directory.alias_card(again, card, alias).is_err());
    }
    site.admin(|directory, now| directory.revoke_card(now, "c-other"));
    site.admin(|directory, now| {
        directory.add_card(now, "c-other", "bob", "", Standing::Good, Keys::default())
    });
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Revoked)));
    let actions = site.insert(a, 2, "c-other");
    assert_eq!(started(&actions).next().expect("a start").person, "bob");
    // What becomes of the first one later is nothing to it.
    site.admin(|directory, now| directory.revoke_card(now, "c-alice"));
    assert!(site.directory.cards["c-other"].revoked_s.is_none());
}

/// What terminals are told of logins without a card.
fn offered(actions: &[Action]) -> Vec<(LinkId, LoginOffer)> {
    let offers = said(actions)
        .into_iter()
        .filter_map(|(link, message)| match message {
            ToTerminal::Welcome { login, .. } | ToTerminal::Login(login) => Some((link, *login)),
            _ => None,
        });
    offers.collect()
}

#[test]
fn another_policy_reaches_terminals_that_are_there_where_it_changes_what_they_offer() {
    let mut site = Site::with("default.login = false", Remembered::default());
    let (a, actions) = site.online("a", 1);
    assert_eq!(offered(&actions), [(a, LoginOffer::None)]);
    let (b, _) = site.online("b", 1);
    let (gone, _) = site.online("c", 1);
    site.event(Event::LinkDown { link: gone });
    let policy = |site: &mut Site, text: &str| {
        let policy = Policy::parse("policy.toml", text).unwrap();
        offered(&site.event(Event::Policy(Box::new(policy))))
    };
    let kiosk = "[[rule]]\nwhen = { terminal = \"b\" }\nkiosk = [\"/bin/map\"]\n";
    let offers = policy(&mut site, kiosk);
    assert_eq!(offers, [(a, LoginOffer::Offered), (b, LoginOffer::Now)]);
    // Nothing new is nothing to say.
    let other = format!("default.grace = \"1h\"\n{kiosk}");
    assert_eq!(policy(&mut site, &other), []);
    let offers = policy(
        &mut site,
        "[[rule]]\nwhen = { terminal = \"a\" }\nlogin = false\n",
    );
    assert_eq!(offers, [(a, LoginOffer::None), (b, LoginOffer::Offered)]);
    // What the policy forbids is refused even to who has not heard of it.
    let actions = site.says(a, ToBroker::Login { seq: 1 });
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Forbidden)));
    // A new link has it from its welcome.
    let (a, actions) = site.online("a", 1);
    assert_eq!(offered(&actions), [(a, LoginOffer::None)]);
    assert_eq!(
        policy(&mut site, "default.login = false"),
        [(b, LoginOffer::None)]
    );
}

#[test]
fn who_leaves_has_left_however_the_session_ends_and_its_end_ends_no_hook_of_that() {
    type Leaving = fn(&mut Site, LinkId, SessionId) -> Vec<Action>;
    let table: &[(&str, Leaving, bool)] = &[
        (
            "the card",
            |site, link, _| site.says(link, ToBroker::CardRemoved { seq: 1 }),
            true,
        ),
        (
            "a log-out",
            |site, _, session| {
                let message = FromSession::Asks(Ask::LogOut);
                site.event(Event::Session { session, message })
            },
            false,
        ),
        (
            "an administrator",
            |site, _, session| {
                let id = session.to_string();
                site.admin(|directory, now| directory.end_session(now, &id))
            },
            false,
        ),
        (
            "a crash",
            |site, _, session| site.gone(session, Gone::Died("x".to_owned())),
            false,
        ),
    ];
    for (what, leave, goes_on) in table {
        let policy = "default.proof = \"none\"\ndefault.on_detach = [\"/bin/gone\"]";
        let mut site = Site::with(policy, Remembered::default());
        let (link, session, _) = site.attached("a", 1, "c-alice");
        let hooks = |actions: Vec<Action>| {
            let hooks = actions.into_iter().filter_map(|action| match action {
                Action::Hook(hook) => Some((hook.person, hook.event, hook.within)),
                _ => None,
            });
            hooks.collect::<Vec<_>>()
        };
        let expected = [("alice".to_owned(), "detach", *goes_on)];
        assert_eq!(hooks(leave(&mut site, link, session)), expected, "{what}");
        // Once: what comes of it later is no second leaving.
        assert_eq!(hooks(site.gone(session, Gone::Exited)), [], "{what}");
    }
}

#[test]
fn cards_without_bound_keys_open_a_greeter_and_nothing_else() {
    let mut site = Site::with("", Remembered::default());
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    let started: Vec<_> = started(&actions).map(|start| start.kind.clone()).collect();
    assert_eq!(started, [Kind::Greeter]);
}

#[test]
fn an_unknown_card_in_a_reader_opens_as_soon_as_it_is_added() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    site.insert(a, 1, "c-new");
    let actions = site.admin(|directory, now| {
        directory.add_card(now, "c-new", "carol", "", Standing::Good, Keys::default())
    });
    assert!(start_of(&actions).is_some());
}

#[test]
fn a_revoked_card_parts_its_terminal_at_once() {
    let mut site = Site::new();
    let (a, session, attach) = site.attached("a", 1, "c-alice");
    let actions = site.admin(|directory, now| directory.revoke_card(now, "c-alice"));
    let reason = DetachReason::CardRevoked;
    assert_eq!(detach(&actions), Some((a, attach, reason.clone())));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Revoked)));
    let wanted = ToSession::Detach {
        attach_id: Some(attach),
        reason,
    };
    assert_eq!(told(&actions, session), [&wanted]);
}

#[test]
fn a_card_is_not_given_to_another_person_in_passing() {
    let mut site = Site::new();
    let now = site.now();
    let taken = site
        .directory
        .add_card(now, "c-alice", "bob", "", Standing::Good, Keys::default());
    assert!(taken.unwrap_err().text.contains("alice"));
    site.admin(|directory, now| directory.revoke_card(now, "c-alice"));
    site.admin(|directory, now| {
        directory.add_card(now, "c-alice", "bob", "", Standing::Good, Keys::default())
    });
    for (card, person) in [
        ("", "x"),
        ("a b", "x"),
        ("c", ""),
        ("c", "../x"),
        ("c", "-x"),
    ] {
        let bad = site
            .directory
            .add_card(now, card, person, "", Standing::Good, Keys::default());
        assert!(bad.is_err(), "{card:?} {person:?}");
    }
}

#[test]
fn a_session_that_dies_is_not_started_again_before_somebody_asks() {
    let mut site = Site::new();
    let (a, session, attach) = site.attached("a", 1, "c-alice");
    let actions = site.gone(session, Gone::Died("signal 11".to_owned()));
    let crashed = DetachReason::SessionCrashed;
    assert_eq!(detach(&actions), Some((a, attach, crashed)));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
    assert_eq!(start_of(&actions), None);
    assert_eq!(site.directory.next_deadline(), None);
    let ended = site.says(a, link_ended(attach, DetachReason::LinkLost));
    assert_eq!(start_of(&ended), None);
    let retried = site.says(a, ToBroker::Retry { seq: 1 });
    assert!(start_of(&retried).is_some());
}

#[test]
fn a_session_that_crashes_on_start_says_so_and_counts() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let mut session = start_of(&site.insert(a, 1, "c-alice")).expect("a start");
    for _ in 0..2 {
        let actions = site.gone(session, Gone::Died("exit code 1".to_owned()));
        assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
        assert!(refusal_text(&actions).ends_with("Try again."));
        session = start_of(&site.says(a, ToBroker::Retry { seq: 1 })).expect("a start");
    }
    let actions = site.gone(session, Gone::Died("exit code 1".to_owned()));
    assert!(refusal_text(&actions).contains("3 times"));
}

#[test]
fn a_person_without_an_account_is_told_so() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let session = start_of(&site.insert(a, 1, "c-alice")).expect("a start");
    let actions = site.gone(session, Gone::NoAccount("no account".to_owned()));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::NoAccount)));
}

#[test]
fn a_session_that_never_gets_ready_is_ended_at_its_deadline() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let session = start_of(&site.insert(a, 1, "c-alice")).expect("a start");
    site.ms = site.directory.next_deadline().expect("a deadline");
    let actions = site.event(Event::Tick);
    assert!(actions.contains(&Action::Kill(session)));
    let actions = site.gone(session, Gone::Died("signal 9".to_owned()));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
}

#[test]
fn a_full_server_says_so() {
    let mut site = Site::new();
    site.admin(|directory, now| {
        directory.add_card(now, "c-carol", "carol", "", Standing::Good, Keys::default())
    });
    site.admin(|directory, now| {
        directory.add_card(now, "c-dave", "dave", "", Standing::Good, Keys::default())
    });
    for (id, card) in [("a", "c-alice"), ("b", "c-bob"), ("c", "c-carol")] {
        site.attached(id, 1, card);
    }
    let (d, _) = site.online("d", 1);
    let actions = site.insert(d, 1, "c-dave");
    assert_eq!(refusal(&actions), Some((d, CardRefusal::Busy)));
}

#[test]
fn a_broken_session_link_is_offered_again_but_not_for_ever() {
    let mut site = Site::new();
    let (a, session, mut attach) = site.attached("a", 1, "c-alice");
    for _ in 0..5 {
        let actions = site.says(a, link_ended(attach, DetachReason::LinkLost));
        let offer = offer_of(&actions).expect("an offer");
        assert!(offer.attach > attach);
        attach = offer.attach;
        site.attached_says(session, attach);
    }
    let actions = site.says(a, link_ended(attach, DetachReason::LinkLost));
    assert_eq!(offer_of(&actions), None);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
    let actions = site.says(a, ToBroker::Retry { seq: 1 });
    assert!(offer_of(&actions).is_some());
}

/// Both links broke with the cable; the terminal noticed first and could not say so.
#[test]
fn a_session_link_that_broke_unsaid_is_offered_again() {
    let mut site = Site::new();
    let (a, session, attach_id) = site.attached("a", 1, "c-alice");
    let lost = || Event::Session {
        session,
        message: FromSession::Detached {
            attach_id,
            reason: DetachReason::LinkLost,
        },
    };
    site.event(Event::LinkDown { link: a });
    let (a, _) = site.online("a", 1);
    assert_eq!(offer_of(&site.insert(a, 1, "c-alice")), None);
    assert_eq!(offer_of(&site.event(lost())), None);
    site.ms = site.directory.next_deadline().expect("a deadline");
    let offer = offer_of(&site.event(Event::Tick)).expect("an offer");
    assert_eq!((offer.link, offer.seq), (a, 1));
    site.attached_says(session, offer.attach);
    assert_eq!(site.directory.next_deadline(), None);
}

/// A ticket lives longer than the attach that it was made for.
#[test]
fn a_terminal_that_comes_when_its_attach_is_off_is_parted_again() {
    let mut site = Site::new();
    let (a, session, attach) = site.attached("a", 1, "c-alice");
    site.says(a, ToBroker::CardRemoved { seq: 1 });
    let actions = site.event(Event::Session {
        session,
        message: FromSession::Attached(Attached {
            attach_id: attach,
            terminal: "a".to_owned(),
        }),
    });
    let part = ToSession::Detach {
        attach_id: Some(attach),
        reason: DetachReason::LinkLost,
    };
    assert_eq!(told(&actions, session), [&part]);
    let actions = site.ready(session, Some(attach));
    assert_eq!(told(&actions, session), [&part]);
}

#[test]
fn a_terminal_that_never_shows_its_ticket_gives_the_session_up() {
    let mut site = Site::with("", Remembered::default());
    let (a, _) = site.online("a", 1);
    let actions = site.says(a, ToBroker::Login { seq: 1 });
    let greeter = start_of(&actions).expect("a greeter");
    assert!(offer_of(&site.ready(greeter, None)).is_some());
    site.event(Event::LinkDown { link: a });
    site.ms = site.directory.next_deadline().expect("a deadline");
    let actions = site.event(Event::Tick);
    let ended = told(&actions, greeter)
        .iter()
        .any(|order| matches!(order, ToSession::End { .. }));
    assert!(ended, "{actions:?}");
}

#[test]
fn a_lock_is_not_undone_by_a_link_that_breaks() {
    let mut site = Site::new();
    let (a, _, _) = site.attached("a", 1, "c-alice");
    site.admin(|directory, now| directory.lock_session(now, "alice"));
    site.event(Event::LinkDown { link: a });
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    assert_eq!(offer_of(&actions), None);
    assert!(refusal(&actions).is_some());
    let actions = site.says(a, ToBroker::Retry { seq: 1 });
    assert!(offer_of(&actions).is_some());
}

#[test]
fn a_locked_desktop_is_not_given_back_by_a_later_broker() {
    let mut site = Site::new();
    let (_, session, _) = site.attached("a", 1, "c-alice");
    site.admin(|directory, now| directory.lock_session(now, "alice"));
    let mut second = restarted(&site, session);
    let (a, _) = second.online("a", 1);
    let actions = second.insert(a, 1, "c-alice");
    let more = second.ready(session, None);
    assert_eq!((offer_of(&actions), offer_of(&more)), (None, None));
}

#[test]
fn sessions_that_begin_in_one_event_have_ids_of_their_own() {
    let policy = "[[rule]]\nwhen.group = \"staff\"\nusb = true\n";
    let mut site = Site::with(policy, Remembered::default());
    for (terminal, card) in [("a", "c-alice"), ("b", "c-alice-2"), ("c", "c-bob")] {
        let (link, _) = site.online(terminal, 1);
        assert!(start_of(&site.insert(link, 1, card)).is_none());
    }
    let groups = ["alice", "bob"].map(|person| (person.to_owned(), Some(Vec::new())));
    let actions = site.event(Event::Groups(groups.into()));
    let ids: BTreeSet<SessionId> = started(&actions).map(|start| start.session).collect();
    // Two greeters are the most at once here.
    assert_eq!((ids.len(), started(&actions).count()), (2, 2));
}

#[test]
fn nobody_is_let_in_whose_groups_cannot_be_found() {
    let policy =
        "default.proof = \"none\"\n[[rule]]\nwhen.group = \"staff\"\nproof = \"password\"\n";
    let mut site = Site::with(policy, Remembered::default());
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    assert!(actions.contains(&Action::LookUp("alice".to_owned())));
    // Bob's groups are nothing to her.
    let bobs = [("bob".to_owned(), Some(Vec::new()))];
    assert_eq!(site.event(Event::Groups(bobs.into())), []);
    let unknown = [("alice".to_owned(), None)];
    let actions = site.event(Event::Groups(unknown.into()));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
    // Nor does she wait for ever.
    site.says(a, ToBroker::Retry { seq: 1 });
    site.ms = site.directory.next_deadline().expect("a deadline");
    let actions = site.event(Event::Tick);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
    site.says(a, ToBroker::Retry { seq: 1 });
    let staff = [("alice".to_owned(), Some(vec!["staff".to_owned()]))];
    let actions = site.event(Event::Groups(staff.into()));
    let kinds: Vec<_> = started(&actions).map(|start| start.kind.clone()).collect();
    assert_eq!(kinds, [Kind::Greeter]);
}

#[test]
fn a_terminal_whose_control_link_came_back_keeps_its_desktop() {
    let mut site = Site::new();
    let (a, _session, attach) = site.attached("a", 1, "c-alice");
    site.event(Event::LinkDown { link: a });
    let (again, _) = site.online("a", 1);
    let actions = site.insert(again, 1, "c-alice");
    assert_eq!(said(&actions), []);
    assert_eq!(offer_of(&actions), None);
    let actions = site.says(again, link_ended(attach, DetachReason::LinkLost));
    assert!(offer_of(&actions).is_some());
}

#[test]
fn a_terminal_that_was_power_cut_gets_a_new_attach() {
    let mut site = Site::new();
    let (old, session, attach) = site.attached("a", 1, "c-alice");
    site.event(Event::LinkDown { link: old });
    let (new, actions) = site.online("a", 2);
    assert_eq!(told(&actions, session).len(), 1);
    let offer = offer_of(&site.insert(new, 1, "c-alice")).expect("an offer");
    assert!(offer.attach > attach);
    assert_eq!(offer.terminal_key, KeyPin([2; 32]));
}

#[test]
fn a_stranger_that_names_a_terminals_id_does_not_take_its_place() {
    let mut site = Site::new();
    let (victim, session, _) = site.attached("a", 1, "c-alice");
    let (stranger, actions) = site.online("a", 2);
    assert!(matches!(
        &actions[..],
        [Action::Close(link, CloseCode::IdTaken, _)] if *link == stranger
    ));
    assert_eq!(told(&actions, session).len(), 0);
    assert_eq!(said(&site.insert(stranger, 1, "c-alice")), []);
    // Its own next link does, and the old link's end is old news.
    let (again, actions) = site.online("a", 1);
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Close(link, CloseCode::Superseded, _) if *link == victim
    )));
    site.event(Event::LinkDown { link: victim });
    assert!(site.directory.terminal_rows()[0].address.is_some());
    let _ = again;
}

#[test]
fn an_edge_that_is_repeated_does_not_call_a_desktop_back_that_has_moved() {
    let mut site = Site::new();
    let (a, ..) = site.attached("a", 1, "c-alice");
    let (b, _) = site.online("b", 2);
    site.insert(b, 1, "c-alice-2");
    site.event(Event::LinkDown { link: a });
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    assert_eq!(offer_of(&actions), None);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Busy)));
    assert!(refusal_text(&actions).contains("desk b"));
    // A new edge does.
    site.says(a, ToBroker::CardRemoved { seq: 1 });
    assert!(offer_of(&site.insert(a, 2, "c-alice")).is_some());
}

/// What a second broker starts from after the first has died.
fn remembered(attaches: &[AttachRecord]) -> Remembered {
    let mut remembered = Remembered {
        attaches: attaches.to_vec(),
        next_attach: 2_000_001,
        ..Remembered::default()
    };
    for record in attaches {
        let mut site = Site::new();
        let key = record.key.0[0];
        site.online(&record.terminal, key);
        let mut terminal = site.directory.terminals[&record.terminal].clone();
        terminal.online = None;
        let id = record.terminal.clone();
        remembered.terminals.insert(id, terminal);
    }
    remembered
}

fn restarted(site: &Site, session: SessionId) -> Site {
    let attaches: Vec<_> = site.directory.attaches.values().cloned().collect();
    let mut second = Site::with("default.proof = \"none\"", remembered(&attaches));
    second.links = 100;
    let owner = Owner {
        kind: Kind::Desktop,
        person: "alice".to_owned(),
        uid: 1000,
        pid: 42,
        pid_start: 1,
        started_s: 1,
        ..Owner::default()
    };
    let now = second.now();
    assert_eq!(second.directory.adopt(now, session, &owner), []);
    second.directory.check();
    second
}

#[test]
fn a_session_that_is_found_running_and_never_answers_is_ended_and_the_next_card_starts_another() {
    let mut site = Site::new();
    let (_, session, _) = site.attached("a", 1, "c-alice");
    let mut second = restarted(&site, session);
    let (b, _) = second.online("b", 2);
    assert_eq!(start_of(&second.insert(b, 1, "c-alice")), None);
    second.ms = second.directory.next_deadline().expect("a deadline");
    let actions = second.event(Event::Tick);
    assert!(actions.contains(&Action::Kill(session)), "{actions:?}");
    let actions = second.gone(session, Gone::Died("gone".to_owned()));
    assert_eq!(refusal(&actions), Some((b, CardRefusal::SessionFailed)));
    let actions = second.says(b, ToBroker::Retry { seq: 1 });
    assert!(start_of(&actions).is_some());
}

#[test]
fn a_session_that_does_not_end_when_asked_is_ended_and_again_until_it_is_gone() {
    let mut site = Site::new();
    let (_, session, _) = site.attached("a", 1, "c-alice");
    site.admin(|directory, now| directory.end_session(now, "alice"));
    for _ in 0..2 {
        site.ms = site.directory.next_deadline().expect("a deadline");
        let actions = site.event(Event::Tick);
        assert!(actions.contains(&Action::Kill(session)), "{actions:?}");
    }
}

#[test]
fn of_two_sessions_of_one_person_that_are_found_the_older_is_ended() {
    let mut site = Site::new();
    let (_, session, _) = site.attached("a", 1, "c-alice");
    let mut second = restarted(&site, session);
    let older = SessionId([200; 16]);
    let owner = Owner {
        kind: Kind::Desktop,
        person: "alice".to_owned(),
        uid: 1000,
        pid: 43,
        pid_start: 1,
        started_s: 0,
        ..Owner::default()
    };
    let now = second.now();
    let actions = second.directory.adopt(now, older, &owner);
    second.directory.check();
    assert!(matches!(told(&actions, older)[..], [ToSession::End { .. }]));
    second.ready(older, None);
    let (b, _) = second.online("b", 2);
    second.ready(session, None);
    assert_eq!(
        offer_of(&second.insert(b, 1, "c-alice")).unwrap().session,
        session
    );
}

#[test]
fn a_desktop_that_is_found_running_stays_as_long_as_its_persons_groups_say() {
    let policy = "default.proof = \"none\"\ndefault.detached = \"1h\"\n\
                  [[rule]]\nwhen.group = \"nurses\"\ndetached = \"never\"\n";
    for (groups, stays) in [(vec!["nurses".to_owned()], true), (Vec::new(), false)] {
        let mut site = Site::with(policy, Remembered::default());
        let now = site.now();
        let (id, owner) = (SessionId([9; 16]), owner_of("alice"));
        let actions = site.directory.adopt(now, id, &owner);
        assert!(actions.contains(&Action::LookUp("alice".to_owned())));
        site.ready(id, None);
        // Until they are known nothing of hers is ended.
        assert_eq!(site.directory.next_deadline(), None);
        let known = [("alice".to_owned(), Some(groups))];
        site.event(Event::Groups(known.into()));
        assert_eq!(site.directory.next_deadline().is_none(), stays);
    }
}

#[test]
fn a_restarted_broker_leaves_an_attached_desktop_where_it_is() {
    let mut site = Site::new();
    let (_, session, attach) = site.attached("a", 1, "c-alice");
    for terminal_first in [true, false] {
        let mut second = restarted(&site, session);
        let mut actions = Vec::new();
        if !terminal_first {
            actions.extend(second.ready(session, Some(attach)));
        }
        let (a, _) = second.online("a", 1);
        actions.extend(second.insert(a, 1, "c-alice"));
        if terminal_first {
            actions.extend(second.ready(session, Some(attach)));
        }
        assert_eq!(said(&actions), []);
        assert_eq!(offer_of(&actions), None);
        let now = second.now();
        let rows = second.directory.session_rows(now);
        assert_eq!(rows[0].terminal.as_deref(), Some("desk a"));
    }
}

#[test]
fn who_stays_over_a_restart_of_the_broker_has_come_once_and_leaves_as_anybody() {
    let mut site = Site::new();
    let (_, session, attach) = site.attached("a", 1, "c-alice");
    let mut second = restarted(&site, session);
    let policy = "[default]\nproof = \"none\"\non_attach = [\"/bin/a\"]\non_detach = [\"/bin/d\"]";
    let policy = Policy::parse("policy.toml", policy).unwrap();
    second.event(Event::Policy(Box::new(policy)));
    let (a, _) = second.online("a", 1);
    let mut actions = second.insert(a, 1, "c-alice");
    actions.extend(second.ready(session, Some(attach)));
    actions.extend(second.says(a, ToBroker::CardRemoved { seq: 1 }));
    let hooks = actions.iter().filter_map(|action| match action {
        Action::Hook(hook) => Some((hook.event, hook.placed.terminal_name.as_str())),
        _ => None,
    });
    assert_eq!(hooks.collect::<Vec<_>>(), [("detach", "desk a")]);
}

#[test]
fn a_restarted_broker_offers_anew_what_was_lost_meanwhile() {
    let mut site = Site::new();
    let (_, session, attach) = site.attached("a", 1, "c-alice");
    let mut second = restarted(&site, session);
    let (a, _) = second.online("a", 1);
    assert_eq!(offer_of(&second.insert(a, 1, "c-alice")), None);
    let offer = offer_of(&second.ready(session, None)).expect("an offer");
    assert_eq!(offer.link, a);
    assert!(offer.attach > attach);
}

#[test]
fn a_terminal_that_restarted_with_the_broker_gets_its_desktop_once_the_session_answers() {
    let mut site = Site::new();
    let (_, session, attach) = site.attached("a", 1, "c-alice");
    let mut second = restarted(&site, session);
    let (a, _) = second.online("a", 9);
    let actions = second.insert(a, 1, "c-alice");
    assert_eq!((start_of(&actions), offer_of(&actions)), (None, None));
    let offer = offer_of(&second.ready(session, Some(attach))).expect("an offer");
    assert_eq!(offer.terminal_key, KeyPin([9; 32]));
}

#[test]
fn ending_a_session_tells_the_terminal_and_a_new_edge_starts_another() {
    let mut site = Site::new();
    let (a, session, attach) = site.attached("a", 1, "c-alice");
    let actions = site.admin(|directory, now| directory.end_session(now, "alice"));
    let reason = DetachReason::ByAdmin;
    assert_eq!(detach(&actions), Some((a, attach, reason.clone())));
    assert_eq!(told(&actions, session), [&ToSession::End { reason }]);
    let actions = site.insert(a, 2, "c-alice");
    assert_ne!(start_of(&actions).expect("a start"), session);
    // One that does not end is ended.
    site.ms = site.directory.next_deadline().expect("a deadline");
    let actions = site.event(Event::Tick);
    assert!(actions.contains(&Action::Kill(session)));
    let now = site.now();
    assert!(site.directory.end_session(now, "nobody").is_err());
}

#[test]
fn a_receipt_is_kept_for_the_terminal_whose_attach_it_is() {
    let mut site = Site::new();
    let (a, _, attach_id) = site.attached("a", 1, "c-alice");
    let (b, _) = site.online("b", 2);
    let receipt = Receipt {
        attach_id,
        stages: heliostat_wire::List::truncated(vec![StageTime {
            stage: Stage::CardEdge,
            us: 0,
        }]),
    };
    let kept = |actions: &[Action]| {
        actions
            .iter()
            .any(|action| matches!(action, Action::Keep(Record::Receipt(..))))
    };
    let actions = site.says(a, ToBroker::Receipt(receipt.clone()));
    assert!(kept(&actions));
    let actions = site.says(b, ToBroker::Receipt(receipt));
    assert!(!kept(&actions));
}

#[test]
fn a_second_hello_on_one_link_is_a_violation() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let hello = Hello {
        terminal_id: "b".into(),
        name: "b".into(),
        software: "1".into(),
        outputs: Default::default(),
        boot_ms: (0, 0),
    };
    let actions = site.says(a, ToBroker::Hello(hello));
    assert!(matches!(
        actions[..],
        [Action::Close(link, CloseCode::ProtocolViolation, _)] if link == a
    ));
}

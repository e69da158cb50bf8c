//! Proofs by real keys: virtual cards sign what a terminal would have them sign.

use heliostat_wire::proof::{
    Algorithm, Challenge, Proof as Signed, ProofFailure, ProofKey, Purpose, statement,
};
use hil_card::{Card as Plastic, Recipe, Slot as CardSlot, TestCa};
use sha2::{Digest, Sha256};

use super::*;
use crate::policy::Proof;

const CARD: &str = "default.proof = \"card\"";
const PIN: &str = "default.proof = \"card+pin\"";
const GRACE: &str = "default.proof = \"card+pin\"\ndefault.grace = \"1h\"";
const HOUR_MS: u64 = 3_600_000;

/// A challenge, and all else that its answer is to name.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub link: LinkId,
    pub terminal: String,
    pub exporter: [u8; 32],
    pub card: String,
    pub challenge: Challenge,
}

impl Asked {
    /// What this card says to it.
    pub fn answer(&self, recipe: &Recipe) -> ToBroker {
        let slot = match self.challenge.key {
            ProofKey::CardAuthentication => CardSlot::CardAuthentication,
            ProofKey::PivAuthentication => CardSlot::PivAuthentication,
        };
        let (terminal, card) = (self.terminal.as_str().into(), self.card.as_str().into());
        let said = statement(&self.challenge, &self.exporter, &terminal, &card);
        let signature = recipe.sign(slot, &Sha256::digest(said)).expect("a key");
        let certificate = match self.challenge.want_certificate {
            true => recipe.certificate(slot).expect("a certificate"),
            false => Vec::new(),
        };
        ToBroker::Proof(Signed {
            seq: self.challenge.seq,
            algorithm: Algorithm::EcdsaP256Sha256,
            signature: heliostat_wire::List::new(signature).unwrap(),
            certificate: heliostat_wire::List::new(certificate).unwrap(),
        })
    }

    fn sort(&self) -> (Purpose, ProofKey) {
        (self.challenge.purpose, self.challenge.key)
    }
}

/// The challenge among these, of a terminal with this id and card.
pub(super) fn asked(actions: &[Action], terminal: &str, card: &str) -> Option<Asked> {
    said(actions).into_iter().find_map(|(link, message)| {
        let ToTerminal::Prove(challenge) = message else {
            return None;
        };
        Some(Asked {
            link,
            terminal: terminal.to_owned(),
            exporter: exporter_of(link),
            card: card.to_owned(),
            challenge: challenge.clone(),
        })
    })
}

fn attach_keys() -> (Purpose, ProofKey) {
    (Purpose::Attach, ProofKey::CardAuthentication)
}

fn alice() -> (Recipe, String) {
    (Recipe::new("alice"), Plastic::id_of("alice"))
}

fn audited(actions: &[Action], event: &str) -> Option<String> {
    actions.iter().find_map(|action| match action {
        Action::Audit(row) if row.event == event => Some(row.detail.clone()),
        _ => None,
    })
}

fn dropped(actions: &[Action]) -> Vec<LoginId> {
    let dropped = actions.iter().filter_map(|action| match action {
        Action::DropLogin(login) => Some(*login),
        _ => None,
    });
    dropped.collect()
}

impl Site {
    /// A site with a card that is alice's as of its first use.
    fn for_first_use(policy: &str) -> Self {
        let mut site = Self::with(policy, Remembered::default());
        let id = alice().1;
        site.admin(|directory, now| {
            directory.add_card(now, &id, "alice", "", Standing::FirstUse, Keys::default())
        });
        site
    }

    /// One whose card has both of its keys bound.
    fn bound(policy: &str) -> Self {
        let mut site = Self::with(policy, Remembered::default());
        let (recipe, id) = alice();
        let key = |slot| EnrolledKey::from_spki(&recipe.spki(slot).unwrap()).ok();
        let keys = Keys {
            card: key(CardSlot::CardAuthentication),
            owner: key(CardSlot::PivAuthentication),
        };
        site.admin(|directory, now| {
            directory.add_card(now, &id, "alice", "", Standing::Good, keys)
        });
        site
    }

    /// Inserts a card that is challenged.
    fn challenged(&mut self, link: LinkId, seq: u32, card: &str) -> Asked {
        let terminal = self.directory.links[&link].clone();
        let actions = self.insert(link, seq, card);
        asked(&actions, &terminal, card).expect("a challenge")
    }

    fn answer(&mut self, asked: &Asked, recipe: &Recipe) -> Vec<Action> {
        self.says(asked.link, asked.answer(recipe))
    }

    fn no_proof(&mut self, asked: &Asked, why: ProofFailure) -> Vec<Action> {
        let seq = asked.challenge.seq;
        self.says(asked.link, ToBroker::NoProof { seq, why })
    }

    /// A terminal `a` with a desktop that alice's card has opened.
    fn proven(&mut self) -> (LinkId, SessionId, AttachId) {
        let (recipe, id) = alice();
        let (link, _) = self.online("a", 1);
        let asked = self.challenged(link, 1, &id);
        let session = start_of(&self.answer(&asked, &recipe)).expect("a start");
        let offer = offer_of(&self.ready(session, None)).expect("an offer");
        self.attached_says(session, offer.attach);
        (link, session, offer.attach)
    }

    /// What was shown for the desktop on a terminal.
    fn shown(&self, terminal: &str) -> Option<Proof> {
        match &self.directory.terminals[terminal].slot {
            Slot::Joined(join) => Some(join.shown),
            _ => None,
        }
    }

    fn keys(&self, card: &str) -> Vec<String> {
        let words = self.directory.cards[card].keys.in_words();
        words.into_iter().map(|key| key[..2].to_owned()).collect()
    }

    /// Somebody logs in at the greeter that is on a terminal.
    fn log_in(&mut self, greeter: SessionId, person: &str, login: u64, enrol: bool) -> Vec<Action> {
        self.event(Event::LoggedIn(LoggedIn {
            greeter,
            person: person.to_owned(),
            groups: Some(Vec::new()),
            login: LoginId(login),
            enrol,
        }))
    }

    fn policy(&mut self, text: &str) -> Vec<Action> {
        let policy = Policy::parse("policy.toml", text).unwrap();
        self.event(Event::Policy(Box::new(policy)))
    }

    fn asks(&mut self, session: SessionId, ask: Ask) -> Vec<Action> {
        let message = FromSession::Asks(ask);
        self.event(Event::Session { session, message })
    }
}

#[test]
fn first_use_binds_the_key_and_the_next_proof_is_by_it() {
    let mut site = Site::for_first_use(CARD);
    let (recipe, id) = alice();
    let (a, _) = site.online("a", 1);
    let asked = site.challenged(a, 1, &id);
    assert_eq!(asked.sort(), (Purpose::Enrol, ProofKey::CardAuthentication));
    assert!(asked.challenge.want_certificate);
    let actions = site.answer(&asked, &recipe);
    let started: Vec<_> = started(&actions)
        .map(|start| start.person.clone())
        .collect();
    assert_eq!(started, ["alice"]);
    let card = &site.directory.cards[&id];
    assert_eq!(card.standing, Standing::Good);
    let kept = Action::Keep(Record::Card(id.clone(), card.clone()));
    assert!(actions.contains(&kept), "{actions:?}");
    assert!(
        audited(&actions, "proof")
            .expect("audited")
            .starts_with("9E ")
    );

    let asked = site.challenged(a, 2, &id);
    assert_eq!(asked.sort(), attach_keys());
    assert!(!asked.challenge.want_certificate);
    // Somebody who copied the id was too late.
    let actions = site.answer(&asked, &Recipe::new("mallory").id_of("alice"));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::NotProven)));
    assert_eq!(site.keys(&id), ["9E"]);
}

#[test]
fn keys_are_bound_as_far_as_the_card_has_them_and_the_policy_wants_them() {
    let (card, owner) = (CardSlot::CardAuthentication, CardSlot::PivAuthentication);
    // What is wanted, the slot that the card lacks, and what is bound in the end, if it is enough.
    type Row<'a> = (&'a str, Option<CardSlot>, Option<&'a [&'a str]>);
    let table: &[Row<'_>] = &[
        (CARD, None, Some(&["9E"])),
        (CARD, Some(card), Some(&["9A"])),
        (PIN, None, Some(&["9E", "9A"])),
        (PIN, Some(card), Some(&["9A"])),
        (PIN, Some(owner), None),
    ];
    for (policy, lacks, wanted) in table {
        let mut site = Site::for_first_use(policy);
        let (mut recipe, id) = alice();
        if let Some(slot) = lacks {
            recipe = recipe.without(*slot);
        }
        let (a, _) = site.online("a", 1);
        let mut actions = site.insert(a, 1, &id);
        while let Some(asked) = asked(&actions, "a", &id) {
            let slot = match asked.challenge.key {
                ProofKey::CardAuthentication => card,
                ProofKey::PivAuthentication => owner,
            };
            actions = match Some(slot) == *lacks {
                true => site.no_proof(&asked, ProofFailure::NoKey),
                false => site.answer(&asked, &recipe),
            };
        }
        let place = format!("{policy} without {lacks:?}: {actions:?}");
        match wanted {
            Some(keys) => {
                assert!(start_of(&actions).is_some(), "{place}");
                assert_eq!(site.keys(&id), *keys, "{place}");
            }
            None => assert_eq!(
                refusal(&actions),
                Some((a, CardRefusal::NotProven)),
                "{place}"
            ),
        }
    }
}

#[test]
fn proof_for_anything_else_opens_nothing_and_spends_the_challenge() {
    type Change = fn(&mut Asked);
    let changes: &[(&str, Change)] = &[
        ("another link", |asked| asked.exporter = [99; 32]),
        ("another terminal", |asked| asked.terminal = "b".to_owned()),
        ("another card", |asked| asked.card = Plastic::id_of("bob")),
        ("another nonce", |asked| asked.challenge.nonce = [99; 32]),
        ("another purpose", |asked| {
            asked.challenge.purpose = Purpose::Enrol
        }),
        ("unlocking", |asked| {
            asked.challenge.purpose = Purpose::Unlock
        }),
        ("the other key", |asked| {
            asked.challenge.key = ProofKey::PivAuthentication;
        }),
    ];
    for (what, change) in changes {
        let mut site = Site::bound(CARD);
        let (recipe, id) = alice();
        let (a, _) = site.online("a", 1);
        let asked = site.challenged(a, 1, &id);
        let mut other = asked.clone();
        change(&mut other);
        let actions = site.answer(&other, &recipe);
        assert_eq!(
            refusal(&actions),
            Some((a, CardRefusal::NotProven)),
            "{what}"
        );
        assert!(audited(&actions, "proof_refused").is_some(), "{what}");
        assert_eq!(site.answer(&asked, &recipe), [], "{what}");
        // Asking again is another challenge.
        let actions = site.says(a, ToBroker::Retry { seq: 1 });
        let again = super::proofs::asked(&actions, "a", &id).expect("a challenge");
        assert_ne!(again.challenge.nonce, asked.challenge.nonce, "{what}");
        assert!(start_of(&site.answer(&again, &recipe)).is_some(), "{what}");
    }
}

#[test]
fn answers_that_nobody_waits_for_are_nothing() {
    let mut site = Site::bound(CARD);
    let (recipe, id) = alice();
    let (a, _) = site.online("a", 1);
    let (b, _) = site.online("b", 2);
    let asked = site.challenged(a, 1, &id);
    // From another terminal, for another edge, and before anything was asked.
    assert_eq!(site.says(b, asked.answer(&recipe)), []);
    let mut of_another_edge = asked.clone();
    of_another_edge.challenge.seq = 2;
    assert_eq!(site.answer(&of_another_edge, &recipe), []);
    assert_eq!(site.no_proof(&of_another_edge, ProofFailure::NoKey), []);
    let actions = site.answer(&asked, &recipe);
    let session = start_of(&actions).expect("a start");
    // Twice, also when the desktop is there.
    assert_eq!(site.answer(&asked, &recipe), []);
    assert!(offer_of(&site.ready(session, None)).is_some());
    assert_eq!(site.answer(&asked, &recipe), []);
    assert_eq!(site.no_proof(&asked, ProofFailure::CardFailed), []);
    // A new edge has a new challenge, to which the old answer is none.
    let next = site.challenged(a, 2, &id);
    let mut replayed = asked.clone();
    replayed.challenge.seq = 2;
    let ToBroker::Proof(mut old) = asked.answer(&recipe) else {
        unreachable!("answers are proofs");
    };
    old.seq = next.challenge.seq;
    let actions = site.says(a, ToBroker::Proof(old));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::NotProven)));
}

#[test]
fn challenge_that_is_not_answered_in_time_is_over() {
    let mut site = Site::bound(CARD);
    let (recipe, id) = alice();
    let (a, _) = site.online("a", 1);
    let asked = site.challenged(a, 1, &id);
    site.ms = site.directory.next_deadline().expect("a deadline");
    let actions = site.event(Event::Tick);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::NotProven)));
    assert_eq!(site.answer(&asked, &recipe), []);
}

#[test]
fn authority_vouches_for_the_card_and_the_key_that_its_certificate_names() {
    let (card, owner) = (CardSlot::CardAuthentication, CardSlot::PivAuthentication);
    let mallory = || Recipe::new("mallory").id_of("alice");
    let table: &[(&str, Recipe, bool)] = &[
        (CARD, Recipe::new("alice"), true),
        (PIN, Recipe::new("alice"), true),
        (CARD, mallory(), false),
        (CARD, mallory().certificates_of("alice"), false),
        (CARD, Recipe::new("alice").self_signed(), false),
    ];
    for (policy, recipe, good) in table {
        let mut site = Site::with(policy, Remembered::default());
        site.directory.authorities = Authorities::from_pem(&TestCa::of_cards().pem()).ok();
        let id = alice().1;
        site.admin(|directory, now| {
            directory.add_card(now, &id, "alice", "", Standing::Good, Keys::default())
        });
        site.ms = 1_790_000_000_000;
        let (a, _) = site.online("a", 1);
        let asked = site.challenged(a, 1, &id);
        assert!(asked.challenge.want_certificate);
        let actions = site.answer(&asked, recipe);
        assert_eq!(
            start_of(&actions).is_some(),
            *good,
            "{recipe:?}: {actions:?}"
        );
        // A certificate of the key without PIN says nothing of the one with PIN.
        if *policy == PIN {
            let asked = site.challenged(a, 2, &alice().1);
            assert_eq!(asked.challenge.key, ProofKey::PivAuthentication);
            site.directory.cards.get_mut(&id).unwrap().keys = Keys::default();
            let mut asked = site.challenged(a, 3, &id);
            let said = asked.answer(recipe);
            asked.challenge.key = ProofKey::PivAuthentication;
            let ToBroker::Proof(mut signed) = said else {
                unreachable!("answers are proofs");
            };
            let text = statement(
                &asked.challenge,
                &asked.exporter,
                &"a".into(),
                &id.as_str().into(),
            );
            let signature = recipe.sign(card, &Sha256::digest(text)).unwrap();
            signed.signature = heliostat_wire::List::new(signature).unwrap();
            signed.certificate =
                heliostat_wire::List::new(recipe.certificate(card).unwrap()).unwrap();
            let actions = site.says(a, ToBroker::Proof(signed));
            assert_eq!(refusal(&actions), Some((a, CardRefusal::NotProven)));
            assert!(recipe.spki(owner).is_some());
        }
    }
}

#[test]
fn card_with_a_pin_has_both_its_keys_told_apart() {
    let mut site = Site::for_first_use(PIN);
    let (recipe, id) = alice();
    let (a, _) = site.online("a", 1);
    let first = site.challenged(a, 1, &id);
    let actions = site.answer(&first, &recipe);
    let second = asked(&actions, "a", &id).expect("a second challenge");
    assert_eq!(second.sort(), (Purpose::Enrol, ProofKey::PivAuthentication));
    // The key that signs without PIN is shown as the other one.
    let (terminal, card) = ("a".into(), id.as_str().into());
    let said = statement(&second.challenge, &second.exporter, &terminal, &card);
    let slot = CardSlot::CardAuthentication;
    let signature = recipe.sign(slot, &Sha256::digest(said)).unwrap();
    let actions = site.says(
        a,
        ToBroker::Proof(Signed {
            seq: 1,
            algorithm: Algorithm::EcdsaP256Sha256,
            signature: heliostat_wire::List::new(signature).unwrap(),
            certificate: heliostat_wire::List::new(recipe.certificate(slot).unwrap()).unwrap(),
        }),
    );
    assert_eq!(refusal(&actions), Some((a, CardRefusal::NotProven)));
    assert_eq!(site.keys(&id), ["9E"]);
}

/// A terminal `a` with an unknown card and its greeter on the screen.
fn greeted(site: &mut Site, card: &str) -> (LinkId, SessionId) {
    let (a, _) = site.online("a", 1);
    let greeter = start_of(&site.insert(a, 1, card)).expect("a greeter");
    let offer = offer_of(&site.ready(greeter, None)).expect("an offer");
    site.attached_says(greeter, offer.attach);
    (a, greeter)
}

#[test]
fn login_at_the_greeter_binds_the_card_and_starts_the_desktop_by_that_login() {
    let mut site = Site::with(
        "default.proof = \"card\"\ndefault.enrol = \"offer\"",
        Remembered::default(),
    );
    let (recipe, id) = alice();
    let (a, greeter) = greeted(&mut site, &id);
    let actions = site.log_in(greeter, "alice", 7, true);
    let asked = asked(&actions, "a", &id).expect("a challenge");
    assert_eq!(asked.sort(), (Purpose::Enrol, ProofKey::CardAuthentication));
    assert_eq!(detach(&actions).map(|detach| detach.0), None);
    let actions = site.answer(&asked, &recipe);
    let start = started(&actions).next().expect("a start").clone();
    assert_eq!(
        (start.person.as_str(), start.login),
        ("alice", Some(LoginId(7)))
    );
    assert_eq!(dropped(&actions), []);
    assert_eq!(site.directory.cards[&id].person, "alice");
    assert_eq!(site.keys(&id), ["9E"]);
    let offer = offer_of(&site.ready(start.session, None)).expect("an offer");
    assert_eq!((offer.link, offer.person.as_str()), (a, "alice"));
    assert_eq!(site.shown("a"), Some(Proof::Password));
}

#[test]
fn login_whose_card_binds_nothing_still_has_its_desktop() {
    type Answer = fn(&mut Site, &Asked) -> Vec<Action>;
    let answers: &[(&str, Answer)] = &[
        ("no key", |site, asked| {
            let actions = site.no_proof(asked, ProofFailure::NoKey);
            let next = super::proofs::asked(&actions, "a", &asked.card).expect("the other key");
            assert_eq!(next.challenge.key, ProofKey::PivAuthentication);
            site.no_proof(&next, ProofFailure::NoPin)
        }),
        ("a broken card", |site, asked| {
            site.no_proof(asked, ProofFailure::CardFailed)
        }),
        ("another's key", |site, asked| {
            let copy = Recipe::new("mallory").certificates_of("alice");
            site.answer(asked, &copy)
        }),
        ("nothing", |site, _| {
            site.ms = site.directory.next_deadline().expect("a deadline");
            site.event(Event::Tick)
        }),
    ];
    for (what, answer) in answers {
        let mut site = Site::with(
            "default.proof = \"card\"\ndefault.enrol = \"offer\"",
            Remembered::default(),
        );
        let id = alice().1;
        let (_, greeter) = greeted(&mut site, &id);
        let actions = site.log_in(greeter, "alice", 7, true);
        let asked = asked(&actions, "a", &id).expect("a challenge");
        let actions = answer(&mut site, &asked);
        let start = started(&actions).next().expect(what);
        assert_eq!(start.login, Some(LoginId(7)), "{what}");
        assert!(!site.directory.cards.contains_key(&id), "{what}");
    }
}

/// A card that is bound by the key that needs no PIN, where the policy wants the PIN by now.
fn bound_without_pin(policy: &str) -> (Site, SessionId) {
    let mut site = Site::bound(policy);
    let id = alice().1;
    site.directory.cards.get_mut(&id).unwrap().keys.owner = None;
    let (_, greeter) = greeted(&mut site, &id);
    (site, greeter)
}

#[test]
fn login_binds_the_key_with_a_pin_once_the_policy_wants_it() {
    let (mut site, greeter) = bound_without_pin(PIN);
    let (recipe, id) = alice();
    let actions = site.log_in(greeter, "alice", 7, false);
    let first = asked(&actions, "a", &id).expect("a challenge");
    assert_eq!(first.challenge.key, ProofKey::CardAuthentication);
    let actions = site.answer(&first, &recipe);
    let second = asked(&actions, "a", &id).expect("the other key");
    assert_eq!(second.challenge.key, ProofKey::PivAuthentication);
    assert!(start_of(&site.answer(&second, &recipe)).is_some());
    assert_eq!(site.keys(&id), ["9E", "9A"]);
}

#[test]
fn password_beside_a_copied_id_opens_nothing_where_nobody_may_log_in_without_a_card() {
    for (login, opens) in [(false, false), (true, true)] {
        let (mut site, greeter) = bound_without_pin(&format!("{PIN}\ndefault.login = {login}"));
        let id = alice().1;
        let actions = site.log_in(greeter, "alice", 7, false);
        let first = asked(&actions, "a", &id).expect("a challenge");
        let actions = site.answer(&first, &Recipe::new("mallory").id_of("alice"));
        assert_eq!(start_of(&actions).is_some(), opens, "login = {login}");
        assert_eq!(dropped(&actions).is_empty(), opens);
        assert_eq!(site.keys(&id), ["9E"]);
    }
}

#[test]
fn login_goes_with_the_card_that_is_pulled_while_it_is_bound() {
    let mut site = Site::with(
        "default.proof = \"card\"\ndefault.enrol = \"offer\"",
        Remembered::default(),
    );
    let id = alice().1;
    let (a, greeter) = greeted(&mut site, &id);
    site.log_in(greeter, "alice", 7, true);
    let actions = site.says(a, ToBroker::CardRemoved { seq: 1 });
    assert_eq!(dropped(&actions), [LoginId(7)]);
}

#[test]
fn login_whose_terminal_is_away_leads_nowhere() {
    let mut site = Site::with(
        "default.proof = \"card\"\ndefault.enrol = \"offer\"",
        Remembered::default(),
    );
    let (a, greeter) = greeted(&mut site, &alice().1);
    site.event(Event::LinkDown { link: a });
    let actions = site.log_in(greeter, "alice", 7, true);
    assert_eq!(dropped(&actions), [LoginId(7)]);
}

#[test]
fn card_that_has_to_be_approved_opens_once_it_is() {
    let mut site = Site::with(
        "default.proof = \"card\"\ndefault.enrol = \"approval\"",
        Remembered::default(),
    );
    let (recipe, id) = alice();
    let (a, greeter) = greeted(&mut site, &id);
    let actions = site.log_in(greeter, "alice", 7, true);
    let first = asked(&actions, "a", &id).expect("a challenge");
    let actions = site.answer(&first, &recipe);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Forbidden)));
    assert_eq!(dropped(&actions), [LoginId(7)]);
    assert_eq!(site.directory.cards[&id].standing, Standing::Asked);
    let actions = site.says(a, ToBroker::Retry { seq: 1 });
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Forbidden)));
    let actions = site.admin(|directory, now| directory.approve_card(now, &id));
    let second = asked(&actions, "a", &id).expect("a challenge");
    assert_eq!(second.sort(), attach_keys());
    assert!(start_of(&site.answer(&second, &recipe)).is_some());
}

#[test]
fn approval_that_one_desk_asks_for_is_not_given_by_another() {
    // Whoever may enrol at b without asking may not so enrol what a has sent to an administrator.
    let policy = "default.proof = \"card\"\ndefault.enrol = \"approval\"\n\
                  default.keyless = true\n\
                  [[rule]]\nwhen = { terminal = \"b\" }\nenrol = \"offer\"\n";
    let keyless = "uid:04aabbccddee80";
    for id in [alice().1.as_str(), keyless] {
        let (recipe, with_key) = (alice().0, id != keyless);
        let mut site = Site::with(policy, Remembered::default());
        let at = |site: &mut Site, link, seq| {
            let actions = site.insert(link, seq, id);
            let greeter = start_of(&actions)?;
            let offer = offer_of(&site.ready(greeter, None)).expect("an offer");
            site.attached_says(greeter, offer.attach);
            let actions = site.log_in(greeter, "alice", u64::from(seq), true);
            Some(match with_key {
                true => {
                    let asked = asked(&actions, "a", id).expect("a challenge");
                    site.answer(&asked, &recipe)
                }
                false => actions,
            })
        };
        let (a, _) = site.online("a", 1);
        let first = at(&mut site, a, 1).expect("a greeter");
        assert_eq!(site.directory.cards[id].standing, Standing::Asked, "{id}");
        assert_eq!(refusal(&first).is_some(), with_key, "{id}");
        site.says(a, ToBroker::CardRemoved { seq: 1 });
        let (b, _) = site.online("b", 1);
        // There is no greeter for it there, so nothing could make it good.
        assert_eq!(at(&mut site, b, 2), None, "{id}");
        let actions = site.says(b, ToBroker::Retry { seq: 2 });
        assert_eq!(refusal(&actions), Some((b, CardRefusal::Forbidden)), "{id}");
        assert_eq!(site.directory.cards[id].standing, Standing::Asked, "{id}");
    }
}

#[test]
fn desk_that_offers_a_card_makes_good_no_other_desks_request() {
    let policy = "default.proof = \"card\"\ndefault.enrol = \"approval\"\n\
                  [[rule]]\nwhen = { terminal = \"b\" }\nenrol = \"offer\"\n";
    let mut site = Site::with(policy, Remembered::default());
    let (recipe, id) = alice();
    // At both desks at once: the login at b began while nobody knew the card.
    let (a, at_a) = greeted(&mut site, &id);
    let (b, _) = site.online("b", 2);
    let at_b = start_of(&site.insert(b, 1, &id)).expect("a greeter");
    let offer = offer_of(&site.ready(at_b, None)).expect("an offer");
    site.attached_says(at_b, offer.attach);
    let said = site.log_in(at_b, "alice", 2, true);
    let asked_b = asked(&said, "b", &id).expect("a challenge");
    let said = site.log_in(at_a, "alice", 1, true);
    let asked_a = asked(&said, "a", &id).expect("a challenge");
    let actions = site.answer(&asked_a, &recipe);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Forbidden)));
    let actions = site.answer(&asked_b, &recipe);
    assert_eq!(refusal(&actions), Some((b, CardRefusal::Forbidden)));
    assert_eq!(start_of(&actions), None);
    assert_eq!(site.directory.cards[&id].standing, Standing::Asked);
}

#[test]
fn card_that_was_given_to_another_meanwhile_is_not_bound() {
    let mut site = Site::with(
        "default.proof = \"card\"\ndefault.enrol = \"offer\"",
        Remembered::default(),
    );
    // Mallory's card claims an id that an administrator is just giving to bob.
    let id = Plastic::id_of("bob");
    let (a, greeter) = greeted(&mut site, &id);
    let actions = site.log_in(greeter, "mallory", 7, true);
    let asked = asked(&actions, "a", &id).expect("a challenge");
    site.admin(|directory, now| {
        directory.add_card(now, &id, "bob", "", Standing::FirstUse, Keys::default())
    });
    let actions = site.answer(&asked, &Recipe::new("mallory").id_of("bob"));
    assert_eq!(start_of(&actions), None);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::NotProven)));
    assert_eq!(dropped(&actions), [LoginId(7)]);
    assert_eq!(site.keys(&id), [""; 0]);
    assert_eq!(site.directory.cards[&id].standing, Standing::FirstUse);
}

#[test]
fn locked_desktop_is_asked_for_again_before_anything_of_it_is_shown() {
    for (policy, by_key) in [(CARD, true), (PIN, false)] {
        let mut site = Site::bound(policy);
        let (recipe, id) = alice();
        let (a, session, attach) = site.proven();
        let actions = site.asks(session, Ask::Lock);
        assert_eq!(detach(&actions), Some((a, attach, DetachReason::Locked)));
        assert!(matches!(
            told(&actions, session)[..],
            [ToSession::Detach {
                reason: DetachReason::Locked,
                ..
            }]
        ));
        assert_eq!(offer_of(&actions), None);
        let actions = match by_key {
            true => {
                assert_eq!(refusal(&actions), Some((a, CardRefusal::Locked)));
                site.says(a, ToBroker::Retry { seq: 1 })
            }
            false => actions,
        };
        let asked = asked(&actions, "a", &id).expect("a challenge");
        assert_eq!(offer_of(&actions), None);
        let offer = offer_of(&site.answer(&asked, &recipe)).expect("an offer");
        assert_eq!((offer.session, offer.link), (session, a));
    }
}

#[test]
fn desktop_that_is_locked_while_its_terminal_is_away_is_asked_for_when_that_is_back() {
    let mut site = Site::bound(PIN);
    let (recipe, id) = alice();
    let (a, session, _) = site.proven();
    // Only the control link is gone: the desktop is still on the screen.
    site.event(Event::LinkDown { link: a });
    let actions = site.asks(session, Ask::Lock);
    assert!(matches!(
        told(&actions, session)[..],
        [ToSession::Detach {
            reason: DetachReason::Locked,
            ..
        }]
    ));
    let (a, _) = site.online("a", 1);
    let asked = site.challenged(a, 1, &id);
    assert_eq!(asked.challenge.key, ProofKey::PivAuthentication);
    let offer = offer_of(&site.answer(&asked, &recipe)).expect("an offer");
    assert_eq!((offer.link, offer.session), (a, session));
}

#[test]
fn grace_counts_for_a_while_and_ends_with_a_lock_a_policy_or_a_revocation() {
    let (with_pin, without) = (ProofKey::PivAuthentication, ProofKey::CardAuthentication);
    type Between = fn(&mut Site, SessionId);
    let table: &[(&str, Between, ProofKey)] = &[
        ("nothing", |_, _| (), without),
        ("half an hour", |site, _| site.ms += HOUR_MS / 2, without),
        ("two hours", |site, _| site.ms += 2 * HOUR_MS, with_pin),
        (
            "the same policy anew",
            |site, _| drop(site.policy(GRACE)),
            with_pin,
        ),
        (
            "the card was lost and found",
            |site, _| {
                let id = alice().1;
                site.admin(|directory, now| directory.revoke_card(now, &id));
                site.admin(|directory, now| {
                    directory.add_card(now, &id, "alice", "", Standing::Good, Keys::default())
                });
            },
            with_pin,
        ),
    ];
    for (what, between, key) in table {
        let mut site = Site::bound(GRACE);
        let (recipe, id) = alice();
        let (a, session, _) = site.proven();
        assert_eq!(site.shown("a"), Some(Proof::CardPin));
        site.says(a, ToBroker::CardRemoved { seq: 1 });
        between(&mut site, session);
        let asked = site.challenged(a, 2, &id);
        assert_eq!(asked.challenge.key, *key, "{what}");
        let offer = offer_of(&site.answer(&asked, &recipe)).expect(what);
        assert_eq!(offer.session, session, "{what}");
    }
    // A lock, while it is used and in the grace of an earlier PIN.
    let mut site = Site::bound(GRACE);
    let (recipe, id) = alice();
    let (a, session, _) = site.proven();
    site.says(a, ToBroker::CardRemoved { seq: 1 });
    let asked = site.challenged(a, 2, &id);
    site.answer(&asked, &recipe);
    assert_eq!(site.shown("a"), Some(Proof::Card));
    let actions = site.asks(session, Ask::Idle);
    let asked = super::proofs::asked(&actions, "a", &id).expect("a challenge");
    assert_eq!(asked.challenge.key, with_pin);
}

#[test]
fn grace_counts_where_both_places_give_it() {
    let policy = "[default]\nproof = \"card+pin\"\ngrace = \"1h\"\n\
                  [[rule]]\nwhen = { terminal = \"lobby*\" }\ngrace = \"0s\"\n";
    for (terminal, key) in [
        ("ward", ProofKey::CardAuthentication),
        ("lobby", ProofKey::PivAuthentication),
    ] {
        let mut site = Site::bound(policy);
        let id = alice().1;
        let (a, _, _) = site.proven();
        site.says(a, ToBroker::CardRemoved { seq: 1 });
        let (b, _) = site.online(terminal, 2);
        let asked = site.challenged(b, 1, &id);
        assert_eq!(asked.challenge.key, key, "{terminal}");
    }
}

#[test]
fn proof_under_way_is_worth_what_the_policy_of_its_end_says() {
    // While the card signs.
    let mut site = Site::bound(CARD);
    let (recipe, id) = alice();
    let (a, _) = site.online("a", 1);
    let first = site.challenged(a, 1, &id);
    site.policy(PIN);
    let actions = site.answer(&first, &recipe);
    assert_eq!((start_of(&actions), offer_of(&actions)), (None, None));
    let second = asked(&actions, "a", &id).expect("a PIN is asked for");
    assert_eq!(second.challenge.key, ProofKey::PivAuthentication);
    let session = start_of(&site.answer(&second, &recipe)).expect("a start");
    site.ready(session, None);
    assert_eq!(site.shown("a"), Some(Proof::CardPin));

    // While the desktop starts.
    let mut site = Site::bound(CARD);
    let (a, _) = site.online("a", 1);
    let first = site.challenged(a, 1, &id);
    let session = start_of(&site.answer(&first, &recipe)).expect("a start");
    site.policy(PIN);
    let actions = site.ready(session, None);
    assert_eq!(offer_of(&actions), None);
    let second = asked(&actions, "a", &id).expect("a PIN is asked for");
    let offer = offer_of(&site.answer(&second, &recipe)).expect("an offer");
    assert_eq!((offer.link, offer.session), (a, session));
}

#[test]
fn kiosk_takes_no_card_for_its_desktop_and_opens_without_one() {
    let policy = "default.proof = \"card\"\n[[rule]]\nwhen = { terminal = \"a\" }\n\
                  kiosk = [\"/bin/map\"]\nkiosk_user = \"map\"\n";
    let mut site = Site::bound(policy);
    let (recipe, id) = alice();
    let (a, _) = site.online("a", 1);
    let actions = site.says(a, ToBroker::Login { seq: 1 });
    let kiosk = started(&actions).next().expect("a kiosk").clone();
    assert_eq!(
        (&kiosk.kind, kiosk.person.as_str()),
        (&Kind::Kiosk("terminal a".to_owned()), "map")
    );
    // A card has to prove itself even there.
    let asked = site.challenged(a, 2, &id);
    let actions = site.answer(&asked, &recipe);
    let started: Vec<_> = started(&actions).map(|start| start.kind.clone()).collect();
    assert_eq!(started, [Kind::Kiosk(format!("card {id}"))]);
}

#[test]
fn desktop_that_nobody_comes_back_to_is_ended() {
    let mut site = Site::bound("default.proof = \"card\"\ndefault.detached = \"1h\"");
    let (a, session, _) = site.proven();
    assert_eq!(site.directory.next_deadline(), None);
    site.says(a, ToBroker::CardRemoved { seq: 1 });
    site.ms += HOUR_MS - 1000;
    assert!(told(&site.event(Event::Tick), session).is_empty());
    site.ms += 2000;
    let actions = site.event(Event::Tick);
    let reason = DetachReason::ByPolicy;
    assert_eq!(told(&actions, session), [&ToSession::End { reason }]);
}

#[test]
fn one_address_leaves_greeters_for_the_others() {
    let mut site = Site::with(CARD, Remembered::default());
    site.directory.setup.max_greeters = 8;
    let mut greeters = 0;
    for number in 0..20 {
        let (link, _) = site.online(&format!("t{number}"), 1);
        greeters += started(&site.says(link, ToBroker::Login { seq: 1 })).count();
    }
    assert_eq!(greeters, 6);
    // One terminal has its greeter, and the one before while that ends.
    let mut site = Site::with(CARD, Remembered::default());
    site.directory.setup.max_greeters = 8;
    let (link, _) = site.online("a", 1);
    let starts = (1..=20).map(|seq| started(&site.says(link, ToBroker::Login { seq })).count());
    assert_eq!(starts.sum::<usize>(), 2);
}

#[test]
fn logins_without_end_start_no_more_greeters_than_there_may_be() {
    let mut site = Site::with(CARD, Remembered::default());
    let (a, _) = site.online("a", 1);
    let mut greeters = 0;
    for seq in 1..=1000 {
        let actions = site.says(a, ToBroker::Login { seq });
        greeters += started(&actions).count();
        let refused = refusal(&actions).is_some();
        assert!(refused || started(&actions).count() == 1, "{actions:?}");
    }
    assert_eq!(greeters, site.directory.setup.max_greeters);
}

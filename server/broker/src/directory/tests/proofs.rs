//! Proofs by real keys: virtual cards sign what a terminal would have them sign.

mod again;
mod logins;

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

#[test]
fn proofs_sign_ids_as_they_were_said() {
    let mut site = Site::bound(CARD);
    let (recipe, id) = alice();
    let (link, _) = site.online("AB", 1);
    let said = id.to_ascii_uppercase();
    let actions = site.insert(link, 1, &said);
    let mut asked = asked(&actions, "AB", &said).expect("a challenge");
    assert!(start_of(&site.answer(&asked, &recipe)).is_some());
    site.says(link, ToBroker::CardRemoved { seq: 1 });
    // Others than were said do not hold.
    let actions = site.insert(link, 2, &said);
    asked = super::proofs::asked(&actions, "ab", &id).expect("a challenge");
    let actions = site.answer(&asked, &recipe);
    assert_eq!(refusal(&actions), Some((link, CardRefusal::NotProven)));
}

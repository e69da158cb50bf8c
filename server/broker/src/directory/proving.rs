//! Cards that prove themselves: what is asked of them, and what their answers are worth.
//!
//! ```text
//! open ──challenge──► Proving ──proof──► admitted
//!                      │  ▲   └──keys are to be bound──► the next challenge, or admitted
//!                      │  └─ a login whose card is to be bound
//!                      └──wrong, none, too late, pulled──► Parked, Empty
//! ```
//!
//! A challenge lives in the slot and leaves it with the first answer, so a proof is good once.

use heliostat_wire::control::CardRefusal;
use heliostat_wire::proof::{
    Challenge, Proof as Signed, ProofFailure, ProofKey, Purpose, statement,
};

use super::cards::Admission;
use super::*;
use crate::policy::Proof;
use crate::proof::{self, EnrolledKey};

/// How long an answer may take where nobody has to type anything. Old cards sign slowly.
const SIGN_MS: u64 = 10_000;
/// And where somebody has to.
const TYPE_MS: u64 = 60_000;

impl Directory {
    /// Asks a card that is somebody's for a proof of `needed`.
    pub(super) fn challenge(
        &mut self,
        now: Moment,
        terminal: &str,
        edge: Edge,
        card: &Card,
        needed: Proof,
    ) {
        let person = card.person.clone();
        if let Some(key) = key_for(&card.keys, needed) {
            return self.prove(
                now,
                terminal,
                edge,
                person,
                key,
                Purpose::Attach,
                vec![],
                None,
            );
        }
        let mut keys = keys_to_bind(needed);
        let first = keys.remove(0);
        match (card.standing, &self.authorities) {
            (Standing::FirstUse, _) => {
                self.prove(
                    now,
                    terminal,
                    edge,
                    person,
                    first,
                    Purpose::Enrol,
                    keys,
                    None,
                );
            }
            (_, Some(_)) => {
                let key = *keys.last().unwrap_or(&first);
                self.prove(
                    now,
                    terminal,
                    edge,
                    person,
                    key,
                    Purpose::Attach,
                    vec![],
                    None,
                );
            }
            // Whoever knows the person's password may bind it.
            (_, None) => self.greet(now, terminal, edge, Some(person)),
        }
    }

    /// Binds the card in the reader to somebody who has logged in, if it has keys.
    pub(super) fn bind(
        &mut self,
        now: Moment,
        terminal: &str,
        edge: Edge,
        person: String,
        login: LoginId,
    ) {
        let outcome = self.decide(terminal, Some(&edge.card), Some(&person));
        let mut keys = keys_to_bind(outcome.proof);
        let first = keys.remove(0);
        let login = Some(login);
        self.prove(
            now,
            terminal,
            edge,
            person,
            first,
            Purpose::Enrol,
            keys,
            login,
        );
        if let Some(Slot::Proving(proving)) = self.slot_mut(terminal) {
            proving.shown = Some(Proof::Password);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a challenge")]
    fn prove(
        &mut self,
        now: Moment,
        terminal: &str,
        edge: Edge,
        person: String,
        key: ProofKey,
        purpose: Purpose,
        then: Vec<ProofKey>,
        login: Option<LoginId>,
    ) {
        let bound = self.cards.get(&edge.card).map(|card| &card.keys);
        let want_certificate = bound.and_then(|keys| keys.get(key)).is_none();
        let challenge = Challenge {
            seq: edge.seq,
            nonce: self.fresh_nonce(),
            purpose,
            key,
            want_certificate,
        };
        let patience = match key {
            ProofKey::CardAuthentication => SIGN_MS,
            ProofKey::PivAuthentication => TYPE_MS,
        };
        self.tell(terminal, ToTerminal::Prove(challenge.clone()));
        let known = self.terminals.get_mut(terminal).expect("a known terminal");
        known.slot = Slot::Proving(Box::new(Proving {
            edge,
            person,
            challenge,
            until_ms: now.ms + patience,
            shown: None,
            then,
            login,
        }));
    }

    /// Takes the challenge that `seq` answers out of the slot, in which the card stays parked.
    fn answered(&mut self, now: Moment, terminal: &str, seq: u32) -> Option<Proving> {
        let slot = self.slot_mut(terminal)?;
        let proving = match slot {
            Slot::Proving(proving) if proving.edge.seq == seq => (**proving).clone(),
            // An answer to a challenge that is over.
            _ => return None,
        };
        *slot = Slot::Parked(proving.edge.clone());
        let owner = self.person_of(&proving.edge.card);
        if owner.is_none_or(|owner| owner == proving.person) {
            return Some(proving);
        }
        // An administrator has given the card away since; the key in this reader may be anybody's.
        self.drop_login(proving.login);
        let text = "This card has been given to somebody else. Take it out.";
        self.refuse(now, terminal, CardRefusal::NotProven, text);
        None
    }

    pub(super) fn proof(&mut self, now: Moment, terminal: &str, signed: &Signed) {
        let Some(proving) = self.answered(now, terminal, signed.seq) else {
            return;
        };
        match self.judge(now, terminal, &proving, signed) {
            Ok(new) => self.proven(now, terminal, proving, new),
            Err(problem) => {
                self.audit_proof(now, terminal, &proving, "proof_refused", &problem);
                let text = "This card did not prove itself. Pull it and insert it again, or ask \
                            your administrator.";
                self.not_proven(now, terminal, proving, text);
            }
        }
    }

    /// Whether an answer is worth anything, and the key that it binds, if it does.
    fn judge(
        &self,
        now: Moment,
        terminal: &str,
        proving: &Proving,
        signed: &Signed,
    ) -> Result<Option<EnrolledKey>, String> {
        let known = &self.terminals[terminal];
        let online = known.online.ok_or("the terminal is gone")?;
        let challenge = &proving.challenge;
        let card = proving.edge.card.as_str();
        let (said_id, said_card) = (known.said_id.as_str(), known.said_card.as_str());
        let said = statement(
            challenge,
            &online.exporter,
            &said_id.into(),
            &said_card.into(),
        );
        let in_words = |error: proof::ProofError| error.to_string();
        let bound = self.cards.get(card).map(|card| &card.keys);
        if let Some(key) = bound.and_then(|keys| keys.get(challenge.key)) {
            return proof::verify(&said, signed, key)
                .map(|()| None)
                .map_err(in_words);
        }
        let strange = self
            .cards
            .get(card)
            .is_some_and(|known| known.person != proving.person || known.revoked_s.is_some());
        if strange {
            return Err("the card has become somebody else's meanwhile".to_owned());
        }
        let authorities = match challenge.purpose {
            Purpose::Attach => self.authorities.as_ref(),
            Purpose::Enrol | Purpose::Unlock => None,
        };
        let now_s = now.unix_ms / 1000;
        let certified =
            proof::from_certificate(&signed.certificate, now_s, authorities).map_err(in_words)?;
        if challenge.purpose == Purpose::Attach {
            let named = certified.card.as_deref();
            if !certified.chained || named != Some(card) {
                return Err(format!(
                    "its certificate names {} and not {card}",
                    named.unwrap_or("no card")
                ));
            }
        }
        // What signs without a PIN must not pass for what signs with one.
        let other = bound.and_then(|keys| keys.get(other(challenge.key)));
        let wrong_role = challenge.key == ProofKey::PivAuthentication
            && certified.role == Some(ProofKey::CardAuthentication);
        if wrong_role || other == Some(&certified.key) {
            return Err("it shows the same key as its owner's and as its own".to_owned());
        }
        proof::verify(&said, signed, &certified.key).map_err(in_words)?;
        Ok(Some(certified.key))
    }

    fn proven(&mut self, now: Moment, terminal: &str, proving: Proving, new: Option<EnrolledKey>) {
        let fingerprint = match &new {
            Some(key) => key.fingerprint(),
            None => self.cards[&proving.edge.card]
                .keys
                .get(proving.challenge.key)
                .map(EnrolledKey::fingerprint)
                .unwrap_or_default(),
        };
        let detail = format!("{} {fingerprint}", in_words(proving.challenge.key));
        self.audit_proof(now, terminal, &proving, "proof", &detail);
        // What an authority vouches for is asked for anew each time: certificates expire.
        if let Some(key) = new.filter(|_| proving.challenge.purpose == Purpose::Enrol) {
            self.keep_key(now, terminal, &proving, key);
        }
        let shown = level(proving.challenge.key).max(proving.shown.unwrap_or(Proof::None));
        self.go_on(now, terminal, proving, shown);
    }

    /// To the next key that is to be bound, or into the session.
    fn go_on(&mut self, now: Moment, terminal: &str, proving: Proving, shown: Proof) {
        let Proving {
            edge,
            person,
            mut then,
            login,
            ..
        } = proving;
        if then.is_empty() {
            let known = self.cards.get(&edge.card);
            if known.is_some_and(|card| card.person != person || card.revoked_s.is_some()) {
                self.drop_login(login);
                let text = "This card has become somebody else's meanwhile.";
                return self.refuse(now, terminal, CardRefusal::Forbidden, text);
            }
            if known.is_some_and(|card| card.standing == Standing::Asked) {
                self.drop_login(login);
                let text = "An administrator has yet to agree to this card. Log in without it, \
                            or try again later.";
                return self.refuse(now, terminal, CardRefusal::Forbidden, text);
            }
            if login.is_none() && !self.is_enough(now, terminal, &edge, &person, shown) {
                return self.open(now, terminal, edge);
            }
            let admission = Admission {
                person,
                shown,
                login,
            };
            return self.admit(now, terminal, edge, admission);
        }
        let next = then.remove(0);
        self.prove(
            now,
            terminal,
            edge,
            person,
            next,
            Purpose::Enrol,
            then,
            login,
        );
        if let Some(Slot::Proving(proving)) = self.slot_mut(terminal) {
            proving.shown = Some(shown);
        }
    }

    /// Binds a key to the card in the reader; the card becomes the person's if it is nobody's.
    fn keep_key(&mut self, now: Moment, terminal: &str, proving: &Proving, key: EnrolledKey) {
        let id = proving.edge.card.clone();
        let standing = self.standing_of_new(terminal, &id, &proving.person);
        let card = self.cards.entry(id.clone()).or_insert_with(|| Card {
            person: proving.person.clone(),
            label: String::new(),
            added_s: now.unix_ms / 1000,
            revoked_s: None,
            keys: Keys::default(),
            standing,
            alias_of: None,
        });
        *card.keys.get_mut(proving.challenge.key) = Some(key);
        if proving.then.is_empty() && card.standing == Standing::FirstUse {
            card.standing = Standing::Good;
        }
        let kept = card.clone();
        self.know_person(&proving.person.clone());
        let who = Who {
            person: &proving.person,
            card: &id,
            terminal,
        };
        self.audit(now, "card_bound", who, in_words(proving.challenge.key));
        self.act(Action::Keep(Record::Card(id, kept)));
    }

    pub(super) fn no_proof(&mut self, now: Moment, terminal: &str, seq: u32, why: ProofFailure) {
        let Some(proving) = self.answered(now, terminal, seq) else {
            return;
        };
        self.audit_proof(now, terminal, &proving, "no_proof", &format!("{why:?}"));
        let binding = proving.challenge.purpose == Purpose::Enrol;
        // A card need not have every key that could be bound; one of its owner's will do.
        if binding && why == ProofFailure::NoKey {
            let mut proving = proving;
            if proving.challenge.key == ProofKey::CardAuthentication && proving.then.is_empty() {
                proving.then.push(ProofKey::PivAuthentication);
            }
            if proving.then.is_empty() {
                return self.not_proven(now, terminal, proving, words_for(why));
            }
            let shown = proving.shown.unwrap_or(Proof::None);
            return self.go_on(now, terminal, proving, shown);
        }
        self.not_proven(now, terminal, proving, words_for(why));
    }

    /// A challenge has come to nothing. Somebody who has logged in needs no card.
    fn not_proven(&mut self, now: Moment, terminal: &str, mut proving: Proving, text: &str) {
        let may = self.password_will_do(terminal, &proving.edge, &proving.person);
        match proving.login {
            Some(_) if may => {
                proving.then.clear();
                self.go_on(now, terminal, proving, Proof::Password);
            }
            login => {
                self.drop_login(login);
                self.refuse(now, terminal, CardRefusal::NotProven, text);
            }
        }
    }

    pub(super) fn proving_overdue(&mut self, now: Moment, terminal: &str) {
        let Some(Slot::Proving(proving)) = self.slot_mut(terminal) else {
            return;
        };
        let seq = proving.edge.seq;
        if let Some(proving) = self.answered(now, terminal, seq) {
            self.audit_proof(now, terminal, &proving, "no_proof", "too late");
            let text = "There was no answer in time.";
            self.not_proven(now, terminal, proving, text);
        }
    }

    fn audit_proof(
        &mut self,
        now: Moment,
        terminal: &str,
        proving: &Proving,
        event: &str,
        detail: &str,
    ) {
        let who = Who {
            person: &proving.person,
            terminal,
            card: &proving.edge.card,
        };
        self.audit(now, event, who, detail);
    }

    pub(super) fn slot_mut(&mut self, terminal: &str) -> Option<&mut Slot> {
        self.terminals
            .get_mut(terminal)
            .map(|known| &mut known.slot)
    }
}

/// The bound key by which `needed` is shown. A card without a key for its presence shows it with
/// its owner's.
fn key_for(keys: &Keys, needed: Proof) -> Option<ProofKey> {
    let owner = keys.owner.as_ref().map(|_| ProofKey::PivAuthentication);
    match (needed, &keys.card) {
        (Proof::Card, Some(_)) => Some(ProofKey::CardAuthentication),
        _ => owner,
    }
}

/// Whether a card has no key by which it could show what the policy asks of it.
pub(super) fn lacks(keys: &Keys, proof: Proof) -> bool {
    match proof {
        Proof::Card | Proof::CardPin => key_for(keys, proof).is_none(),
        Proof::None | Proof::Password => *keys == Keys::default(),
    }
}

/// The keys by which `needed` is shown from now on.
fn keys_to_bind(needed: Proof) -> Vec<ProofKey> {
    match needed {
        Proof::CardPin => vec![ProofKey::CardAuthentication, ProofKey::PivAuthentication],
        Proof::None | Proof::Card | Proof::Password => vec![ProofKey::CardAuthentication],
    }
}

fn level(key: ProofKey) -> Proof {
    match key {
        ProofKey::CardAuthentication => Proof::Card,
        ProofKey::PivAuthentication => Proof::CardPin,
    }
}

fn other(key: ProofKey) -> ProofKey {
    match key {
        ProofKey::CardAuthentication => ProofKey::PivAuthentication,
        ProofKey::PivAuthentication => ProofKey::CardAuthentication,
    }
}

fn in_words(key: ProofKey) -> &'static str {
    match key {
        ProofKey::CardAuthentication => "9E",
        ProofKey::PivAuthentication => "9A",
    }
}

fn words_for(why: ProofFailure) -> &'static str {
    match why {
        ProofFailure::NoKey => {
            "This card has no key to prove itself with. Ask your administrator for another."
        }
        ProofFailure::NoPin => "No PIN was given.",
        ProofFailure::PinWrong => "The PIN was wrong.",
        ProofFailure::PinBlocked => {
            "This card takes no more PINs here. Ask your administrator to unblock it."
        }
        ProofFailure::TornOut | ProofFailure::CardFailed => {
            "The card could not be used. Pull it and insert it again."
        }
        ProofFailure::Unsupported => {
            "This card's key is of a kind that is not known here. Ask your administrator."
        }
    }
}

impl Keys {
    /// These keys, and the others' where there are none.
    pub fn or(self, other: Self) -> Self {
        Self {
            card: self.card.or(other.card),
            owner: self.owner.or(other.owner),
        }
    }

    /// The key of this sort, if it is bound.
    pub fn get(&self, key: ProofKey) -> Option<&EnrolledKey> {
        match key {
            ProofKey::CardAuthentication => self.card.as_ref(),
            ProofKey::PivAuthentication => self.owner.as_ref(),
        }
    }

    /// Each key that is bound, by its slot and its fingerprint.
    pub fn in_words(&self) -> Vec<String> {
        [ProofKey::CardAuthentication, ProofKey::PivAuthentication]
            .into_iter()
            .filter_map(|slot| {
                let fingerprint = self.get(slot)?.fingerprint();
                Some(format!("{} {fingerprint}", in_words(slot)))
            })
            .collect()
    }

    fn get_mut(&mut self, key: ProofKey) -> &mut Option<EnrolledKey> {
        match key {
            ProofKey::CardAuthentication => &mut self.card,
            ProofKey::PivAuthentication => &mut self.owner,
        }
    }
}

//! How a PIV card is made: what an issuer decides, and what tests break on purpose.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::Card;
use crate::certificates::{Subject, TestCa};
use crate::keys::{Algorithm, Key, Slot};
use crate::objects::{Objects, guid_of};
use crate::pin::Pins;
use crate::piv::Plastic;

/// What becomes of a signature, or of any other use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenSigning {
    /// It is there at once.
    #[default]
    Sign,
    /// It takes this long, as it does in a real card.
    After(Duration),
    /// The card never answers.
    NeverAnswer,
    /// The card is torn out.
    TornOut,
}

/// How a PIV card is made. Without further words it has P-256 keys in all four slots, certificates
/// of [`TestCa::of_cards`], the PIN 123456 and the PUK 12345678.
#[derive(Debug, Clone)]
pub struct Recipe {
    name: String,
    id_of: String,
    certificates_of: String,
    algorithm: Algorithm,
    slots: Vec<Slot>,
    self_signed: bool,
    expired: bool,
    packed: bool,
    pin: String,
    puk: String,
    tries: u8,
    tries_left: u8,
    when_signing: WhenSigning,
}

impl Recipe {
    /// The card of a name; its id, keys and certificates are made of it.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            id_of: name.to_owned(),
            certificates_of: name.to_owned(),
            algorithm: Algorithm::P256,
            slots: Slot::ALL.to_vec(),
            self_signed: false,
            expired: false,
            packed: false,
            pin: "123456".to_owned(),
            puk: "12345678".to_owned(),
            tries: 3,
            tries_left: 3,
            when_signing: WhenSigning::Sign,
        }
    }

    /// Gives it the id of another card, whose keys it does not have.
    pub fn id_of(mut self, name: &str) -> Self {
        name.clone_into(&mut self.id_of);
        self
    }

    /// Gives it the certificates of another card, whose keys it does not have.
    pub fn certificates_of(mut self, name: &str) -> Self {
        name.clone_into(&mut self.certificates_of);
        self
    }

    /// What sort of keys it has.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Leaves a slot empty: no key, no certificate.
    pub fn without(mut self, slot: Slot) -> Self {
        self.slots.retain(|kept| *kept != slot);
        self
    }

    /// Lets each key vouch for itself instead of the authority.
    pub fn self_signed(mut self) -> Self {
        self.self_signed = true;
        self
    }

    /// Makes its certificates end with the year 2024.
    pub fn expired(mut self) -> Self {
        self.expired = true;
        self
    }

    /// Packs its certificates with gzip.
    pub fn packed(mut self) -> Self {
        self.packed = true;
        self
    }

    /// Its PIN: six to eight digits.
    pub fn pin(mut self, pin: &str) -> Self {
        pin.clone_into(&mut self.pin);
        self
    }

    /// Its PUK: up to eight characters.
    pub fn puk(mut self, puk: &str) -> Self {
        puk.clone_into(&mut self.puk);
        self
    }

    /// How often PIN and PUK may be wrong in a row, 15 times at most.
    pub fn tries(mut self, tries: u8) -> Self {
        self.tries = tries.min(15);
        self.tries_left = self.tries;
        self
    }

    /// How often the PIN may be wrong from now on: somebody has guessed before.
    pub fn tries_left(mut self, left: u8) -> Self {
        self.tries_left = left.min(self.tries);
        self
    }

    /// What becomes of its signatures.
    pub fn when_signing(mut self, when_signing: WhenSigning) -> Self {
        self.when_signing = when_signing;
        self
    }

    /// The card id by which a broker knows it.
    pub fn id(&self) -> String {
        Card::id_of(&self.id_of)
    }

    /// The public key in a slot as DER of a SubjectPublicKeyInfo; nothing where the slot is empty.
    pub fn spki(&self, slot: Slot) -> Option<Vec<u8>> {
        self.has(slot).then(|| self.key(&self.name, slot).spki())
    }

    /// The certificate of a slot as DER; nothing where the slot is empty.
    pub fn certificate(&self, slot: Slot) -> Option<Vec<u8>> {
        let key = self
            .has(slot)
            .then(|| self.key(&self.certificates_of, slot))?;
        let subject = Subject {
            name: &self.certificates_of,
            guid: guid_of(&self.certificates_of),
            slot,
            key: &key,
            expired: self.expired,
        };
        Some(match self.self_signed {
            true => subject.certify_oneself(),
            false => TestCa::of_cards().certify(&subject),
        })
    }

    /// What the key in a slot makes of a hash (of a padded block, where it is an RSA key), as a card
    /// in the hands of somebody who knows its PIN; nothing where the slot is empty or the input does
    /// not fit. For those who are to look like a terminal and have no reader.
    pub fn sign(&self, slot: Slot, input: &[u8]) -> Option<Vec<u8>> {
        let key = self.has(slot).then(|| self.key(&self.name, slot))?;
        key.operate(input)
    }

    /// A new card made so. Two of them are two cards that look the same: the one knows nothing of
    /// the tries that the other has lost.
    pub fn make(&self) -> Card {
        Card::of(Arc::new(self.plastic()))
    }

    pub(crate) fn plastic(&self) -> Plastic {
        let mut objects = Objects::new(guid_of(&self.id_of), &self.name);
        let mut keys = Vec::new();
        for slot in Slot::ALL {
            if let Some(certificate) = self.certificate(slot) {
                objects.put_certificate(slot, &certificate, self.packed);
                keys.push((slot, self.key(&self.name, slot)));
            }
        }
        Plastic {
            objects,
            keys,
            pins: Mutex::new(Pins::new(&self.pin, &self.puk, self.tries, self.tries_left)),
            when_signing: self.when_signing,
        }
    }

    fn has(&self, slot: Slot) -> bool {
        self.slots.contains(&slot)
    }

    fn key(&self, name: &str, slot: Slot) -> Key {
        let usage = format!("{:02x}", slot.reference());
        Key::derive(name, &usage, self.algorithm)
    }
}

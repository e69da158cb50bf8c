//! What a card answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::apdu::{Command, Status};
use crate::keys::Slot;
use crate::objects::guid_of;
use crate::piv::{Piv, Plastic};
use crate::recipe::{Recipe, WhenSigning};

/// An answer-to-reset that offers T=0 only; QEMU's reader has trouble with T=1.
const ATR: &[u8] = &[
    0x3b, 0x7b, 0x18, 0x00, 0x00, 0x00, 0x31, 0xc0, 0x64, 0x77, 0xe3, 0x03, 0x00, 0x82, 0x90, 0x00,
];
/// One that offers T=0 and T=1, without which some software does not talk to a card.
const ATR_OF_BOTH: &[u8] = &[
    0x3b, 0xfb, 0x18, 0x00, 0x00, 0x80, 0x01, 0x00, 0x31, 0xc0, 0x64, 0x77, 0xe3, 0x03, 0x00, 0x82,
    0x90, 0x00, 0x72,
];

/// The named cards of this process: who pulls one and inserts it again has the same plastic, with
/// the PIN's tries that it had.
static DRAWER: Mutex<Option<HashMap<String, Arc<Plastic>>>> = Mutex::new(None);

/// A card that is no PIV card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A card with a UID, as contactless ones have.
    Uid(Vec<u8>),
    /// A card that answers every command with nonsense.
    Garbage,
    /// A card that never answers.
    Silent,
}

/// A card in some state. Clones are one piece of plastic in several states.
#[derive(Debug, Clone)]
pub struct Card(Inside);

#[derive(Debug, Clone)]
enum Inside {
    Piv(Piv),
    Odd(Kind),
}

/// What a reader gets for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The response, which the card needs this long for.
    After(Duration, Vec<u8>),
    /// Nothing, for ever.
    Never,
    /// Nothing, because the card is gone.
    TornOut,
}

impl Card {
    /// A card that is no PIV card, as it comes out of a pocket.
    pub fn new(kind: Kind) -> Self {
        Self(Inside::Odd(kind))
    }

    /// The PIV card of a name, made as [`Recipe::new`] says. The same name is the same card: in
    /// every process as far as its keys go, and in this one with what it remembers of PINs.
    pub fn named(name: &str) -> Self {
        let mut drawer = DRAWER.lock().expect("making a card does not panic");
        let cards = drawer.get_or_insert_default();
        let make = || Arc::new(Recipe::new(name).plastic());
        Self::of(cards.entry(name.to_owned()).or_insert_with(make).clone())
    }

    pub(crate) fn of(plastic: Arc<Plastic>) -> Self {
        Self(Inside::Piv(Piv::new(plastic)))
    }

    /// The card id by which a broker knows a card of this name.
    pub fn id_of(name: &str) -> String {
        let hex: String = guid_of(name)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("piv:{hex}")
    }

    /// The public key in a slot of the card of this name, as DER of a SubjectPublicKeyInfo.
    pub fn spki_of(name: &str, slot: Slot) -> Vec<u8> {
        let key = Recipe::new(name).spki(slot);
        key.expect("a card has all keys unless its recipe says otherwise")
    }

    /// How often its PIN may be wrong from now on; nothing where it has none.
    pub fn pin_tries(&self) -> Option<u8> {
        match &self.0 {
            Inside::Piv(piv) => Some(piv.pins().tries()),
            Inside::Odd(_) => None,
        }
    }

    /// The answer-to-reset of a card that speaks T=0.
    pub fn atr(&self) -> &[u8] {
        ATR
    }

    /// The answer-to-reset of a card that speaks T=0 and T=1.
    pub fn atr_of_both_protocols(&self) -> &[u8] {
        ATR_OF_BOTH
    }

    /// Power was taken away and came back.
    pub fn reset(&mut self) {
        if let Inside::Piv(piv) = &mut self.0 {
            piv.reset();
        }
    }

    /// Answers a command.
    pub fn answer(&mut self, command: &[u8]) -> Answer {
        let (mut response, status, when) = match (&mut self.0, Command::parse(command)) {
            (Inside::Odd(Kind::Silent), _) => return Answer::Never,
            (_, Err(status)) => (Vec::new(), status, WhenSigning::Sign),
            (Inside::Piv(piv), Ok(command)) => piv.respond(&command),
            (Inside::Odd(kind), Ok(command)) => {
                let (data, status) = kind.respond(&command);
                (data, status, WhenSigning::Sign)
            }
        };
        response.extend([status.0, status.1]);
        match when {
            WhenSigning::Sign => Answer::After(Duration::ZERO, response),
            WhenSigning::After(time) => Answer::After(time, response),
            WhenSigning::NeverAnswer => Answer::Never,
            WhenSigning::TornOut => Answer::TornOut,
        }
    }

    /// Answers a command, as soon as it is asked; nothing means that it never will.
    pub fn respond(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        match self.answer(command) {
            Answer::After(_, response) => Some(response),
            Answer::Never | Answer::TornOut => None,
        }
    }
}

impl Kind {
    fn respond(&self, command: &Command<'_>) -> (Vec<u8>, Status) {
        let status = match (self, command.class, command.instruction) {
            (Self::Garbage, ..) => return (vec![0xff; 3], Status::OK),
            // What a reader answers for a contactless card.
            (Self::Uid(uid), 0xff, 0xca) => return (uid.clone(), Status::OK),
            (_, 0x00, 0xa4 | 0xcb) => Status::NOT_FOUND,
            (_, 0x00, _) => Status::NO_INSTRUCTION,
            _ => Status::NO_CLASS,
        };
        (Vec::new(), status)
    }
}

#[cfg(test)]
mod tests;

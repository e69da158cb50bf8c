//! Proofs: what the broker asks of the card, and the PIN that its person types for it.
//!
//! ```text
//!   No ── Prove ──▶ Working ◀─ PIN given ─┐
//!    ▲                 │ │                │
//!    └── proof, or not ┘ └── PIN wanted ─▶ Pin
//! ```

use std::fmt;

use heliostat_piv::pin::Pin;
use heliostat_wire::control::ToBroker;
use heliostat_wire::proof::{Challenge, Proof, ProofFailure};
use heliostat_wire::receipt::Stage as ReceiptStage;

use super::{Action, Desk, Present};

/// How far a proof is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proving {
    /// None is wanted.
    No,
    /// The card is busy with this one.
    Working(u32),
    /// The card waits for a PIN.
    Pin(PinEntry),
}

/// A PIN that is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinEntry {
    number: u32,
    pin: Pin,
    tries: u8,
    wrong: bool,
    short: bool,
}

impl PinEntry {
    /// Digits so far.
    pub fn typed(&self) -> usize {
        self.pin.typed()
    }

    /// How often a PIN may be tried here; the card's last try is not ours to spend.
    pub fn tries(&self) -> u8 {
        self.tries.saturating_sub(1)
    }

    /// Whether the PIN before this one was wrong.
    pub fn was_wrong(&self) -> bool {
        self.wrong
    }

    /// Whether it was said to be complete though no PIN is so short.
    pub fn was_short(&self) -> bool {
        self.short
    }
}

/// A key that means something to a PIN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PinKey {
    /// A digit, 0 to 9.
    Digit(u8),
    /// Takes the last one back.
    Erase,
    /// That is all.
    Enter,
}

impl PinKey {
    /// The key with this evdev code: digits are where they are on every keyboard, whatever its
    /// layout says, and whatever its lock lights say.
    pub fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            2..=10 => Self::Digit(code as u8 - 1),
            11 | 82 => Self::Digit(0),
            71..=73 => Self::Digit(code as u8 - 71 + 7),
            75..=77 => Self::Digit(code as u8 - 75 + 4),
            79..=81 => Self::Digit(code as u8 - 79 + 1),
            14 | 111 => Self::Erase,
            28 | 96 => Self::Enter,
            _ => return None,
        })
    }
}

impl fmt::Debug for PinKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinKey(…)")
    }
}

impl Proving {
    /// The PIN that is being typed.
    pub fn pin(&self) -> Option<&PinEntry> {
        match self {
            Self::Pin(entry) => Some(entry),
            Self::No | Self::Working(_) => None,
        }
    }
}

impl Desk {
    /// How far a proof is, if one is wanted.
    pub fn proving(&self) -> &Proving {
        &self.proving
    }

    /// Ends a proof without a word to the broker, which knows or has gone.
    pub(super) fn stop_proof(&mut self, actions: &mut Vec<Action>) {
        if self.proving != Proving::No {
            self.proving = Proving::No;
            actions.push(Action::StopProof);
        }
    }

    pub(super) fn prove(&mut self, challenge: Challenge, actions: &mut Vec<Action>) {
        let Some(Present::Card { reader, card }) = self.present() else {
            let (seq, why) = (challenge.seq, ProofFailure::NoKey);
            return self.send(ToBroker::NoProof { seq, why }, actions);
        };
        let (reader, card) = (reader.clone(), card.id.clone());
        self.proofs += 1;
        self.proving = Proving::Working(self.proofs);
        actions.push(Action::Mark(ReceiptStage::Challenged));
        actions.push(Action::Prove {
            number: self.proofs,
            reader,
            card,
            challenge: Box::new(challenge),
        });
    }

    pub(super) fn pin_wanted(&mut self, number: u32, tries: u8, wrong: bool) {
        if self.proving == Proving::Working(number) {
            self.proving = Proving::Pin(PinEntry {
                number,
                pin: Pin::default(),
                tries,
                wrong,
                short: false,
            });
        }
    }

    pub(super) fn pin_key(&mut self, key: PinKey, actions: &mut Vec<Action>) {
        let Proving::Pin(entry) = &mut self.proving else {
            return;
        };
        match key {
            PinKey::Digit(digit) => entry.pin.push(digit),
            PinKey::Erase => entry.pin.erase(),
            PinKey::Enter if !entry.pin.is_complete() => entry.short = true,
            PinKey::Enter => {
                let (number, pin) = (entry.number, std::mem::take(&mut entry.pin));
                self.proving = Proving::Working(number);
                actions.push(Action::GivePin { number, pin });
            }
        }
    }

    pub(super) fn give_up_pin(&mut self, actions: &mut Vec<Action>) {
        let why = match self.proving.pin() {
            Some(entry) if entry.wrong => ProofFailure::PinWrong,
            _ => ProofFailure::NoPin,
        };
        self.stop_proof(actions);
        self.send(ToBroker::NoProof { seq: self.seq, why }, actions);
    }

    pub(super) fn proved(
        &mut self,
        number: u32,
        result: Result<Box<Proof>, ProofFailure>,
        actions: &mut Vec<Action>,
    ) {
        if self.proving != Proving::Working(number) {
            return;
        }
        self.proving = Proving::No;
        let seq = self.seq;
        let message = match result {
            Ok(proof) => {
                actions.push(Action::Mark(ReceiptStage::ProofMade));
                ToBroker::Proof(*proof)
            }
            Err(why) => ToBroker::NoProof { seq, why },
        };
        self.send(message, actions);
    }
}

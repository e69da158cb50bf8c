//! Cards: where they come from, and what is read off them.

pub mod pcsc;
pub mod prover;

use heliostat_wire::List;
use heliostat_wire::card::{Card, CardKind, Unreadable};
use heliostat_wire::proof::{Proof, ProofFailure};

/// What a card source reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardEvent {
    /// Something is in a reader.
    Edge {
        /// The reader.
        reader: String,
        /// CLOCK_MONOTONIC in microseconds.
        at_us: u64,
    },
    /// It has been read.
    Read(Card),
    /// It cannot be read.
    Unreadable(Unreadable),
    /// It is gone.
    Gone,
    /// Readers came or went; how many there are now.
    Readers(usize),
    /// Whether another card waits in another reader, left alone until the first is pulled.
    Another(bool),
    /// The card service is away, or back.
    Service(bool),
    /// The card wants a PIN for a proof.
    PinWanted {
        /// The proof.
        number: u32,
        /// How often it may be wrong before the card is blocked.
        tries: u8,
        /// Whether one was wrong just now.
        wrong: bool,
    },
    /// A proof was made, or not.
    Proved {
        /// The proof.
        number: u32,
        /// What came of it.
        result: Result<Box<Proof>, ProofFailure>,
    },
}

/// A card by its id alone, for terminals whose cards are inserted by a line of text.
pub fn card_from_id(id: &str) -> Card {
    let kind = match id.split(':').next() {
        Some("piv") => CardKind::Piv,
        Some("uid") => CardKind::ContactlessUid,
        _ => CardKind::AtrSerial,
    };
    Card {
        id: id.into(),
        kind,
        atr: List::default(),
    }
}

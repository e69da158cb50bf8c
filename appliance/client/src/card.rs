//! Cards: where they come from, and what is read off them.

pub mod identify;
pub mod pcsc;

use heliostat_wire::List;
use heliostat_wire::card::{Card, CardKind, Unreadable};

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

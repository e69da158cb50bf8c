//! What a terminal read off a card.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::bounded::Bytes;
use crate::id::CardId;
use crate::limits::MAX_ATR;

/// Where a card id comes from, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum CardKind {
    /// The GUID of a PIV card's CHUID.
    Piv,
    /// A contactless card's fixed UID.
    ContactlessUid,
    /// The answer-to-reset, with a serial number where the card gives one.
    AtrSerial,
}

/// A card as the terminal read it. Nothing of it is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Card {
    /// The card id.
    pub id: CardId,
    /// Where the id comes from.
    pub kind: CardKind,
    /// The answer-to-reset.
    pub atr: Bytes<MAX_ATR>,
}

/// Why a card could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Unreadable {
    /// The card does not answer its reset.
    Mute,
    /// It answers, but with nothing that names it.
    Nameless,
    /// It was pulled while being read.
    TornOut,
    /// The reader or its service failed.
    ReaderFailed,
}

//! Names of things: one type an id space, so that none is taken for another.

use std::fmt;

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::bounded::Text;
use crate::limits::MAX_CARD_ID;

/// A layer of the scene; chosen by the session, never reused within one attach.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub struct LayerId(pub u32);

/// A video inside a layer; chosen by the session, never reused within one attach.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub struct VideoId(pub u32);

/// An output of the terminal; chosen by the terminal, stable while the connector is plugged.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub struct OutputId(pub u8);

/// A cursor image; chosen by the session, below [`crate::limits::MAX_CURSORS`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub struct CursorId(pub u8);

/// One attach of one session to one terminal; chosen by the broker, unique in its store. It numbers
/// them upwards, over all its runs, and their order is that of the numbers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema,
)]
pub struct AttachId(pub u64);

impl AttachId {
    /// Whether the broker has made this one after `other`.
    pub const fn is_later_than(self, other: Self) -> bool {
        self.0 > other.0
    }
}

impl fmt::Display for AttachId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A session: sixteen random bytes, written as hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A card's name: `piv:<GUID hex>`, `uid:<UID hex>` or `atr:<ATR hex>[-<serial hex>]`.
/// It selects, it never authenticates.
pub type CardId = Text<MAX_CARD_ID>;

/// SHA-256 of a public key's SubjectPublicKeyInfo (DER).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Schema)]
pub struct KeyPin(pub [u8; 32]);

/// What is wrong with the text form of a [`KeyPin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key pin is \"sha256:\" and 64 hex digits")]
pub struct BadPin;

impl std::str::FromStr for KeyPin {
    type Err = BadPin;
    fn from_str(text: &str) -> Result<Self, BadPin> {
        let hex = text
            .trim()
            .strip_prefix("sha256:")
            .ok_or(BadPin)?
            .as_bytes();
        if hex.len() != 64 {
            return Err(BadPin);
        }
        let mut pin = [0; 32];
        for (byte, pair) in pin.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or(BadPin);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(pin))
    }
}

impl fmt::Display for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A one-time secret that opens a session link; never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Ticket(pub [u8; 32]);

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

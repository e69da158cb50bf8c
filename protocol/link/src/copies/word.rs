//! A datagram: what it is a copy of.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use heliostat_wire::scene::STREAM_FRAME;

/// First byte of some of the main stream.
const MAIN: u8 = 2;
/// Bytes of the main stream in one copy.
pub(crate) const MAX_PART: usize = 1024;
/// Bytes of a datagram that is looked at: what fits into an Ethernet packet.
pub(super) const MAX_WORD: usize = 1500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// Bytes of the main stream, and how many come before them.
    Main { at: u64, bytes: Bytes },
    /// All bytes of a frame's stream.
    Frame(Bytes),
}

impl Word {
    pub(super) fn encode(self) -> Bytes {
        match self {
            Self::Frame(bytes) => bytes,
            Self::Main { at, bytes } => {
                let mut word = BytesMut::with_capacity(1 + 8 + bytes.len());
                word.put_u8(MAIN);
                word.put_u64_le(at);
                word.put_slice(&bytes);
                word.freeze()
            }
        }
    }

    /// Nothing for what is no copy: a datagram may be lost, so it may be ignored.
    pub(super) fn decode(mut datagram: Bytes) -> Option<Self> {
        if datagram.len() > MAX_WORD {
            return None;
        }
        match *datagram.first()? {
            STREAM_FRAME => Some(Self::Frame(datagram)),
            MAIN => {
                datagram.advance(1);
                let at = datagram.try_get_u64_le().ok()?;
                let length = datagram.len();
                let whole = (1..=MAX_PART).contains(&length) && at.checked_add(length as u64)? > 0;
                whole.then_some(Self::Main {
                    at,
                    bytes: datagram,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_copy_comes_out_as_it_went_in(
            at in 0..u64::MAX / 2,
            bytes in proptest::collection::vec(any::<u8>(), 1..=MAX_PART),
        ) {
            let main = Word::Main { at, bytes: bytes.clone().into() };
            prop_assert_eq!(Word::decode(main.clone().encode()), Some(main));
            let frame = Word::Frame([&[STREAM_FRAME], &bytes[..]].concat().into());
            prop_assert_eq!(Word::decode(frame.clone().encode()), Some(frame));
        }

        #[test]
        fn any_bytes_are_a_copy_or_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            kind in 0u8..4,
        ) {
            let _ = Word::decode([&[kind], &bytes[..]].concat().into());
        }
    }
}

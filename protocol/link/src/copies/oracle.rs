//! What must hold whatever copies a peer sends: no panic, no byte of the main stream given out twice
//! or out of its place, and little kept of what comes before its turn.

use bytes::{Bytes, BytesMut};

use super::join::Joined;
use super::word::{MAX_PART, MAX_WORD, Word};

/// Any datagrams and pieces of the main stream from the peer, in any order. The first byte of each
/// says which it is and, with the second, how long.
pub fn hostile_copies(bytes: &[u8]) {
    let (mut joined, mut out) = (Joined::default(), BytesMut::new());
    let (mut streamed, mut given) = (0, 0);
    let mut rest = bytes;
    while let [kind, length, tail @ ..] = rest {
        let length = tail.len().min(usize::from(*length) * 8);
        let (piece, after) = tail.split_at(length);
        rest = after;
        if kind & 1 == 0 {
            joined.stream(piece, &mut out);
            streamed += piece.len() as u64;
        } else if let Some(word) = Word::decode(Bytes::copy_from_slice(piece)) {
            assert_eq!(&word.clone().encode()[..], piece, "a copy is what it says");
            match word {
                Word::Main { at, bytes } => {
                    assert!(bytes.len() <= MAX_PART);
                    joined.copy(at, bytes, &mut out);
                }
                Word::Frame(bytes) => assert!(bytes.len() <= MAX_WORD),
            }
        }
        given += out.split().len() as u64;
        assert_eq!(given, joined.given());
        assert!(given >= streamed, "what the stream has brought is there");
        assert_eq!(joined.is_ahead(), given > streamed);
        assert!(joined.kept() <= Joined::MOST_KEPT);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces that often meet: places near the beginning.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..60);
        prop_oneof![
            bytes().prop_map(|bytes| [&[0, (bytes.len() / 8) as u8], &bytes[..]].concat()),
            (0u64..200, bytes()).prop_map(|(at, bytes)| {
                let length = (9 + bytes.len()) as u8 / 8;
                [&[1, length, 2], &at.to_le_bytes()[..], &bytes[..]].concat()
            }),
            bytes(),
        ]
    }

    proptest! {
        #[test]
        fn any_copies_keep_to_the_rules(pieces in proptest::collection::vec(piece(), 0..80)) {
            hostile_copies(&pieces.concat());
        }
    }
}

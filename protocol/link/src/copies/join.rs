//! The main stream from itself and its copies, each byte once and in its place.

use bytes::{Bytes, BytesMut};

/// Copies beyond the next byte that are kept.
const MAX_EARLY: usize = 32;

/// What has come of the main stream.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// Bytes that the stream itself has brought.
    streamed: u64,
    /// Bytes given out; never fewer.
    end: u64,
    /// What came before its turn, and where it belongs.
    early: Vec<(u64, Bytes)>,
}

impl Joined {
    /// The next bytes of the stream; appends to `out` what is new of them, and what follows.
    pub(crate) fn stream(&mut self, bytes: &[u8], out: &mut BytesMut) {
        let at = self.streamed;
        self.streamed += bytes.len() as u64;
        self.take(at, bytes, out);
        self.take_early(out);
    }

    /// A copy of some bytes; appends to `out` what is new of them, and what follows.
    pub(crate) fn copy(&mut self, at: u64, bytes: Bytes, out: &mut BytesMut) {
        if at > self.end {
            if self.early.len() < MAX_EARLY {
                self.early.push((at, bytes));
            }
            return;
        }
        self.take(at, &bytes, out);
        self.take_early(out);
    }

    /// Whether copies have brought more than the stream, so that it may not end here.
    pub(crate) fn is_ahead(&self) -> bool {
        self.end > self.streamed
    }

    /// Bytes given out.
    #[cfg(any(test, feature = "oracle"))]
    pub(crate) fn given(&self) -> u64 {
        self.end
    }

    /// Bytes that wait for their turn.
    #[cfg(any(test, feature = "oracle"))]
    pub(crate) fn kept(&self) -> usize {
        self.early.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Bytes that may.
    #[cfg(any(test, feature = "oracle"))]
    pub(crate) const MOST_KEPT: usize = MAX_EARLY * super::word::MAX_PART;

    fn take(&mut self, at: u64, bytes: &[u8], out: &mut BytesMut) {
        let known = usize::try_from(self.end - at).unwrap_or(usize::MAX);
        if let Some(new) = bytes.get(known..) {
            out.extend_from_slice(new);
            self.end += new.len() as u64;
        }
    }

    fn take_early(&mut self, out: &mut BytesMut) {
        while let Some(next) = self.early.iter().position(|(at, _)| *at <= self.end) {
            let (at, bytes) = self.early.swap_remove(next);
            self.take(at, &bytes, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(at: usize, length: usize) -> Vec<u8> {
        (at..at + length).map(|n| (n * 7 / 3) as u8).collect()
    }

    proptest! {
        #[test]
        fn whatever_copies_come_in_whatever_order_each_byte_is_given_out_once(
            steps in proptest::collection::vec((any::<bool>(), 0usize..3000, 1usize..300), 0..200)
        ) {
            let (mut joined, mut out) = (Joined::default(), BytesMut::new());
            let mut streamed = 0;
            for (is_copy, at, length) in steps {
                if is_copy {
                    joined.copy(at as u64, content(at, length).into(), &mut out);
                } else {
                    joined.stream(&content(streamed, length), &mut out);
                    streamed += length;
                }
                prop_assert_eq!(&out[..], &content(0, out.len())[..]);
                prop_assert!(out.len() >= streamed && joined.early.len() <= MAX_EARLY);
                prop_assert_eq!(joined.is_ahead(), out.len() > streamed);
            }
        }
    }

    #[test]
    fn a_copy_fills_the_gap_and_what_came_early_follows() {
        let (mut joined, mut out) = (Joined::default(), BytesMut::new());
        joined.copy(20, content(20, 10).into(), &mut out);
        joined.copy(10, content(10, 10).into(), &mut out);
        assert!(out.is_empty());
        joined.stream(&content(0, 10), &mut out);
        assert_eq!(&out[..], &content(0, 30)[..]);
        assert!(joined.is_ahead());
    }
}

//! The last bytes of the main stream, which a copy carries.

use bytes::Bytes;

use super::word::MAX_PART;

/// Bytes before the new ones that a copy carries again: a handful of messages, so that the next
/// copy fills the gap where both the original and its copy were lost.
pub(super) const AGAIN: usize = 128;

/// What was written last.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Bytes written in all.
    end: u64,
    /// The last of them.
    bytes: Vec<u8>,
    /// How many of those were not copied yet.
    new: usize,
}

impl Tail {
    pub(super) fn wrote(&mut self, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        self.new = self.new.saturating_add(bytes.len());
        if self.new > MAX_PART {
            // A copy would not fill the gap.
            self.bytes.clear();
            return;
        }
        let old = self.bytes.len() + bytes.len();
        let kept = (AGAIN + self.new).min(MAX_PART);
        self.bytes.extend_from_slice(bytes);
        self.bytes.drain(..old.saturating_sub(kept));
    }

    /// What the next copy carries and where it belongs; nothing where too much is new.
    pub(super) fn copy(&mut self) -> Option<(u64, Bytes)> {
        let new = std::mem::take(&mut self.new);
        if new == 0 || self.bytes.len() < new {
            return None;
        }
        let at = self.end - self.bytes.len() as u64;
        Some((at, Bytes::copy_from_slice(&self.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_copy_is_the_end_of_the_stream_with_all_that_is_new_or_nothing(
            writes in proptest::collection::vec((0usize..600, any::<bool>()), 0..60)
        ) {
            let mut tail = Tail::default();
            let (mut stream, mut copied) = (Vec::new(), 0);
            for (length, copy) in writes {
                let bytes: Vec<u8> = (0..length).map(|n| (stream.len() + n) as u8).collect();
                tail.wrote(&bytes);
                stream.extend_from_slice(&bytes);
                prop_assert!(tail.bytes.len() <= MAX_PART);
                if copy {
                    let new = stream.len() - copied;
                    copied = stream.len();
                    match tail.copy() {
                        None => prop_assert!(new == 0 || new > MAX_PART),
                        Some((at, bytes)) => {
                            prop_assert_eq!(&stream[at as usize..], &bytes[..]);
                            prop_assert!((new..=MAX_PART).contains(&bytes.len()));
                        }
                    }
                }
            }
        }
    }
}

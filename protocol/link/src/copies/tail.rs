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
    /// How many bytes at the end the next copy has to carry; perhaps more than are here.
    new: usize,
}

/// A copy of the main stream's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Bytes of the stream that come before these.
    pub(super) at: u64,
    /// Bytes of the stream that came before what no copy had carried yet.
    pub(super) new_from: u64,
    pub(super) bytes: Bytes,
}

impl Part {
    /// Whether this carries all that was new in `older`, which was copied before it.
    pub(super) fn replaces(&self, older: &Self) -> bool {
        self.at <= older.new_from
    }
}

impl Tail {
    /// These were written, and the next copy has to carry them.
    pub(super) fn wrote(&mut self, bytes: &[u8]) {
        self.new = self.new.saturating_add(bytes.len());
        let is_too_much = self.new > MAX_PART;
        let kept = if is_too_much { 0 } else { self.new };
        self.keep(bytes, (AGAIN + kept).min(MAX_PART));
    }

    /// These were written, and nothing up to here needs a copy.
    pub(super) fn passed(&mut self, bytes: &[u8]) {
        self.new = 0;
        self.keep(bytes, AGAIN);
    }

    /// Keeps the last `most` bytes of the stream with these.
    fn keep(&mut self, bytes: &[u8], most: usize) {
        self.end += bytes.len() as u64;
        let last = bytes.get(bytes.len().saturating_sub(most)..);
        self.bytes.extend_from_slice(last.unwrap_or_default());
        let surplus = self.bytes.len().saturating_sub(most);
        self.bytes.drain(..surplus);
    }

    /// The next copy; nothing where too much is new.
    pub(super) fn copy(&mut self) -> Option<Part> {
        let new = std::mem::take(&mut self.new);
        if new == 0 || self.bytes.len() < new {
            return None;
        }
        Some(Part {
            at: self.end - self.bytes.len() as u64,
            new_from: self.end - new as u64,
            bytes: Bytes::copy_from_slice(&self.bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_copy_replaces_none_that_began_where_little_stood_before() {
        let mut tail = Tail::default();
        tail.wrote(&[1; 200]);
        let first = tail.copy().unwrap();
        tail.wrote(&[2; 8]);
        let second = tail.copy().unwrap();
        assert_eq!((first.at, first.new_from, second.at), (0, 0, 72));
        assert!(!second.replaces(&first));
        tail.wrote(&[3; 8]);
        assert!(tail.copy().unwrap().replaces(&second));
    }

    proptest! {
        #[test]
        fn a_copy_is_the_end_of_the_stream_with_all_that_is_new_or_nothing(
            writes in proptest::collection::vec((0usize..600, 0..3), 0..60)
        ) {
            let mut tail = Tail::default();
            let (mut stream, mut copied) = (Vec::new(), 0);
            let mut parts: Vec<(usize, Part)> = Vec::new();
            for (length, what) in writes {
                let bytes: Vec<u8> = (0..length).map(|n| (stream.len() + n) as u8).collect();
                stream.extend_from_slice(&bytes);
                if what == 0 {
                    tail.passed(&bytes);
                    copied = stream.len();
                } else {
                    tail.wrote(&bytes);
                }
                prop_assert!(tail.bytes.len() <= MAX_PART);
                if what == 1 {
                    let new = stream.len() - copied;
                    let part = tail.copy();
                    prop_assert_eq!(part.is_none(), new == 0 || new > MAX_PART);
                    if let Some(part) = part {
                        let at = part.at as usize;
                        prop_assert_eq!(&stream[at..], &part.bytes[..]);
                        let length = (new + AGAIN).min(MAX_PART).min(stream.len());
                        prop_assert_eq!(part.bytes.len(), length);
                        for (copied, older) in &parts {
                            prop_assert_eq!(part.replaces(older), at <= *copied);
                        }
                        parts.push((copied, part));
                    }
                    copied = stream.len();
                }
            }
        }
    }
}

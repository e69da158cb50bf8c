//! Which copies leave at this end; time, and what QUIC has counted, are given.

use std::time::Instant;

use bytes::Bytes;
use quinn::Side;

use super::MAX_WAITING;
use super::loss::{Loss, Losses};
use super::tail::{Part, Tail};
use super::word::Word;

/// How the way from here has been.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Packets in all.
    pub(super) sent: u64,
    /// Those of them that were lost.
    pub(super) lost: u64,
    pub(super) now: Instant,
}

/// What was written and may have to be copied.
#[derive(Debug)]
pub(super) struct Outgoing {
    side: Side,
    losses: Losses,
    tail: Tail,
    frames: Vec<Bytes>,
    /// Copies that have left, and will once more.
    again: Round,
    /// Whoever was told so will call `leave`.
    scheduled: bool,
}

/// Copies that leave together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Round {
    main: Option<Part>,
    frames: Vec<Bytes>,
}

impl Round {
    fn words(self) -> impl Iterator<Item = Word> {
        let main = self
            .main
            .map(|Part { at, bytes, .. }| Word::Main { at, bytes });
        main.into_iter()
            .chain(self.frames.into_iter().map(Word::Frame))
    }
}

impl Outgoing {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            losses: Losses::default(),
            tail: Tail::default(),
            frames: Vec::new(),
            again: Round::default(),
            scheduled: false,
        }
    }

    /// These bytes were handed to the main stream. Whether the caller must see to it that copies
    /// `leave` in a moment.
    #[must_use]
    pub(super) fn main_was_written(&mut self, bytes: &[u8], way: Way) -> bool {
        if self.loss(way) == Loss::No {
            self.tail.passed(bytes);
            return false;
        }
        self.tail.wrote(bytes);
        self.schedule()
    }

    /// The same for a frame of which a copy fits into a datagram.
    #[must_use]
    pub(super) fn frame_was_written(&mut self, whole: Bytes, way: Way) -> bool {
        if self.loss(way) == Loss::No || self.frames.len() == MAX_WAITING {
            return false;
        }
        self.frames.push(whole);
        self.schedule()
    }

    /// A copy of the peer's came.
    pub(super) fn heard(&mut self, now: Instant) {
        if self.side.is_client() {
            self.losses.told(now);
        }
    }

    /// What leaves now, the most urgent first, and whether this must be called once more in a
    /// moment.
    pub(super) fn leave(&mut self, way: Way) -> (Vec<Word>, bool) {
        self.scheduled = false;
        let new = Round {
            main: self.tail.copy(),
            frames: std::mem::take(&mut self.frames),
        };
        let mut old = std::mem::take(&mut self.again);
        if let Some(main) = &new.main {
            old.main = old.main.filter(|old| !main.replaces(old));
        }
        let is_again = self.loss(way) == Loss::Frequent && new != Round::default();
        if is_again {
            self.again.clone_from(&new);
        }
        let words = new.words().chain(old.words()).collect();
        (words, is_again && self.schedule())
    }

    fn loss(&mut self, way: Way) -> Loss {
        self.losses.judge(way.sent, way.lost, way.now)
    }

    fn schedule(&mut self) -> bool {
        !std::mem::replace(&mut self.scheduled, true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::copies::tail::AGAIN;

    impl Way {
        fn after(self, packets: u64, lost: u64, time: Duration) -> Self {
            Self {
                sent: self.sent + packets,
                lost: self.lost + lost,
                now: self.now + time,
            }
        }
    }

    fn clean() -> Way {
        Way {
            sent: 10,
            lost: 0,
            now: Instant::now(),
        }
    }

    /// Where losses are frequent.
    fn bad() -> Way {
        clean().after(10, 5, Duration::ZERO)
    }

    fn frame(bytes: &'static [u8]) -> Word {
        Word::Frame(Bytes::from_static(bytes))
    }

    #[test]
    fn what_is_new_leaves_before_what_leaves_once_more() {
        let way = bad();
        let mut server = Outgoing::new(Side::Server);
        assert!(server.frame_was_written(Bytes::from_static(b"old"), way));
        assert_eq!(server.leave(way), (vec![frame(b"old")], true));
        assert!(!server.frame_was_written(Bytes::from_static(b"new"), way));
        let (words, again) = server.leave(way);
        assert_eq!(words, [frame(b"new"), frame(b"old")]);
        assert!(again);
    }

    #[test]
    fn what_follows_a_clean_stretch_is_copied() {
        let way = clean();
        let mut server = Outgoing::new(Side::Server);
        for written in 0..16 {
            assert!(!server.main_was_written(&[written; 128], way));
        }
        let way = way.after(10, 1, Duration::ZERO);
        assert!(server.main_was_written(b"at last", way));
        let bytes = [&[15; AGAIN], &b"at last"[..]].concat().into();
        let at = 16 * 128 - AGAIN as u64;
        assert_eq!(server.leave(way).0, [Word::Main { at, bytes }]);
    }

    proptest! {
        /// A moment each: something is written, the way loses packets or not, copies leave.
        #[test]
        fn each_copy_leaves_once_or_twice_and_then_no_more(
            moments in proptest::collection::vec((0usize..300, any::<bool>(), 0u64..3), 1..80)
        ) {
            let mut server = Outgoing::new(Side::Server);
            let mut way = clean();
            let mut left: Vec<Word> = Vec::new();
            let mut frames = 0;
            let mut due = false;
            for (number, (length, is_frame, lost)) in moments.into_iter().enumerate() {
                way = way.after(10, lost, Duration::from_millis(8));
                if due {
                    let (words, again) = server.leave(way);
                    left.extend(words);
                    due = again;
                }
                let bytes = vec![number as u8; length + 1];
                if is_frame && way.lost > 0 {
                    frames += 1;
                    due |= server.frame_was_written(bytes.into(), way);
                } else {
                    due |= server.main_was_written(&bytes, way);
                }
            }
            // Nothing is written any more: what is under way leaves, and once more at most.
            for _ in 0..2 {
                if due {
                    let (words, again) = server.leave(way);
                    left.extend(words);
                    due = again;
                }
            }
            prop_assert!(!due);
            prop_assert_eq!(server.leave(way), (Vec::new(), false));
            for word in &left {
                prop_assert!(left.iter().filter(|other| *other == word).count() <= 2);
            }
            let copied = left.iter().filter_map(|word| match word {
                Word::Frame(bytes) => Some(&bytes[..]),
                Word::Main { .. } => None,
            });
            let copied: BTreeSet<&[u8]> = copied.collect();
            prop_assert_eq!(copied.len(), frames);
        }
    }

    #[test]
    fn only_frequent_losses_make_a_second_copy() {
        let way = clean().after(100, 1, Duration::ZERO);
        let mut server = Outgoing::new(Side::Server);
        assert!(server.frame_was_written(Bytes::from_static(b"a letter"), way));
        assert_eq!(server.leave(way), (vec![frame(b"a letter")], false));
        assert_eq!(server.leave(way), (Vec::new(), false));
    }

    #[test]
    fn a_terminal_takes_copies_for_losses_and_a_server_does_not() {
        let way = clean();
        for (side, copies) in [(Side::Client, true), (Side::Server, false)] {
            let mut end = Outgoing::new(side);
            end.heard(way.now);
            assert_eq!(end.main_was_written(b"key", way), copies);
            assert_eq!(end.leave(way).0.len(), usize::from(copies));
        }
    }

    #[test]
    fn two_ends_do_not_keep_each_other_copying() {
        let mut way = clean().after(10, 1, Duration::ZERO);
        let mut server = Outgoing::new(Side::Server);
        let mut terminal = Outgoing::new(Side::Client);
        let terminals = |way: Way| Way { lost: 0, ..way };
        let mut copies = Vec::new();
        for _ in 0..100 {
            let _ = server.main_was_written(b"shown", way);
            for word in server.leave(way).0 {
                terminal.heard(way.now);
                copies.push(word);
            }
            let _ = terminal.main_was_written(b"key", terminals(way));
            for word in terminal.leave(terminals(way)).0 {
                server.heard(way.now);
                copies.push(word);
            }
            way = way.after(10, 0, Duration::from_secs(1));
        }
        // Half a minute of the server's, and up to a whole one of the terminal's.
        assert_eq!(copies.len(), 30 + 59);
    }
}

//! Frames back in their order, but for those that may overtake others.

use std::collections::{BTreeMap, BTreeSet};

use super::Frame;
use crate::error::LinkError;
use crate::transport::MAX_FRAME_STREAMS;

/// How far ahead of the due serial a frame may be.
const MAX_AHEAD: u32 = 2 * MAX_FRAME_STREAMS;

/// Keeps frames that came early until they are due.
#[derive(Debug)]
pub(super) struct Order {
    due: u32,
    early: BTreeMap<u32, Frame>,
    /// Serials that were given out before their turn.
    ahead: BTreeSet<u32>,
    /// Serials that came as a copy, and whose streams are still to come.
    copied: BTreeSet<u32>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            due: 1,
            early: BTreeMap::new(),
            ahead: BTreeSet::new(),
            copied: BTreeSet::new(),
        }
    }
}

impl Order {
    /// The serial that is given out next.
    pub(super) fn due(&self) -> u32 {
        self.due
    }

    /// Bytes of the frames that wait.
    pub(super) fn bytes(&self) -> usize {
        self.early.values().map(|frame| frame.content.len()).sum()
    }

    /// Takes a frame in from its stream.
    pub(super) fn arrived(&mut self, frame: Frame) -> Result<(), LinkError> {
        let serial = frame.header.serial;
        if self.copied.remove(&serial) {
            return Ok(());
        }
        if serial.wrapping_sub(self.due) >= MAX_AHEAD {
            return Err(LinkError::Protocol("a frame's serial is out of range"));
        }
        let is_new = !self.ahead.contains(&serial) && !self.early.contains_key(&serial);
        match is_new {
            true => {
                self.early.insert(serial, frame);
                Ok(())
            }
            false => Err(LinkError::Protocol("two frames have the same serial")),
        }
    }

    /// Takes a copy of a frame in, unless the frame has come already. No more copies are taken than
    /// an honest peer has streams open, so that what is remembered of them is bounded.
    pub(super) fn copied(&mut self, frame: Frame) {
        let serial = frame.header.serial;
        let is_ahead = serial.wrapping_sub(self.due) < MAX_AHEAD;
        let known = self.early.contains_key(&serial) || self.ahead.contains(&serial);
        if is_ahead && !known && self.copied.len() < MAX_FRAME_STREAMS as usize {
            self.early.insert(serial, frame);
            self.copied.insert(serial);
        }
    }

    /// The frame that is due, or one that may overtake those that are, if one has come.
    pub(super) fn next(&mut self) -> Option<Frame> {
        while self.ahead.remove(&self.due) {
            self.due = self.due.wrapping_add(1);
        }
        if let Some(frame) = self.early.remove(&self.due) {
            self.due = self.due.wrapping_add(1);
            return Some(frame);
        }
        let may_go = |frame: &&Frame| {
            let ahead = frame.header.serial.wrapping_sub(self.due);
            let mut waiting = (0..ahead).map(|n| self.due.wrapping_add(n));
            waiting.all(|serial| self.ahead.contains(&serial) || frame.header.may_overtake(serial))
        };
        let serial = self.early.values().find(may_go)?.header.serial;
        self.ahead.insert(serial);
        self.early.remove(&serial)
    }
}

#[cfg(test)]
mod tests {
    use heliostat_wire::List;
    use heliostat_wire::scene::FrameHeader;
    use proptest::prelude::*;

    use super::*;

    fn frame(serial: u32) -> Frame {
        Frame {
            header: FrameHeader {
                serial,
                last_input: 0,
                overtakes: 0,
                ops: List::default(),
            },
            content: vec![0; 3].into(),
        }
    }

    fn overtaking(serial: u32, overtakes: u32) -> Frame {
        let mut frame = frame(serial);
        frame.header.overtakes = overtakes;
        frame
    }

    proptest! {
        #[test]
        fn no_frame_overtakes_what_it_must_not_and_each_comes_as_soon_as_it_may(
            shuffled in Just((1..=MAX_FRAME_STREAMS).collect::<Vec<_>>()).prop_shuffle(),
            overtakes in proptest::collection::vec(
                prop_oneof![Just(0), Just(u32::MAX), any::<u32>()],
                MAX_FRAME_STREAMS as usize,
            ),
        ) {
            let mut order = Order::default();
            let (mut come, mut given_out) = (BTreeSet::new(), BTreeSet::new());
            let mask = |serial: u32| overtakes[serial as usize - 1];
            for serial in shuffled {
                order.arrived(overtaking(serial, mask(serial))).unwrap();
                come.insert(serial);
                while let Some(frame) = order.next() {
                    prop_assert!(given_out.insert(frame.header.serial));
                }
                for serial in &come {
                    let must = |other: &u32| {
                        serial - other > 32 || mask(*serial) >> (serial - other - 1) & 1 == 0
                    };
                    let is_free = (1..*serial).filter(must).all(|other| given_out.contains(&other));
                    prop_assert_eq!(is_free, given_out.contains(serial), "frame {}", serial);
                }
            }
            prop_assert_eq!(given_out.len(), MAX_FRAME_STREAMS as usize);
            prop_assert!(order.next().is_none() && order.ahead.is_empty());
        }

        #[test]
        fn any_order_within_the_window_comes_out_right(
            shuffled in Just((1..=MAX_AHEAD).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let mut order = Order::default();
            let mut given_out = Vec::new();
            for serial in shuffled {
                order.arrived(frame(serial)).unwrap();
                while let Some(frame) = order.next() {
                    given_out.push(frame.header.serial);
                }
            }
            prop_assert_eq!(given_out, (1..=MAX_AHEAD).collect::<Vec<_>>());
            prop_assert_eq!(order.bytes(), 0);
        }

        #[test]
        fn memory_is_bounded_whatever_serials_come(
            serials in proptest::collection::vec((0u32..100, any::<bool>()), 0..300)
        ) {
            let mut order = Order::default();
            for (serial, is_copy) in serials {
                match is_copy {
                    true => order.copied(frame(serial)),
                    false => drop(order.arrived(frame(serial))),
                }
                if serial % 2 == 0 {
                    order.next();
                }
                prop_assert!(order.early.len() <= MAX_AHEAD as usize);
                prop_assert!(order.copied.len() <= MAX_FRAME_STREAMS as usize);
            }
        }

        #[test]
        fn each_frame_comes_out_once_whether_its_stream_its_copy_or_both_were_first(
            shuffled in Just((0..2 * MAX_FRAME_STREAMS).collect::<Vec<_>>()).prop_shuffle(),
            copied in proptest::collection::vec(any::<bool>(), MAX_FRAME_STREAMS as usize),
        ) {
            let mut order = Order::default();
            let mut given_out = Vec::new();
            for number in shuffled {
                let serial = number / 2 + 1;
                match number % 2 {
                    0 => order.arrived(frame(serial)).unwrap(),
                    _ if copied[serial as usize - 1] => order.copied(frame(serial)),
                    _ => {}
                }
                while let Some(frame) = order.next() {
                    given_out.push(frame.header.serial);
                }
            }
            prop_assert_eq!(given_out, (1..=MAX_FRAME_STREAMS).collect::<Vec<_>>());
            prop_assert!(order.copied.is_empty());
        }
    }

    #[test]
    fn a_frame_that_has_overtaken_others_comes_once_whatever_is_sent_again() {
        let mut order = Order::default();
        order.copied(overtaking(3, 0b11));
        assert_eq!(order.next().unwrap().header.serial, 3);
        order.copied(overtaking(3, 0b11));
        order.arrived(overtaking(3, 0b11)).unwrap();
        assert!(order.next().is_none());
        assert!(order.arrived(overtaking(3, 0b11)).is_err());
        // After the third one, and before the two that the third has overtaken.
        order.arrived(overtaking(4, 0b110)).unwrap();
        assert_eq!(order.next().unwrap().header.serial, 4);
        for serial in [1, 2] {
            order.arrived(frame(serial)).unwrap();
            assert_eq!(order.next().unwrap().header.serial, serial);
        }
        order.arrived(frame(5)).unwrap();
        assert_eq!(order.next().unwrap().header.serial, 5);
    }

    #[test]
    fn a_second_stream_of_a_copied_frame_is_a_violation_as_of_any_other() {
        let mut order = Order::default();
        order.copied(frame(1));
        assert!(order.next().is_some());
        order.copied(frame(1));
        assert!(order.next().is_none());
        order.arrived(frame(1)).unwrap();
        assert!(order.arrived(frame(1)).is_err());
    }

    #[test]
    fn serials_go_on_past_the_largest() {
        let mut order = Order {
            due: u32::MAX,
            ..Order::default()
        };
        order.arrived(frame(0)).unwrap();
        order.arrived(frame(u32::MAX)).unwrap();
        assert_eq!(order.next().unwrap().header.serial, u32::MAX);
        assert_eq!(order.next().unwrap().header.serial, 0);
    }
}

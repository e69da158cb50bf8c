//! Frames back in their order.

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
    /// Serials that came as a copy, and whose streams are still to come.
    copied: BTreeSet<u32>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            due: 1,
            early: BTreeMap::new(),
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
        match self.early.insert(serial, frame) {
            None => Ok(()),
            Some(_) => Err(LinkError::Protocol("two frames have the same serial")),
        }
    }

    /// Takes a copy of a frame in, unless the frame has come already. No more copies are taken than
    /// an honest peer has streams open, so that what is remembered of them is bounded.
    pub(super) fn copied(&mut self, frame: Frame) {
        let serial = frame.header.serial;
        let is_ahead = serial.wrapping_sub(self.due) < MAX_AHEAD;
        let known = self.early.contains_key(&serial);
        if is_ahead && !known && self.copied.len() < MAX_FRAME_STREAMS as usize {
            self.early.insert(serial, frame);
            self.copied.insert(serial);
        }
    }

    /// The frame that is due, if it has come.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let frame = self.early.remove(&self.due)?;
        self.due = self.due.wrapping_add(1);
        Some(frame)
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
                ops: List::default(),
            },
            content: vec![0; 3],
        }
    }

    proptest! {
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

//! Frames back in their order.

use std::collections::BTreeMap;

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
}

impl Default for Order {
    fn default() -> Self {
        Self {
            due: 1,
            early: BTreeMap::new(),
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

    /// Takes a frame in.
    pub(super) fn arrived(&mut self, frame: Frame) -> Result<(), LinkError> {
        let serial = frame.header.serial;
        if serial.wrapping_sub(self.due) >= MAX_AHEAD {
            return Err(LinkError::Protocol("a frame's serial is out of range"));
        }
        match self.early.insert(serial, frame) {
            None => Ok(()),
            Some(_) => Err(LinkError::Protocol("two frames have the same serial")),
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
            serials in proptest::collection::vec(0u32..100, 0..300)
        ) {
            let mut order = Order::default();
            for serial in serials {
                let _ = order.arrived(frame(serial));
                prop_assert!(order.early.len() <= MAX_AHEAD as usize);
            }
        }
    }

    #[test]
    fn serials_go_on_past_the_largest() {
        let mut order = Order {
            due: u32::MAX,
            early: BTreeMap::new(),
        };
        order.arrived(frame(0)).unwrap();
        order.arrived(frame(u32::MAX)).unwrap();
        assert_eq!(order.next().unwrap().header.serial, u32::MAX);
        assert_eq!(order.next().unwrap().header.serial, 0);
    }
}

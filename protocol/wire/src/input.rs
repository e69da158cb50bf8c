//! Input on its way from the terminal to the session.
//!
//! Distances are in 1/256 of a pixel. Codes are Linux evdev codes.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::bounded::List;
use crate::id::OutputId;
use crate::limits::{MAX_INPUT_EVENTS, MAX_PRESSED};

/// Units of a distance in one pixel.
pub const UNITS_PER_PIXEL: i32 = 256;

/// Events that belong together, in order. Batches count from 1 within one attach, without being
/// told; frames name the last one they have seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct InputBatch {
    /// When the kernel reported the last event, by the [`crate::clock::Clock`] of this attach.
    pub after_us: i64,
    /// The events.
    pub events: List<InputEvent, MAX_INPUT_EVENTS>,
}

/// What moves an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum AxisSource {
    /// A wheel with notches.
    Wheel,
    /// A finger on a touchpad.
    Finger,
    /// A continuous source such as button scrolling.
    Continuous,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub enum InputEvent {
    /// A key went down or up. Repeats are never sent.
    Key {
        /// Evdev code.
        code: u16,
        /// Down.
        pressed: bool,
    },
    /// The pointer moved.
    Motion {
        /// The output it is on.
        output: OutputId,
        /// Place on that output.
        x: i32,
        /// Place on that output.
        y: i32,
        /// Accelerated movement.
        dx: i32,
        /// Accelerated movement.
        dy: i32,
        /// Movement as the device reported it, where that differs from the accelerated one.
        raw: Option<(i32, i32)>,
    },
    /// A pointer button went down or up.
    Button {
        /// Evdev code.
        code: u16,
        /// Down.
        pressed: bool,
    },
    /// Scrolling.
    Axis {
        /// What moved it.
        source: AxisSource,
        /// Horizontal distance.
        dx: i32,
        /// Vertical distance.
        dy: i32,
        /// Horizontal steps of 1/120 notch.
        v120_x: i32,
        /// Vertical steps of 1/120 notch.
        v120_y: i32,
    },
    /// A finger came down.
    TouchDown {
        /// Which finger.
        slot: u8,
        /// The output it is on.
        output: OutputId,
        /// Place.
        x: i32,
        /// Place.
        y: i32,
    },
    /// A finger moved.
    TouchMotion {
        /// Which finger.
        slot: u8,
        /// The output it is on.
        output: OutputId,
        /// Place.
        x: i32,
        /// Place.
        y: i32,
    },
    /// A finger went up.
    TouchUp {
        /// Which finger.
        slot: u8,
    },
    /// The touches since the last frame belong together.
    TouchFrame,
    /// The touches are taken back.
    TouchCancel,
}

/// What is held down, sent at attach and whenever the terminal's idea may have changed unseen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct KeyboardState {
    /// Evdev codes of the keys that are down.
    pub pressed: List<u16, MAX_PRESSED>,
    /// Lock lights as they are lit.
    pub leds: Leds,
}

/// Keyboard lock lights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Leds {
    /// Caps lock.
    pub caps: bool,
    /// Num lock.
    pub num: bool,
    /// Scroll lock.
    pub scroll: bool,
}

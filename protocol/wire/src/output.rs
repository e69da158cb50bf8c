//! A terminal's screens.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::bounded::{List, Text};
use crate::id::OutputId;
use crate::limits::{MAX_NAME, MAX_OUTPUTS};

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Size {
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

/// One connected screen in the mode it runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Output {
    /// The terminal's id for it.
    pub id: OutputId,
    /// Connector name, such as `HDMI-A-1`.
    pub connector: Text<MAX_NAME>,
    /// Manufacturer, from EDID.
    pub make: Text<MAX_NAME>,
    /// Model, from EDID.
    pub model: Text<MAX_NAME>,
    /// Pixels of the current mode.
    pub size: Size,
    /// Refresh rate in millihertz.
    pub refresh_mhz: u32,
    /// Physical size in millimetres; zero where unknown.
    pub physical_mm: Size,
    /// Place of the left edge on the desk, in pixels, as the terminal's configuration has it.
    pub x: i32,
    /// Place of the top edge on the desk, in pixels.
    pub y: i32,
}

/// All screens of a terminal.
pub type Outputs = List<Output, MAX_OUTPUTS>;

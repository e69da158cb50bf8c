//! The scene as it should be on the terminal, without the pixels.

mod build;
mod diff;
#[cfg(test)]
pub(crate) mod model;

use std::collections::BTreeMap;

use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Placement, Rect};

pub use build::{Budget, Standing, afford, build, bytes_of, fit};
pub use diff::diff;

/// Layers and where they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scene {
    /// What each layer is.
    pub layers: BTreeMap<LayerId, Shape>,
    /// What each output shows.
    pub outputs: BTreeMap<OutputId, OutputScene>,
}

/// A layer without its pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Pixels of each side.
    pub size: Size,
    /// Whether alpha counts.
    pub alpha: bool,
    /// Which parts of an alpha layer are opaque.
    pub opaque: Vec<Rect>,
}

/// One output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputScene {
    /// The colour where no layer is, 0xRRGGBB.
    pub background: u32,
    /// Lowest first.
    pub stack: Vec<Placement>,
}

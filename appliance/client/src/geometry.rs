//! Rectangles on an output, and sets of them that need drawing.

pub use heliostat_compose::geometry::{Damage, Rect};

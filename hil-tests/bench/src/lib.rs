//! Heliostat and its peers, side by side: one drawing core for all of them, and one harness.

pub mod canvas;
pub mod draw;
pub mod harness;
pub mod link;
pub mod marker;
pub mod photo;
pub mod picture_file;
pub mod play;
pub mod rfb;
pub mod screen;
pub mod text;
pub mod workload;

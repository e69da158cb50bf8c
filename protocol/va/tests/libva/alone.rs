//! A test in a process of its own, with a display.

use std::path::PathBuf;

use heliostat_va::{Display, Error};

pub use crate::stage::alone;
use crate::stage::{NODE, open};

/// The display of a test that is alone in its process.
pub fn display() -> Result<Display, Error> {
    let node = PathBuf::from(std::env::var_os(NODE).unwrap());
    Display::open(open(&node).unwrap())
}

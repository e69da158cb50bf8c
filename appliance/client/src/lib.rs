//! The terminal's client: displays, input, cards, scene composition, links.
#![deny(unsafe_code)]

mod compose;
mod geometry;
mod scene;

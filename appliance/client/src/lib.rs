//! The terminal's client: displays, input, cards, scene composition, links.
#![deny(unsafe_code)]

mod card;
mod clock;
mod compose;
mod desk;
mod geometry;
mod scene;

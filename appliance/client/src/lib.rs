//! The terminal's client: displays, input, cards, scene composition, links.
#![deny(unsafe_code)]

mod card;
mod clock;
mod compose;
mod control_lines;
mod cursor;
mod desk;
mod events;
mod geometry;
mod net;
mod scene;
mod seat;

//! A broker, sessions and terminals on this machine, without virtual machines.
//!
//! For figures, for tests of the whole chain that need no firmware, and for `make try`. The parts
//! are the product's own programs; the terminal has its headless or its window back end and a card
//! that is inserted by a line of JSON, or a virtual one in a reader.

pub mod apart;
pub mod framebuffer;
pub mod keys;
mod lent;
pub mod site;
pub mod terminal;
mod told;

pub use hil_card::Readers;
pub use hil_rig::programs;
pub use lent::Lent;
pub use site::{Site, SiteOptions};
pub use terminal::{Event, Terminal};
pub use told::{Key, Told};

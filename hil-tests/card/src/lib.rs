//! Virtual smart cards: real ones as far as a reader can tell.
//!
//! [`Card`] is pure: a command in, a response out. [`Reader`] puts cards behind QEMU's
//! `ccid-card-passthru` device, where the guest's pcscd finds them in a USB reader; [`vpcd`] puts
//! them behind vsmartcard's reader, where the host's pcscd finds them.
#![forbid(unsafe_code)]

mod apdu;
mod card;
mod reader;
pub mod vpcd;

pub use apdu::{Command, Status};
pub use card::{Card, Kind};
pub use reader::Reader;

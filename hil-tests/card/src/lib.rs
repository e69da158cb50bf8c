//! Virtual smart cards: real ones as far as a reader can tell.
//!
//! [`Card`] is pure: a command in, a response out. It is a PIV card (NIST SP 800-73-5) with keys,
//! certificates and a PIN, made as a [`Recipe`] says, or a card of another [`Kind`]. [`Reader`] puts
//! cards behind QEMU's `ccid-card-passthru` device, where the guest's pcscd finds them in a USB
//! reader; [`vpcd`] puts them behind vsmartcard's reader, where the host's pcscd finds them; [`Readers`] is
//! such a pcscd.
#![forbid(unsafe_code)]

mod apdu;
mod authenticate;
mod card;
mod certificates;
mod chaining;
mod keys;
#[path = "../../rig/src/lack.rs"]
mod lack;
mod objects;
mod pin;
mod piv;
mod reader;
pub mod readers;
mod recipe;
mod tlv;
pub mod vpcd;

pub use apdu::{Command, Status};
pub use card::{Answer, Card, Kind};
pub use certificates::TestCa;
pub use keys::{Algorithm, Slot};
pub use reader::Reader;
pub use readers::Readers;
pub use recipe::{Recipe, WhenSigning};

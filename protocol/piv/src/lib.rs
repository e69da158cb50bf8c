//! What is known of PIV cards (NIST SP 800-73-4) at a terminal, at the broker and at the
//! administrator's desk: which commands name a card and make it prove its keys, and which keys count.
//!
//! Commands out, responses in; whoever owns a reader carries them.

#[cfg(feature = "enrolled")]
mod enrolled;
mod exchange;
pub mod identify;
pub mod pin;
pub mod prove;

#[cfg(feature = "enrolled")]
pub use enrolled::{EnrolledKey, KeyError};
pub use exchange::Command;

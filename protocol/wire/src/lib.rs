//! The messages of the control link and the session link: types, limits, versions.
//!
//! Everything here is a value: no I/O, no clock, no threads. A link starts with a
//! [`version::Preamble`] from each side, whose layout never changes; after it come messages of the
//! agreed version, each a little-endian `u32` length and a postcard body ([`codec`]). Frames of the
//! scene travel on streams of their own ([`scene::FrameHeader`] and a batch of tiles behind it).
//!
//! Every list and text carries its limit in its type ([`bounded`]), so that a decoded message is a
//! bounded message. What limits cannot say (a rectangle outside its layer) the receiver checks
//! against its own state.
#![forbid(unsafe_code)]

pub mod bounded;
pub mod card;
pub mod clock;
pub mod close;
pub mod codec;
pub mod control;
pub mod id;
pub mod input;
pub mod limits;
pub mod output;
pub mod proof;
pub mod receipt;
pub mod scene;
pub mod session;
pub mod version;

#[cfg(any(test, feature = "oracle"))]
pub mod oracle;

pub use bounded::{List, Text};
pub use codec::WireError;

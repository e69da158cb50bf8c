//! The lossless tile codec: the dirty rectangles of one frame, compressed together.
//!
//! Pixels are `u32` with the value `0xAARRGGBB`, colour premultiplied by alpha. A rectangle lies
//! inside one 64×64 cell of its layer. Each is encoded as whatever is cheapest for it (one colour,
//! a palette, pixels, predicted planes, or the difference to what the terminal holds), and all of
//! a frame's rectangles go through zstd as one, because batching about doubles the ratio; many of
//! them as a few parts, so that several processors can share the work. The bytes are specified in
//! `FORMAT.md` beside this crate.
//!
//! There is no I/O, no clock and no thread here; a caller with threads takes each [`Part`] from the
//! encoder as it fills and compresses it elsewhere. [`Decoder`] takes any bytes.
#![forbid(unsafe_code)]

mod chain;
mod copy;
mod decoder;
pub mod diff;
mod encoder;
mod four;
mod geometry;
mod header;
mod kept;
pub mod motion;
mod opened;
mod palette;
mod part;
mod planes;
mod varint;

#[cfg(any(test, feature = "oracle"))]
pub mod oracle;

pub use chain::Chain;
pub use copy::Copy;
pub use decoder::{DecodeError, Decoder, Limits, TileSink};
pub use encoder::{Encoder, Ending, Outlet};
pub use geometry::{PixelsRef, Rect, TILE, cells};
pub use kept::MAX_KEPT;
pub use opened::{Opened, Opener, Sealed, sealed_parts};
pub use part::{Part, Squeezed, Squeezer, pieces};

//! H.264 as both ends agree on it: colour, sizes, what a bitstream may claim, and the codec in
//! software.
//!
//! ```text
//!  pixels ─► Picture ─► Encoder ─► access unit ──link──► inspect ─► Decoder ─► Picture ─► pixels
//!  (any      (I420,                (Annex B, SPS and     (refuses
//!   size)     even)                 PPS with each IDR)    lies)
//! ```
//!
//! Colour is BT.709 in limited range, as the bitstream says of itself. A picture of odd sides is
//! padded to even ones by repeating its last row and column; both ends know its real size.

mod bitstream;
mod decoder;
mod encoder;
#[cfg(any(test, feature = "oracle"))]
pub mod oracle;
mod picture;
pub mod syntax;

pub use bitstream::{Refused, Unit, inspect};
pub use decoder::{DecodeError, Decoder};
pub use encoder::{EncodeError, Encoded, Encoder, Quality};
pub use picture::{Nv12, Picture};

/// Width and height of a picture in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

impl Size {
    /// The smallest even size that holds it.
    pub fn even(self) -> Self {
        Self {
            w: self.w.next_multiple_of(2),
            h: self.h.next_multiple_of(2),
        }
    }

    /// Its area in pixels.
    pub fn area(self) -> usize {
        self.w as usize * self.h as usize
    }
}

/// Sides that a video may have: the codec takes no less than a macroblock, and level 5.2 no more.
pub const MIN_SIDE: u32 = 16;
/// The longest side.
pub const MAX_SIDE: u32 = 3840;
/// The most pixels, those of a screen of 4K.
pub const MAX_PIXELS: usize = 3840 * 2160;

/// Whether a video may have this size.
pub fn is_possible(size: Size) -> bool {
    let side = |side: u32| (MIN_SIDE..=MAX_SIDE).contains(&side);
    side(size.w) && side(size.h) && size.area() <= MAX_PIXELS && size.w.min(size.h) <= 2160
}

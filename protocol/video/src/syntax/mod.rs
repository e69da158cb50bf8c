//! The headers of an H.264 bitstream, read and written.
//!
//! A hardware codec gets parameters, not a bitstream: who decodes has to read the headers for it, who
//! encodes has to write them. Only what the protocol allows is here: whole pictures of 4:2:0 in eight
//! bits, shown in the order in which they are decoded, each from the ones before. Source: ITU-T H.264,
//! 7.3, 7.4 and Annexes B and E.
//!
//! Everything read is hostile: numbers are bounded before they are used, and what the protocol leaves
//! out is [`Refused`](crate::Refused).

mod bits;
mod grey;
mod picture;
mod sequence;
mod slice;
#[cfg(test)]
mod tests;

pub(crate) use bits::{Beginning, Bits};
pub use picture::PictureParameters;
pub use sequence::{Colour, Order, Profile, SequenceParameters};
pub use slice::{Marking, Reordering, Slice, SliceKind};

use crate::Refused;
use bits::BitWriter;

/// The kinds of units that a video has, by their numbers in the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A slice of a picture that builds on others.
    Slice = 1,
    /// A slice of a picture that needs none before it.
    Idr = 5,
    /// Supplemental information.
    Supplemental = 6,
    /// Sequence parameters.
    Sequence = 7,
    /// Picture parameters.
    Picture = 8,
    /// Where an access unit begins.
    Delimiter = 9,
}

impl Kind {
    /// The kind of a unit by its first byte.
    pub fn of(head: u8) -> Result<Self, Refused> {
        Ok(match head & 31 {
            1 => Self::Slice,
            5 => Self::Idr,
            6 => Self::Supplemental,
            7 => Self::Sequence,
            8 => Self::Picture,
            9 => Self::Delimiter,
            other => return Err(Refused::Kind(other)),
        })
    }
}

/// The units of an access unit in the form of Annex B, without their start codes: each its first byte,
/// then its content with the bytes that keep start codes from appearing.
pub fn units(unit: &[u8]) -> Result<impl Iterator<Item = &[u8]>, Refused> {
    let after_start = unit
        .strip_prefix(&[0, 0, 0, 1])
        .or_else(|| unit.strip_prefix(&[0, 0, 1]));
    let mut rest = after_start.ok_or(Refused::NoStartCode)?;
    let mut over = false;
    Ok(std::iter::from_fn(move || {
        if over {
            return None;
        }
        let end = rest.windows(3).position(|three| three == [0, 0, 1]);
        let (nal, next) = match end {
            Some(end) => (&rest[..end], &rest[end + 3..]),
            None => {
                over = true;
                (rest, &[][..])
            }
        };
        rest = next;
        Some(nal)
    }))
}

/// Appends a unit with its start code: its first byte from how much others need it (0 to 3) and its
/// kind, then its content.
fn append(out: &mut Vec<u8>, importance: u8, kind: Kind, content: BitWriter) {
    out.extend([0, 0, 0, 1, importance << 5 | kind as u8]);
    bits::append_with_emulation(out, &content.finish());
}

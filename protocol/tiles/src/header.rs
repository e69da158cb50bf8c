//! The header of one record: which rectangle, encoded how.

use crate::geometry::{Rect, TILE};
use crate::varint::{self, Reader};

/// How a rectangle's pixels are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// One colour.
    Solid = 0,
    /// Up to 256 colours and indices.
    Palette = 1,
    /// Pixels as they are.
    Pixels = 2,
    /// Planes of what a median predictor missed.
    Predicted = 3,
    /// The exclusive or with what the terminal holds.
    Xor = 4,
    /// A cell that the terminal has kept.
    Recall = 5,
}

impl Kind {
    fn from_bits(bits: u8) -> Option<Self> {
        [
            Self::Solid,
            Self::Palette,
            Self::Pixels,
            Self::Predicted,
            Self::Xor,
            Self::Recall,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == bits)
    }
}

const KIND_BITS: u8 = 0b0000_0111;
/// The record belongs to the layer of the record before it.
const SAME_LAYER: u8 = 1 << 3;
/// The cell is the right neighbour of the record before it (same layer).
const NEXT_CELL: u8 = 1 << 4;
/// The rectangle is all of its cell inside the layer.
const WHOLE_CELL: u8 = 1 << 5;
/// Alpha is coded; without it every pixel is opaque, or as opaque as before for an exclusive or.
const ALPHA: u8 = 1 << 6;
/// What of the cell is in its layer is kept when the record has been done.
pub const KEEP: u8 = 1 << 7;

/// One record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The layer.
    pub layer: u32,
    /// The rectangle, inside one cell.
    pub rect: Rect,
    /// The encoding.
    pub kind: Kind,
    /// Whether alpha is coded; where it is not, it is 255, or as it was for an exclusive or.
    pub alpha: bool,
    /// Whether what of the cell is in its layer is to be kept.
    pub keep: bool,
}

/// The record before, to which headers are relative.
pub type Previous = Option<(u32, u32, u32)>;

impl Header {
    /// Appends the header; `whole` says that the rectangle is all of its cell inside the layer.
    /// Returns what the next header is relative to.
    pub fn put(&self, previous: Previous, whole: bool, out: &mut Vec<u8>) -> Previous {
        let (column, row) = (self.rect.x / TILE, self.rect.y / TILE);
        let same = previous.is_some_and(|(layer, ..)| layer == self.layer);
        let next = same && previous == Some((self.layer, column.wrapping_sub(1), row));
        let mut flags = self.kind as u8;
        for (set, flag) in [
            (same, SAME_LAYER),
            (next, NEXT_CELL),
            (whole, WHOLE_CELL),
            (self.alpha, ALPHA),
            (self.keep, KEEP),
        ] {
            if set {
                flags |= flag;
            }
        }
        out.push(flags);
        if !same {
            varint::put(self.layer, out);
        }
        if !next {
            varint::put(column, out);
            varint::put(row, out);
        }
        if !whole {
            let Rect { x, y, w, h } = self.rect;
            out.extend([x % TILE, y % TILE, w - 1, h - 1].map(|value| value as u8));
        }
        Some((self.layer, column, row))
    }

    /// Reads a header. `layer_size` gives the size of a layer, if there is such a layer.
    pub fn take(
        reader: &mut Reader<'_>,
        previous: &mut Previous,
        layer_size: impl Fn(u32) -> Option<(u32, u32)>,
    ) -> Result<Self, HeaderError> {
        let flags = reader.byte().ok_or(HeaderError::Truncated)?;
        let kind = Kind::from_bits(flags & KIND_BITS).ok_or(HeaderError::UnknownKind)?;
        if flags & (SAME_LAYER | NEXT_CELL) == NEXT_CELL {
            return Err(HeaderError::UnknownKind);
        }
        let before = previous.unwrap_or((0, 0, 0));
        if flags & SAME_LAYER != 0 && previous.is_none() {
            return Err(HeaderError::UnknownKind);
        }
        let mut number = || reader.varint().ok_or(HeaderError::Truncated);
        let layer = if flags & SAME_LAYER != 0 {
            before.0
        } else {
            number()?
        };
        let (column, row) = if flags & NEXT_CELL != 0 {
            (before.1.wrapping_add(1), before.2)
        } else {
            (number()?, number()?)
        };
        let size = layer_size(layer).ok_or(HeaderError::UnknownLayer(layer))?;
        let outside = HeaderError::OutsideLayer(layer);
        let (x, y) = (column.checked_mul(TILE), row.checked_mul(TILE));
        let (Some(x), Some(y)) = (x, y) else {
            return Err(outside);
        };
        if x >= size.0 || y >= size.1 {
            return Err(outside);
        }
        let mut rect = Rect {
            x,
            y,
            w: TILE.min(size.0 - x),
            h: TILE.min(size.1 - y),
        };
        if flags & WHOLE_CELL == 0 {
            let part = reader.take(4).ok_or(HeaderError::Truncated)?;
            let [left, top, w, h] = [part[0], part[1], part[2], part[3]].map(u32::from);
            if left + w >= rect.w || top + h >= rect.h {
                return Err(outside);
            }
            rect = Rect {
                x: x + left,
                y: y + top,
                w: w + 1,
                h: h + 1,
            };
        }
        // A cell is recalled as a whole, and is kept already.
        let (keep, recall) = (flags & KEEP != 0, kind == Kind::Recall);
        if recall && (keep || flags & WHOLE_CELL == 0) {
            return Err(HeaderError::UnknownKind);
        }
        *previous = Some((layer, column, row));
        Ok(Self {
            layer,
            rect,
            kind,
            alpha: flags & ALPHA != 0,
            keep,
        })
    }
}

/// Why bytes are not a header for this scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// The bytes end.
    Truncated,
    /// No such encoding, or flags that contradict each other.
    UnknownKind,
    /// No such layer.
    UnknownLayer(u32),
    /// The rectangle is not inside its layer.
    OutsideLayer(u32),
}

//! Copies inside a layer: pixels that the terminal has already, at another place.

use crate::decoder::{DecodeError, TileSink};
use crate::geometry::Rect;
use crate::varint::{self, Reader};

/// Copies that one batch may hold.
pub(crate) const MAX_COPIES: u32 = 256;
/// Pixels that they may have together.
pub(crate) const MAX_COPIED: usize = 20 << 20;

/// A rectangle of the layer's previous picture, and where its top-left pixel goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// Where the pixels were.
    pub from: Rect,
    /// Where they are to be.
    pub to: (u32, u32),
}

impl Copy {
    /// The rectangle that is written.
    pub fn target(&self) -> Rect {
        Rect {
            x: self.to.0,
            y: self.to.1,
            ..self.from
        }
    }

    /// This copy, with both places moved right and down.
    pub fn moved(mut self, x: u32, y: u32) -> Self {
        self.from.x += x;
        self.from.y += y;
        self.to = (self.to.0 + x, self.to.1 + y);
        self
    }
}

pub(crate) fn put(layer: u32, copy: &Copy, out: &mut Vec<u8>) {
    let Copy { from, to } = *copy;
    for number in [layer, from.x, from.y, from.w, from.h, to.0, to.1] {
        varint::put(number, out);
    }
}

/// Reads over the copies at the head of a body; nothing where it ends too early.
pub(crate) fn skip(reader: &mut Reader<'_>) -> Option<()> {
    let count = reader.varint().filter(|count| *count <= MAX_COPIES)?;
    (0..count * 7).try_for_each(|_| reader.varint().map(|_| ()))
}

/// Reads the copies at the head of a body and does them: every source is read before anything is
/// written, since all of them are of the previous picture.
pub(crate) fn take(
    reader: &mut Reader<'_>,
    max_pixels: usize,
    held: &mut Vec<u32>,
    sink: &mut impl TileSink,
) -> Result<(), DecodeError> {
    let mut number = || reader.varint().ok_or(DecodeError::Truncated);
    let count = number()?;
    if count > MAX_COPIES {
        return Err(DecodeError::TooManyRecords {
            got: count,
            max: MAX_COPIES,
        });
    }
    let mut left = max_pixels;
    let mut copies = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let layer = number()?;
        let (x, y, w, h) = (number()?, number()?, number()?, number()?);
        let copy = Copy {
            from: Rect { x, y, w, h },
            to: (number()?, number()?),
        };
        check(layer, &copy, sink)?;
        left = left
            .checked_sub(copy.from.area())
            .ok_or(DecodeError::TooManyPixels(max_pixels))?;
        copies.push((layer, copy));
    }
    match copies[..] {
        [(layer, copy)] => move_within(layer, &copy, sink)?,
        _ => move_together(&copies, held, sink)?,
    }
    for (layer, copy) in copies {
        sink.damaged(layer, copy.target());
    }
    Ok(())
}

fn check(layer: u32, copy: &Copy, sink: &impl TileSink) -> Result<(), DecodeError> {
    let (w, h) = sink
        .layer_size(layer)
        .ok_or(DecodeError::UnknownLayer(layer))?;
    let inside = |rect: Rect| {
        let reaches = |start: u32, length: u32, side: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
        };
        reaches(rect.x, rect.w, w) && reaches(rect.y, rect.h, h)
    };
    match inside(copy.from) && inside(copy.target()) {
        true => Ok(()),
        false => Err(DecodeError::OutsideLayer(layer)),
    }
}

/// One copy alone needs no room for what it would overwrite, if its rows go in the right order.
fn move_within(layer: u32, copy: &Copy, sink: &mut impl TileSink) -> Result<(), DecodeError> {
    let Copy { from, to } = *copy;
    let outside = DecodeError::OutsideLayer(layer);
    let (w, h) = sink.layer_size(layer).ok_or(outside)?;
    let whole = Rect { x: 0, y: 0, w, h };
    let (pixels, stride) = sink.pixels_mut(layer, whole).ok_or(outside)?;
    let mut row = |y: u32| {
        let start = (from.y + y) as usize * stride + from.x as usize;
        let target = (to.1 + y) as usize * stride + to.0 as usize;
        let source = start..start + from.w as usize;
        match source.end <= pixels.len() && target + from.w as usize <= pixels.len() {
            true => {
                pixels.copy_within(source, target);
                Ok(())
            }
            false => Err(outside),
        }
    };
    match to.1 > from.y {
        true => (0..from.h).rev().try_for_each(&mut row),
        false => (0..from.h).try_for_each(&mut row),
    }
}

fn move_together(
    copies: &[(u32, Copy)],
    held: &mut Vec<u32>,
    sink: &mut impl TileSink,
) -> Result<(), DecodeError> {
    held.clear();
    for (layer, copy) in copies {
        let outside = DecodeError::OutsideLayer(*layer);
        let (pixels, stride) = sink.pixels_mut(*layer, copy.from).ok_or(outside)?;
        for y in 0..copy.from.h as usize {
            let row = pixels.get(y * stride..).ok_or(outside)?;
            held.extend_from_slice(row.get(..copy.from.w as usize).ok_or(outside)?);
        }
    }
    let mut rows = &held[..];
    for (layer, copy) in copies {
        let outside = DecodeError::OutsideLayer(*layer);
        let (pixels, stride) = sink.pixels_mut(*layer, copy.target()).ok_or(outside)?;
        for y in 0..copy.from.h as usize {
            let (row, rest) = rows.split_at(copy.from.w as usize);
            let target = pixels.get_mut(y * stride..).ok_or(outside)?;
            let target = target.get_mut(..row.len()).ok_or(outside)?;
            target.copy_from_slice(row);
            rows = rest;
        }
    }
    Ok(())
}

//! From a batch to the layers. Any bytes are taken; wrong ones are refused.

use zstd::bulk::Decompressor;

use crate::copy;
use crate::geometry::{PixelsRef, Rect, TILE};
use crate::header::{Header, HeaderError, Kind, Previous};
use crate::kept::Cells;
use crate::opened::{Opened, Sealed, decompress};
use crate::palette::{index_bits, row_bytes, unpack};
use crate::part::{COPIES, MAX_PARTS, PARTS};
use crate::planes;
use crate::varint::Reader;

/// What a batch may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body, once decompressed.
    pub max_body: usize,
    /// Rectangles.
    pub max_records: u32,
    /// Pixels of all rectangles together.
    pub max_pixels: usize,
}

impl Default for Limits {
    /// Two screens of 3840×2160 in the costliest encoding.
    fn default() -> Self {
        Self {
            max_body: 80 << 20,
            max_records: 1 << 17,
            max_pixels: 20 << 20,
        }
    }
}

/// What the parts of a batch may still cost together.
struct Left {
    body: usize,
    /// Rectangles so far.
    records: u32,
    pixels: usize,
}

/// Where decoded pixels go.
pub trait TileSink {
    /// Width and height of a layer in pixels, if there is such a layer.
    fn layer_size(&self, layer: u32) -> Option<(u32, u32)>;
    /// The pixels from the first one of `rect` on, and the distance of rows in pixels.
    fn pixels_mut(&mut self, layer: u32, rect: Rect) -> Option<(&mut [u32], usize)>;
    /// `rect` has been written.
    fn damaged(&mut self, layer: u32, rect: Rect);
}

/// Why a batch was refused. Rectangles before the fault have been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("batch of tiles ends too early")]
    Truncated,
    /// Bytes are left over.
    #[error("{0} bytes left over after the batch of tiles")]
    TrailingBytes(usize),
    /// No such encoding.
    #[error("unknown encoding in a batch of tiles")]
    UnknownEncoding,
    /// zstd cannot decompress it, or not to the length it claims.
    #[error("corrupt compression in a batch of tiles")]
    Corrupt,
    /// The body is too large.
    #[error("batch of tiles of {got} bytes exceeds the limit of {max}")]
    TooLarge {
        /// Claimed.
        got: usize,
        /// Allowed.
        max: usize,
    },
    /// Too many rectangles.
    #[error("batch of {got} tiles exceeds the limit of {max}")]
    TooManyRecords {
        /// Claimed.
        got: u32,
        /// Allowed.
        max: u32,
    },
    /// Too many parts, or none.
    #[error("batch of tiles in {0} parts")]
    BadPartCount(u32),
    /// Too many pixels.
    #[error("batch of tiles exceeds the limit of {0} pixels")]
    TooManyPixels(usize),
    /// A cell is recalled that was never kept, or of another size, or kept where none are.
    #[error("a cell that is not kept in a batch of tiles")]
    NotKept,
    /// A rectangle for a layer that does not exist.
    #[error("tile for the unknown layer {0}")]
    UnknownLayer(u32),
    /// A rectangle that is not inside its layer.
    #[error("tile outside its layer {0}")]
    OutsideLayer(u32),
}

impl From<HeaderError> for DecodeError {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Truncated => Self::Truncated,
            HeaderError::UnknownKind => Self::UnknownEncoding,
            HeaderError::UnknownLayer(layer) => Self::UnknownLayer(layer),
            HeaderError::OutsideLayer(layer) => Self::OutsideLayer(layer),
        }
    }
}

/// Decodes batches. Keep one: it owns the buffers it needs.
pub struct Decoder {
    zstd: Decompressor<'static>,
    body: Vec<u8>,
    planes: Vec<u8>,
    pixels: Vec<u32>,
    /// What copies read before they write.
    held: Vec<u32>,
    cells: Cells,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// A body buffer larger than this is given back after use.
const KEPT_BODY: usize = 4 << 20;
/// Pixels for which room is kept between batches.
const KEPT_PIXELS: usize = 1 << 20;

impl Decoder {
    /// A decoder.
    pub fn new() -> Self {
        let zstd = Decompressor::new().expect("zstd has memory for a context");
        Self {
            zstd,
            body: Vec::new(),
            planes: Vec::new(),
            pixels: Vec::new(),
            held: Vec::new(),
            cells: Cells::default(),
        }
    }

    /// A decoder that keeps up to `capacity` cells, 16 KiB each when they are there.
    pub fn keeping(capacity: u32) -> Self {
        Self {
            cells: Cells::new(capacity),
            ..Self::new()
        }
    }

    /// Pixels for which kept cells have taken memory.
    #[cfg(any(test, feature = "oracle"))]
    pub(crate) fn kept_pixels(&self) -> usize {
        self.cells.memory()
    }

    /// Writes the rectangles of `batch` to `sink`.
    pub fn decode(
        &mut self,
        batch: &[u8],
        limits: &Limits,
        sink: &mut impl TileSink,
    ) -> Result<(), DecodeError> {
        let mut left = Left {
            body: limits.max_body,
            records: 0,
            pixels: limits.max_pixels,
        };
        let (&first, rest) = batch.split_first().ok_or(DecodeError::Truncated)?;
        if first != PARTS {
            return self.decode_part(first, rest, (limits, &mut left), sink);
        }
        let mut reader = Reader(rest);
        let count = reader.varint().ok_or(DecodeError::Truncated)?;
        if !(1..=MAX_PARTS).contains(&count) {
            return Err(DecodeError::BadPartCount(count));
        }
        for number in 0..count {
            let length = reader.varint().ok_or(DecodeError::Truncated)?;
            let part = reader.take(length as usize);
            let part = part.ok_or(DecodeError::Truncated)?;
            let (&first, rest) = part.split_first().ok_or(DecodeError::Truncated)?;
            // Copies are of the pictures before the batch, so that only its beginning has them.
            if number > 0 && first & COPIES != 0 {
                return Err(DecodeError::UnknownEncoding);
            }
            self.decode_part(first, rest, (limits, &mut left), sink)?;
        }
        match reader.0.len() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(left)),
        }
    }

    /// Writes the rectangles of a batch whose parts were opened elsewhere, as [`Self::decode`] does
    /// of the whole batch. `parts` are all of them, in their order.
    pub fn decode_opened(
        &mut self,
        parts: impl Iterator<Item = Result<Opened, DecodeError>>,
        limits: &Limits,
        sink: &mut impl TileSink,
    ) -> Result<(), DecodeError> {
        let mut left = Left {
            body: limits.max_body,
            records: 0,
            pixels: limits.max_pixels,
        };
        for part in parts {
            self.decode_body(&part?, (limits, &mut left), sink)?;
        }
        Ok(())
    }

    fn decode_part(
        &mut self,
        first: u8,
        rest: &[u8],
        (limits, left): (&Limits, &mut Left),
        sink: &mut impl TileSink,
    ) -> Result<(), DecodeError> {
        let part = Sealed::of(first, rest)?;
        let got = part.body;
        left.body = left.body.checked_sub(got).ok_or(DecodeError::TooLarge {
            got,
            max: limits.max_body,
        })?;
        let mut opened = Opened {
            body: std::mem::take(&mut self.body),
            copies: part.copies,
            undone: 0,
        };
        let result = decompress(&mut self.zstd, &part, &mut opened.body)
            .and_then(|()| self.decode_body(&opened, (limits, left), sink));
        if opened.body.capacity() <= KEPT_BODY {
            self.body = opened.body;
        }
        result
    }

    fn decode_body(
        &mut self,
        part: &Opened,
        (limits, left): (&Limits, &mut Left),
        sink: &mut impl TileSink,
    ) -> Result<(), DecodeError> {
        let mut reader = Reader(&part.body);
        if part.copies {
            copy::take(&mut reader, limits.max_pixels, &mut self.held, sink)?;
            // A person's pixels stay in the layers alone, where they are overwritten at the end; and
            // a scroll of a whole screen needs no room kept for the next one.
            self.held.fill(0);
            self.held.clear();
            self.held.shrink_to(KEPT_PIXELS);
        }
        let mut number = || reader.varint().ok_or(DecodeError::Truncated);
        let (records, headers) = (number()?, number()? as usize);
        left.records = left.records.saturating_add(records);
        if left.records > limits.max_records {
            return Err(DecodeError::TooManyRecords {
                got: left.records,
                max: limits.max_records,
            });
        }
        let mut headers = Reader(reader.take(headers).ok_or(DecodeError::Truncated)?);
        let mut data = reader;
        let mut previous: Previous = None;
        for number in 0..records {
            let header = Header::take(&mut headers, &mut previous, |id| sink.layer_size(id))?;
            left.pixels = left
                .pixels
                .checked_sub(header.rect.area())
                .ok_or(DecodeError::TooManyPixels(limits.max_pixels))?;
            let undone = number < part.undone;
            self.take_pixels((&header, undone), &mut headers, &mut data)?;
            self.write(&header, sink)?;
            if header.keep {
                self.keep(&header, sink)?;
            }
        }
        match headers.0.len() + data.0.len() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(left)),
        }
    }

    /// Fills `self.pixels` with the rectangle's pixels, or their exclusive or. The prediction may be
    /// undone already.
    fn take_pixels(
        &mut self,
        (header, undone): (&Header, bool),
        headers: &mut Reader<'_>,
        data: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        let area = header.rect.area();
        let w = header.rect.w as usize;
        self.pixels.clear();
        match header.kind {
            Kind::Solid => {
                let bytes = headers.take(planes::len(1, header.alpha));
                let mut colour = [0];
                planes::take(
                    bytes.ok_or(DecodeError::Truncated)?,
                    header.alpha,
                    &mut colour,
                );
                self.pixels.resize(area, colour[0]);
            }
            Kind::Palette => {
                let count = usize::from(headers.byte().ok_or(DecodeError::Truncated)?) + 1;
                let bytes = data.take(planes::len(count, header.alpha));
                let mut colours = [0; 256];
                let bytes = bytes.ok_or(DecodeError::Truncated)?;
                planes::take(bytes, header.alpha, &mut colours[..count]);
                let bits = index_bits(count);
                for _ in 0..header.rect.h {
                    let row = data.take(row_bytes(header.rect.w, bits));
                    let row = row.ok_or(DecodeError::Truncated)?;
                    // Indices above the count find a black that no palette has put there.
                    let colour = |x| colours[usize::from(unpack(row, x, bits))];
                    self.pixels.extend((0..w).map(colour));
                }
            }
            Kind::Pixels => {
                let bytes = data.take(planes::len(area, header.alpha));
                let bytes = bytes.ok_or(DecodeError::Truncated)?;
                planes::take_together(bytes, header.alpha, &mut self.pixels);
            }
            Kind::Predicted => {
                let bytes = data.take(planes::len(area, header.alpha));
                let mut bytes = bytes.ok_or(DecodeError::Truncated)?;
                if !undone {
                    self.planes.clear();
                    self.planes.extend_from_slice(bytes);
                    planes::unpredict(&mut self.planes, area, w);
                    bytes = &self.planes;
                }
                self.pixels.resize(area, 0);
                planes::take(bytes, header.alpha, &mut self.pixels);
            }
            Kind::Xor => {
                let bytes = data.take(planes::len(area, header.alpha));
                let bytes = bytes.ok_or(DecodeError::Truncated)?;
                take_xor(bytes, header.alpha, &mut self.pixels);
            }
            Kind::Recall => {
                let slot = headers.varint().ok_or(DecodeError::Truncated)?;
                let cell = self.cells.get(slot, (header.rect.w, header.rect.h));
                let cell = cell.ok_or(DecodeError::NotKept)?;
                self.pixels.extend_from_slice(cell);
            }
        }
        Ok(())
    }

    fn keep(&mut self, header: &Header, sink: &mut impl TileSink) -> Result<(), DecodeError> {
        let outside = DecodeError::OutsideLayer(header.layer);
        let size = sink.layer_size(header.layer).ok_or(outside)?;
        let (x, y) = (header.rect.x / TILE * TILE, header.rect.y / TILE * TILE);
        let cell = Rect {
            x,
            y,
            w: TILE.min(size.0 - x),
            h: TILE.min(size.1 - y),
        };
        let (pixels, stride) = sink.pixels_mut(header.layer, cell).ok_or(outside)?;
        let cell = PixelsRef::new(pixels, stride, cell.w, cell.h).ok_or(outside)?;
        match self.cells.keep(cell) {
            true => Ok(()),
            false => Err(DecodeError::NotKept),
        }
    }

    fn write(&self, header: &Header, sink: &mut impl TileSink) -> Result<(), DecodeError> {
        let rect = header.rect;
        let outside = DecodeError::OutsideLayer(header.layer);
        let (target, stride) = sink.pixels_mut(header.layer, rect).ok_or(outside)?;
        for (y, row) in self.pixels.chunks(rect.w as usize).enumerate() {
            let target = target
                .get_mut(y * stride..)
                .and_then(|t| t.get_mut(..row.len()));
            let target = target.ok_or(outside)?;
            if header.kind == Kind::Xor {
                target
                    .iter_mut()
                    .zip(row)
                    .for_each(|(target, xor)| *target ^= xor);
            } else {
                target.copy_from_slice(row);
            }
        }
        sink.damaged(header.layer, rect);
        Ok(())
    }
}

/// An exclusive or, the bytes of each pixel together.
fn take_xor(bytes: &[u8], alpha: bool, pixels: &mut Vec<u32>) {
    match alpha {
        true => {
            let xors = bytes.chunks_exact(4);
            pixels.extend(xors.map(|p| u32::from_le_bytes([p[0], p[1], p[2], p[3]])));
        }
        false => {
            let xors = bytes.chunks_exact(3);
            pixels.extend(xors.map(|p| u32::from_le_bytes([p[0], p[1], p[2], 0])));
        }
    }
}

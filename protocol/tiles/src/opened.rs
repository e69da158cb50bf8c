//! Parts of a batch that are opened by themselves, so that several processors may share the work: what
//! needs neither the layers nor the parts before.

use std::ops::Range;

use zstd::bulk::Decompressor;

use crate::copy;
use crate::decoder::{DecodeError, Limits};
use crate::header::{Header, Kind, Previous};
use crate::palette::{index_bits, row_bytes};
use crate::part::{COMPRESSED, COPIES, MAX_PARTS, PARTS};
use crate::planes;
use crate::varint::Reader;

/// A part of a batch, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    bytes: &'a [u8],
    compressed: bool,
    pub(crate) copies: bool,
    /// Bytes of its body, as it says.
    pub(crate) body: usize,
}

/// A part of a batch, decompressed.
#[derive(Debug, Default)]
pub struct Opened {
    pub(crate) body: Vec<u8>,
    pub(crate) copies: bool,
    /// The predictions of so many records are undone already.
    pub(crate) undone: u32,
}

/// Opens parts. Keep one a thread: it owns the memory that zstd needs.
pub struct Opener {
    zstd: Decompressor<'static>,
}

/// The parts of a batch, where they can be opened by themselves: nothing where it is one part, or
/// none that is in order and within `limits`. [`crate::Decoder::decode`] says what is wrong then.
pub fn sealed_parts<'a>(batch: &'a [u8], limits: &Limits) -> Option<Vec<Sealed<'a>>> {
    let (&first, rest) = batch.split_first()?;
    let mut reader = Reader(rest);
    if first != PARTS {
        return None;
    }
    let count = reader.varint().filter(|count| *count <= MAX_PARTS)?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let length = reader.varint()?;
        let (&first, rest) = reader.take(length as usize)?.split_first()?;
        let part = Sealed::of(first, rest).ok()?;
        if part.copies && !parts.is_empty() {
            return None;
        }
        parts.push(part);
    }
    let all = parts
        .iter()
        .try_fold(0usize, |all, part| all.checked_add(part.body));
    let fits = all.is_some_and(|all| all <= limits.max_body);
    (reader.0.is_empty() && fits).then_some(parts)
}

impl<'a> Sealed<'a> {
    /// The part that begins with `first`.
    pub(crate) fn of(first: u8, rest: &'a [u8]) -> Result<Self, DecodeError> {
        if first & !(COMPRESSED | COPIES) != 0 {
            return Err(DecodeError::UnknownEncoding);
        }
        let compressed = first & COMPRESSED != 0;
        let mut reader = Reader(rest);
        let body = match compressed {
            true => reader.varint().ok_or(DecodeError::Truncated)? as usize,
            false => rest.len(),
        };
        Ok(Self {
            bytes: reader.0,
            compressed,
            copies: first & COPIES != 0,
            body,
        })
    }

    /// Bytes before they are opened.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Default for Opener {
    fn default() -> Self {
        Self::new()
    }
}

impl Opener {
    /// An opener.
    pub fn new() -> Self {
        let zstd = Decompressor::new().expect("zstd has memory for a context");
        Self { zstd }
    }

    /// Decompresses a part and undoes its predictions, where it has no more records than `limits`
    /// lets it have. `layer_size` gives the size of a layer, if there is such a layer.
    pub fn open(
        &mut self,
        part: &Sealed<'_>,
        limits: &Limits,
        layer_size: impl Fn(u32) -> Option<(u32, u32)>,
    ) -> Result<Opened, DecodeError> {
        let mut opened = Opened {
            copies: part.copies,
            ..Opened::default()
        };
        decompress(&mut self.zstd, part, &mut opened.body)?;
        opened.undo(limits, layer_size);
        Ok(opened)
    }
}

/// Fills `body` with the body of a part.
pub(crate) fn decompress(
    zstd: &mut Decompressor<'_>,
    part: &Sealed<'_>,
    body: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    body.clear();
    if !part.compressed {
        body.extend_from_slice(part.bytes);
        return Ok(());
    }
    body.reserve(part.body);
    // The capacity may be larger than asked for; the length decides.
    let written = zstd.decompress_to_buffer(part.bytes, body);
    match written.ok() == Some(part.body) {
        true => Ok(()),
        false => Err(DecodeError::Corrupt),
    }
}

impl Opened {
    /// Undoes predictions, up to the first record that is not in order: the decoder finds that again.
    fn undo(&mut self, limits: &Limits, layer_size: impl Fn(u32) -> Option<(u32, u32)>) {
        let (records, predicted) = self.predicted(limits, layer_size);
        for (planes, area, width) in predicted {
            planes::unpredict(&mut self.body[planes], area, width);
        }
        self.undone = records;
    }

    /// How many records are in order, and where the planes of those are that are predicted, with
    /// their area and width.
    fn predicted(
        &self,
        limits: &Limits,
        layer_size: impl Fn(u32) -> Option<(u32, u32)>,
    ) -> (u32, Vec<(Range<usize>, usize, usize)>) {
        let (mut records, mut found) = (0, Vec::new());
        let Some((count, mut headers, mut data)) = self.contents() else {
            return (records, found);
        };
        if count > limits.max_records {
            return (records, found);
        }
        let mut previous: Previous = None;
        while records < count {
            let header = Header::take(&mut headers, &mut previous, &layer_size);
            let start = self.body.len() - data.0.len();
            let Some(header) = header.ok().filter(|header| {
                let length = data_length(header, &mut headers);
                length.and_then(|length| data.take(length)).is_some()
            }) else {
                break;
            };
            if header.kind == Kind::Predicted {
                let planes = start..self.body.len() - data.0.len();
                found.push((planes, header.rect.area(), header.rect.w as usize));
            }
            records += 1;
        }
        (records, found)
    }

    /// The number of records, their headers and their data.
    fn contents(&self) -> Option<(u32, Reader<'_>, Reader<'_>)> {
        let mut reader = Reader(&self.body);
        if self.copies {
            copy::skip(&mut reader)?;
        }
        let count = reader.varint()?;
        let length = reader.varint()? as usize;
        let headers = Reader(reader.take(length)?);
        Some((count, headers, reader))
    }
}

/// Bytes of a record's data, when what of it is among the headers has been read.
fn data_length(header: &Header, headers: &mut Reader<'_>) -> Option<usize> {
    let area = header.rect.area();
    match header.kind {
        Kind::Solid => headers.take(planes::len(1, header.alpha)).map(|_| 0),
        Kind::Palette => {
            let count = usize::from(headers.byte()?) + 1;
            let row = row_bytes(header.rect.w, index_bits(count));
            Some(planes::len(count, header.alpha) + row * header.rect.h as usize)
        }
        Kind::Pixels | Kind::Predicted | Kind::Xor => Some(planes::len(area, header.alpha)),
        Kind::Recall => headers.varint().map(|_| 0),
    }
}

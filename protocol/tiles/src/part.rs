//! The last step of a batch: its parts, compressed each by itself and put together.

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, ParamSwitch, compress_bound};

use crate::varint;

/// Bit of the first byte: the body is one zstd frame behind its length.
pub(crate) const COMPRESSED: u8 = 1;
/// Bit of the first byte: the body begins with copies.
pub(crate) const COPIES: u8 = 2;
/// The first byte of a batch of several parts.
pub(crate) const PARTS: u8 = 4;
/// Parts of one batch.
pub(crate) const MAX_PARTS: u32 = 256;

/// Bodies of fewer bytes gain nothing from zstd.
const WORTH_COMPRESSING: usize = 48;
/// The highest level for what a predictor missed: there is next to nothing in it to be found again.
const NOISE_LEVEL: i32 = 1;

/// A part of a batch that is packed and not compressed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub(crate) body: Vec<u8>,
    pub(crate) copies: bool,
    /// Most of it is what a predictor missed.
    pub(crate) is_noise: bool,
    pub(crate) level: i32,
}

impl Part {
    /// Bytes before compression.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether there are no bytes, as in one whose buffer was taken.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The buffer, for [`crate::Encoder::recycle`].
    pub fn into_buffer(self) -> Vec<u8> {
        self.body
    }
}

/// A part after compression.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Squeezed(Vec<u8>);

/// Compresses parts. Keep one a thread: it owns the memory that zstd needs.
pub struct Squeezer {
    zstd: Compressor<'static>,
    level: i32,
}

impl Default for Squeezer {
    fn default() -> Self {
        Self::new()
    }
}

impl Squeezer {
    /// A squeezer.
    pub fn new() -> Self {
        let mut zstd = Compressor::new(1).expect("zstd has memory for a context");
        // The length stands before the frame already.
        let _ = zstd.include_contentsize(false);
        let _ = zstd.include_checksum(false);
        let entropy = CParameter::LiteralCompressionMode(ParamSwitch::Enable);
        let _ = zstd.set_parameter(entropy);
        Self { zstd, level: 1 }
    }

    /// Compresses a part.
    pub fn squeeze(&mut self, part: &Part) -> Squeezed {
        let mut bytes = Vec::new();
        self.append(part, &mut bytes);
        // It may wait for the others of its batch.
        bytes.shrink_to_fit();
        Squeezed(bytes)
    }

    /// Appends a part, compressed, to `out`.
    pub(crate) fn append(&mut self, part: &Part, out: &mut Vec<u8>) {
        let flags = if part.copies { COPIES } else { 0 };
        let (body, start) = (&part.body, out.len());
        if body.len() >= WORTH_COMPRESSING {
            self.set_level(if part.is_noise {
                part.level.min(NOISE_LEVEL)
            } else {
                part.level
            });
            out.push(flags | COMPRESSED);
            varint::put(body.len() as u32, out);
            let head = out.len();
            out.resize(head + compress_bound(body.len()), 0);
            let size = self.zstd.compress_to_buffer(body, &mut out[head..]);
            if let Ok(size) = size.map(|size| head + size)
                && size - start <= body.len()
            {
                out.truncate(size);
                return;
            }
            out.truncate(start);
        }
        out.push(flags);
        out.extend_from_slice(body);
    }

    fn set_level(&mut self, level: i32) {
        if level != self.level {
            self.level = level;
            let _ = self.zstd.set_parameter(CParameter::CompressionLevel(level));
        }
    }
}

/// Appends the batch of these parts, in their order, to `out`.
pub fn join(parts: &[Squeezed], out: &mut Vec<u8>) {
    if let [Squeezed(only)] = parts {
        out.extend_from_slice(only);
        return;
    }
    out.reserve(parts.iter().map(|part| part.0.len() + 5).sum::<usize>() + 3);
    out.push(PARTS);
    varint::put(parts.len() as u32, out);
    for Squeezed(part) in parts {
        varint::put(part.len() as u32, out);
        out.extend_from_slice(part);
    }
}

//! The last step of a batch: its parts, compressed each by itself and put together.

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, ParamSwitch, compress_bound};

use crate::planes;
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
/// On a quick link what zstd gains has to be worth its start, which takes longer than all else that is
/// done for a letter.
const WORTH_COMPRESSING_QUICKLY: usize = 256;
/// For what a predictor missed, where links are quick: there is next to nothing in it to be found
/// again, so that looking for matches is most of the time, and entropy coding alone most of the gain.
const NOISE_LEVEL: i32 = -60;
/// The same on a slow link, where bytes are dearer than time.
const NOISE_LEVEL_SLOW: i32 = 1;

/// A part of a batch that is packed and not compressed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The body, behind room that is not needed.
    pub(crate) buffer: Vec<u8>,
    /// Where the body begins.
    pub(crate) start: usize,
    pub(crate) copies: bool,
    /// Most of it is what a predictor missed.
    pub(crate) is_noise: bool,
    pub(crate) level: i32,
    /// Planes that are to be predicted yet, which is done where they are compressed.
    pub(crate) unpredicted: Vec<Unpredicted>,
}

/// Planes in the data of a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unpredicted {
    /// Where they are, counted from the end of the part.
    pub(crate) behind: usize,
    /// Bytes of all of them.
    pub(crate) len: usize,
    /// Bytes of each.
    pub(crate) area: usize,
    /// Bytes of their rows.
    pub(crate) w: usize,
}

impl Part {
    /// Bytes before compression.
    pub fn len(&self) -> usize {
        self.body().len()
    }

    /// Whether there are no bytes, as in one whose buffer was taken.
    pub fn is_empty(&self) -> bool {
        self.body().is_empty()
    }

    /// The buffer, which an [`crate::Outlet`] may give back.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Predicts what is to be predicted.
    fn predict(&mut self) {
        let end = self.buffer.len();
        for one in self.unpredicted.drain(..) {
            let start = end - one.behind;
            planes::predict(&mut self.buffer[start..start + one.len], one.area, one.w);
        }
    }

    fn body(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// The level that is worth its time for these bytes.
    fn worthwhile_level(&self) -> i32 {
        match (self.is_noise, self.level > 1) {
            (true, true) => NOISE_LEVEL_SLOW,
            (true, false) => self.level.min(NOISE_LEVEL),
            (false, _) => self.level,
        }
    }
}

/// A part after compression.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Squeezed(Vec<u8>);

/// Compresses parts. Keep one a thread: it owns the memory that zstd needs.
pub struct Squeezer {
    zstd: Compressor<'static>,
    level: i32,
    /// What zstd writes to, which is more room than it then takes.
    scratch: Vec<u8>,
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
        Self {
            zstd,
            level: 1,
            scratch: Vec::new(),
        }
    }

    /// Compresses a part.
    pub fn squeeze(&mut self, part: &mut Part) -> Squeezed {
        let mut bytes = Vec::new();
        self.append(part, &mut bytes);
        Squeezed(bytes)
    }

    /// Appends a part, compressed, to `out`.
    pub(crate) fn append(&mut self, part: &mut Part, out: &mut Vec<u8>) {
        part.predict();
        let flags = if part.copies { COPIES } else { 0 };
        let body = part.body();
        if let Some(squeezed) = self.compress(part) {
            // It may wait for the others of its batch, so that it gets no more room than it takes.
            out.reserve_exact(1 + varint::len(body.len() as u32) + squeezed.len());
            out.push(flags | COMPRESSED);
            varint::put(body.len() as u32, out);
            out.extend_from_slice(squeezed);
        } else {
            out.reserve_exact(body.len() + 1);
            out.push(flags);
            out.extend_from_slice(body);
        }
    }

    /// The body as a zstd frame, where that is smaller.
    fn compress(&mut self, part: &Part) -> Option<&[u8]> {
        let body = part.body();
        let worth = match part.level > 1 {
            true => WORTH_COMPRESSING,
            false => WORTH_COMPRESSING_QUICKLY,
        };
        if body.len() < worth {
            return None;
        }
        self.set_level(part.worthwhile_level());
        self.scratch.clear();
        self.scratch.reserve(compress_bound(body.len()));
        let size = self.zstd.compress_to_buffer(body, &mut self.scratch).ok()?;
        let head = 1 + varint::len(body.len() as u32);
        (head + size <= body.len()).then_some(&self.scratch[..size])
    }

    fn set_level(&mut self, level: i32) {
        if level != self.level {
            self.level = level;
            let _ = self.zstd.set_parameter(CParameter::CompressionLevel(level));
        }
    }
}

/// The batch of these parts, in their order, as pieces that follow each other.
pub fn pieces(parts: impl ExactSizeIterator<Item = Squeezed>) -> impl Iterator<Item = Vec<u8>> {
    let is_batch = parts.len() > 1;
    let mut head = vec![PARTS];
    varint::put(parts.len() as u32, &mut head);
    parts.flat_map(move |Squeezed(part)| {
        let mut head = std::mem::take(&mut head);
        varint::put(part.len() as u32, &mut head);
        is_batch.then_some(head).into_iter().chain([part])
    })
}

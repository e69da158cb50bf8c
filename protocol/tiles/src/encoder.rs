//! Choosing an encoding for each rectangle, and packing a frame's worth together.

use zstd::bulk::Compressor;

use crate::copy::{self, Copy, MAX_COPIES};
use crate::geometry::{PixelsRef, Rect, TILE};
use crate::header::{Header, KEEP, Kind, Previous};
use crate::kept::Ledger;
use crate::palette::{Palette, index_bits, pack};
use crate::{planes, varint};

/// Bit of the first byte: the body is one zstd frame behind its length.
pub(crate) const COMPRESSED: u8 = 1;
/// Bit of the first byte: the body begins with copies.
pub(crate) const COPIES: u8 = 2;
/// Bodies of fewer bytes gain nothing from zstd.
const WORTH_COMPRESSING: usize = 48;

/// Fewer changed pixels of a cell are not worth looking whether the terminal has kept it.
const WORTH_RECALLING: usize = 256;
/// Bytes before zstd below which a cell is not worth keeping.
const WORTH_KEEPING: usize = 1024;

/// Encodes batches. Keep one: it owns every buffer it needs, so that steady traffic allocates
/// nothing.
pub struct Encoder {
    level: i32,
    zstd: Compressor<'static>,
    palette: Palette,
    headers: Vec<u8>,
    data: Vec<u8>,
    body: Vec<u8>,
    pixels: Vec<u32>,
    other: Vec<u32>,
    indices: Vec<u8>,
    copies: Vec<u8>,
    copy_count: u32,
    records: u32,
    pixel_count: usize,
    /// Bytes that batches had of late, of 256 of their bodies.
    squeeze: usize,
    ledger: Ledger,
    previous: Previous,
}

impl Encoder {
    /// An encoder with a zstd level (1 is quick, 3 smaller; negative ones quicker still).
    pub fn new(level: i32) -> Self {
        Self {
            level,
            zstd: compressor(level),
            palette: Palette::new(),
            headers: Vec::new(),
            data: Vec::new(),
            body: Vec::new(),
            pixels: Vec::new(),
            other: Vec::new(),
            indices: Vec::new(),
            copies: Vec::new(),
            copy_count: 0,
            records: 0,
            pixel_count: 0,
            squeeze: 128,
            ledger: Ledger::default(),
            previous: None,
        }
    }

    /// Another zstd level from the next batch on.
    pub fn set_level(&mut self, level: i32) {
        if level != self.level {
            self.level = level;
            self.zstd = compressor(level);
        }
    }

    /// Whether nothing has been pushed since the last batch.
    pub fn is_empty(&self) -> bool {
        self.records == 0 && self.copy_count == 0
    }

    /// Pixels pushed since the last batch.
    pub fn pixel_count(&self) -> usize {
        self.pixel_count
    }

    /// A new terminal, which keeps up to `capacity` cells and has none yet. `seed` is a secret.
    pub fn start_keeping(&mut self, capacity: u32, seed: u64) {
        self.ledger = Ledger::new(capacity, seed);
    }

    /// Adds what is new in a whole cell: `changed` (from the cell's corner) of the pixels `new`.
    /// `old` is what the terminal holds there, where that is sure. The cell is recalled where the
    /// terminal has kept it, and kept from now on where `keep` says that it may come back.
    ///
    /// # Panics
    /// If `cell` is not inside one cell, `changed` not inside it, or a view has another size.
    pub fn push_cell(
        &mut self,
        layer: u32,
        (cell, changed): (Rect, Rect),
        new: PixelsRef<'_>,
        old: Option<PixelsRef<'_>>,
        keep: bool,
    ) {
        let worth = changed.area() >= WORTH_RECALLING;
        let name = worth.then(|| self.ledger.name(new)).flatten();
        if let Some(slot) = name.and_then(|name| self.ledger.slot(name)) {
            return self.recall(layer, cell, slot);
        }
        let part = Rect {
            x: cell.x + changed.x,
            y: cell.y + changed.y,
            ..changed
        };
        let (at, before) = (self.headers.len(), self.headers.len() + self.data.len());
        let new = new.sub(changed).expect("changes are inside their cell");
        self.push(layer, part, new, old.and_then(|old| old.sub(changed)));
        let cost = self.headers.len() + self.data.len() - before;
        if let Some(name) = name.filter(|_| keep && cost >= WORTH_KEEPING) {
            self.headers[at] |= KEEP;
            self.ledger.keep(name);
        }
    }

    fn recall(&mut self, layer: u32, cell: Rect, slot: u32) {
        let header = Header {
            layer,
            rect: cell,
            kind: Kind::Recall,
            alpha: false,
            keep: false,
        };
        self.previous = header.put(self.previous, true, &mut self.headers);
        varint::put(slot, &mut self.headers);
        self.records += 1;
        self.pixel_count += cell.area();
    }

    /// About how many bytes the batch would have, going by those before it.
    pub fn estimate(&self) -> usize {
        (self.copies.len() + self.headers.len() + self.data.len()) * self.squeeze / 256
    }

    /// Adds a copy inside `layer`. All copies of a batch are of the pictures before it, and come
    /// before its rectangles. Returns false where a batch holds no more of them.
    pub fn copy(&mut self, layer: u32, copy: &Copy) -> bool {
        if self.copy_count == MAX_COPIES {
            return false;
        }
        copy::put(layer, copy, &mut self.copies);
        self.copy_count += 1;
        true
    }

    /// Adds `rect` of `layer`, whose pixels are `new`. `old` are the pixels that the terminal holds
    /// there, where that is sure. Equal pixels add nothing.
    ///
    /// # Panics
    /// If `rect` is not inside one cell, or a view has another size than `rect`.
    pub fn push(&mut self, layer: u32, rect: Rect, new: PixelsRef<'_>, old: Option<PixelsRef<'_>>) {
        assert!(rect.cell().is_some(), "{rect:?} is not inside one cell");
        assert_eq!(
            (new.width(), new.height()),
            (rect.w, rect.h),
            "view of another size"
        );
        self.pixels.clear();
        new.rows()
            .for_each(|row| self.pixels.extend_from_slice(row));
        if let Some(old) = old {
            assert_eq!(
                (old.width(), old.height()),
                (rect.w, rect.h),
                "view of another size"
            );
            self.other.clear();
            old.rows().for_each(|row| self.other.extend_from_slice(row));
            if self.other == self.pixels {
                return;
            }
        }
        let alpha = self.pixels.iter().any(|pixel| pixel >> 24 != 0xff);
        let kind = self.choose(rect.w as usize, old.is_some());
        // Without the layer's size only an inner cell is known to be whole; that is most of them.
        let whole = rect.w == TILE && rect.h == TILE;
        let header = Header {
            layer,
            rect,
            kind,
            alpha,
            keep: false,
        };
        self.previous = header.put(self.previous, whole, &mut self.headers);
        self.put_pixels(&header);
        self.records += 1;
        self.pixel_count += rect.area();
    }

    /// Appends the batch of all that was pushed to `out`, and starts a new one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.body.clear();
        let mut flags = 0;
        if self.copy_count > 0 {
            flags |= COPIES;
            varint::put(self.copy_count, &mut self.body);
            self.body.append(&mut self.copies);
            self.copy_count = 0;
        }
        varint::put(self.records, &mut self.body);
        varint::put(self.headers.len() as u32, &mut self.body);
        self.body.extend_from_slice(&self.headers);
        self.body.extend_from_slice(&self.data);
        self.put_body(flags, out);
        self.headers.clear();
        self.data.clear();
        self.records = 0;
        self.pixel_count = 0;
        self.previous = None;
    }

    fn put_body(&mut self, flags: u8, out: &mut Vec<u8>) {
        let start = out.len();
        if self.body.len() >= WORTH_COMPRESSING {
            out.push(flags | COMPRESSED);
            varint::put(self.body.len() as u32, out);
            let head = out.len();
            out.resize(head + zstd::zstd_safe::compress_bound(self.body.len()), 0);
            let size = self.zstd.compress_to_buffer(&self.body, &mut out[head..]);
            if let Ok(size) = size.map(|size| head + size)
                && size - start <= self.body.len()
            {
                let ratio = (size - start) * 256 / self.body.len();
                self.squeeze = (self.squeeze * 3 + ratio.max(1)).div_ceil(4);
                out.truncate(size);
                return;
            }
            out.truncate(start);
        }
        out.push(flags);
        out.extend_from_slice(&self.body);
    }

    /// The cheapest encoding of `self.pixels`, with `self.other` what the terminal holds.
    fn choose(&mut self, w: usize, has_old: bool) -> Kind {
        let Self {
            palette,
            pixels,
            other,
            indices,
            ..
        } = self;
        palette.clear();
        indices.clear();
        let mut last = None;
        let mut few = true;
        for &pixel in pixels.iter() {
            let index = match last {
                Some((colour, index)) if colour == pixel => Some(index),
                _ => palette.index(pixel),
            };
            let Some(index) = index else {
                few = false;
                break;
            };
            last = Some((pixel, index));
            indices.push(index);
        }
        if few && palette.colours().len() == 1 {
            return Kind::Solid;
        }
        // Bytes before zstd: each figure is what zstd leaves of an average of its kind.
        let area = pixels.len();
        let palette_cost = few.then(|| {
            let bits = index_bits(palette.colours().len()) as usize;
            palette.colours().len() * 3 + area * bits / 8 / 2
        });
        let xor_cost = has_old.then(|| {
            let differing = pixels
                .iter()
                .zip(other.iter())
                .filter(|(a, b)| a != b)
                .count();
            8 + differing * 2 + area / 32
        });
        match (palette_cost, xor_cost) {
            (Some(palette), Some(xor)) if xor < palette => Kind::Xor,
            (Some(_), _) => Kind::Palette,
            (None, Some(xor)) if xor < area => Kind::Xor,
            (None, _) if is_flat(pixels, w) => Kind::Planes,
            (None, _) => Kind::Predicted,
        }
    }

    fn put_pixels(&mut self, header: &Header) {
        let Self {
            pixels,
            other,
            palette,
            indices,
            headers,
            data,
            ..
        } = self;
        match header.kind {
            Kind::Solid => planes::put(&pixels[..1], header.alpha, headers),
            Kind::Palette => {
                let colours = palette.colours();
                headers.push((colours.len() - 1) as u8);
                planes::put(colours, header.alpha, data);
                pack(indices, header.rect.w, index_bits(colours.len()), data);
            }
            Kind::Planes => planes::put(pixels, header.alpha, data),
            Kind::Predicted => {
                let start = data.len();
                planes::put(pixels, header.alpha, data);
                for plane in data[start..].chunks_mut(pixels.len()) {
                    planes::predict(plane, header.rect.w as usize);
                }
            }
            Kind::Xor => {
                for (new, old) in pixels.iter_mut().zip(other.iter()) {
                    *new ^= old;
                }
                put_xor(pixels, data);
            }
            Kind::Recall => unreachable!("recalled cells have no pixels to put"),
        }
    }
}

/// The planes of an exclusive or: blue, green, red, alpha, without a colour transform, since most
/// of its bytes are zero as they are.
fn put_xor(pixels: &[u32], out: &mut Vec<u8>) {
    for shift in [0, 8, 16, 24] {
        out.extend(pixels.iter().map(|p| (p >> shift) as u8));
    }
}

/// Whether most pixels repeat a neighbour, as in text over a gradient: prediction would only
/// disturb the matches that zstd finds.
fn is_flat(pixels: &[u32], w: usize) -> bool {
    let repeats = (1..pixels.len())
        .filter(|&i| pixels[i] == pixels[i - 1] || i >= w && pixels[i] == pixels[i - w])
        .count();
    repeats * 2 > pixels.len()
}

fn compressor(level: i32) -> Compressor<'static> {
    let mut zstd = Compressor::new(level).expect("zstd has memory for a context");
    // The length stands before the frame already.
    let _ = zstd.include_contentsize(false);
    let _ = zstd.include_checksum(false);
    zstd
}

//! Choosing an encoding for each rectangle, and packing a frame's worth together.

use crate::copy::{self, Copy, MAX_COPIED, MAX_COPIES};
use crate::geometry::{PixelsRef, Rect, TILE};
use crate::header::{Header, KEEP, Kind, Previous};
use crate::kept::Ledger;
use crate::palette::{Palette, index_bits, pack};
use crate::part::{Part, Squeezed, Squeezer, Unpredicted, pieces};
use crate::{planes, varint};

/// A part of so many bytes is full, where most of them are what a predictor missed.
const FULL: usize = 256 << 10;
/// A part of other bytes, of which more are found again the more there are.
const FULL_OF_MATCHES: usize = 1 << 20;
/// Bytes that one cell adds at most.
const CELL_AT_MOST: usize = 4 * (TILE * TILE) as usize;
/// Buffers of parts that are kept.
const SPARE: usize = 2;
/// Room in front of the data for what comes before it in a part and is known only at its end.
const ROOM: usize = 4 << 10;

/// Fewer changed pixels of a cell are not worth looking whether the terminal has kept it.
const WORTH_RECALLING: usize = 256;
/// Batches of fewer bytes do not say how well others will compress.
const WORTH_LEARNING: usize = 48;
/// Pixels that are looked at first, to see whether a palette and matches are worth trying.
const SAMPLE: usize = 128;
/// Fewer pixels are tried at once.
const SAMPLED: usize = 1024;
/// Colours of a sample from which a cell may be a photograph's.
const NATURAL: u32 = 32;
/// Bits for the colours that are met in it.
const MET: usize = 1024;
/// One of so many of its pixels may be like a neighbour.
const FEW_REPEATS: usize = 3;
/// Palettes of more colours have indices of a whole byte, which mean something else in each cell.
const TIGHT: usize = 16;
/// Bytes before zstd below which a cell is not worth keeping.
const WORTH_KEEPING: usize = 1024;

/// The end of a batch: parts that go before and behind those that were given away.
#[derive(Debug)]
pub struct Ending {
    /// The first part, if there is one more.
    pub first: Option<Part>,
    /// The last part.
    pub last: Part,
}

/// Takes parts of the present batch as soon as they are full, and may give back the buffer of
/// another one.
pub type Outlet = Box<dyn FnMut(Part) -> Option<Vec<u8>> + Send>;

/// Encodes batches. Keep one: it owns every buffer it needs, so that steady traffic allocates
/// nothing.
pub struct Encoder {
    level: i32,
    squeezer: Squeezer,
    outlet: Option<Outlet>,
    palette: Palette,
    headers: Vec<u8>,
    /// Behind [`ROOM`].
    data: Vec<u8>,
    /// What comes before the data of a part.
    front: Vec<u8>,
    pixels: Vec<u32>,
    other: Vec<u32>,
    indices: Vec<u8>,
    copies: Vec<u8>,
    copy_count: u32,
    /// Pixels of the copies.
    copied: usize,
    /// Records of the part that is being packed.
    records: u32,
    /// Bytes of its data that are to be predicted, so that what was missed is left.
    noise: usize,
    /// Which they are; their places are counted from the beginning of the data until the part is
    /// taken.
    unpredicted: Vec<Unpredicted>,
    /// Parts that were full and had no outlet.
    full: Vec<Squeezed>,
    /// Bytes of all full parts before compression.
    full_bytes: usize,
    spare: Vec<Vec<u8>>,
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
            squeezer: Squeezer::new(),
            outlet: None,
            palette: Palette::new(),
            headers: Vec::new(),
            data: vec![0; ROOM],
            front: Vec::new(),
            pixels: Vec::new(),
            other: Vec::new(),
            indices: Vec::new(),
            copies: Vec::new(),
            copy_count: 0,
            copied: 0,
            records: 0,
            noise: 0,
            unpredicted: Vec::new(),
            full: Vec::new(),
            full_bytes: 0,
            spare: Vec::new(),
            pixel_count: 0,
            squeeze: 128,
            ledger: Ledger::default(),
            previous: None,
        }
    }

    /// Another zstd level from the next part on.
    pub fn set_level(&mut self, level: i32) {
        self.level = level;
    }

    /// Gives full parts away from now on, so that they can be compressed elsewhere meanwhile. The
    /// rest of a batch is then what [`Self::end`] returns.
    pub fn set_outlet(&mut self, outlet: Outlet) {
        self.outlet = Some(outlet);
    }

    /// Takes the buffer of a part that has been compressed.
    fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE && buffer.capacity() <= 2 * FULL_OF_MATCHES {
            buffer.resize(ROOM, 0);
            self.spare.push(buffer);
        }
    }

    /// Whether nothing has been pushed since the last batch.
    pub fn is_empty(&self) -> bool {
        self.records == 0 && self.copy_count == 0 && self.full_bytes == 0
    }

    /// Whether copies have been pushed since the last batch.
    pub fn has_copies(&self) -> bool {
        self.copy_count > 0
    }

    /// Bytes of the batch before compression.
    pub fn len(&self) -> usize {
        self.full_bytes + self.copies.len() + self.packed()
    }

    /// Bytes of the records of the part that is being packed.
    fn packed(&self) -> usize {
        self.headers.len() + self.data.len() - ROOM
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
    /// `old` is what the terminal holds in `changed`, where that is sure. The cell is recalled where the
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
        let (at, before) = (self.headers.len(), self.packed());
        let new = new.sub(changed).expect("changes are inside their cell");
        self.put(layer, part, new, old);
        let cost = self.packed() - before;
        if let Some(name) = name.filter(|_| keep && cost >= WORTH_KEEPING) {
            self.headers[at] |= KEEP;
            self.ledger.keep(name);
        }
        self.give_if_full();
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
        self.len() * self.squeeze / 256
    }

    /// Adds a copy inside `layer`. All copies of a batch are of the pictures before it, and come
    /// before its rectangles. Returns false where a batch holds no more of them.
    #[must_use]
    pub fn copy(&mut self, layer: u32, copy: &Copy) -> bool {
        self.copy_all(layer, std::slice::from_ref(copy))
    }

    /// Adds these copies, or none of them.
    #[must_use]
    pub fn copy_all(&mut self, layer: u32, all: &[Copy]) -> bool {
        let areas = all.iter().map(|copy| copy.from.area());
        let copied = self.copied + areas.sum::<usize>();
        let count = self.copy_count as usize + all.len();
        if count > MAX_COPIES as usize || copied > MAX_COPIED {
            return false;
        }
        all.iter()
            .for_each(|one| copy::put(layer, one, &mut self.copies));
        (self.copied, self.copy_count) = (copied, count as u32);
        true
    }

    /// Adds `rect` of `layer`, whose pixels are `new`. `old` are the pixels that the terminal holds
    /// there, where that is sure. Equal pixels add nothing.
    ///
    /// # Panics
    /// If `rect` is not inside one cell, or a view has another size than `rect`.
    pub fn push(&mut self, layer: u32, rect: Rect, new: PixelsRef<'_>, old: Option<PixelsRef<'_>>) {
        self.put(layer, rect, new, old);
        self.give_if_full();
    }

    fn put(&mut self, layer: u32, rect: Rect, new: PixelsRef<'_>, old: Option<PixelsRef<'_>>) {
        assert!(rect.cell().is_some(), "{rect:?} is not inside one cell");
        assert_eq!(
            (new.width(), new.height()),
            (rect.w, rect.h),
            "view of another size"
        );
        if let Some(old) = old {
            assert_eq!(
                (old.width(), old.height()),
                (rect.w, rect.h),
                "view of another size"
            );
            if new.rows().eq(old.rows()) {
                return;
            }
        }
        self.pixels.clear();
        new.rows()
            .for_each(|row| self.pixels.extend_from_slice(row));
        let kind = self.choose(rect.w as usize, old);
        let alpha = match kind {
            Kind::Xor => {
                let pairs = self.pixels.iter().zip(&self.other);
                pairs.fold(0, |all, (new, old)| all | new ^ old) >> 24 != 0
            }
            _ => self.pixels.iter().fold(u32::MAX, |all, pixel| all & pixel) >> 24 != 0xff,
        };
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

    /// Appends the batch of all that was pushed to `out`, and starts a new one. Only for encoders
    /// without an outlet.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let (packed, before) = (self.len(), out.len());
        let Ending { first, mut last } = self.end();
        if self.full.is_empty() {
            self.squeezer.append(&mut last, out);
        } else {
            let first = first.map(|mut first| self.squeezer.squeeze(&mut first));
            self.full.splice(0..0, first);
            self.full.push(self.squeezer.squeeze(&mut last));
            pieces(self.full.drain(..)).for_each(|piece| out.extend(piece));
        }
        self.recycle(last.into_buffer());
        self.learn(packed, out.len() - before);
    }

    /// Ends the batch.
    pub fn end(&mut self) -> Ending {
        // Copies stand before everything, and are known when the first part may be gone already.
        let copies = self.copy_count > 0;
        let first = (self.full_bytes > 0 && copies).then(|| {
            let mut buffer = Vec::new();
            self.take_copies(&mut buffer);
            buffer.extend([0, 0]);
            Part {
                buffer,
                start: 0,
                copies,
                is_noise: false,
                level: self.level,
                unpredicted: Vec::new(),
            }
        });
        let last = self.take_part(false);
        self.data = self.spare.pop().unwrap_or_else(|| vec![0; ROOM]);
        self.full_bytes = 0;
        self.pixel_count = 0;
        self.copied = 0;
        Ending { first, last }
    }

    /// A batch of `packed` bytes was compressed to so many: later estimates go by that.
    pub fn learn(&mut self, packed: usize, squeezed: usize) {
        let ratio = (squeezed * 256).checked_div(packed).unwrap_or(0);
        // Of small bodies the frame around them is most.
        if packed >= WORTH_LEARNING {
            self.squeeze = (self.squeeze * 3 + ratio.max(1)).div_ceil(4);
        }
    }

    fn take_copies(&mut self, out: &mut Vec<u8>) {
        varint::put(self.copy_count, out);
        out.append(&mut self.copies);
        self.copy_count = 0;
    }

    /// The part of what was pushed since the last one; copies go with the end of a batch. The caller
    /// sees to another buffer for data.
    fn take_part(&mut self, is_full: bool) -> Part {
        let is_noise = self.is_noise();
        let copies = !is_full && self.copy_count > 0;
        let mut front = std::mem::take(&mut self.front);
        front.clear();
        if copies {
            self.take_copies(&mut front);
        }
        varint::put(self.records, &mut front);
        varint::put(self.headers.len() as u32, &mut front);
        front.append(&mut self.headers);
        let mut buffer = std::mem::take(&mut self.data);
        let data = buffer.len() - ROOM;
        let start = ROOM.saturating_sub(front.len());
        if front.len() <= ROOM {
            buffer[start..ROOM].copy_from_slice(&front);
        } else {
            buffer.splice(..ROOM, front.iter().copied());
        }
        self.front = front;
        self.previous = None;
        (self.records, self.noise) = (0, 0);
        let mut unpredicted = std::mem::take(&mut self.unpredicted);
        for planes in &mut unpredicted {
            planes.behind = data - planes.behind;
        }
        Part {
            buffer,
            start,
            copies,
            is_noise,
            level: self.level,
            unpredicted,
        }
    }

    fn is_noise(&self) -> bool {
        self.noise * 4 > self.packed() * 3
    }

    fn give_if_full(&mut self) {
        let packed = self.packed();
        if packed < FULL || packed < FULL_OF_MATCHES && !self.is_noise() {
            return;
        }
        let mut part = self.take_part(true);
        self.full_bytes += part.len();
        let spare = match &mut self.outlet {
            Some(outlet) => outlet(part),
            None => {
                self.full.push(self.squeezer.squeeze(&mut part));
                Some(part.into_buffer())
            }
        };
        spare.into_iter().for_each(|spare| self.recycle(spare));
        // A picture that fills one part fills others, too.
        self.data = self.spare.pop().unwrap_or_else(|| {
            let mut data = Vec::with_capacity(ROOM + FULL + CELL_AT_MOST);
            data.resize(ROOM, 0);
            data
        });
    }

    /// The cheapest encoding of `self.pixels`, with `old` what the terminal holds; `self.other` is
    /// that where it is [`Kind::Xor`].
    fn choose(&mut self, w: usize, old: Option<PixelsRef<'_>>) -> Kind {
        let is_natural = self.pixels.len() >= SAMPLED && self.is_natural(w);
        let few = !is_natural && self.take_palette();
        let Self {
            palette,
            pixels,
            other,
            ..
        } = self;
        if few && palette.colours().len() == 1 {
            return Kind::Solid;
        }
        // Bytes before zstd: each figure is what zstd leaves of an average of its kind.
        let area = pixels.len();
        let palette_cost = few.then(|| {
            let bits = index_bits(palette.colours().len()) as usize;
            palette.colours().len() * 3 + area * bits / 8 / 2
        });
        // Of pixels that repeat each other zstd finds most again, in other cells too, whose palettes
        // would be others.
        let is_tight = few && palette.colours().len() <= TIGHT;
        let may_be_flat = !is_natural && !is_tight;
        let flat_cost = (may_be_flat && is_flat(pixels, w)).then_some(area / 3);
        let may_be_xor = old.filter(|old| !(is_natural && differs_throughout(pixels, w, *old)));
        let xor_cost = may_be_xor.map(|old| {
            other.clear();
            old.rows().for_each(|row| other.extend_from_slice(row));
            let pairs = pixels.iter().zip(other.iter());
            let differing: u32 = pairs.map(|(a, b)| u32::from(a != b)).sum();
            8 + differing as usize * 2 + area / 32
        });
        match (flat_cost.or(palette_cost), xor_cost) {
            (cost, Some(xor)) if xor < cost.unwrap_or(area) => Kind::Xor,
            _ if flat_cost.is_some() => Kind::Pixels,
            (Some(_), _) => Kind::Palette,
            (None, _) => Kind::Predicted,
        }
    }

    /// Whether a sample of `self.pixels` has many colours and next to no two neighbours alike, as
    /// photographs have: neither a palette nor matches would serve.
    fn is_natural(&self, w: usize) -> bool {
        let pixels = &self.pixels;
        // An odd step, so that the sample is not of a few columns.
        let sample = (w..pixels.len()).step_by((pixels.len() / SAMPLE) | 1);
        let is_repeat = |at: &usize| {
            let here = pixels[*at];
            here == pixels[at - 1] || here == pixels[at - w]
        };
        if sample.clone().filter(is_repeat).count() > SAMPLE / FEW_REPEATS {
            return false;
        }
        // Colours are told apart by a bit each: two that share one count as one.
        let mut met = [0u64; MET / 64];
        for at in sample {
            let bit = pixels[at].wrapping_mul(0x9e37_79b1) as usize >> (32 - MET.ilog2());
            met[bit / 64] |= 1 << (bit % 64);
        }
        met.iter().map(|bits| bits.count_ones()).sum::<u32>() >= NATURAL
    }

    /// Takes the colours and indices of `self.pixels`, if they are few.
    fn take_palette(&mut self) -> bool {
        let Self {
            palette,
            pixels,
            indices,
            ..
        } = self;
        palette.clear();
        indices.clear();
        indices.reserve(pixels.len());
        for run in pixels.chunk_by(|a, b| a == b) {
            let Some(index) = palette.index(run[0]) else {
                return false;
            };
            indices.resize(indices.len() + run.len(), index);
        }
        true
    }

    fn put_pixels(&mut self, header: &Header) {
        let Self {
            pixels,
            other,
            palette,
            indices,
            headers,
            data,
            noise,
            unpredicted,
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
            Kind::Pixels => planes::put_together(pixels, header.alpha, data),
            Kind::Predicted => {
                let planes = Unpredicted {
                    behind: data.len() - ROOM,
                    len: planes::len(pixels.len(), header.alpha),
                    area: pixels.len(),
                    w: header.rect.w as usize,
                };
                *noise += planes.len;
                unpredicted.push(planes);
                planes::put(pixels, header.alpha, data);
            }
            Kind::Xor => {
                for (new, old) in pixels.iter_mut().zip(other.iter()) {
                    *new ^= old;
                }
                put_xor(pixels, header.alpha, data);
            }
            Kind::Recall => unreachable!("recalled cells have no pixels to put"),
        }
    }
}

/// An exclusive or: blue, green, red and perhaps alpha of each pixel, without a colour transform,
/// since most of its bytes are zero as they are.
fn put_xor(pixels: &[u32], alpha: bool, out: &mut Vec<u8>) {
    let bytes = 3 + usize::from(alpha);
    let start = out.len();
    out.resize(start + pixels.len() * bytes, 0);
    let pairs = pixels.iter().zip(out[start..].chunks_exact_mut(bytes));
    pairs.for_each(|(pixel, out)| out.copy_from_slice(&pixel.to_le_bytes()[..bytes]));
}

/// Whether so many of a sample of `pixels`, in rows of `w`, are not those of `other` that the
/// differences of all would be no smaller than the pixels.
fn differs_throughout(pixels: &[u32], w: usize, other: PixelsRef<'_>) -> bool {
    let sample = (0..pixels.len()).step_by((pixels.len() / SAMPLE) | 1);
    let all = sample.len();
    let is_other = |at: &usize| other.row((at / w) as u32)[at % w] != pixels[*at];
    sample.filter(is_other).count() * 4 > all * 3
}

/// Whether most pixels repeat a neighbour, as in text over a gradient: prediction would only
/// disturb the matches that zstd finds.
fn is_flat(pixels: &[u32], w: usize) -> bool {
    let mut rows = pixels.chunks_exact(w);
    let Some(first) = rows.next() else {
        return false;
    };
    let mut repeats: u32 = first
        .windows(2)
        .map(|two| u32::from(two[0] == two[1]))
        .sum();
    let mut above = first;
    for row in rows {
        repeats += u32::from(row[0] == above[0]);
        let neighbours = row.iter().zip(&row[1..]).zip(&above[1..]);
        let in_row: u32 = neighbours
            .map(|((left, here), up)| u32::from(here == left) | u32::from(here == up))
            .sum();
        repeats += in_row;
        above = row;
    }
    repeats as usize * 2 > pixels.len()
}

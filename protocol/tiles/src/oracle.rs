//! What must hold for any bytes and any pixels; shared by the property tests and the fuzz targets.

use crate::{Decoder, Encoder, Limits, PixelsRef, Rect, TileSink, cells, diff};

/// Layers in plain memory, numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers(pub Vec<Layer>);

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Width in pixels.
    pub w: u32,
    /// Height in pixels.
    pub h: u32,
    /// Rows without gaps.
    pub pixels: Vec<u32>,
}

impl Layer {
    /// A layer of zeros.
    pub fn new(w: u32, h: u32) -> Self {
        Self {
            w,
            h,
            pixels: vec![0; w as usize * h as usize],
        }
    }

    /// All its pixels.
    pub fn view(&self) -> PixelsRef<'_> {
        PixelsRef::new(&self.pixels, self.w as usize, self.w, self.h).expect("layers are whole")
    }

    /// All of it as a rectangle.
    pub fn area(&self) -> Rect {
        Rect {
            x: 0,
            y: 0,
            w: self.w,
            h: self.h,
        }
    }
}

impl TileSink for Layers {
    fn layer_size(&self, layer: u32) -> Option<(u32, u32)> {
        self.0.get(layer as usize).map(|layer| (layer.w, layer.h))
    }

    fn pixels_mut(&mut self, layer: u32, rect: Rect) -> Option<(&mut [u32], usize)> {
        let layer = self.0.get_mut(layer as usize)?;
        assert_eq!(
            layer.area().intersection(rect),
            Some(rect),
            "rectangle checked by the decoder"
        );
        let stride = layer.w as usize;
        let start = rect.y as usize * stride + rect.x as usize;
        Some((&mut layer.pixels[start..], stride))
    }

    fn damaged(&mut self, layer: u32, rect: Rect) {
        assert!(self.layer_size(layer).is_some() && !rect.is_empty());
    }
}

/// Any bytes are decoded or refused, within the limits.
pub fn decode(bytes: &[u8]) {
    let mut layers = Layers(vec![Layer::new(200, 100), Layer::new(1, 1)]);
    let limits = Limits {
        max_body: 1 << 20,
        max_records: 256,
        max_pixels: 1 << 18,
    };
    let _ = Decoder::keeping(4).decode(bytes, &limits, &mut layers);
}

/// Pushes what differs between `old` and `new`, as a session does.
pub fn push_changes(encoder: &mut Encoder, layer: u32, old: &Layer, new: &Layer) {
    for cell in cells(new.area()) {
        let (Some(before), Some(after)) = (old.view().sub(cell), new.view().sub(cell)) else {
            continue;
        };
        let Some(part) = diff::changed(before, after) else {
            continue;
        };
        let rect = Rect {
            x: cell.x + part.x,
            y: cell.y + part.y,
            ..part
        };
        let (after, before) = (after.sub(part).expect("inside"), before.sub(part));
        encoder.push(layer, rect, after, before);
    }
}

/// What is encoded is decoded to the very same pixels. The bytes choose a size and two pictures.
pub fn round_trip(bytes: &[u8]) {
    let Some((&[w, h, depth], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let (w, h) = (u32::from(w) + 1, u32::from(h % 150) + 1);
    let mask = u32::MAX >> (depth % 32);
    let picture = |seed: usize| {
        let mut layer = Layer::new(w, h);
        for (i, pixel) in layer.pixels.iter_mut().enumerate() {
            let byte = |n: usize| {
                rest.get((i * seed + n) % rest.len().max(1))
                    .copied()
                    .unwrap_or(0)
            };
            *pixel = u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]) & mask;
        }
        layer
    };
    let (old, new) = (picture(1), picture(3));
    let mut encoder = Encoder::new(1);
    push_changes(&mut encoder, 0, &old, &new);
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    let mut layers = Layers(vec![old]);
    Decoder::new()
        .decode(&batch, &Limits::default(), &mut layers)
        .expect("own encoding decodes");
    assert_eq!(layers.0[0], new);
}

/// Columns and rows of the cells of [`kept`]'s pictures, whose right and lower ones an edge cuts.
const KEPT_COLUMNS: u32 = 3;
const KEPT_ROWS: u32 = 2;
/// Pictures in a row.
const KEPT_PICTURES: usize = 24;

/// Pictures one after the other, of which a terminal keeps cells. What an honest session sends is shown
/// exactly, whatever was kept and forgotten before; one that lies is refused or shown something, and the
/// terminal keeps no more for it than it has offered. The bytes choose the pictures, and are the lies.
pub fn kept(bytes: &[u8]) {
    let Some((&[capacity, seed], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let capacity = u32::from(capacity % 12);
    let blank = || {
        Layers(vec![Layer::new(
            64 * KEPT_COLUMNS - 42,
            64 * KEPT_ROWS - 20,
        )])
    };
    let mut encoder = Encoder::new(1);
    encoder.start_keeping(capacity, seed.into());
    let (mut decoder, mut terminal) = (Decoder::keeping(capacity), blank());
    let (mut fooled, mut shown) = (Decoder::keeping(capacity), blank());
    let limits = Limits::default();
    for step in rest.chunks(8).take(KEPT_PICTURES) {
        let old = &terminal.0[0];
        let new = picture_of_cells(old.clone(), step);
        push_cells(&mut encoder, old, &new, step.len() % 2 == 0);
        let mut batch = Vec::new();
        encoder.finish(&mut batch);
        decoder
            .decode(&batch, &limits, &mut terminal)
            .expect("own encoding decodes");
        assert_eq!(terminal.0[0], new);
        // Damaged, and made up: a record or two that keep and recall what the bytes say.
        let at = usize::from(step[0]) % batch.len();
        batch[at] ^= step[step.len() - 1];
        let _ = fooled.decode(&batch, &limits, &mut shown);
        let _ = fooled.decode(&made_up(step), &limits, &mut shown);
        let most = capacity as usize * 64 * 64;
        assert!(fooled.kept_pixels() <= most && decoder.kept_pixels() <= most);
    }
}

/// `picture` with cells of which `choice` says what they show: of few kinds, so that they come back.
fn picture_of_cells(mut picture: Layer, choice: &[u8]) -> Layer {
    for (number, cell) in cells(picture.area()).enumerate() {
        let kind = choice[number % choice.len()] >> (number % 5) & 7;
        // Half of the cells stay as they are.
        if kind > 3 {
            continue;
        }
        for (x, y) in (0..cell.h).flat_map(|y| (0..cell.w).map(move |x| (x, y))) {
            let grain = (x + y * 64 + u32::from(kind) * 4099).wrapping_mul(0x9e37_79b9);
            let at = (cell.y + y) * picture.w + cell.x + x;
            picture.pixels[at as usize] = 0xff00_0000 | (grain ^ grain >> 15) & 0xff_ffff;
        }
    }
    picture
}

fn push_cells(encoder: &mut Encoder, old: &Layer, new: &Layer, keep: bool) {
    for cell in cells(new.area()) {
        let (Some(before), Some(after)) = (old.view().sub(cell), new.view().sub(cell)) else {
            continue;
        };
        if let Some(changed) = diff::changed(before, after) {
            encoder.push_cell(0, (cell, changed), after, before.sub(changed), keep);
        }
    }
}

/// A batch of one whole cell of one colour, which is kept where `lie` says so, and of one that is
/// recalled from the slot that it names.
fn made_up(lie: &[u8]) -> Vec<u8> {
    let byte = |n: usize| lie.get(n).copied().unwrap_or(0);
    let place = |n: usize| [byte(n) & 3, byte(n) >> 2 & 1];
    let mut headers = vec![byte(1) & 0x80 | 0x20, 0];
    headers.extend(place(2));
    headers.extend([byte(3), byte(4), byte(5)]);
    headers.extend([0x25, 0]);
    headers.extend(place(6));
    headers.push(byte(7) & 15);
    let mut batch = vec![0, 2, headers.len() as u8];
    batch.extend(headers);
    batch
}

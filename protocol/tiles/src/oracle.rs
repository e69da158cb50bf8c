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

//! A terminal's scene as tests need it: every operation is checked as a terminal would.

use std::collections::{BTreeMap, BTreeSet};

use heliostat_tiles::{Decoder, Limits, PixelsRef, Rect as TileRect, TILE, TileSink, diff};
use heliostat_wire::bounded::List;
use heliostat_wire::codec::encode_frame_header;
use heliostat_wire::id::{AttachId, LayerId, OutputId, VideoId};
use heliostat_wire::output::Size;
use heliostat_wire::scene::{FrameHeader, Placement, Rect, SceneOp, Transform};
use heliostat_wire::session::{CellHash, Kept, KeptLayer};

/// What a terminal holds.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) layers: BTreeMap<LayerId, Layer>,
    pub(crate) outputs: BTreeMap<OutputId, (u32, Vec<Placement>)>,
    /// The newest frame that was applied with all before it.
    pub(crate) serial: u32,
    /// Frames that have overtaken others.
    pub(crate) ahead: BTreeSet<u32>,
    decoder: Option<Decoder>,
    pub(crate) films: BTreeMap<VideoId, Film>,
}

pub(crate) struct Film {
    layer: LayerId,
    pub(crate) rect: Rect,
    pub(crate) decoder: heliostat_video::Decoder,
    /// It waits for a picture that builds on none.
    pub(crate) lost: bool,
    begun: Vec<u8>,
}

pub(crate) struct Layer {
    pub(crate) size: Size,
    pub(crate) alpha: bool,
    pub(crate) opaque: Vec<Rect>,
    pub(crate) pixels: Vec<u32>,
}

impl Layer {
    pub(crate) fn new(size: Size, alpha: bool) -> Self {
        let empty = if alpha { 0 } else { 0xff00_0000 };
        let pixels = vec![empty; (size.w * size.h) as usize];
        Self {
            size,
            alpha,
            opaque: Vec::new(),
            pixels,
        }
    }

    fn at(&self, x: u32, y: u32) -> u32 {
        self.pixels[(y * self.size.w + x) as usize]
    }
}

impl Model {
    /// Applies a frame as a terminal does.
    pub(crate) fn frame(&mut self, header: &FrameHeader, content: &[u8]) {
        let encoded = encode_frame_header(header, &mut Vec::new());
        encoded.expect("the header fits");
        let mut missing = (self.serial + 1..header.serial).filter(|n| !self.ahead.contains(n));
        assert!(
            missing.all(|other| header.may_overtake(other)),
            "frames come in order"
        );
        assert!(header.overtakes == 0 || header.ops.is_empty());
        self.ahead.insert(header.serial);
        while self.ahead.remove(&(self.serial + 1)) {
            self.serial += 1;
        }
        let mut content = content;
        for op in header.ops.iter() {
            match op {
                SceneOp::VideoPart { video, bytes, last } => {
                    let (part, rest) = content.split_at(*bytes as usize);
                    content = rest;
                    self.video_part(*video, part, *last);
                }
                op => self.apply(op),
            }
        }
        let decoder = self.decoder.take();
        let mut decoder = decoder.unwrap_or_else(|| Decoder::keeping(256));
        decoder
            .decode(content, &Limits::default(), self)
            .expect("the batch is valid");
        self.decoder = Some(decoder);
    }

    /// Keeps what a terminal keeps when an attach is over. Returns what it says of it.
    pub(crate) fn rest(&mut self, attach_id: AttachId) -> Kept {
        self.outputs.clear();
        self.films.clear();
        self.layers
            .values_mut()
            .for_each(|layer| layer.opaque.clear());
        let layer = |(id, layer): (&LayerId, &Layer)| KeptLayer {
            layer: *id,
            size: layer.size,
            alpha: layer.alpha,
        };
        Kept {
            attach_id,
            serial: std::mem::take(&mut self.serial),
            layers: List::truncated(self.layers.iter().map(layer).collect()),
        }
    }

    pub(crate) fn apply(&mut self, op: &SceneOp) {
        match op.clone() {
            SceneOp::Clear => {
                *self = Self {
                    serial: self.serial,
                    ahead: std::mem::take(&mut self.ahead),
                    ..Self::default()
                }
            }
            SceneOp::ForgetCells => self.decoder = None,
            SceneOp::CreateLayer { layer, size, alpha } => {
                let before = self.layers.insert(layer, Layer::new(size, alpha));
                assert!(before.is_none(), "{layer:?} exists");
            }
            SceneOp::ResizeLayer { layer, size, alpha } => self.resize(layer, size, alpha),
            SceneOp::DestroyLayer { layer } => {
                assert!(self.layers.remove(&layer).is_some(), "unknown {layer:?}");
                for (_, stack) in self.outputs.values_mut() {
                    stack.retain(|placement| placement.layer != layer);
                }
            }
            SceneOp::SetOpaque { layer, rects } => self.layer(layer).opaque = rects.into_vec(),
            SceneOp::Place(placement) => self.place(placement),
            SceneOp::Move {
                layer,
                output,
                x,
                y,
            } => {
                let placement = self.stack(output).iter_mut().find(|p| p.layer == layer);
                let placement = placement.expect("placed before it is moved");
                (placement.dst.x, placement.dst.y) = (x, y);
            }
            SceneOp::Unplace { layer, output } => {
                let stack = self.stack(output);
                let before = stack.len();
                stack.retain(|placement| placement.layer != layer);
                assert_eq!(stack.len() + 1, before, "{layer:?} was not placed");
            }
            SceneOp::Stack { output, layers } => {
                let stack = self.stack(output);
                assert_eq!(stack.len(), layers.len());
                stack.sort_by_key(|p| layers.iter().position(|l| *l == p.layer).expect("named"));
            }
            SceneOp::Background { output, rgb } => {
                self.outputs.entry(output).or_default().0 = rgb;
            }
            SceneOp::StartVideo { video, layer, rect } => {
                let size = self.layer(layer).size;
                assert!(rect.x >= 0 && rect.x as u32 + rect.w <= size.w, "{rect:?}");
                assert!(rect.y >= 0 && rect.y as u32 + rect.h <= size.h, "{rect:?}");
                let (w, h) = (rect.w, rect.h);
                let decoder = heliostat_video::Decoder::new(heliostat_video::Size { w, h });
                let decoder = decoder.expect("a possible size");
                let film = Film {
                    layer,
                    rect,
                    decoder,
                    lost: false,
                    begun: Vec::new(),
                };
                let before = self.films.insert(video, film);
                assert!(before.is_none(), "{video:?} exists");
            }
            SceneOp::VideoPart { .. } => panic!("a part without content"),
            SceneOp::EndVideo { video } => {
                assert!(self.films.remove(&video).is_some(), "unknown {video:?}");
            }
        }
    }

    fn video_part(&mut self, video: VideoId, part: &[u8], last: bool) {
        let film = self.films.get_mut(&video).expect("known video");
        film.begun.extend_from_slice(part);
        if !last {
            return;
        }
        let unit = std::mem::take(&mut film.begun);
        let layer = self.layers.get_mut(&film.layer).expect("known layer");
        let stride = layer.size.w as usize;
        let start = film.rect.y as usize * stride + film.rect.x as usize;
        let pixels = &mut layer.pixels[start..];
        let (w, h) = (film.rect.w, film.rect.h);
        let unit_of = heliostat_video::inspect(&unit, heliostat_video::Size { w, h });
        if film.lost && !unit_of.expect("the access unit is valid").key {
            return;
        }
        film.lost = false;
        let decoded = film.decoder.decode(&unit, pixels, stride);
        decoded.expect("the access unit is valid");
    }

    /// What a terminal says of a cell.
    pub(crate) fn cell_hash(&self, layer: LayerId, cell: u32, seed: u64) -> Option<CellHash> {
        let known = self.layers.get(&layer)?;
        let (w, h) = (known.size.w, known.size.h);
        let columns = w.div_ceil(TILE);
        let (x, y) = (cell % columns * TILE, cell / columns * TILE);
        let rect = TileRect {
            x,
            y,
            w: TILE.min(w - x),
            h: TILE.min(h.checked_sub(y)?),
        };
        let pixels = PixelsRef::new(&known.pixels, w as usize, w, h)?.sub(rect)?;
        let hash = diff::digest(seed, pixels);
        Some(CellHash { layer, cell, hash })
    }

    /// What a terminal says of all its cells.
    pub(crate) fn cell_hashes(&self, seed: u64) -> Vec<CellHash> {
        let all = |(id, layer): (&LayerId, &Layer)| {
            let cells = layer.size.w.div_ceil(TILE) * layer.size.h.div_ceil(TILE);
            let id = *id;
            (0..cells).filter_map(move |cell| self.cell_hash(id, cell, seed))
        };
        self.layers.iter().flat_map(all).collect()
    }

    fn layer(&mut self, id: LayerId) -> &mut Layer {
        self.layers.get_mut(&id).expect("known layer")
    }

    fn stack(&mut self, id: OutputId) -> &mut Vec<Placement> {
        &mut self.outputs.entry(id).or_default().1
    }

    fn resize(&mut self, id: LayerId, size: Size, alpha: bool) {
        let mut new = Layer::new(size, alpha);
        let old = self.layer(id);
        for y in 0..size.h.min(old.size.h) {
            for x in 0..size.w.min(old.size.w) {
                new.pixels[(y * size.w + x) as usize] = old.at(x, y);
            }
        }
        *old = new;
    }

    fn place(&mut self, placement: Placement) {
        let size = self.layer(placement.layer).size;
        let src = placement.src;
        assert!(
            src.w > 0 && src.x + src.w <= size.w * 256,
            "{placement:?} in {size:?}"
        );
        assert!(
            src.h > 0 && src.y + src.h <= size.h * 256,
            "{placement:?} in {size:?}"
        );
        assert!(placement.dst.w > 0 && placement.dst.h > 0);
        let stack = self.stack(placement.output);
        match stack
            .iter_mut()
            .find(|known| known.layer == placement.layer)
        {
            Some(known) => *known = placement,
            None => stack.push(placement),
        }
    }

    /// The colour at a place of an output, for unscaled placements; 0xRRGGBB.
    pub(crate) fn pixel(&self, output: OutputId, x: i32, y: i32) -> u32 {
        let Some((background, stack)) = self.outputs.get(&output) else {
            return 0;
        };
        stack.iter().fold(*background, |below, placement| {
            let (dst, src) = (placement.dst, placement.src);
            assert_eq!(placement.transform, Transform::Normal);
            let (dx, dy) = (x - dst.x, y - dst.y);
            if dx < 0 || dy < 0 || dx >= dst.w as i32 || dy >= dst.h as i32 {
                return below;
            }
            let layer = &self.layers[&placement.layer];
            let scaled = |d: i32, start: u32, length: u32, side: u32| {
                (start + (u64::from(d as u32) * u64::from(length) / u64::from(side)) as u32) / 256
            };
            let sx = scaled(dx, src.x, src.w, dst.w);
            let sy = scaled(dy, src.y, src.h, dst.h);
            over(layer.at(sx, sy), below, layer.alpha)
        })
    }
}

fn over(pixel: u32, below: u32, alpha: bool) -> u32 {
    let a = if alpha { pixel >> 24 } else { 255 };
    let channel = |shift: u32| {
        let (p, b) = (pixel >> shift & 255, below >> shift & 255);
        (p + b * (255 - a) / 255).min(255) << shift
    };
    channel(16) | channel(8) | channel(0)
}

impl TileSink for Model {
    fn layer_size(&self, layer: u32) -> Option<(u32, u32)> {
        self.layers
            .get(&LayerId(layer))
            .map(|l| (l.size.w, l.size.h))
    }

    fn pixels_mut(&mut self, layer: u32, rect: TileRect) -> Option<(&mut [u32], usize)> {
        let layer = self.layers.get_mut(&LayerId(layer))?;
        let stride = layer.size.w as usize;
        let start = rect.y as usize * stride + rect.x as usize;
        Some((layer.pixels.get_mut(start..)?, stride))
    }

    fn damaged(&mut self, _layer: u32, _rect: TileRect) {}
}

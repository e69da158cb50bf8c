//! The retained scene as the terminal holds it: layers, placements, and what changed.
//!
//! The session is not trusted: every operation is checked against the scene before it is done, and
//! the first wrong one ends the attach.

#[cfg(test)]
mod film_tests;
mod films;

use std::collections::{BTreeMap, HashMap};

use heliostat_compose::{Picture, shown_at};
use heliostat_tiles::{DecodeError, Decoder, TileSink};
use heliostat_wire::id::{LayerId, OutputId, VideoId};
use heliostat_wire::limits::{MAX_LAYER_SIDE, MAX_LAYERS};
use heliostat_wire::output::{Outputs, Size};
use heliostat_wire::scene::{FrameHeader, Placement, SceneOp};

use crate::compose;
use crate::decode::decode;
use crate::geometry::{Damage, Rect};
use crate::video::{Taken, VideoError, Videos};

pub use films::format_of;

pub use heliostat_compose::crop_is_inside;

/// Why a frame breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SceneError {
    /// An operation on a layer that does not exist.
    #[error("unknown layer {0:?}")]
    UnknownLayer(LayerId),
    /// A layer is created twice.
    #[error("layer {0:?} exists already")]
    LayerExists(LayerId),
    /// A side is zero or too long.
    #[error("layer {0:?} has an impossible size")]
    BadSize(LayerId),
    /// More layers or pixels than the terminal offered.
    #[error("the scene exceeds what this terminal offered")]
    OverBudget,
    /// An operation on an output that never existed.
    #[error("unknown output {0:?}")]
    UnknownOutput(OutputId),
    /// A placement without a place, a crop outside its layer, or one that does not exist.
    #[error("layer {0:?} is placed impossibly")]
    BadPlacement(LayerId),
    /// A stack that does not name each placed layer once.
    #[error("the stack of output {0:?} does not name its layers")]
    BadStack(OutputId),
    /// The batch of tiles is wrong.
    #[error(transparent)]
    Tiles(#[from] DecodeError),
    /// A video is wrong.
    #[error("{0:?}: {1}")]
    Video(VideoId, VideoError),
}

/// A layer's pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Width and height.
    pub size: Size,
    /// Whether alpha counts.
    pub alpha: bool,
    /// Parts known to be opaque, in its pixels.
    pub opaque: Vec<Rect>,
    /// Rows without gaps.
    pub pixels: Vec<u32>,
}

impl Drop for Layer {
    /// Overwrites the pixels: what a person had on the screen does not stay in memory.
    fn drop(&mut self) {
        self.pixels.fill(0);
        // Without a reader the compiler may leave out writes to memory that is about to be freed.
        std::hint::black_box(&self.pixels);
    }
}

impl Layer {
    /// As it is drawn.
    pub fn picture(&self) -> Picture<'_> {
        Picture {
            size: self.size,
            alpha: self.alpha,
            opaque: &self.opaque,
            pixels: &self.pixels,
        }
    }
}

/// What one output shows.
#[derive(Debug, Clone)]
pub struct OutputScene {
    /// Its pixels.
    pub size: Size,
    /// Colour where no layer is, 0xRRGGBB.
    pub background: u32,
    /// Placements, lowest first.
    pub stack: Vec<Placement>,
    damage: Damage,
    /// A video that is placed here has another picture in a surface.
    has_new_surface: bool,
    /// Unplugged; kept so that operations that were under way do no harm.
    gone: bool,
}

/// What the terminal offers to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Layers.
    pub layers: usize,
    /// Bytes of pixels.
    pub bytes: u64,
    /// Cells kept beside the layers, 16 KiB each when they are there.
    pub cells: u32,
    /// Videos.
    pub videos: usize,
    /// Pixels of one picture of all videos together.
    pub video_pixels: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            layers: MAX_LAYERS,
            bytes: 384 << 20,
            cells: 2048,
            videos: 4,
            // A film on all of a common screen is what a processor of a terminal can follow.
            video_pixels: 1920 * 1200,
        }
    }
}

/// The scene of one attach, or of several of the same session.
pub struct Scene {
    layers: HashMap<LayerId, Layer>,
    outputs: BTreeMap<OutputId, OutputScene>,
    bytes: u64,
    budget: Budget,
    /// Bytes of the layers made by the frame that is being applied.
    made: u64,
    /// Absent only while it decodes into this scene.
    decoder: Option<Decoder>,
    videos: Videos,
}

/// How often one frame may make all the layers that the budget allows.
const MAX_MADE: u64 = 2;

fn bytes_of(size: Size) -> u64 {
    u64::from(size.w) * u64::from(size.h) * 4
}

impl std::fmt::Debug for Scene {
    /// Without the pixels, which are nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene")
            .field("layers", &self.layers.len())
            .field("outputs", &self.outputs.len())
            .finish_non_exhaustive()
    }
}

impl Scene {
    /// An empty scene on these outputs.
    pub fn new(outputs: &Outputs, budget: Budget) -> Self {
        let mut scene = Self {
            layers: HashMap::new(),
            outputs: BTreeMap::new(),
            bytes: 0,
            budget,
            made: 0,
            decoder: Some(Decoder::keeping(budget.cells)),
            videos: Videos::new(budget.videos, budget.video_pixels),
        };
        scene.set_outputs(outputs);
        scene
    }

    /// Outputs came, went or changed.
    pub fn set_outputs(&mut self, outputs: &Outputs) {
        for (id, known) in &mut self.outputs {
            known.gone = outputs.iter().all(|output| output.id != *id);
        }
        for output in outputs.iter() {
            let known = self
                .outputs
                .entry(output.id)
                .or_insert_with(|| OutputScene {
                    size: output.size,
                    background: 0,
                    stack: Vec::new(),
                    damage: Damage::new(),
                    has_new_surface: false,
                    gone: false,
                });
            known.size = output.size;
            known
                .damage
                .add(Rect::of_size(output.size.w, output.size.h));
        }
    }

    /// An output's scene.
    pub fn output(&self, id: OutputId) -> Option<&OutputScene> {
        self.outputs.get(&id).filter(|output| !output.gone)
    }

    /// All layers, in no order.
    pub fn layers(&self) -> impl Iterator<Item = (LayerId, &Layer)> {
        self.layers.iter().map(|(id, layer)| (*id, layer))
    }

    /// A layer.
    pub fn layer(&self, id: LayerId) -> Option<&Layer> {
        self.layers.get(&id)
    }

    /// Takes what has to be drawn anew on an output.
    pub fn take_damage(&mut self, id: OutputId) -> Damage {
        let Some(output) = self.outputs.get_mut(&id) else {
            return Damage::new();
        };
        let mut damage = std::mem::take(&mut output.damage);
        damage.clip(Rect::of_size(output.size.w, output.size.h));
        damage
    }

    /// Everything has to be drawn anew, as after the terminal's own screens.
    pub fn damage_all(&mut self) {
        for output in self.outputs.values_mut() {
            output
                .damage
                .add(Rect::of_size(output.size.w, output.size.h));
        }
    }

    /// Forgets and overwrites every pixel.
    pub fn wipe(&mut self) {
        self.clear();
    }

    /// Keeps the layers and the kept cells, and nothing of how and where they are shown.
    pub fn rest(&mut self) {
        self.copy_all_films();
        self.videos.clear();
        self.outputs.clear();
        self.layers
            .values_mut()
            .for_each(|layer| layer.opaque.clear());
    }

    /// Applies a frame. After an error the scene is in no state to be shown.
    pub fn apply(&mut self, header: &FrameHeader, content: &[u8]) -> Result<(), SceneError> {
        self.made = 0;
        self.videos.begin_frame();
        let mut content = content;
        for op in header.ops.iter() {
            self.apply_op(op, &mut content)?;
        }
        self.check_work()?;
        let mut decoder = self.decoder.take().unwrap_or_default();
        let result = decode(&mut decoder, content, self);
        self.decoder = Some(decoder);
        Ok(result?)
    }

    /// Access units are taken off the front of `content`.
    fn apply_op(&mut self, op: &SceneOp, content: &mut &[u8]) -> Result<(), SceneError> {
        match op {
            SceneOp::Clear => self.clear(),
            SceneOp::ForgetCells => self.forget_cells(),
            SceneOp::CreateLayer { layer, size, alpha } => {
                return self.create(*layer, *size, *alpha);
            }
            SceneOp::ResizeLayer { layer, size, alpha } => {
                return self.resize(*layer, *size, *alpha);
            }
            SceneOp::DestroyLayer { layer } => return self.destroy(*layer),
            SceneOp::SetOpaque { layer, rects } => {
                let known = self.layers.get_mut(layer);
                let known = known.ok_or(SceneError::UnknownLayer(*layer))?;
                known.opaque = rects.iter().map(|rect| Rect::from_wire(*rect)).collect();
            }
            SceneOp::Place(placement) => return self.place(*placement),
            SceneOp::Move {
                layer,
                output,
                x,
                y,
            } => {
                return self.move_to(*layer, *output, *x, *y);
            }
            SceneOp::Unplace { layer, output } => return self.unplace(*layer, *output),
            SceneOp::Stack { output, layers } => return self.restack(*output, layers),
            SceneOp::StartVideo { video, layer, rect } => {
                let size = self.layers.get(layer).map(|layer| layer.size);
                let size = size.ok_or(SceneError::UnknownLayer(*layer))?;
                let started = self.videos.start(*video, *layer, *rect, size);
                return started.map_err(|error| SceneError::Video(*video, error));
            }
            SceneOp::VideoPart { video, bytes, last } => {
                let taken = self.video_part(*video, (*bytes, *last), content);
                return taken.map_err(|error| SceneError::Video(*video, error));
            }
            SceneOp::EndVideo { video } => {
                self.end_film(*video);
                let ended = self.videos.end(*video);
                return ended.map_err(|error| SceneError::Video(*video, error));
            }
            SceneOp::Background { output, rgb } => {
                let output = self.output_mut(*output)?;
                output.background = rgb & 0xff_ff_ff;
                output
                    .damage
                    .add(Rect::of_size(output.size.w, output.size.h));
            }
        }
        Ok(())
    }

    fn video_part(
        &mut self,
        video: VideoId,
        (bytes, last): (u32, bool),
        content: &mut &[u8],
    ) -> Result<(), VideoError> {
        let (part, rest) = content
            .split_at_checked(bytes as usize)
            .ok_or(VideoError::Truncated)?;
        *content = rest;
        let layers = &mut self.layers;
        let taken = self
            .videos
            .part(video, part, last, |layer| layers.get_mut(&layer))?;
        match taken {
            Taken::Nothing => {}
            Taken::Pixels(layer, rect) => self.damaged(layer.0, rect),
            Taken::Surface(layer) => self.note_surface(layer),
        }
        Ok(())
    }

    /// A session may not keep the terminal busy with drawing: it hears of the card in between.
    fn check_work(&self) -> Result<(), SceneError> {
        match self
            .outputs
            .keys()
            .all(|id| compose::is_affordable(self, *id))
        {
            true => Ok(()),
            false => Err(SceneError::OverBudget),
        }
    }

    fn output_mut(&mut self, id: OutputId) -> Result<&mut OutputScene, SceneError> {
        self.outputs
            .get_mut(&id)
            .ok_or(SceneError::UnknownOutput(id))
    }

    fn forget_cells(&mut self) {
        self.decoder = Some(Decoder::keeping(self.budget.cells));
    }

    fn clear(&mut self) {
        self.forget_cells();
        self.videos.clear();
        self.layers.clear();
        self.bytes = 0;
        for output in self.outputs.values_mut() {
            output.stack.clear();
            output.background = 0;
            output
                .damage
                .add(Rect::of_size(output.size.w, output.size.h));
        }
    }

    fn check_size(&mut self, layer: LayerId, size: Size, freed: u64) -> Result<(), SceneError> {
        let side = |side| (1..=MAX_LAYER_SIDE).contains(&side);
        if !side(size.w) || !side(size.h) {
            return Err(SceneError::BadSize(layer));
        }
        if self.bytes - freed + bytes_of(size) > self.budget.bytes {
            return Err(SceneError::OverBudget);
        }
        self.made += bytes_of(size);
        if self.made > MAX_MADE * self.budget.bytes {
            return Err(SceneError::OverBudget);
        }
        Ok(())
    }

    fn create(&mut self, id: LayerId, size: Size, alpha: bool) -> Result<(), SceneError> {
        if self.layers.contains_key(&id) {
            return Err(SceneError::LayerExists(id));
        }
        if self.layers.len() >= self.budget.layers {
            return Err(SceneError::OverBudget);
        }
        self.check_size(id, size, 0)?;
        self.bytes += bytes_of(size);
        let empty = if alpha { 0 } else { 0xff00_0000 };
        let pixels = vec![empty; size.w as usize * size.h as usize];
        self.layers.insert(
            id,
            Layer {
                size,
                alpha,
                opaque: Vec::new(),
                pixels,
            },
        );
        Ok(())
    }

    fn resize(&mut self, id: LayerId, size: Size, alpha: bool) -> Result<(), SceneError> {
        let before = self.layers.get(&id).map(|layer| bytes_of(layer.size));
        let before = before.ok_or(SceneError::UnknownLayer(id))?;
        self.check_size(id, size, before)?;
        self.copy_films_in(id, None);
        self.videos.end_in(id);
        self.bytes = self.bytes - before + bytes_of(size);
        let old = &self.layers[&id];
        let empty = if alpha { 0 } else { 0xff00_0000 };
        let mut pixels = vec![empty; size.w as usize * size.h as usize];
        let w = old.size.w.min(size.w) as usize;
        let rows = old.pixels.chunks(old.size.w as usize);
        for (new, old) in pixels.chunks_mut(size.w as usize).zip(rows) {
            new[..w].copy_from_slice(&old[..w]);
        }
        self.layers.insert(
            id,
            Layer {
                size,
                alpha,
                opaque: Vec::new(),
                pixels,
            },
        );
        // Placements whose crop no longer fits show nothing until they are placed anew.
        self.damage_placements(id);
        Ok(())
    }

    fn destroy(&mut self, id: LayerId) -> Result<(), SceneError> {
        self.videos.end_in(id);
        self.damage_placements(id);
        let layer = self
            .layers
            .remove(&id)
            .ok_or(SceneError::UnknownLayer(id))?;
        self.bytes -= bytes_of(layer.size);
        for output in self.outputs.values_mut() {
            output.stack.retain(|placement| placement.layer != id);
        }
        Ok(())
    }

    fn place(&mut self, placement: Placement) -> Result<(), SceneError> {
        let id = placement.layer;
        let layer = self.layers.get(&id).ok_or(SceneError::UnknownLayer(id))?;
        let bad = SceneError::BadPlacement(id);
        if !crop_is_inside(placement.src, layer.size) || Rect::from_wire(placement.dst).is_empty() {
            return Err(bad);
        }
        let output = self.output_mut(placement.output)?;
        output.damage.add(Rect::from_wire(placement.dst));
        match output.stack.iter_mut().find(|known| known.layer == id) {
            Some(known) => {
                output.damage.add(Rect::from_wire(known.dst));
                *known = placement;
            }
            None => output.stack.push(placement),
        }
        Ok(())
    }

    fn move_to(&mut self, id: LayerId, output: OutputId, x: i32, y: i32) -> Result<(), SceneError> {
        let output = self.output_mut(output)?;
        let placement = output
            .stack
            .iter_mut()
            .find(|placement| placement.layer == id);
        let placement = placement.ok_or(SceneError::BadPlacement(id))?;
        output.damage.add(Rect::from_wire(placement.dst));
        (placement.dst.x, placement.dst.y) = (x, y);
        output.damage.add(Rect::from_wire(placement.dst));
        Ok(())
    }

    fn unplace(&mut self, id: LayerId, output: OutputId) -> Result<(), SceneError> {
        let output = self.output_mut(output)?;
        let at = output
            .stack
            .iter()
            .position(|placement| placement.layer == id);
        let placement = output.stack.remove(at.ok_or(SceneError::BadPlacement(id))?);
        output.damage.add(Rect::from_wire(placement.dst));
        Ok(())
    }

    fn restack(&mut self, id: OutputId, layers: &[LayerId]) -> Result<(), SceneError> {
        let output = self.output_mut(id)?;
        let bad = SceneError::BadStack(id);
        if layers.len() != output.stack.len() {
            return Err(bad);
        }
        let heights: HashMap<LayerId, usize> = layers
            .iter()
            .enumerate()
            .map(|(height, layer)| (*layer, height))
            .collect();
        if heights.len() != layers.len()
            || output
                .stack
                .iter()
                .any(|placement| !heights.contains_key(&placement.layer))
        {
            return Err(bad);
        }
        for (height, placement) in output.stack.iter().enumerate() {
            if heights[&placement.layer] != height {
                output.damage.add(Rect::from_wire(placement.dst));
            }
        }
        output
            .stack
            .sort_by_key(|placement| heights[&placement.layer]);
        Ok(())
    }

    fn damage_placements(&mut self, id: LayerId) {
        for output in self.outputs.values_mut() {
            for placement in output
                .stack
                .iter()
                .filter(|placement| placement.layer == id)
            {
                output.damage.add(Rect::from_wire(placement.dst));
            }
        }
    }
}

impl TileSink for Scene {
    fn layer_size(&self, layer: u32) -> Option<(u32, u32)> {
        self.layers
            .get(&LayerId(layer))
            .map(|layer| (layer.size.w, layer.size.h))
    }

    fn pixels_mut(
        &mut self,
        layer: u32,
        rect: heliostat_tiles::Rect,
    ) -> Option<(&mut [u32], usize)> {
        // What is read or written there is what the session has drawn there, surfaces included.
        self.copy_films_in(LayerId(layer), Some(rect));
        let layer = self.layers.get_mut(&LayerId(layer))?;
        let stride = layer.size.w as usize;
        let start = rect.y as usize * stride + rect.x as usize;
        Some((layer.pixels.get_mut(start..)?, stride))
    }

    fn damaged(&mut self, layer: u32, rect: heliostat_tiles::Rect) {
        let id = LayerId(layer);
        for output in self.outputs.values_mut() {
            for placement in output
                .stack
                .iter()
                .filter(|placement| placement.layer == id)
            {
                let rect = Rect::of_area(rect.x, rect.y, rect.w, rect.h);
                output.damage.add(shown_at(placement, rect));
            }
        }
    }
}

#[cfg(test)]
#[path = "scene_tests.rs"]
mod tests;

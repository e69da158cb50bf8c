//! From what stands on the desk to the scene of a terminal.

use std::collections::{BTreeMap, BTreeSet};

use heliostat_compose::geometry::Rect as Area;
use heliostat_compose::{MAX_COST, Picture, are_affordable, first_affordable};
use heliostat_wire::id::LayerId;
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Crop, Placement, Rect, UNITS_PER_PIXEL};

use super::{OutputScene, Scene, Shape};
use crate::content::Content;
use crate::outputs::Screen;
use crate::surface::{Newest, View};

/// What drawing an output may cost: terminals and sessions may not be of one mind about its size while
/// it changes.
const COPIES: u64 = MAX_COST / 2;
/// Rectangles of a scene that are said to be opaque, of all layers together. They save the terminal
/// drawing and nothing else; with more of them a frame's header would not fit its limit.
const MOST_OPAQUE: usize = 4096;

/// A layer on the desk.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Its pixels.
    pub content: &'a Content,
    /// Its newest buffer, where it is kept.
    pub newest: Option<&'a Newest>,
    /// How they are shown.
    pub view: &'a View,
    /// Where its top-left corner is, in logical pixels.
    pub at: (i32, i32),
}

/// What a terminal can hold.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Placements.
    pub layers: usize,
    /// Bytes of pixels.
    pub bytes: u64,
}

/// Builds the scene of `standing`, lowest first, on `screens`, whatever a terminal can hold.
pub fn build(standing: &[Standing<'_>], screens: &[Screen], background: u32) -> Scene {
    let mut scene = Scene::default();
    let mut opaque_left = MOST_OPAQUE;
    for screen in screens {
        let stack: Vec<_> = standing
            .iter()
            .filter_map(|layer| Some((layer, place(layer, screen)?)))
            .collect();
        // The highest ones are what most is seen of.
        for (layer, placement) in stack.iter().rev() {
            let shape = || Shape {
                size: layer.content.size(),
                alpha: layer.content.alpha(),
                opaque: opaque(layer, &mut opaque_left),
            };
            scene.layers.entry(placement.layer).or_insert_with(shape);
        }
        let stack = stack.into_iter().map(|(_, placement)| placement).collect();
        scene
            .outputs
            .insert(screen.id, OutputScene { background, stack });
    }
    scene
}

/// The parts of a layer that are said to be opaque, where so many more may be.
fn opaque(layer: &Standing<'_>, left: &mut usize) -> Vec<Rect> {
    let rects = &layer.view.opaque;
    match layer.content.alpha() && rects.len() <= *left {
        true => {
            *left -= rects.len();
            rects.clone()
        }
        false => Vec::new(),
    }
}

/// What of `scene` a terminal can hold: the highest of its layers. `heights` has all of them, lowest
/// first.
pub fn fit(mut scene: Scene, heights: &[LayerId], budget: Budget) -> Scene {
    let mut placements: BTreeMap<LayerId, usize> = BTreeMap::new();
    for placement in scene.outputs.values().flat_map(|output| &output.stack) {
        *placements.entry(placement.layer).or_default() += 1;
    }
    let mut held = BTreeSet::new();
    let mut left = budget;
    for layer in heights.iter().rev() {
        let (Some(count), Some(shape)) = (placements.get(layer), scene.layers.get(layer)) else {
            continue;
        };
        let cost = bytes_of(shape.size);
        if *count <= left.layers && cost <= left.bytes && held.insert(*layer) {
            left.layers -= count;
            left.bytes -= cost;
        }
    }
    scene.layers.retain(|layer, _| held.contains(layer));
    for output in scene.outputs.values_mut() {
        output.stack.retain(|placed| held.contains(&placed.layer));
    }
    scene
}

/// What of `scene` a terminal can draw in time, with room to spare: of each of `screens` the highest
/// placements. A terminal refuses more, and would refuse it again whenever it came back.
pub fn afford(mut scene: Scene, screens: &[Screen]) -> Scene {
    let mut left_out = Vec::new();
    for screen in screens {
        let Some(shown) = scene.outputs.get(&screen.id) else {
            continue;
        };
        if are_affordable(shown.stack.len(), COPIES) {
            continue;
        }
        let opaque = |shape: &Shape| shape.opaque.iter().copied().map(Area::from_wire).collect();
        let opaque: BTreeMap<LayerId, Vec<Area>> = scene
            .layers
            .iter()
            .map(|(layer, shape)| (*layer, opaque(shape)))
            .collect();
        let picture = |layer: LayerId| {
            let shape = scene.layers.get(&layer)?;
            Some(Picture {
                size: shape.size,
                alpha: shape.alpha,
                opaque: opaque.get(&layer)?,
                pixels: &[],
            })
        };
        let first = first_affordable(&shown.stack, screen.size, COPIES, picture);
        if let Some(shown) = scene.outputs.get_mut(&screen.id) {
            left_out.extend(shown.stack.drain(..first).map(|placed| placed.layer));
        }
    }
    for layer in left_out {
        let mut placed = scene.outputs.values().flat_map(|shown| &shown.stack);
        if placed.all(|placed| placed.layer != layer) {
            scene.layers.remove(&layer);
        }
    }
    scene
}

/// Where a layer stands on a screen, if any of it can be seen there.
fn place(layer: &Standing<'_>, screen: &Screen) -> Option<Placement> {
    let view = layer.view;
    let device = |logical: i32| (f64::from(logical) * screen.scale).round() as i64;
    let (x, y) = (
        device(layer.at.0 - screen.rect.x),
        device(layer.at.1 - screen.rect.y),
    );
    let (w, h) = unscaled(view.crop, (device(view.size.w), device(view.size.h)));
    let outside =
        x + w <= 0 || y + h <= 0 || x >= i64::from(screen.size.w) || y >= i64::from(screen.size.h);
    if outside {
        return None;
    }
    let dst = Rect {
        x: i32::try_from(x).ok()?,
        y: i32::try_from(y).ok()?,
        w: u32::try_from(w).ok()?,
        h: u32::try_from(h).ok()?,
    };
    Some(Placement {
        layer: layer.content.layer(),
        output: screen.id,
        dst,
        src: view.crop,
        transform: view.transform,
        opacity: 255,
    })
}

/// A size on screen; that of the pixels where it is off by rounding only, so that they stay sharp.
fn unscaled(crop: Crop, (w, h): (i64, i64)) -> (i64, i64) {
    let unit = i64::from(UNITS_PER_PIXEL);
    let natural = (i64::from(crop.w) / unit, i64::from(crop.h) / unit);
    let near = |a: i64, b: i64| (a - b).abs() <= 1;
    match near(natural.0, w) && near(natural.1, h) {
        true => (natural.0.max(1), natural.1.max(1)),
        false => (w.max(1), h.max(1)),
    }
}

/// Bytes of a layer.
pub fn bytes_of(size: Size) -> u64 {
    u64::from(size.w) * u64::from(size.h) * 4
}

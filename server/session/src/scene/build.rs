//! From what stands on the desk to the scene of a terminal.

use std::collections::BTreeSet;

use heliostat_wire::id::LayerId;
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Crop, Placement, Rect, UNITS_PER_PIXEL};

use super::{OutputScene, Scene, Shape};
use crate::content::Content;
use crate::outputs::Screen;
use crate::surface::View;

/// A layer on the desk.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Its pixels.
    pub content: &'a Content,
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

/// Builds the scene of `standing`, lowest first, on `screens`. Where a terminal cannot hold all of
/// it, the lowest layers are left out.
pub fn build(
    standing: &[Standing<'_>],
    screens: &[Screen],
    background: u32,
    budget: Budget,
) -> Scene {
    let mut scene = Scene::default();
    for screen in screens {
        let empty = OutputScene {
            background,
            stack: Vec::new(),
        };
        scene.outputs.insert(screen.id, empty);
    }
    let held = affordable(standing, budget);
    let mut left = budget.layers;
    for screen in screens {
        for layer in standing
            .iter()
            .filter(|layer| held.contains(&layer.content.layer()))
        {
            if left == 0 {
                break;
            }
            if let Some(placement) = place(layer, screen) {
                left -= 1;
                insert(&mut scene, layer, placement);
            }
        }
    }
    scene
}

fn insert(scene: &mut Scene, layer: &Standing<'_>, placement: Placement) {
    if let Some(output) = scene.outputs.get_mut(&placement.output) {
        output.stack.push(placement);
    }
    let shape = || Shape {
        size: layer.content.size(),
        alpha: layer.content.alpha(),
        opaque: match layer.content.alpha() {
            true => layer.view.opaque.clone(),
            false => Vec::new(),
        },
    };
    scene.layers.entry(placement.layer).or_insert_with(shape);
}

/// The highest layers that fit.
fn affordable(standing: &[Standing<'_>], budget: Budget) -> BTreeSet<LayerId> {
    let mut held = BTreeSet::new();
    let mut bytes = 0;
    for layer in standing.iter().rev() {
        let size = layer.content.size();
        let cost = u64::from(size.w) * u64::from(size.h) * 4;
        if held.len() < budget.layers && bytes + cost <= budget.bytes {
            bytes += cost;
            held.insert(layer.content.layer());
        }
    }
    held
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

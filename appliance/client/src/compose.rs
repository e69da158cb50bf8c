//! Drawing the scene with the CPU: only what is damaged, only what is not covered.

use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::scene::Placement;

use crate::geometry::Rect;
use crate::scene::{Layer, Scene};

use heliostat_compose::{Shown, compose_and, is_opaque};
pub use heliostat_compose::{Target, blend_row, exact_offset};

/// What drawing all of an output may cost, in outputs copied pixel by pixel.
const MAX_COST: u64 = 1024;
/// What blending a pixel costs, of copies.
const BLENDING: u64 = 4;
/// What sampling a pixel costs, of copies.
const SAMPLING: u64 = 16;

/// Whether an output can be drawn in bounded time.
pub fn is_affordable(scene: &Scene, output: OutputId) -> bool {
    let Some(shown) = scene.output(output) else {
        return true;
    };
    let whole = Rect::of_size(shown.size.w, shown.size.h);
    let area = |rect: Rect| rect.w.max(0) as u64 * rect.h.max(0) as u64;
    let mut left = MAX_COST * area(whole);
    for placement in shown.stack.iter().rev() {
        let part = Rect::from_wire(placement.dst).intersection(whole);
        let (Some(layer), Some(part)) = (scene.layer(placement.layer), part) else {
            continue;
        };
        let opaque = placement.opacity == 255 && layer.is_opaque_within(placement.src);
        let a_pixel = match (exact_offset(placement), opaque) {
            (Some(_), true) => 1,
            (Some(_), false) => BLENDING,
            (None, _) => SAMPLING,
        };
        let Some(rest) = left.checked_sub(a_pixel * area(part)) else {
            return false;
        };
        left = rest;
        if covers(scene, placement, whole) {
            break;
        }
    }
    true
}

/// A place through which a plane under what is drawn is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The layer that the video is of: what is over it stays.
    pub layer: LayerId,
    /// On the output.
    pub rect: Rect,
}

/// Draws `area` of an output; where there are holes as pixels with alpha: opaque, but for holes, and
/// for what is over those.
pub fn compose_with_holes(
    scene: &Scene,
    output: OutputId,
    holes: &[Hole],
    area: Rect,
    target: &mut Target<'_>,
) {
    let Some(shown) = scene.output(output) else {
        return;
    };
    let has_alpha = !holes.is_empty();
    let alpha = if has_alpha { 0xff00_0000 } else { 0 };
    let shown = Shown {
        background: alpha | shown.background,
        stack: &shown.stack,
    };
    let picture = |layer| scene.layer(layer).map(Layer::picture);
    compose_and(
        &shown,
        picture,
        area,
        target,
        |placement, picture, part, target| {
            // Pixels of such layers may have any alpha, which the plane would believe.
            if has_alpha && !picture.alpha && is_opaque(picture, placement) {
                for y in part.y..part.bottom() {
                    let row = target.row(part.x, y, part.w);
                    row.iter_mut().for_each(|pixel| *pixel |= 0xff00_0000);
                }
            }
            for hole in holes.iter().filter(|hole| hole.layer == placement.layer) {
                if let Some(hole) = hole.rect.intersection(part) {
                    target.fill(hole, 0);
                }
            }
        },
    );
}

/// Whether nothing below `placement` shows within `area`.
pub fn covers(scene: &Scene, placement: &Placement, area: Rect) -> bool {
    let layer = scene.layer(placement.layer);
    layer.is_some_and(|layer| heliostat_compose::covers(&layer.picture(), placement, area))
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;

//! Drawing the scene with the CPU: only what is damaged, only what is not covered.

use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::scene::Placement;

use crate::geometry::Rect;
use crate::scene::{Layer, Scene};

use heliostat_compose::{MAX_COST, Shown, compose_and, first_affordable, is_opaque};
pub use heliostat_compose::{Target, blend_row};

/// Whether an output can be drawn in bounded time.
pub fn is_affordable(scene: &Scene, output: OutputId) -> bool {
    scene.output(output).is_none_or(|shown| {
        let picture = |layer| scene.layer(layer).map(Layer::picture);
        first_affordable(&shown.stack, shown.size, MAX_COST, picture) == 0
    })
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

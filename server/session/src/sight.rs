//! What can be seen: a layer that opaque ones cover wholly, on every output, cannot.

use std::collections::BTreeSet;

use heliostat_wire::id::LayerId;
use heliostat_wire::scene::{Placement, Rect, Transform, UNITS_PER_PIXEL};

use crate::outputs::Screen;
use crate::scene::{Scene, Shape};

/// Pieces into which the rest of a layer may fall; in more of them it counts as seen.
const MOST_PIECES: usize = 32;
/// Covers of one output that are looked at, highest first.
const MOST_COVERS: usize = 128;

/// A rectangle by its edges: left, top, right, bottom.
type Edges = [i64; 4];

/// The layers of `scene` of which something can be seen.
pub fn seen(scene: &Scene, screens: &[Screen]) -> BTreeSet<LayerId> {
    let mut seen = BTreeSet::new();
    for screen in screens {
        let Some(output) = scene.outputs.get(&screen.id) else {
            continue;
        };
        let whole = [0, 0, i64::from(screen.size.w), i64::from(screen.size.h)];
        let mut covers = Vec::new();
        for placement in output.stack.iter().rev() {
            let Some(shape) = scene.layers.get(&placement.layer) else {
                continue;
            };
            if let Some(area) = common(edges(placement.dst), whole)
                && !is_covered(area, &covers)
            {
                seen.insert(placement.layer);
                add_covers(placement, shape, &mut covers);
            }
        }
    }
    seen
}

fn is_covered(area: Edges, covers: &[Edges]) -> bool {
    let mut left = vec![area];
    for cover in covers {
        left = left
            .into_iter()
            .flat_map(|piece| without(piece, *cover))
            .collect();
        if left.is_empty() {
            return true;
        }
        if left.len() > MOST_PIECES {
            return false;
        }
    }
    false
}

/// Where a placement hides what is below it.
fn add_covers(placement: &Placement, shape: &Shape, covers: &mut Vec<Edges>) {
    let (dst, src) = (edges(placement.dst), placement.src);
    if placement.opacity != 255 {
        return;
    }
    let unit = UNITS_PER_PIXEL;
    let plain = placement.transform == Transform::Normal
        && u64::from(src.w) == u64::from(placement.dst.w) * u64::from(unit)
        && u64::from(src.h) == u64::from(placement.dst.h) * u64::from(unit)
        && src.x.is_multiple_of(unit)
        && src.y.is_multiple_of(unit);
    let mut add = |cover: Edges| {
        if covers.len() < MOST_COVERS {
            covers.push(cover);
        }
    };
    if !shape.alpha {
        add(dst);
    } else if plain {
        // The opaque parts of the layer, at its place.
        let (x, y) = (
            dst[0] - i64::from(src.x / unit),
            dst[1] - i64::from(src.y / unit),
        );
        let at_its_place = |rect: &Rect| {
            let [left, top, right, bottom] = edges(*rect);
            common([left + x, top + y, right + x, bottom + y], dst)
        };
        shape
            .opaque
            .iter()
            .filter_map(at_its_place)
            .for_each(&mut add);
    }
}

fn edges(rect: Rect) -> Edges {
    let (x, y) = (i64::from(rect.x), i64::from(rect.y));
    [x, y, x + i64::from(rect.w), y + i64::from(rect.h)]
}

fn common(a: Edges, b: Edges) -> Option<Edges> {
    let both = [
        a[0].max(b[0]),
        a[1].max(b[1]),
        a[2].min(b[2]),
        a[3].min(b[3]),
    ];
    (both[0] < both[2] && both[1] < both[3]).then_some(both)
}

/// What is left of `piece`: the parts above, below, left and right of `cover`.
fn without(piece: Edges, cover: Edges) -> impl Iterator<Item = Edges> {
    let [left, top, right, bottom] = piece;
    let parts = match common(piece, cover) {
        None => [Some(piece), None, None, None],
        Some([x0, y0, x1, y1]) => [
            (top < y0).then_some([left, top, right, y0]),
            (y1 < bottom).then_some([left, y1, right, bottom]),
            (left < x0).then_some([left, y0, x0, y1]),
            (x1 < right).then_some([x1, y0, right, y1]),
        ],
    };
    parts.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn covered_is_what_has_no_pixel_left(
            area in (0i64..12, 0i64..12, 1i64..8, 1i64..8),
            covers in prop::collection::vec((0i64..16, 0i64..16, 1i64..16, 1i64..16), 0..7),
        ) {
            let edges = |(x, y, w, h): (i64, i64, i64, i64)| [x, y, x + w, y + h];
            let area = edges(area);
            let covers: Vec<_> = covers.into_iter().map(edges).collect();
            let inside = |[l, t, r, b]: Edges, x: i64, y: i64| x >= l && x < r && y >= t && y < b;
            let open = (area[0]..area[2]).any(|x| (area[1]..area[3]).any(|y| {
                covers.iter().all(|cover| !inside(*cover, x, y))
            }));
            prop_assert_eq!(is_covered(area, &covers), !open);
        }
    }
}

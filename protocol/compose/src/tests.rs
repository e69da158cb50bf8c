use proptest::prelude::*;

use heliostat_wire::id::OutputId;
use heliostat_wire::scene;

use super::*;

proptest! {
    #[test]
    fn blending_is_exact_at_its_ends_and_monotonic(below in any::<u32>(), colour in any::<u32>()) {
        let below = below | 0xff00_0000;
        prop_assert_eq!(blend(below, colour | 0xff00_0000, 255), colour | 0xff00_0000);
        prop_assert_eq!(blend(below, 0, 255), below);
        prop_assert_eq!(blend(below, colour | 0xff00_0000, 0), below);
    }

    #[test]
    fn scaling_rounds_to_nearest(pixel in any::<u32>(), factor in 0u32..=255) {
        let exact = pixel.to_le_bytes().map(|channel| {
            ((u32::from(channel) * factor * 2 + 255) / 510) as u8
        });
        prop_assert_eq!(scaled(pixel, factor), u32::from_le_bytes(exact));
    }

    /// Whoever draws again only where a change is shown has the same picture as who draws all of it.
    #[test]
    fn a_change_is_shown_nowhere_else(
        (w, h) in (1u32..24, 1u32..24),
        (dw, dh) in (1u32..120, 1u32..120),
        (at, size) in ((0u32..24, 0u32..24), (1u32..24, 1u32..24)),
        (left, top) in (0u32..256 * 4, 0u32..256 * 4),
        turned in any::<bool>(),
    ) {
        let changed = Rect::of_area(at.0 % w, at.1 % h, size.0.min(w - at.0 % w), size.1.min(h - at.1 % h));
        let (left, top) = (left.min((w - 1) * UNITS_PER_PIXEL), top.min((h - 1) * UNITS_PER_PIXEL));
        let placement = Placement {
            layer: LayerId(1),
            output: OutputId(1),
            dst: scene::Rect { x: 3, y: 5, w: dw, h: dh },
            src: Crop { x: left, y: top, w: w * UNITS_PER_PIXEL - left, h: h * UNITS_PER_PIXEL - top },
            transform: if turned { Transform::Rotate90 } else { Transform::Normal },
            opacity: 255,
        };
        let drawn = |colour: u32| {
            let mut pixels = vec![0xff00_0000; (w * h) as usize];
            for y in changed.y..changed.bottom() {
                for x in changed.x..changed.right() {
                    pixels[(y as u32 * w + x as u32) as usize] = colour;
                }
            }
            let picture = Picture { size: Size { w, h }, alpha: false, opaque: &[], pixels: &pixels };
            let bounds = Rect::of_size(130, 130);
            let mut drawn = vec![0; 130 * 130];
            let mut target = Target { pixels: &mut drawn, stride: 130, bounds };
            draw(&picture, &placement, Rect::from_wire(placement.dst), &mut target);
            drawn
        };
        let (before, after) = (drawn(0xff00_0000), drawn(0xffff_ffff));
        let shown = shown_at(&placement, changed);
        for at in (0..before.len()).filter(|at| before[*at] != after[*at]) {
            let (x, y) = ((at % 130) as i32, (at / 130) as i32);
            prop_assert!(shown.contains(Rect { x, y, w: 1, h: 1 }), "({x}, {y}) is not in {shown:?}");
        }
    }
}

/// Any placements of an opaque layer and of one that is not, of 64 pixels each way.
fn any_stack() -> impl Strategy<Value = Vec<Placement>> {
    let placement = (
        0u32..2,
        -20i32..20,
        -20i32..20,
        1u32..80,
        1u32..80,
        any::<bool>(),
    );
    let placed = |(layer, x, y, w, h, natural): (u32, i32, i32, u32, u32, bool)| Placement {
        layer: LayerId(layer),
        output: OutputId(0),
        dst: scene::Rect { x, y, w, h },
        src: match natural {
            true => Crop::whole(Size {
                w: w.min(64),
                h: h.min(64),
            }),
            false => Crop::whole(Size { w: 64, h: 64 }),
        },
        transform: Transform::Normal,
        opacity: 255,
    };
    prop::collection::vec(placement.prop_map(placed), 0..40)
}

proptest! {
    /// What is left can be drawn, one more could not, and more may be drawn for more.
    #[test]
    fn as_much_as_can_be_drawn_is_left(stack in any_stack(), copies in 1u64..64) {
        let (size, side) = (Size { w: 40, h: 30 }, Size { w: 64, h: 64 });
        let picture = |layer: LayerId| {
            Some(Picture { alpha: layer == LayerId(1), ..translucent(side) })
        };
        let first = first_affordable(&stack, size, copies, picture);
        prop_assert_eq!(first_affordable(&stack[first..], size, copies, picture), 0);
        if first > 0 {
            prop_assert_eq!(first_affordable(&stack[first - 1..], size, copies, picture), 1);
        }
        prop_assert!(first_affordable(&stack, size, copies + 1, picture) <= first);
    }
}

fn translucent(size: Size) -> Picture<'static> {
    Picture {
        size,
        alpha: true,
        opaque: &[],
        pixels: &[],
    }
}

#[test]
fn what_can_be_drawn_in_time_is_what_is_highest() {
    let size = Size { w: 10, h: 10 };
    let stretched = |layer| Placement {
        layer: LayerId(layer),
        output: OutputId(0),
        dst: scene::Rect {
            x: -5,
            y: -5,
            w: 40,
            h: 40,
        },
        src: Crop {
            x: 0,
            y: 0,
            w: 256,
            h: 256,
        },
        transform: Transform::Normal,
        opacity: 255,
    };
    let stack: Vec<_> = (0..70).map(stretched).collect();
    let dot = Size { w: 1, h: 1 };
    let first =
        |stack: &[Placement]| first_affordable(stack, size, MAX_COST, |_| Some(translucent(dot)));
    assert_eq!(first(&stack), 6, "sixteen copies each");
    assert_eq!(first(&stack[6..]), 0);
    // What is below one that covers all costs nothing.
    let covered = |layer: LayerId| {
        Some(Picture {
            alpha: layer != LayerId(40),
            ..translucent(dot)
        })
    };
    assert_eq!(first_affordable(&stack, size, MAX_COST, covered), 0);
    // What is beside the output neither.
    let beside = |n: u32| Placement {
        dst: scene::Rect {
            x: 10,
            y: 0,
            w: 40,
            h: 40,
        },
        ..stretched(n)
    };
    let beside: Vec<_> = (0..1000).map(beside).collect();
    assert_eq!(first(&beside), 0);
    // A rectangle of any size and place is one.
    let far = scene::Rect {
        x: i32::MIN,
        y: i32::MAX,
        w: u32::MAX,
        h: u32::MAX,
    };
    let far: Vec<_> = (0..1000)
        .map(|n| Placement {
            dst: far,
            ..stretched(n)
        })
        .collect();
    assert_eq!(first(&far), 0);
}

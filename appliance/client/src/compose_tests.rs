use heliostat_wire::List;
use heliostat_wire::id::LayerId;
use heliostat_wire::output::{Output, Outputs, Size};
use heliostat_wire::scene::{Crop, FrameHeader, SceneOp, Transform, UNITS_PER_PIXEL};
use proptest::prelude::*;

use super::*;
use crate::scene::Budget;

fn compose(scene: &Scene, output: OutputId, area: Rect, target: &mut Target<'_>) {
    compose_with_holes(scene, output, &[], area, target);
}

const OUT: OutputId = OutputId(0);
const W: u32 = 90;
const H: u32 = 70;

fn outputs() -> Outputs {
    List::truncated(vec![Output {
        id: OUT,
        connector: "T-1".into(),
        make: "".into(),
        model: "".into(),
        size: Size { w: W, h: H },
        refresh_mhz: 60_000,
        physical_mm: Size { w: 0, h: 0 },
        x: 0,
        y: 0,
    }])
}

fn batch(layer: u32, size: Size, seed: u32) -> Vec<u8> {
    let mut encoder = heliostat_tiles::Encoder::new(1);
    let pixels: Vec<u32> = (0..size.w * size.h)
        .map(|i| {
            let alpha = (i.wrapping_mul(seed) >> 3) & 0xff;
            let channel = |n: u32| (i % n) * alpha / 8;
            (alpha << 24) | (channel(7) << 16) | (channel(5) << 8) | (alpha / 3)
        })
        .collect();
    let view = heliostat_tiles::PixelsRef::new(&pixels, size.w as usize, size.w, size.h).unwrap();
    let area = heliostat_tiles::Rect {
        x: 0,
        y: 0,
        w: size.w,
        h: size.h,
    };
    for cell in heliostat_tiles::cells(area) {
        encoder.push(layer, cell, view.sub(cell).unwrap(), None);
    }
    let mut out = Vec::new();
    encoder.finish(&mut out);
    out
}

#[derive(Debug, Clone)]
enum Step {
    Create {
        id: u32,
        w: u32,
        h: u32,
        alpha: bool,
        seed: u32,
    },
    Place {
        id: u32,
        dst: (i32, i32, u32, u32),
        src: (u32, u32, u32, u32),
        t: u8,
        opacity: u8,
    },
    Move {
        id: u32,
        x: i32,
        y: i32,
    },
    Destroy {
        id: u32,
    },
    Raise,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0u32..4;
    let opacity = prop_oneof![Just(255u8), any::<u8>()];
    let dst = (-20i32..90, -20i32..70, 1u32..80, 1u32..80);
    let src = any::<(u32, u32, u32, u32)>();
    prop_oneof![
        (id.clone(), 1u32..80, 1u32..80, any::<bool>(), any::<u32>()).prop_map(
            |(id, w, h, alpha, seed)| Step::Create {
                id,
                w,
                h,
                alpha,
                seed
            }
        ),
        (id.clone(), dst, src, 0u8..12, opacity).prop_map(|(id, dst, src, t, opacity)| {
            Step::Place {
                id,
                dst,
                src,
                t,
                opacity,
            }
        }),
        (id.clone(), -20i32..90, -20i32..70).prop_map(|(id, x, y)| Step::Move { id, x, y }),
        id.prop_map(|id| Step::Destroy { id }),
        Just(Step::Raise),
    ]
}

/// The frame that a step is, if it is one for this scene.
fn frame(scene: &Scene, step: &Step) -> Option<(SceneOp, Vec<u8>)> {
    let nothing = vec![0, 0, 0];
    let placed = |id: u32| {
        scene
            .output(OUT)
            .unwrap()
            .stack
            .iter()
            .any(|placement| placement.layer == LayerId(id))
    };
    Some(match *step {
        Step::Create {
            id,
            w,
            h,
            alpha,
            seed,
        } => {
            let (layer, size) = (LayerId(id), Size { w, h });
            let op = match scene.layer(layer) {
                Some(_) => SceneOp::ResizeLayer { layer, size, alpha },
                None => SceneOp::CreateLayer { layer, size, alpha },
            };
            (op, batch(id, size, seed))
        }
        Step::Place {
            id,
            dst: (x, y, w, h),
            src,
            t,
            opacity,
        } => {
            let layer = LayerId(id);
            let size = scene.layer(layer)?.size;
            let (full_w, full_h) = (size.w * UNITS_PER_PIXEL, size.h * UNITS_PER_PIXEL);
            let (sx, sy) = (src.0 % full_w, src.1 % full_h);
            let crop = Crop {
                x: sx,
                y: sy,
                w: src.2 % (full_w - sx) + 1,
                h: src.3 % (full_h - sy) + 1,
            };
            let turned = [
                Transform::Rotate90,
                Transform::Rotate180,
                Transform::Rotate270,
                Transform::Flipped,
                Transform::Flipped90,
                Transform::Flipped180,
                Transform::Flipped270,
            ];
            let transform = turned.get(usize::from(t)).copied().unwrap_or_default();
            // A third of the placements is exact, as most are on a desktop.
            let (src, dst) = if t > 8 {
                let dst = heliostat_wire::scene::Rect {
                    x,
                    y,
                    w: size.w,
                    h: size.h,
                };
                (Crop::whole(size), dst)
            } else {
                (crop, heliostat_wire::scene::Rect { x, y, w, h })
            };
            let placement = Placement {
                layer,
                output: OUT,
                dst,
                src,
                transform,
                opacity,
            };
            (SceneOp::Place(placement), nothing)
        }
        Step::Move { id, x, y } if placed(id) => (
            SceneOp::Move {
                layer: LayerId(id),
                output: OUT,
                x,
                y,
            },
            nothing,
        ),
        Step::Destroy { id } if scene.layer(LayerId(id)).is_some() => {
            (SceneOp::DestroyLayer { layer: LayerId(id) }, nothing)
        }
        Step::Raise => {
            let stack = &scene.output(OUT).unwrap().stack;
            let layers = stack
                .iter()
                .rev()
                .map(|placement| placement.layer)
                .collect();
            (
                SceneOp::Stack {
                    output: OUT,
                    layers: List::truncated(layers),
                },
                nothing,
            )
        }
        _ => return None,
    })
}

fn target(pixels: &mut [u32]) -> Target<'_> {
    Target {
        pixels,
        stride: W as usize,
        bounds: Rect::of_size(W, H),
    }
}

proptest! {
    #[test]
    fn drawing_only_the_damage_gives_the_same_picture(
        steps in prop::collection::vec(step(), 1..25)
    ) {
        let mut scene = Scene::new(&outputs(), Budget::default());
        let mut screen = vec![0; (W * H) as usize];
        for step in steps {
            let Some((op, content)) = frame(&scene, &step) else { continue };
            let ops = List::truncated(vec![op]);
            scene.apply(&FrameHeader { serial: 1, last_input: 0, overtakes: 0, ops }, &content).unwrap();
            for rect in scene.take_damage(OUT).rects() {
                compose(&scene, OUT, *rect, &mut target(&mut screen));
            }
            let mut whole = vec![0; screen.len()];
            compose(&scene, OUT, Rect::of_size(W, H), &mut target(&mut whole));
            let differing = (0..screen.len()).find(|&i| screen[i] << 8 != whole[i] << 8);
            prop_assert_eq!(differing.map(|i| (i as u32 % W, i as u32 / W)), None);
        }
    }
}

#[test]
fn rotation_turns_the_way_wayland_says() {
    // A layer of two pixels, red left of green; turned by 90° counter-clockwise green is on top.
    let mut scene = Scene::new(&outputs(), Budget::default());
    let layer = LayerId(0);
    let size = Size { w: 2, h: 1 };
    let pixels = [0xffff_0000, 0xff00_ff00];
    let mut encoder = heliostat_tiles::Encoder::new(1);
    let view = heliostat_tiles::PixelsRef::new(&pixels, 2, 2, 1).unwrap();
    encoder.push(
        0,
        heliostat_tiles::Rect {
            x: 0,
            y: 0,
            w: 2,
            h: 1,
        },
        view,
        None,
    );
    let mut content = Vec::new();
    encoder.finish(&mut content);
    let ops = vec![
        SceneOp::CreateLayer {
            layer,
            size,
            alpha: false,
        },
        SceneOp::Place(Placement {
            layer,
            output: OUT,
            dst: heliostat_wire::scene::Rect {
                x: 0,
                y: 0,
                w: 1,
                h: 2,
            },
            src: Crop::whole(size),
            transform: Transform::Rotate90,
            opacity: 255,
        }),
    ];
    let header = FrameHeader {
        serial: 1,
        last_input: 0,
        overtakes: 0,
        ops: List::truncated(ops),
    };
    scene.apply(&header, &content).unwrap();
    let mut screen = vec![0; (W * H) as usize];
    compose(&scene, OUT, Rect::of_size(W, H), &mut target(&mut screen));
    assert_eq!([screen[0], screen[W as usize]], [0xff00_ff00, 0xffff_0000]);
}

proptest! {
    #[test]
    fn plane_seen_through_a_hole_looks_as_if_its_pixels_were_drawn(
        film in (0i32..60, 0i32..40, 16i32..80, 16i32..60),
        over in (-20i32..80, -20i32..60, 1u32..80, 1u32..60),
        opacity in 0u8..=255,
        seeds in (1u32..999, 1u32..999),
        alpha in any::<bool>(),
        area in (-5i32..60, -5i32..60, 1i32..90, 1i32..90),
    ) {
        let film = Rect { x: film.0, y: film.1, w: film.2, h: film.3 }
            .intersection(Rect::of_size(W, H)).unwrap();
        let mut scene = Scene::new(&outputs(), Budget::default());
        let (below, above) = (Size { w: W, h: H }, Size { w: over.2, h: over.3 });
        let place = |id: u32, x: i32, y: i32, size: Size, opacity: u8| SceneOp::Place(Placement {
            layer: LayerId(id),
            output: OUT,
            dst: heliostat_wire::scene::Rect { x, y, w: size.w, h: size.h },
            src: Crop::whole(size),
            transform: Transform::Normal,
            opacity,
        });
        let create = |id: u32, size: Size, alpha: bool| SceneOp::CreateLayer { layer: LayerId(id), size, alpha };
        let header = |serial, ops| FrameHeader { serial, last_input: 0, overtakes: 0, ops: List::truncated(ops) };
        let ops = vec![
            create(1, below, false), create(2, above, alpha),
            place(1, 0, 0, below, 255), place(2, over.0, over.1, above, opacity),
        ];
        scene.apply(&header(1, ops), &batch(1, below, seeds.0)).unwrap();
        scene.apply(&header(2, Vec::new()), &batch(2, above, seeds.1)).unwrap();
        let area = Rect { x: area.0, y: area.1, w: area.2, h: area.3 };
        let draw = |holes: &[Hole]| {
            let mut pixels = vec![0x7777_7777; (W * H) as usize];
            let mut target = Target { pixels: &mut pixels, stride: W as usize, bounds: Rect::of_size(W, H) };
            compose_with_holes(&scene, OUT, holes, area, &mut target);
            pixels
        };
        let (whole, holed) = (draw(&[]), draw(&[Hole { layer: LayerId(1), rect: film }]));
        // The plane under it shows what the layer has there.
        let layer = scene.layer(LayerId(1)).unwrap();
        for (n, (whole, holed)) in whole.iter().zip(&holed).enumerate() {
            let (x, y) = (n as i32 % W as i32, n as i32 / W as i32);
            let dot = Rect { x, y, w: 1, h: 1 };
            if !area.contains(dot) {
                prop_assert_eq!((*whole, *holed), (0x7777_7777, 0x7777_7777));
                continue;
            }
            let under = if film.contains(dot) { layer.pixels[n] | 0xff00_0000 } else { 0xff00_0000 };
            if !film.contains(dot) {
                prop_assert_eq!(holed >> 24, 255, "see-through at {}, {}", x, y);
            }
            let mut seen = [under];
            blend_row(&mut seen, &[*holed], 255, true);
            let [seen] = seen;
            for channel in [0, 8, 16] {
                let (a, b) = (whole >> channel & 0xff, seen >> channel & 0xff);
                prop_assert!(a.abs_diff(b) <= 1, "{:x} {:x} at {}, {}", whole, seen, x, y);
            }
        }
    }
}

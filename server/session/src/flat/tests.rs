//! Random scenes: all back ends compose the same picture, damage by damage.

use std::collections::BTreeMap;
use std::time::Instant;

use heliostat_compose::geometry::{Damage, Rect};
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Crop, Placement, Rect as WireRect, Transform};
use proptest::prelude::*;

use super::composer::Composer;
use super::outputs::{Output, Tools};
use crate::content::Content;
use crate::gpu::Buffers;
use crate::scene::model::{Layer, Model};
use crate::scene::{OutputScene, Shape, Standing};
use crate::surface::Surface;

const OUT: OutputId = OutputId(0);
const SIZE: Size = Size { w: 150, h: 110 };

/// What is shown, and how.
#[derive(Debug, Clone)]
struct Look {
    size: Size,
    alpha: bool,
    /// All but its border is opaque, and said to be.
    opaque: bool,
    seed: u32,
    at: (i32, i32),
    /// Sides on the output, where they are others than in the layer.
    scaled: Option<(u32, u32)>,
    transform: Transform,
}

/// A change of one of the looks.
#[derive(Debug, Clone)]
enum Step {
    Draw(usize, u32, (u32, u32, u32, u32)),
    Move(usize, i32, i32),
    Raise(usize),
    Drop(usize),
    Add(Look),
    Background(u32),
}

fn look(plain: bool) -> impl Strategy<Value = Look> {
    let transforms = prop_oneof![
        Just(Transform::Normal),
        Just(Transform::Rotate90),
        Just(Transform::Rotate180),
        Just(Transform::Rotate270),
        Just(Transform::Flipped),
        Just(Transform::Flipped90),
        Just(Transform::Flipped180),
        Just(Transform::Flipped270),
    ];
    let scaled = prop::option::of((1u32..170, 1u32..130));
    (
        (1u32..120, 1u32..100),
        any::<bool>(),
        any::<bool>(),
        1u32..1000,
        (-60i32..140, -50i32..100),
        scaled,
        transforms,
    )
        .prop_map(
            move |((w, h), alpha, opaque, seed, at, scaled, transform)| Look {
                size: Size { w, h },
                alpha,
                opaque,
                seed,
                at,
                scaled: scaled.filter(|_| !plain),
                transform: if plain { Transform::Normal } else { transform },
            },
        )
}

fn step(plain: bool) -> impl Strategy<Value = Step> {
    let rect = (0u32..100, 0u32..80, 1u32..60, 1u32..60);
    prop_oneof![
        3 => (any::<usize>(), 1u32..1000, rect).prop_map(|(n, seed, rect)| Step::Draw(n, seed, rect)),
        3 => (any::<usize>(), -60i32..140, -50i32..100).prop_map(|(n, x, y)| Step::Move(n, x, y)),
        1 => any::<usize>().prop_map(Step::Raise),
        1 => any::<usize>().prop_map(Step::Drop),
        2 => look(plain).prop_map(Step::Add),
        1 => (0u32..1 << 24).prop_map(Step::Background),
    ]
}

/// A smooth picture with an edge or two: what filters round, they do not round far.
fn pixel(look: &Look, seed: u32, x: u32, y: u32) -> u32 {
    let Size { w, h } = look.size;
    let border = x < 3 || y < 3 || x + 3 >= w || y + 3 >= h;
    let a = match look.alpha && (border || !look.opaque) {
        true => 255 - (x + y + seed) % 256,
        false => 255,
    };
    let channel = |value: u32| value % 256 * a / 255;
    let r = channel(if x + y < seed % 200 { 40 } else { 200 });
    let (g, b) = (channel(x + seed), channel(y * 2 + seed));
    a << 24 | r << 16 | g << 8 | b
}

struct Desk {
    looks: Vec<(LayerId, Look)>,
    surfaces: BTreeMap<LayerId, Surface>,
    buffers: Buffers,
    background: u32,
    next: u32,
}

impl Desk {
    fn new() -> Self {
        Self {
            looks: Vec::new(),
            surfaces: BTreeMap::new(),
            buffers: Default::default(),
            background: 0x20_3040,
            next: 0,
        }
    }

    /// Composes what has changed.
    fn compose(&mut self, output: &mut Output, composer: &mut Composer, room: &mut Vec<u32>) {
        let touched = self.touched();
        output.note(&self.shown(), &self.shapes(), &touched);
        let standing: Vec<_> = self
            .looks
            .iter()
            .map(|(layer, look)| {
                let surface = &self.surfaces[layer];
                Standing {
                    content: &surface.content,
                    newest: None,
                    view: &surface.view,
                    at: look.at,
                }
            })
            .collect();
        let buffers = &self.buffers;
        let mut compose = || {
            let tools = Tools {
                composer: &mut *composer,
                room: &mut *room,
                buffers,
                now: Instant::now(),
            };
            output.compose(OUT, &standing, tools)
        };
        if compose().is_err() {
            compose().expect("the processor does not fail");
        }
    }

    fn add(&mut self, look: &Look) {
        self.next += 1;
        let layer = LayerId(self.next);
        let content = Content::new(layer, look.size, look.alpha);
        self.surfaces.insert(layer, Surface::new(None, content));
        self.looks.push((layer, look.clone()));
        self.draw(self.looks.len() - 1, look.seed, (0, 0, 200, 200));
    }

    fn draw(&mut self, n: usize, seed: u32, (x, y, w, h): (u32, u32, u32, u32)) {
        let (layer, look) = &self.looks[n];
        let area = heliostat_tiles::Rect { x, y, w, h };
        let surface = self.surfaces.get_mut(layer).expect("known");
        surface.content.update(area, |x, y, run| {
            for (x, pixel_of) in (x..).zip(run.iter_mut()) {
                *pixel_of = pixel(look, seed, x, y);
            }
            true
        });
    }

    fn step(&mut self, step: &Step) {
        let count = self.looks.len();
        let pick = |n: usize| n % count.max(1);
        match step {
            Step::Add(look) if count < 6 => self.add(look),
            Step::Background(rgb) => self.background = *rgb,
            _ if count == 0 => {}
            Step::Draw(n, seed, rect) => self.draw(pick(*n), *seed, *rect),
            Step::Move(n, x, y) => self.looks[pick(*n)].1.at = (*x, *y),
            Step::Raise(n) => {
                let raised = self.looks.remove(pick(*n));
                self.looks.push(raised);
            }
            Step::Drop(n) => {
                let (layer, _) = self.looks.remove(pick(*n));
                self.surfaces.remove(&layer);
            }
            Step::Add(_) => {}
        }
    }

    fn shapes(&self) -> BTreeMap<LayerId, Shape> {
        let shape = |(layer, look): &(LayerId, Look)| {
            let Size { w, h } = look.size;
            let inner = look.alpha && look.opaque && w > 6 && h > 6;
            let inner = inner.then(|| WireRect {
                x: 3,
                y: 3,
                w: w - 6,
                h: h - 6,
            });
            let shape = Shape {
                size: look.size,
                alpha: look.alpha,
                opaque: inner.into_iter().collect(),
            };
            (*layer, shape)
        };
        self.looks.iter().map(shape).collect()
    }

    fn shown(&self) -> OutputScene {
        let place = |(layer, look): &(LayerId, Look)| {
            let (w, h) = look.scaled.unwrap_or((look.size.w, look.size.h));
            let (x, y) = look.at;
            Placement {
                layer: *layer,
                output: OUT,
                dst: WireRect { x, y, w, h },
                src: Crop::whole(look.size),
                transform: look.transform,
                opacity: 255,
            }
        };
        OutputScene {
            background: self.background,
            stack: self.looks.iter().map(place).collect(),
        }
    }

    fn touched(&mut self) -> BTreeMap<LayerId, Damage> {
        let surfaces = self.surfaces.iter_mut();
        surfaces
            .map(|(layer, surface)| (*layer, surface.content.take_touched()))
            .filter(|(_, touched)| !touched.is_empty())
            .collect()
    }

    /// As a terminal would show it that holds all layers.
    fn model(&self) -> Model {
        let mut model = Model::default();
        let shown = self.shown();
        model.outputs.insert(OUT, (shown.background, shown.stack));
        for (layer, look) in &self.looks {
            let mut held = Layer::new(look.size, look.alpha);
            held.pixels = self.surfaces[layer].content.pixels().to_vec();
            model.layers.insert(*layer, held);
        }
        model
    }
}

/// Composes after each step as far as it is damaged, and hands over each picture.
fn play(
    looks: &[Look],
    steps: &[Step],
    mut composer: Composer,
    mut check: impl FnMut(&Desk, &[u32]),
) {
    let mut desk = Desk::new();
    looks.iter().for_each(|look| desk.add(look));
    let is_software = matches!(composer, Composer::Software);
    let (mut output, mut room) = (Output::default(), Vec::new());
    output.take_size(SIZE, || LayerId(1000));
    let nothing = [Step::Background(desk.background)];
    for step in nothing.iter().chain(steps) {
        desk.step(step);
        desk.compose(&mut output, &mut composer, &mut room);
        let surface = output.surface.as_ref().expect("it has a size");
        check(&desk, surface.content.pixels());
    }
    let is_same = matches!(composer, Composer::Software) == is_software;
    assert!(is_same, "GLES did not fail");
}

fn apart(a: u32, b: u32) -> u8 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    (0..3).map(|n| a[n].abs_diff(b[n])).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn processor_composes_what_a_terminal_with_room_would_show(
        looks in prop::collection::vec(look(true), 0..5),
        steps in prop::collection::vec(step(true), 0..12),
    ) {
        play(&looks, &steps, Composer::Software, |desk, pixels| {
            let model = desk.model();
            let has_alpha = desk.looks.iter().filter(|(_, look)| look.alpha).count();
            // The model does not round, once for each layer that shines through.
            let most = has_alpha as u8;
            for (at, pixel) in (0..).zip(pixels) {
                let (x, y) = (at % SIZE.w as i32, at / SIZE.w as i32);
                let expected = model.pixel(OUT, x, y);
                assert!(apart(*pixel, expected) <= most, "at ({x}, {y}): {pixel:08x} for {expected:06x}");
            }
        });
    }

    #[test]
    fn composing_the_damage_is_composing_all(
        looks in prop::collection::vec(look(false), 0..5),
        steps in prop::collection::vec(step(false), 0..12),
    ) {
        play(&looks, &steps, Composer::Software, |desk, pixels| {
            let shapes = desk.shapes();
            let opaque: BTreeMap<_, Vec<Rect>> = shapes
                .iter()
                .map(|(layer, shape)| (*layer, shape.opaque.iter().copied().map(Rect::from_wire).collect()))
                .collect();
            let picture = |layer: LayerId| {
                let content = &desk.surfaces.get(&layer)?.content;
                Some(heliostat_compose::Picture {
                    size: content.size(),
                    alpha: content.alpha(),
                    opaque: &opaque[&layer],
                    pixels: content.pixels(),
                })
            };
            let bounds = Rect::of_size(SIZE.w, SIZE.h);
            let mut whole = vec![0; pixels.len()];
            let shown = desk.shown();
            heliostat_compose::compose(
                &heliostat_compose::Shown { background: shown.background, stack: &shown.stack },
                picture,
                bounds,
                &mut heliostat_compose::Target { pixels: &mut whole, stride: SIZE.w as usize, bounds },
            );
            let wrong = (0..whole.len()).find(|at| apart(whole[*at], pixels[*at]) > 0);
            assert_eq!(wrong, None);
        });
    }
}

#[cfg(feature = "gpu")]
mod gpu;

//! One flat output: its layer, and what of it has to be composed.

use std::collections::BTreeMap;

use heliostat_compose::geometry::{Damage, Rect};
use heliostat_compose::{Picture, Shown, exact_offset, shown_at};
use heliostat_tiles::Rect as TileRect;
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Crop, Placement, Rect as WireRect, Transform};

use super::choice::Choice;
use super::composer::{Composer, Job, Layer};
use crate::content::Content;
use crate::scene::{OutputScene, Scene, Shape, Standing};
use crate::surface::Surface;

/// What blending a pixel costs, of copies.
const BLENDING: u64 = 4;
/// What sampling a pixel costs, of copies.
const SAMPLING: u64 = 16;

/// An output with a flat layer.
#[derive(Debug, Default)]
pub struct Output {
    /// How it is shown.
    pub choice: Choice,
    /// Its layer.
    pub surface: Option<Surface>,
    /// What was composed last, lowest first.
    stack: Vec<(Placement, Shape)>,
    background: u32,
    /// All of it was composed since it has this size.
    is_whole: bool,
    /// What is to be composed, and what of each layer has changed since.
    damage: Damage,
    touched: BTreeMap<LayerId, Damage>,
}

impl Output {
    /// The output has this size; `next_layer` names its layer, if it has none.
    pub fn take_size(&mut self, size: Size, next_layer: impl FnOnce() -> LayerId) {
        match &mut self.surface {
            Some(surface) if surface.content.size() == size => return,
            Some(surface) => surface.content.reshape(size, false),
            empty => *empty = Some(Surface::new(None, Content::new(next_layer(), size, false))),
        }
        self.is_whole = false;
        self.damage = Damage::new();
        self.damage.add(Rect::of_size(size.w, size.h));
    }

    /// The layer, and what it is.
    pub fn shape(&self) -> Option<(LayerId, Shape)> {
        let content = &self.surface.as_ref()?.content;
        let shape = Shape {
            size: content.size(),
            alpha: false,
            opaque: Vec::new(),
        };
        Some((content.layer(), shape))
    }

    /// The layer on its output.
    pub fn placement(&self, layer: LayerId, output: OutputId) -> Placement {
        let size = self.surface.as_ref().map(|surface| surface.content.size());
        let size = size.unwrap_or(Size { w: 1, h: 1 });
        let Size { w, h } = size;
        Placement {
            layer,
            output,
            dst: WireRect { x: 0, y: 0, w, h },
            src: Crop::whole(size),
            transform: Transform::Normal,
            opacity: 255,
        }
    }

    /// Where a layer was when this was composed.
    pub fn composed(&self, layer: LayerId) -> Option<&Placement> {
        let mut placements = self.stack.iter().map(|(placement, _)| placement);
        placements.find(|placement| placement.layer == layer)
    }

    /// The layers whose pixels it has.
    pub fn composed_layers(&self) -> impl Iterator<Item = LayerId> {
        self.stack.iter().map(|(placement, _)| placement.layer)
    }

    /// Whether it stays as it is until all of it was sent, so that some time it was.
    pub fn is_frozen(&self) -> bool {
        let is_sent = self.surface.as_ref().is_some_and(|s| s.content.was_sent());
        self.choice == Choice::Filling && self.is_whole && !is_sent
    }

    /// Notes what is to be composed anew: it is to show `shown`, and of its layers was drawn what is in
    /// `touched`.
    pub fn note(
        &mut self,
        shown: &OutputScene,
        shapes: &BTreeMap<LayerId, Shape>,
        touched: &BTreeMap<LayerId, Damage>,
    ) {
        let shape =
            |placement: &Placement| Some((*placement, shapes.get(&placement.layer)?.clone()));
        let stack: Vec<_> = shown.stack.iter().filter_map(shape).collect();
        if shown.background != self.background {
            self.background = shown.background;
            let size = self.surface.as_ref().map(|surface| surface.content.size());
            size.into_iter()
                .for_each(|size| self.damage.add(Rect::of_size(size.w, size.h)));
        }
        let pairs = || self.stack.iter().zip(&stack);
        let lowest = pairs().take_while(|(old, new)| old == new).count();
        let tops = self.stack[lowest..].iter().rev();
        let tops = tops.zip(stack[lowest..].iter().rev());
        let highest = tops.take_while(|(old, new)| old == new).count();
        let changed = self.stack[lowest..self.stack.len() - highest].iter();
        let changed = changed.chain(&stack[lowest..stack.len() - highest]);
        for (placement, _) in changed {
            self.damage.add(Rect::from_wire(placement.dst));
        }
        for (placement, _) in &stack {
            let Some(touched) = touched.get(&placement.layer) else {
                continue;
            };
            self.touched
                .entry(placement.layer)
                .or_default()
                .add_all(touched);
            for rect in touched.rects() {
                self.damage.add(shown_at(placement, *rect));
            }
        }
        // Whoever composes forgets layers that are not shown.
        for (placement, shape) in &stack {
            if self.composed(placement.layer).is_none() {
                let whole = Rect::of_size(shape.size.w, shape.size.h);
                self.touched.entry(placement.layer).or_default().add(whole);
            }
        }
        let placed = |id: &LayerId| stack.iter().any(|(placement, _)| placement.layer == *id);
        self.touched.retain(|id, _| placed(id));
        self.stack = stack;
    }

    /// Composes what is to be composed.
    pub fn compose(
        &mut self,
        id: OutputId,
        standing: &[Standing<'_>],
        composer: &mut Composer,
        room: &mut Vec<u32>,
    ) {
        let Some(surface) = &mut self.surface else {
            return;
        };
        let size = surface.content.size();
        self.damage.clip(Rect::of_size(size.w, size.h));
        self.is_whole = true;
        if self.damage.is_empty() {
            return;
        }
        let touched = std::mem::take(&mut self.touched);
        let damage = std::mem::take(&mut self.damage);
        let opaque: Vec<Vec<Rect>> = self
            .stack
            .iter()
            .map(|(_, shape)| shape.opaque.iter().copied().map(Rect::from_wire).collect())
            .collect();
        let contents: BTreeMap<_, _> = standing
            .iter()
            .map(|layer| (layer.content.layer(), layer.content))
            .collect();
        let nothing = Damage::new();
        let layers: Vec<_> = self
            .stack
            .iter()
            .zip(&opaque)
            .filter_map(|((placement, shape), opaque)| {
                let content = contents.get(&placement.layer)?;
                Some(Layer {
                    id: placement.layer,
                    picture: Picture {
                        size: shape.size,
                        alpha: shape.alpha,
                        opaque,
                        pixels: content.pixels(),
                    },
                    touched: touched.get(&placement.layer).unwrap_or(&nothing),
                })
            })
            .collect();
        let stack: Vec<_> = self.stack.iter().map(|(placement, _)| *placement).collect();
        let job = Job {
            output: id,
            size,
            shown: Shown {
                background: self.background,
                stack: &stack,
            },
            layers: &layers,
            damage: &damage,
        };
        let content = &mut surface.content;
        composer.compose(&job, room, |rect, pixels| take(content, rect, pixels));
    }
}

/// Takes pixels of a part of the output, which is inside, into its content.
fn take(content: &mut Content, rect: Rect, pixels: &[u32]) {
    let (x, y) = (rect.x as u32, rect.y as u32);
    let (w, h) = (rect.w as u32, rect.h as u32);
    content.update(TileRect { x, y, w, h }, |left, top, run| {
        let inside = (x..x + w).contains(&left) && (y..y + h).contains(&top);
        let start = inside.then(|| ((top - y) * w + left - x) as usize);
        let source = start.and_then(|start| pixels.get(start..start + run.len()));
        let source = source.filter(|_| left - x + run.len() as u32 <= w);
        source.map(|source| run.copy_from_slice(source)).is_some()
    });
}

/// What composing all of an output costs, in pixels copied.
pub fn cost(whole: &Scene, output: OutputId, size: Size) -> u64 {
    let screen = Rect::of_size(size.w, size.h);
    let stack = whole.outputs.get(&output);
    let stack = stack.map_or(&[][..], |shown| &shown.stack);
    let cost = |placement: &Placement| {
        let part = Rect::from_wire(placement.dst).intersection(screen);
        let area = part.map_or(0, |part| part.area() as u64);
        let alpha = whole.layers.get(&placement.layer).is_none_or(|s| s.alpha);
        let a_pixel = match (exact_offset(placement), alpha) {
            (Some(_), false) => 1,
            (Some(_), true) => BLENDING,
            (None, _) => SAMPLING,
        };
        area * a_pixel
    };
    stack.iter().map(cost).sum()
}

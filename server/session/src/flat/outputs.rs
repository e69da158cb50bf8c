//! One flat output: its layer, and what of it has to be composed.

use std::collections::BTreeMap;
use std::time::Instant;

use heliostat_compose::geometry::{Damage, Rect};
use heliostat_compose::{Picture, Shown, covers, exact_offset, shown_at};
use heliostat_tiles::Rect as TileRect;
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Crop, Placement, Rect as WireRect, Transform};

use super::choice::Choice;
use super::composer::{Composer, Failed, Job, Layer};
use crate::content::{Content, Hint};
use crate::gpu::{Buffers, Loan};
use crate::scene::{OutputScene, Scene, Shape, Standing};
use crate::surface::{self, Newest, Surface};

/// What blending a pixel costs, of copies.
const BLENDING: u64 = 4;
/// What sampling a pixel costs, of copies.
const SAMPLING: u64 = 16;
/// Most of an output, in percent.
const MOST: i64 = 70;

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
    /// What has changed since something was composed, be it that a client's buffer was lent instead.
    missed: Damage,
}

/// What an output is composed with.
#[derive(Debug)]
pub struct Tools<'a> {
    /// Who composes.
    pub composer: &'a mut Composer,
    /// Memory that is used again.
    pub room: &'a mut Vec<u32>,
    /// Buffers that can be lent.
    pub buffers: &'a Buffers,
    /// Now.
    pub now: Instant,
}

impl Output {
    /// The output has this size; `next_layer` names its layer, if it has none.
    pub fn take_size(&mut self, size: Size, next_layer: impl FnOnce() -> LayerId) {
        match &mut self.surface {
            Some(surface) if surface.content.size() == size => return,
            Some(surface) => {
                surface.content.reshape(size, false);
                surface.direct.end();
                surface.newest = None;
            }
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

    /// The buffer of the client that alone is to be seen, and fills the output: nothing need be
    /// composed then.
    pub fn scanned<'a>(&self, standing: &[Standing<'a>]) -> Option<(LayerId, &'a Loan)> {
        let (placement, shape) = self.stack.last()?;
        let layer = standing
            .iter()
            .find(|layer| layer.content.layer() == placement.layer)?;
        // What the content was to have read of it, and could not, is in no damage.
        let newest = layer.newest.filter(|newest| newest.again.is_none())?;
        let loan = &newest.loan;
        let opaque: Vec<_> = shape.opaque.iter().copied().map(Rect::from_wire).collect();
        let picture = Picture {
            size: shape.size,
            alpha: shape.alpha,
            opaque: &opaque,
            pixels: &[],
        };
        let size = self.surface.as_ref()?.content.size();
        let is_all = shape.size == size
            && exact_offset(placement) == Some((0, 0))
            && covers(&picture, placement, Rect::of_size(size.w, size.h));
        // What lies in luma and chroma is encoded wholly or not at all.
        let is_whole = self.lent().is_some_and(|film| film == whole(size));
        (is_all && loan.is_encoded() && (is_whole || !loan.is_nv12() || self.lent().is_none()))
            .then_some((placement.layer, loan))
    }

    /// The part that goes to the encoder as it is.
    pub fn lent(&self) -> Option<TileRect> {
        let surface = self.surface.as_ref()?;
        surface
            .content
            .lent()
            .filter(|_| surface.direct.is_lending())
    }

    /// Composes what is to be composed, or lends a client's buffer that is all of it. Where that fails,
    /// all of it is still to be composed.
    pub fn compose(
        &mut self,
        id: OutputId,
        standing: &[Standing<'_>],
        tools: Tools<'_>,
    ) -> Result<(), Failed> {
        let Tools {
            composer,
            room,
            buffers,
            now,
        } = tools;
        let lent = self.lent();
        let scanned = self.scanned(standing).map(|(_, loan)| loan);
        let is_film = self.shows_a_film(standing);
        let Some(surface) = &mut self.surface else {
            return Ok(());
        };
        let size = surface.content.size();
        self.damage.clip(Rect::of_size(size.w, size.h));
        self.is_whole = true;
        if self.damage.is_empty() {
            return Ok(());
        }
        let content = &mut surface.content;
        content.set_hint(is_film);
        let changed: Vec<_> = self.damage.rects().iter().map(to_tiles).collect();
        let to_read = match lent {
            Some(_) => content.note_damage(&changed),
            None => changed.clone(),
        };
        self.missed.add_all(&self.damage);
        let whole = scanned.filter(|_| lent.is_some()).cloned();
        let newest = match whole {
            // Where it is not read, what is beside the film would be of pictures before it.
            Some(loan) => surface::read(content, &loan, &to_read).then_some(loan),
            None => {
                let read: Vec<_> = to_read.iter().map(from_tiles).collect();
                let stack: Vec<_> = self.stack.iter().map(|(placement, _)| *placement).collect();
                let opaque = opaque_of(&self.stack);
                let layers = layers(&self.stack, &opaque, &self.touched, standing);
                let job = Job {
                    output: id,
                    size,
                    shown: Shown {
                        background: self.background,
                        stack: &stack,
                    },
                    layers: &layers,
                    damage: &self.missed,
                    read: &read,
                };
                let composed = composer.compose(&job, (room, buffers), |rect, pixels| {
                    take(content, rect, pixels)
                })?;
                self.touched.clear();
                self.missed = Damage::new();
                composed.or_else(|| scanned.cloned())
            }
        };
        if lent.is_some() && newest.is_none() {
            // Not all of it was read, and the encoder cannot have it.
            self.end_film();
            let tools = Tools {
                composer,
                room,
                buffers,
                now,
            };
            return self.compose(id, standing, tools);
        }
        let damaged = changed.iter().map(|rect| rect.area() as u64).sum();
        let area = u64::from(size.w) * u64::from(size.h);
        let committed = (damaged, content.take_changed(), area);
        surface.direct.committed(committed, now);
        let is_kept = lent.is_some() || surface.direct.is_promising(now);
        let newest = newest.filter(|_| is_kept).map(|loan| Newest {
            loan,
            unread: lent,
            at: now,
            again: None,
        });
        surface.newest = newest;
        self.damage = Damage::new();
        Ok(())
    }

    /// No part goes to the encoder as it is any more, and all of it is composed anew.
    pub fn end_film(&mut self) {
        if let Some(surface) = &mut self.surface {
            surface.content.end_video();
            surface.direct.end();
            surface.newest = None;
            let size = surface.content.size();
            self.damage.add(Rect::of_size(size.w, size.h));
        }
    }

    /// Where the film is over whose pixels are in a buffer that was composed, reads them from it.
    /// Returns whether there is anything new.
    pub fn settle(
        &mut self,
        composer: &mut Composer,
        (room, buffers): (&mut Vec<u32>, &Buffers),
    ) -> bool {
        let Some(surface) = &mut self.surface else {
            return false;
        };
        if !surface.direct.is_lending() || surface.content.is_lent() {
            return false;
        }
        surface.direct.end();
        let newest = surface.newest.take();
        let Some((loan, part)) = newest.and_then(|newest| Some((newest.loan, newest.unread?)))
        else {
            return false;
        };
        let content = &mut surface.content;
        let part = from_tiles(&part);
        let is_read = loan.is_own()
            && composer.read_back(&loan, part, (room, buffers), |rect, pixels| {
                take(content, rect, pixels);
            });
        if !is_read {
            // It is drawn once more instead.
            self.damage.add(part);
        }
        true
    }

    /// What the client says whose layer is most of the output.
    fn shows_a_film(&self, standing: &[Standing<'_>]) -> Hint {
        let size = self.surface.as_ref().map(|surface| surface.content.size());
        let whole = size.map_or(Rect::of_size(0, 0), |size| Rect::of_size(size.w, size.h));
        let is_most = |placement: &Placement| {
            let part = Rect::from_wire(placement.dst).intersection(whole);
            part.is_some_and(|part| part.area() * 100 >= whole.area() * MOST)
        };
        let most = self
            .stack
            .iter()
            .rev()
            .find(|(placement, _)| is_most(placement));
        let layer = most.and_then(|(most, _)| {
            let mut layers = standing.iter();
            layers.find(|layer| layer.content.layer() == most.layer)
        });
        match layer.map(|layer| layer.content.hint()) {
            Some(Hint::Film) => Hint::Film,
            _ => Hint::Nothing,
        }
    }
}

fn opaque_of(stack: &[(Placement, Shape)]) -> Vec<Vec<Rect>> {
    let opaque = |shape: &Shape| shape.opaque.iter().copied().map(Rect::from_wire).collect();
    stack.iter().map(|(_, shape)| opaque(shape)).collect()
}

/// The layers of a stack as they are composed.
fn layers<'a>(
    stack: &[(Placement, Shape)],
    opaque: &'a [Vec<Rect>],
    touched: &'a BTreeMap<LayerId, Damage>,
    standing: &[Standing<'a>],
) -> Vec<Layer<'a>> {
    static NOTHING: Damage = Damage::new();
    let contents: BTreeMap<_, _> = standing
        .iter()
        .map(|layer| (layer.content.layer(), layer))
        .collect();
    let layer = |((placement, shape), opaque): (&(Placement, Shape), &'a Vec<Rect>)| {
        let standing = contents.get(&placement.layer)?;
        // What could not be read is shown as it was, but where its buffer is composed as it is.
        let is_composed = |newest: &&Newest| newest.unread.is_some() && newest.again.is_none();
        let unread = standing.newest.filter(is_composed);
        Some(Layer {
            id: placement.layer,
            picture: Picture {
                size: shape.size,
                alpha: shape.alpha,
                opaque,
                pixels: standing.content.pixels(),
            },
            touched: touched.get(&placement.layer).unwrap_or(&NOTHING),
            buffer: unread.map(|newest| &newest.loan),
        })
    };
    stack.iter().zip(opaque).filter_map(layer).collect()
}

/// Of a part of the output, which is inside.
fn to_tiles(rect: &Rect) -> TileRect {
    let [x, y, w, h] = [rect.x, rect.y, rect.w, rect.h].map(|side| side as u32);
    TileRect { x, y, w, h }
}

fn from_tiles(rect: &TileRect) -> Rect {
    Rect::of_area(rect.x, rect.y, rect.w, rect.h)
}

fn whole(size: Size) -> TileRect {
    let Size { w, h } = size;
    TileRect { x: 0, y: 0, w, h }
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

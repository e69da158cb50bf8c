//! Flat outputs: what a terminal cannot hold layer by layer, composed here and sent as one layer.
//!
//! To the terminal that is a layer like any other, as large as the output. What of it is to be drawn
//! anew follows from what was drawn in the surfaces ([`Content::take_touched`]) and from how the stack
//! differs from the one that was composed last; what of that has really changed, its [`Content`]
//! finds out.

mod choice;
pub mod composer;
mod desk;
#[cfg(all(test, feature = "gpu"))]
pub mod fake;
#[cfg(feature = "gpu")]
pub mod gles;
mod outputs;
#[cfg(feature = "gpu")]
pub mod swapchain;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use heliostat_compose::geometry::Damage;
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::scene::Placement;

pub use choice::Force;
use choice::{Choice, Load, needs};
use composer::{Composer, Failed, Wish};
use outputs::{Output, Tools, cost};

use crate::config::Config;
use crate::content::Content;
#[cfg(feature = "gpu")]
use crate::gpu::Wake;
use crate::gpu::{Buffers, Gpu};
use crate::outputs::Screen;
use crate::scene::{self, Budget, Scene, Standing, bytes_of};
use crate::surface::{Newest, Surface};

/// Who composes flat outputs on this machine, for people.
pub fn describe(config: &Config, gpu: &Gpu) -> String {
    let (_, said) = Composer::open(&wish(config, gpu), gpu);
    format!("flat outputs are composed {said}")
}

fn wish(config: &Config, gpu: &Gpu) -> Wish {
    let encoder = |node: &Path| (node.to_owned(), gpu.encodes_composed());
    Wish {
        render_node: config.render_node.clone(),
        flat_node: config.flat_node.clone(),
        encoder: gpu.node().map(encoder),
    }
}

/// What composing an output may cost, in copies of it.
const MOST_COST: u64 = 256;

/// Outputs that are flat, or become so, or cease to be.
#[derive(Debug, Default)]
pub struct Flat {
    outputs: BTreeMap<OutputId, Output>,
    composer: Option<Composer>,
    room: Vec<u32>,
}

/// What is on the desk, as the terminal is to hold it.
#[derive(Debug)]
pub struct Wanted {
    /// As far as it can.
    pub scene: Scene,
    /// As if it could hold everything, layer by layer.
    pub whole: Scene,
    /// Cells that were encoded already, of flat layers that are not shown yet or were not before.
    pub filled: u64,
}

/// Where a surface's pixels are, if not in its own layer.
#[derive(Debug, Clone, Copy)]
pub enum Standin<'a> {
    /// In this flat layer, at this place.
    Shown(Placement, &'a Content),
    /// Nowhere yet: a flat layer that will have them is being sent.
    Soon,
    /// Nowhere.
    Nowhere,
}

/// What of a surface flat outputs want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    /// It is on none of them.
    Nothing,
    /// Its pixels, read by the processor.
    Pixels,
    /// Its buffers, as they are; nobody wants its pixels.
    Buffers,
    /// Its buffers, and somebody else wants its pixels or has a film of it.
    Either,
}

impl Flat {
    /// The flat layers.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Surface> {
        let outputs = self.outputs.values_mut();
        outputs.filter_map(|output| output.surface.as_mut())
    }

    /// Whether there is any flat layer.
    pub fn is_on(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// How many outputs are shown flat.
    pub fn count(&self) -> u32 {
        let outputs = self.outputs.values();
        outputs.filter(|output| output.choice.is_flat()).count() as u32
    }

    /// All outputs go layer by layer.
    pub fn reset(&mut self) {
        for output in std::mem::take(&mut self.outputs).into_keys() {
            self.forget(output);
        }
    }

    /// This composes, whatever there is.
    #[cfg(all(test, feature = "gpu"))]
    pub(crate) fn compose_with(&mut self, composer: Composer) {
        self.composer = Some(composer);
    }

    /// Who composes.
    #[cfg(all(test, feature = "gpu"))]
    pub(crate) fn composer(&mut self) -> Option<&mut Composer> {
        self.composer.as_mut()
    }

    /// When an output has had room for its layers for long enough.
    pub fn deadline(&self) -> Option<Instant> {
        let outputs = self.outputs.values();
        outputs.filter_map(|output| output.choice.deadline()).min()
    }

    /// Has GLES compose again where its device was reset and has come back: it is tried out first, and the
    /// loop woken when that is done. Where nothing is flat nobody needs it before something is: then it is
    /// looked for anew.
    #[cfg(feature = "gpu")]
    fn return_gles(&mut self, now: Instant, wish: impl Fn() -> Wish, wake: impl FnOnce() -> Wake) {
        if !self.is_on() {
            // A trial that has begun is heard: a device that hangs in it must not be tried twice.
            self.composer.take_if(|composer| composer.is_resting());
        }
        let Some(composer) = &mut self.composer else {
            return;
        };
        let start = |id: &_| composer::try_out(wish(), id, wake());
        if composer.tend(now, start, |lease| Composer::reopen(&wish(), lease)) {
            tracing::info!("flat outputs are composed {} again", composer.describe());
        }
    }

    /// When to look whether GLES comes back.
    fn return_deadline(&self) -> Option<Instant> {
        self.composer.as_ref()?.deadline()
    }

    /// Where the pixels of a surface's layer are shown.
    pub fn standin(&self, layer: LayerId, area: impl Fn(&Placement) -> i64) -> Standin<'_> {
        let shown = self.outputs.values().filter_map(|output| {
            let surface = output.surface.as_ref()?;
            let placement = output.composed(layer)?;
            let is_flat = output.choice.is_flat();
            Some((is_flat, *placement, &surface.content))
        });
        let best = shown.max_by_key(|(is_flat, placement, _)| (*is_flat, area(placement)));
        match best {
            Some((true, placement, content)) => Standin::Shown(placement, content),
            Some((false, ..)) => Standin::Soon,
            None => Standin::Nowhere,
        }
    }

    /// Decides how each output is shown; those in `blank` show nothing now.
    fn decide(
        &mut self,
        whole: &Scene,
        (screens, blank): (&[Screen], &BTreeSet<OutputId>),
        (budget, force): (Budget, Force),
        (now, all_sent): (Instant, impl Fn(OutputId) -> bool),
    ) {
        let loads: Vec<_> = screens
            .iter()
            .map(|screen| {
                let choice = self.choice(screen.id);
                load(whole, screen, choice)
            })
            .collect();
        let needs = needs(&loads, budget, force);
        let gone = |id: &OutputId| !needs.contains_key(id);
        let gone: Vec<_> = self.outputs.keys().copied().filter(gone).collect();
        gone.into_iter().for_each(|id| self.forget(id));
        for (id, need) in needs {
            let before = self.choice(id);
            let mut choice = before.observe(need, blank.contains(&id), now);
            if choice == Choice::Returning && before == Choice::Returning && all_sent(id) {
                choice = choice.sent();
            }
            if choice.is_flat() != before.is_flat() {
                tracing::debug!(output = id.0, ?choice, "an output is shown otherwise");
            }
            match choice {
                Choice::Layers => self.forget(id),
                choice => self.outputs.entry(id).or_default().choice = choice,
            }
        }
    }

    fn choice(&self, id: OutputId) -> Choice {
        let known = self.outputs.get(&id);
        known.map_or(Choice::Layers, |output| output.choice)
    }

    fn forget(&mut self, id: OutputId) {
        self.outputs.remove(&id);
        if let Some(composer) = &mut self.composer {
            composer.forget(id);
        }
        if self.outputs.is_empty() {
            self.room = Vec::new();
        }
    }

    /// Notes what flat outputs are to show.
    fn note(&mut self, whole: &Scene, touched: &BTreeMap<LayerId, Damage>) {
        for (id, output) in &mut self.outputs {
            if let Some(shown) = whole.outputs.get(id) {
                output.note(shown, &whole.layers, touched);
            }
        }
    }

    /// Draws what has changed into the flat layers.
    fn compose(
        &mut self,
        standing: &[Standing<'_>],
        buffers: &Buffers,
        now: Instant,
    ) -> Result<(), Failed> {
        let Some(composer) = &mut self.composer else {
            return Ok(());
        };
        for (id, output) in &mut self.outputs {
            let tools = Tools {
                composer: &mut *composer,
                room: &mut self.room,
                buffers,
                now,
            };
            if !output.is_frozen() {
                output.compose(*id, standing, tools)?;
            }
        }
        Ok(())
    }

    /// Outputs for which a client's buffer goes to the encoder in place of what would be composed.
    fn scans(&self, standing: &[Standing<'_>]) -> BTreeMap<OutputId, LayerId> {
        let lent = self
            .outputs
            .iter()
            .filter(|(_, output)| output.lent().is_some());
        lent.filter_map(|(id, output)| Some((*id, output.scanned(standing)?.0)))
            .collect()
    }

    /// What of a surface flat outputs want.
    fn wants(
        &mut self,
        surface: &Surface,
        whole: &Scene,
        scans: &BTreeMap<OutputId, LayerId>,
    ) -> Wants {
        let layer = surface.content.layer();
        let (mut wants, mut is_alone) = (Wants::Nothing, true);
        let outputs = whole.outputs.iter().filter(|_| !self.outputs.is_empty());
        for (id, shown) in outputs {
            if !shown.stack.iter().any(|placement| placement.layer == layer) {
                continue;
            }
            let Some(output) = self.outputs.get(id) else {
                is_alone = false;
                continue;
            };
            is_alone &= matches!(output.choice, Choice::Flat(_));
            let takes = |newest: &Newest| {
                let composer = self.composer.as_mut();
                composer.is_some_and(|composer| composer.takes(*id, &newest.loan))
            };
            let is_scanned = scans.get(id) == Some(&layer);
            if !is_scanned && !surface.newest.as_ref().is_some_and(takes) {
                return Wants::Pixels;
            }
            wants = Wants::Buffers;
        }
        match wants {
            Wants::Buffers if !is_alone => Wants::Either,
            wants => wants,
        }
    }

    /// Films that are over, and were in buffers that were composed, are read. Returns whether any was.
    pub fn settle(&mut self, buffers: &Buffers) -> bool {
        let Some(composer) = &mut self.composer else {
            return false;
        };
        let mut any = false;
        for output in self.outputs.values_mut() {
            any |= output.settle(composer, (&mut self.room, buffers));
        }
        any
    }

    /// What the terminal is to hold of `whole`.
    fn scene(&self, whole: &Scene, heights: &[LayerId], budget: Budget) -> Scene {
        let mut layered = whole.clone();
        let mut left = budget;
        for (id, output) in &self.outputs {
            let Some((layer, shape)) = output.shape() else {
                continue;
            };
            left.layers = left.layers.saturating_sub(1);
            left.bytes = left.bytes.saturating_sub(bytes_of(shape.size));
            if let (Some(shown), Choice::Flat(_)) = (layered.outputs.get_mut(id), output.choice) {
                shown.stack.clear();
            }
            tracing::trace!(output = id.0, layer = layer.0, "a flat layer");
        }
        let mut scene = scene::fit(layered, heights, left);
        for (id, output) in &self.outputs {
            let (Some((layer, shape)), Some(shown)) = (output.shape(), scene.outputs.get_mut(id))
            else {
                continue;
            };
            if output.choice.is_flat() {
                shown.stack = vec![output.placement(layer, *id)];
            }
            scene.layers.insert(layer, shape);
        }
        scene
    }

    /// Cells of flat layers of which the terminal lacks something.
    fn dirty_cells(&self) -> u64 {
        let surfaces = self.outputs.values().filter_map(|o| o.surface.as_ref());
        surfaces
            .map(|surface| surface.content.dirty_cells() as u64)
            .sum()
    }

    /// Layers that are sent and not shown yet.
    fn filling(&self) -> BTreeSet<LayerId> {
        let outputs = self.outputs.values();
        outputs
            .filter(|output| output.choice == Choice::Filling)
            .filter_map(|output| Some(output.shape()?.0))
            .collect()
    }

    /// Those of them are shown that were wholly sent. Returns whether any is.
    fn show_filled(&mut self) -> bool {
        let mut any = false;
        for output in self.outputs.values_mut() {
            let is_sent = output
                .surface
                .as_ref()
                .is_some_and(|s| s.content.was_sent());
            if output.choice == Choice::Filling && is_sent {
                output.choice = output.choice.sent();
                any = true;
            }
        }
        any
    }

    fn is_returning(&self) -> bool {
        let mut outputs = self.outputs.values();
        outputs.any(|output| output.choice == Choice::Returning)
    }
}

fn load(whole: &Scene, screen: &Screen, choice: Choice) -> Load {
    let stack = whole.outputs.get(&screen.id);
    let stack = stack.map_or(&[][..], |shown| &shown.stack);
    let bytes = |placement: &Placement| {
        let shape = whole.layers.get(&placement.layer);
        (
            placement.layer,
            shape.map_or(0, |shape| bytes_of(shape.size)),
        )
    };
    let area = u64::from(screen.size.w) * u64::from(screen.size.h);
    Load {
        output: screen.id,
        layers: stack.iter().map(bytes).collect(),
        flat_bytes: bytes_of(screen.size),
        is_composable: cost(whole, screen.id, screen.size) <= MOST_COST * area,
        choice,
    }
}

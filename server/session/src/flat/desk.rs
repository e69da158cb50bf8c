//! The desk as the terminal is to hold it: who composes what, from what, and when.

use std::collections::BTreeMap;
use std::time::Instant;

use heliostat_compose::geometry::Damage;
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::scene::Placement;

use super::choice::Force;
use super::composer::Composer;
use super::{Flat, Wanted, Wants, wish};
use crate::app::App;
#[cfg(feature = "gpu")]
use crate::app::wake;
use crate::content::Content;
use crate::outputs::Screen;
use crate::scene::{self, Scene};
use crate::stage::Item;
use crate::surface::Surface;

impl App {
    /// What is on the desk, as far as the terminal can hold it; flat outputs are composed.
    pub(crate) fn wanted(&mut self, items: &[Item], now: Instant) -> Wanted {
        let mut flat = std::mem::take(&mut self.flat);
        let background = self.config.background;
        let standing = self.standing(items);
        let whole = scene::build(&standing, self.desk.screens(), background);
        let Some(terminal) = &self.terminal else {
            self.flat = flat;
            return Wanted {
                scene: whole.clone(),
                whole,
                filled: 0,
            };
        };
        let budget = terminal.budget();
        let told = &terminal.told;
        // It was told of nothing there since it is attached.
        let is_blank = |screen: &&Screen| !told.outputs.contains_key(&screen.id);
        let blank = self.desk.screens().iter().filter(is_blank);
        let blank = blank.map(|screen| screen.id).collect();
        // A locked session goes dark in one frame, however slow the link is.
        let force = match self.lock.is_locked() {
            true => Force::Never,
            false => self.config.flat,
        };
        let was_sent = |placement: &Placement| {
            let mut layers = standing.iter().map(|layer| layer.content);
            let content = layers.find(|content| content.layer() == placement.layer);
            content.is_some_and(Content::was_sent)
        };
        let all_sent = |id| {
            let shown = whole.outputs.get(&id);
            shown.is_some_and(|shown| shown.stack.iter().all(was_sent))
        };
        flat.decide(
            &whole,
            (self.desk.screens(), &blank),
            (budget, force),
            (now, all_sent),
        );
        let heights: Vec<_> = standing.iter().map(|layer| layer.content.layer()).collect();
        drop(standing);
        let shapes: Vec<_> = self.desk.screens().iter().map(|s| (s.id, s.size)).collect();
        for (id, size) in shapes {
            let surfaces = &mut self.surfaces;
            if let Some(output) = flat.outputs.get_mut(&id) {
                output.take_size(size, || surfaces.next_layer());
            }
        }
        self.flat = flat;
        self.compose_flat(items, &whole, now);
        let filling = self.flat.filling();
        let mut filled = 0;
        if !filling.is_empty() {
            self.hear_squeezed();
            let before = self.flat.dirty_cells();
            self.encode(|layer| filling.contains(&layer), now);
            filled = before.saturating_sub(self.flat.dirty_cells());
            if self.flat.show_filled() {
                // What was drawn while it was being sent comes with it.
                self.compose_flat(items, &whole, now);
            }
        }
        self.dirty.pixels |= self.flat.is_returning();
        let scene = self.flat.scene(&whole, &heights, budget);
        let scene = scene::afford(scene, self.desk.screens());
        Wanted {
            scene,
            whole,
            filled,
        }
    }

    /// Draws what has changed into the flat layers.
    fn compose_flat(&mut self, items: &[Item], whole: &Scene, now: Instant) {
        let mut flat = std::mem::take(&mut self.flat);
        if flat.is_on() && flat.composer.is_none() {
            let (composer, said) = Composer::open(&wish(&self.config, &self.gpu), &self.gpu);
            tracing::info!("flat outputs are composed {said}");
            flat.composer = Some(composer);
        }
        if flat.is_on() {
            flat.note(whole, &self.take_touched());
        }
        // Where GLES fails the processor composes, from pixels that are read first; so it does outputs, one
        // after the other, that are too much for GLES.
        for _ in 0..flat.outputs.len() + 2 {
            let scans = flat.scans(&self.standing(items));
            if self.share_out(&mut flat, whole, &scans, now) && flat.is_on() {
                flat.note(whole, &self.take_touched());
            }
            let standing = self.standing(items);
            if flat.compose(&standing, &self.surfaces.buffers, now).is_ok() {
                break;
            }
        }
        self.flat = flat;
    }

    /// Which surfaces are read from now on, and which are composed from their buffers. Returns whether
    /// any was read.
    fn share_out(
        &mut self,
        flat: &mut Flat,
        whole: &Scene,
        scans: &BTreeMap<OutputId, LayerId>,
        now: Instant,
    ) -> bool {
        let mut any = false;
        let is_shown = |surface: &Surface| whole.layers.contains_key(&surface.content.layer());
        for surface in self.surfaces.all_mut() {
            match flat.wants(surface, whole, scans) {
                Wants::Pixels => any |= surface.read_from_now_on(now),
                Wants::Buffers => surface.compose_from_buffers(),
                // What nobody sees need not be read.
                Wants::Nothing | Wants::Either if is_shown(surface) => {
                    if surface.direct.is_composed() {
                        any |= surface.read_from_now_on(now);
                    }
                }
                Wants::Nothing | Wants::Either => {}
            }
        }
        self.dirty.pixels |= any;
        any
    }

    /// What was drawn since the last time, where anybody composes it.
    fn take_touched(&mut self) -> BTreeMap<LayerId, Damage> {
        let surfaces = self.surfaces.all_mut().chain(self.titles.all_mut());
        let contents = surfaces.map(|surface| &mut surface.content);
        contents
            .map(|content| (content.layer(), content.take_touched()))
            .filter(|(_, touched)| !touched.is_empty())
            .collect()
    }

    /// An output may have had room for its layers for long enough.
    pub(crate) fn mind_flat(&mut self, now: Instant) {
        let is_due = self.flat.deadline().is_some_and(|at| at <= now);
        self.dirty.layout |= is_due && self.terminal.is_some();
        #[cfg(feature = "gpu")]
        {
            let wish = || wish(&self.config, &self.gpu);
            self.flat.return_gles(now, wish, || wake(&self.events));
        }
    }

    /// When that is.
    pub(crate) fn flat_deadline(&self) -> Option<Instant> {
        let waits = self.terminal.is_some() && !self.dirty.layout;
        let choice = self.flat.deadline().filter(|_| waits);
        choice.into_iter().chain(self.flat.return_deadline()).min()
    }
}

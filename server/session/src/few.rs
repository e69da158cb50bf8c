//! A few cells that are all there is to send: their frame goes before anything else is looked at.
//!
//! That is a letter typed, a button pressed, a cursor that blinks: the scene is as the terminal was
//! told, no film plays and nothing waits. So there is nothing to compare and nothing to choose, and
//! the frame is a matter of the cells alone, however large the desktop is. Flat outputs are composed
//! first, and take the longer way.

use std::time::Instant;

use heliostat_wire::id::LayerId;

use crate::allowance::SMALLEST;
use crate::app::App;
use crate::attach::{Attachment, Outgoing};
use crate::pace::Due;
use crate::surface::Surface;

/// More cells take so long that the way to them does not matter.
const FEW: usize = 4;

impl App {
    /// Sends what has changed, if it is no more than a few cells of a scene that the terminal knows,
    /// and a frame may go now. Otherwise nothing has happened.
    pub(crate) fn send_few(&mut self, now: Instant) {
        let is_simple = self.dirty.pixels && !self.dirty.layout;
        if !is_simple || self.flat.is_on() || !self.videos.are_none() || !self.may_go_now(now) {
            return;
        }
        self.draw_titles();
        let Some(cells) = self.count_few() else {
            return;
        };
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        if terminal.allowance(now).is_none_or(|bytes| bytes < SMALLEST) {
            return;
        }
        let serial = terminal.pace.next_serial();
        self.encoder.set_level(terminal.level());
        let surfaces = self.surfaces.all_mut().chain(self.titles.all_mut());
        let contents = surfaces.map(|surface| &mut surface.content);
        for content in contents.filter(|content| content.is_dirty()) {
            if is_placed(terminal, content.layer()) {
                content.push_fresh(&mut self.encoder, serial, now);
            }
        }
        if self.encoder.is_empty() {
            // Whoever wants to know of it hears it by way of the frame that there would have been.
            return;
        }
        (self.dirty.pixels, self.dirty.answer) = (false, false);
        let feedback = self.feedback_as_told();
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        let out = Outgoing {
            feedback,
            since: self.committed.take(),
            ..Outgoing::default()
        };
        let encoder = (&mut self.encoder, &self.squeeze);
        let sent = terminal.send_frame(now, out, encoder);
        terminal.pace.more_to_come(false);
        self.count_frame(sent, cells as u64, now.elapsed());
    }

    fn may_go_now(&self, now: Instant) -> bool {
        let terminal = self.terminal.as_ref();
        let interval = self.desk.interval();
        // What is under way may be overtaken (`answers.rs`).
        terminal.is_some_and(|terminal| {
            terminal.in_flight().0 == 0 && terminal.due(now, interval) == Due::Now
        })
    }

    /// How many cells there are to send, where those that were just drawn are all.
    fn count_few(&mut self) -> Option<usize> {
        let terminal = self.terminal.as_ref()?;
        let surfaces = self.surfaces.all_mut().chain(self.titles.all_mut());
        let is_shown = |surface: &&mut Surface| is_placed(terminal, surface.content.layer());
        let dirty = surfaces.filter(|surface| surface.content.is_dirty());
        let cells = dirty.filter(is_shown).try_fold(0, |cells, surface| {
            let content = &surface.content;
            let few = content.has_answer() && content.has_nothing_else();
            few.then(|| cells + content.fresh_cells())
        })?;
        (1..=FEW).contains(&cells).then_some(cells)
    }
}

/// Whether the terminal shows a layer.
pub(crate) fn is_placed(terminal: &Attachment, layer: LayerId) -> bool {
    let outputs = terminal.told.outputs.values();
    let mut placed = outputs.flat_map(|output| &output.stack);
    placed.any(|placement| placement.layer == layer)
}

//! What was drawn since whoever composes this layer looked at it last.

use heliostat_compose::geometry::{Damage, Rect};

use super::Content;
use super::base::Base;

impl Content {
    /// What was drawn since this was last asked; more than that, perhaps, but not less.
    pub fn take_touched(&mut self) -> Damage {
        std::mem::take(&mut self.touched)
    }

    /// Whether each cell was sent once, be it that it has changed since.
    pub fn was_sent(&self) -> bool {
        self.dirty == 0 || !self.cells.iter().any(|cell| matches!(cell, Base::Unknown))
    }

    /// These parts of a buffer were drawn, which is not read here.
    pub fn note_drawn(&mut self, damage: &[heliostat_tiles::Rect]) {
        damage.iter().for_each(|rect| self.touch(*rect));
    }

    /// These pixels were drawn.
    pub(super) fn touch(&mut self, area: heliostat_tiles::Rect) {
        self.touched
            .add(Rect::of_area(area.x, area.y, area.w, area.h));
    }

    /// All of it is another picture.
    pub(super) fn touch_all(&mut self) {
        self.touched = Damage::new();
        self.touched.add(Rect::of_size(self.size.w, self.size.h));
    }
}

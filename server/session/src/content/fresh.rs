//! What has changed a moment ago: a few cells of it may be an answer to input, and go ahead of
//! everything that waits or is under way already.

use std::time::Instant;

use heliostat_tiles::Encoder;

use super::{Base, Content, Keep};

/// More cells are no answer that is worth a frame of its own.
const FEW: usize = 6;

/// Cells that were drawn since the last frame looked at them.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    cells: Vec<u32>,
    /// There were more.
    many: bool,
}

impl Fresh {
    /// A cell was drawn.
    pub(super) fn touch(&mut self, cell: u32) {
        if self.many || self.cells.contains(&cell) {
            return;
        }
        self.many = self.cells.len() == FEW;
        match self.many {
            true => self.cells.clear(),
            false => self.cells.push(cell),
        }
    }

    /// A frame looks at all cells.
    pub(super) fn clear(&mut self) {
        self.cells.clear();
        self.many = false;
    }
}

impl Content {
    /// Whether a few cells were drawn a moment ago, and what the terminal holds there is known.
    pub fn has_answer(&self) -> bool {
        let known = |cell: &u32| self.cells.get(*cell as usize).is_some_and(Base::is_known);
        let fresh = &self.fresh.cells;
        self.in_step && self.waiting.is_empty() && !fresh.is_empty() && fresh.iter().all(known)
    }

    /// Whether those cells are all that the terminal lacks.
    pub fn has_nothing_else(&self) -> bool {
        self.dirty_cells() <= self.fresh.cells.len()
    }

    /// Cells that were drawn a moment ago.
    pub fn fresh_cells(&self) -> usize {
        self.fresh.cells.len()
    }

    /// Pushes what [`Self::has_answer`] has found, for the frame `serial`, which goes in its turn.
    pub fn push_fresh(&mut self, encoder: &mut Encoder, serial: u32, now: Instant) {
        for cell in std::mem::take(&mut self.fresh.cells) {
            let base = std::mem::replace(&mut self.cells[cell as usize], Base::Same);
            self.dirty -= 1;
            self.account.changed(cell, serial);
            self.push(encoder, cell, base, (now, Keep::IfCalm));
        }
    }

    /// Pushes what [`Self::has_answer`] has found, for the frame `serial`. Returns which frames have to
    /// come before it, of those that are still under way.
    pub fn push_answer(&mut self, encoder: &mut Encoder, serial: u32, now: Instant) -> Vec<u32> {
        let mut after = Vec::new();
        for cell in std::mem::take(&mut self.fresh.cells) {
            let base = std::mem::replace(&mut self.cells[cell as usize], Base::Same);
            self.dirty -= 1;
            after.extend(self.account.before(cell));
            self.account.changed(cell, serial);
            self.push(encoder, cell, base, (now, Keep::Nothing));
        }
        after
    }
}

//! What the terminal ought to hold of each cell, since which frame.
//!
//! A terminal says what it holds as of a frame. That can be compared with the newest pixels where
//! the cell has not changed since: neither here, nor in a frame after the one it names.

use heliostat_tiles::diff;

use super::{Base, Content};

/// The frames that last changed a layer at the terminal.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Its size or kind.
    shaped: u32,
    /// Each cell.
    changed: Vec<u32>,
    /// Any of it.
    last: u32,
    /// By copies, that read other cells than they write.
    copied: u32,
}

impl Account {
    /// The layer gets other cells, whose pixels are known as well as those before them.
    pub(super) fn reshape(&mut self, cells: usize) {
        let newest = self.newest();
        self.changed.clear();
        self.changed.resize(cells, newest);
    }

    /// The last frame that changed the layer.
    fn newest(&self) -> u32 {
        let changed = self.changed.iter().copied().max();
        changed.unwrap_or(0).max(self.shaped)
    }

    /// Nothing was sent of any cell.
    pub(super) fn reset(&mut self, cells: usize) {
        self.changed.clear();
        self.changed.resize(cells, 0);
        (self.last, self.copied) = (0, 0);
    }

    /// The layer is as it is now from this frame on.
    pub(super) fn shaped(&mut self, serial: u32) {
        self.shaped = serial;
        self.last = serial;
    }

    /// This frame may copy something.
    pub(super) fn copied(&mut self, serial: u32) {
        self.copied = serial;
    }

    /// The frames that a change of this cell has to come after. Those before them it follows with
    /// them, where it has to.
    pub(super) fn before(&self, cell: u32) -> [u32; 3] {
        let changed = self.changed.get(cell as usize).copied();
        [changed.unwrap_or(self.last), self.shaped, self.copied]
    }

    /// This frame may change a cell.
    pub(super) fn changed(&mut self, cell: u32, serial: u32) {
        if let Some(changed) = self.changed.get_mut(cell as usize) {
            *changed = serial;
            self.last = serial;
        }
    }
}

impl Content {
    /// Whether a terminal that has shown the frame `serial` is sure to show exactly the newest pixels
    /// of this layer.
    pub fn is_exact_after(&self, serial: u32) -> bool {
        self.in_step && !self.is_dirty() && self.film_cells() == 0 && self.account.last <= serial
    }

    /// Whether a terminal that has applied the frame `serial`, and perhaps more, holds exactly the
    /// newest pixels of a cell.
    pub fn is_comparable(&self, cell: u32, serial: u32) -> bool {
        let changed = self.account.changed.get(cell as usize);
        self.in_step
            && self.account.shaped <= serial
            && changed.is_some_and(|changed| *changed <= serial)
            && self.waiting.is_empty()
            && matches!(self.cells.get(cell as usize), Some(Base::Same))
    }

    /// Whether the terminal holds what it should of a cell, by what it says of it as of a frame;
    /// nothing where that cannot be known.
    pub fn agrees(&self, cell: u32, serial: u32, seed: u64, hash: [u8; 4]) -> Option<bool> {
        if !self.is_comparable(cell, serial) {
            return None;
        }
        let pixels = self.view().sub(self.cell_rect(cell))?;
        Some(diff::digest(seed, pixels) == hash)
    }

    /// The terminal is back. It has applied `serial` of the former attach, and perhaps nothing more,
    /// so that nobody knows what it holds of that which was sent later.
    pub fn go_on_after(&mut self, serial: u32) {
        let is_lost = |changed: &u32| *changed > serial;
        let lost = self.account.changed.iter().any(is_lost);
        // Copies that wait would spread what is not known.
        if self.account.shaped > serial || lost && !self.waiting.is_empty() {
            return self.forget();
        }
        for (base, changed) in self.cells.iter_mut().zip(&self.account.changed) {
            if is_lost(changed) {
                self.dirty += usize::from(!base.is_dirty());
                *base = Base::Unknown;
            }
        }
        self.account.shaped = 0;
        self.account.changed.fill(0);
        // Its first frame says where layers are shown, and so what they hold is shown from then on.
        (self.account.last, self.account.copied) = (1, 0);
    }

    /// The terminal holds something else of a cell than was sent: it goes again, as a whole.
    pub fn mend(&mut self, cell: u32) {
        if let Some(base @ Base::Same) = self.cells.get_mut(cell as usize) {
            *base = Base::Wrong;
            self.dirty += 1;
        }
    }
}

//! Cells that the terminal keeps, so that they need not be sent again when they come back.
//!
//! Both ends count alike: the first cell that is to be kept gets slot 0, the next one slot 1, and
//! when all slots are taken the oldest one is taken again. So a slot's number is all that is ever
//! said, and the terminal hashes nothing.

use std::collections::HashMap;

use crate::diff;
use crate::geometry::{PixelsRef, TILE};

/// Cells that a terminal may offer to keep.
pub const MAX_KEPT: u32 = 1 << 16;

/// The session's side: what is in which slot.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Nobody but this session knows it, so that nobody can draw two cells that look alike to it.
    seed: u64,
    capacity: usize,
    next: usize,
    hashes: Vec<u128>,
    slots: HashMap<u128, u32>,
}

impl Ledger {
    pub(crate) fn new(capacity: u32, seed: u64) -> Self {
        Self {
            seed,
            capacity: capacity.min(MAX_KEPT) as usize,
            ..Self::default()
        }
    }

    /// What names a cell; nothing where none are kept, or for a cell at the edge of its layer.
    pub(crate) fn name(&self, cell: PixelsRef<'_>) -> Option<u128> {
        if self.capacity == 0 || (cell.width(), cell.height()) != (TILE, TILE) {
            return None;
        }
        Some(diff::hash(self.seed, cell))
    }

    /// Where the terminal has it.
    pub(crate) fn slot(&self, name: u128) -> Option<u32> {
        self.slots.get(&name).copied()
    }

    /// The terminal is told to keep it.
    pub(crate) fn keep(&mut self, name: u128) {
        let slot = self.next;
        self.next = (self.next + 1) % self.capacity.max(1);
        if let Some(before) = self.hashes.get_mut(slot) {
            let gone = std::mem::replace(before, name);
            self.slots.remove(&gone);
        } else {
            self.hashes.push(name);
        }
        self.slots.insert(name, slot as u32);
    }
}

/// The terminal's side: the cells.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    capacity: usize,
    next: usize,
    cells: Vec<Vec<u32>>,
}

impl Cells {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            capacity: capacity.min(MAX_KEPT) as usize,
            next: 0,
            cells: Vec::new(),
        }
    }

    /// Keeps the cell whose first pixel is the first of `pixels`, in rows `stride` pixels apart.
    /// Returns false where none are kept, or it is no whole cell.
    pub(crate) fn keep(&mut self, pixels: &[u32], stride: usize) -> bool {
        let Some(cell) = PixelsRef::new(pixels, stride, TILE, TILE) else {
            return false;
        };
        if self.capacity == 0 {
            return false;
        }
        if self.next == self.cells.len() {
            self.cells
                .push(Vec::with_capacity(TILE as usize * TILE as usize));
        }
        let kept = &mut self.cells[self.next];
        kept.clear();
        cell.rows().for_each(|row| kept.extend_from_slice(row));
        self.next = (self.next + 1) % self.capacity;
        true
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&[u32]> {
        self.cells.get(slot as usize).map(Vec::as_slice)
    }
}

impl Drop for Cells {
    /// Overwrites the pixels: what a person had on the screen does not stay in memory.
    fn drop(&mut self) {
        for cell in &mut self.cells {
            cell.fill(0);
        }
        // Without a reader the compiler may leave out writes to memory that is about to be freed.
        std::hint::black_box(&self.cells);
    }
}

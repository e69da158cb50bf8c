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

/// Pixels of a whole cell.
const AREA: usize = TILE as usize * TILE as usize;
/// Cells for which memory is taken at once: 2 MiB, a huge page where the kernel has them.
const SLAB: usize = 128;

/// The terminal's side: the cells.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    capacity: usize,
    next: usize,
    /// Slots that have been filled.
    filled: usize,
    /// `SLAB` cells each; the last one may have fewer.
    slabs: Vec<Vec<u32>>,
}

impl Cells {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            capacity: capacity.min(MAX_KEPT) as usize,
            next: 0,
            filled: 0,
            slabs: Vec::new(),
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
        let slot = self.next;
        if slot / SLAB == self.slabs.len() {
            let cells = SLAB.min(self.capacity - slot);
            self.slabs.push(vec![0; cells * AREA]);
        }
        let kept = &mut self.slabs[slot / SLAB][slot % SLAB * AREA..][..AREA];
        let rows = kept.chunks_exact_mut(TILE as usize).zip(cell.rows());
        rows.for_each(|(kept, row)| kept.copy_from_slice(row));
        self.filled = self.filled.max(slot + 1);
        self.next = (slot + 1) % self.capacity;
        true
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&[u32]> {
        let slot = slot as usize;
        if slot >= self.filled {
            return None;
        }
        self.slabs
            .get(slot / SLAB)?
            .get(slot % SLAB * AREA..)?
            .get(..AREA)
    }
}

impl Drop for Cells {
    /// Overwrites the pixels: what a person had on the screen does not stay in memory.
    fn drop(&mut self) {
        let mut left = self.filled * AREA;
        for slab in &mut self.slabs {
            let used = left.min(slab.len());
            slab[..used].fill(0);
            left -= used;
        }
        // Without a reader the compiler may leave out writes to memory that is about to be freed.
        std::hint::black_box(&self.slabs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_kept_over_several_slabs_and_the_oldest_goes() {
        let capacity = SLAB as u32 * 2 + 3;
        let mut cells = Cells::new(capacity);
        assert_eq!(cells.get(0), None);
        let keep = |cells: &mut Cells, n: u32| {
            let pixels = vec![n; AREA];
            assert!(cells.keep(&pixels, TILE as usize));
        };
        for n in 0..capacity {
            assert_eq!(cells.get(n), None);
            keep(&mut cells, n);
            assert!(cells.get(n).is_some_and(|cell| *cell == [n; AREA]));
        }
        assert_eq!(cells.get(capacity), None);
        keep(&mut cells, 7777);
        for n in 0..capacity {
            let held = if n == 0 { 7777 } else { n };
            assert!(
                cells.get(n).is_some_and(|cell| *cell == [held; AREA]),
                "{n}"
            );
        }
        let memory: usize = cells.slabs.iter().map(Vec::len).sum();
        assert_eq!(memory, capacity as usize * AREA);
        assert!(!Cells::new(0).keep(&[0; AREA], TILE as usize));
    }
}

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

    /// What names a cell, at most 64×64, with its size; nothing where none are kept.
    pub(crate) fn name(&self, cell: PixelsRef<'_>) -> Option<u128> {
        if self.capacity == 0 {
            return None;
        }
        // The same pixels in rows of another length are another cell.
        let size = u64::from(cell.width()) << 32 | u64::from(cell.height());
        Some(diff::hash(self.seed ^ size, cell))
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

/// Pixels of a whole cell, for which each slot has room.
const AREA: usize = TILE as usize * TILE as usize;
/// Cells for which memory is taken at once: 2 MiB, a huge page where the kernel has them.
const SLAB: usize = 128;

/// The terminal's side: the cells.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    capacity: usize,
    next: usize,
    /// `SLAB` cells each; the last one may have fewer.
    slabs: Vec<Vec<u32>>,
    /// Width and height of the cell in each slot that has been filled: a layer's edge cuts some.
    sizes: Vec<[u8; 2]>,
}

impl Cells {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            capacity: capacity.min(MAX_KEPT) as usize,
            next: 0,
            slabs: Vec::new(),
            sizes: Vec::new(),
        }
    }

    /// Keeps a cell. Returns false where none are kept, or it is larger than a cell is.
    pub(crate) fn keep(&mut self, cell: PixelsRef<'_>) -> bool {
        let (w, h) = (cell.width(), cell.height());
        if self.capacity == 0 || w > TILE || h > TILE {
            return false;
        }
        let slot = self.next;
        if slot / SLAB == self.slabs.len() {
            let cells = SLAB.min(self.capacity - slot);
            self.slabs.push(vec![0; cells * AREA]);
        }
        let kept = &mut self.slabs[slot / SLAB][slot % SLAB * AREA..][..AREA];
        let rows = kept.chunks_exact_mut(w as usize).zip(cell.rows());
        rows.for_each(|(kept, row)| kept.copy_from_slice(row));
        let size = [w as u8, h as u8];
        match self.sizes.get_mut(slot) {
            Some(before) => *before = size,
            None => self.sizes.push(size),
        }
        self.next = (slot + 1) % self.capacity;
        true
    }

    /// The pixels in `slot`, rows without gaps, if a cell of `w`×`h` is kept there.
    pub(crate) fn get(&self, slot: u32, (w, h): (u32, u32)) -> Option<&[u32]> {
        let slot = slot as usize;
        if self.sizes.get(slot)?.map(u32::from) != [w, h] {
            return None;
        }
        self.slabs
            .get(slot / SLAB)?
            .get(slot % SLAB * AREA..)?
            .get(..(w * h) as usize)
    }
}

impl Cells {
    /// Pixels for which memory has been taken.
    #[cfg(any(test, feature = "oracle"))]
    pub(crate) fn memory(&self) -> usize {
        self.slabs.iter().map(Vec::len).sum()
    }

    /// Overwrites the pixels: what a person had on the screen does not stay in memory.
    fn wipe(&mut self) {
        let mut left = self.sizes.len() * AREA;
        for slab in &mut self.slabs {
            let used = left.min(slab.len());
            slab[..used].fill(0);
            left -= used;
        }
        // Without a reader the compiler may leave out writes to memory that is about to be freed.
        std::hint::black_box(&self.slabs);
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: (u32, u32) = (TILE, TILE);

    fn keep(cells: &mut Cells, pixels: &[u32], (w, h): (u32, u32)) -> bool {
        cells.keep(PixelsRef::new(pixels, w as usize, w, h).unwrap())
    }

    #[test]
    fn cells_are_kept_over_several_slabs_and_the_oldest_goes() {
        let capacity = SLAB as u32 * 2 + 3;
        let mut cells = Cells::new(capacity);
        assert_eq!(cells.get(0, WHOLE), None);
        for n in 0..capacity {
            assert_eq!(cells.get(n, WHOLE), None);
            assert!(keep(&mut cells, &[n; AREA], WHOLE));
            let held = cells.get(n, WHOLE);
            assert!(held.is_some_and(|cell| *cell == [n; AREA]));
        }
        assert_eq!(cells.get(capacity, WHOLE), None);
        assert!(keep(&mut cells, &[7777; AREA], WHOLE));
        for n in 0..capacity {
            let held = if n == 0 { 7777 } else { n };
            let cell = cells.get(n, WHOLE);
            assert!(cell.is_some_and(|cell| *cell == [held; AREA]), "{n}");
        }
        assert_eq!(cells.memory(), capacity as usize * AREA);
        assert!(!keep(&mut Cells::new(0), &[0; AREA], WHOLE));
    }

    #[test]
    fn cells_that_an_edge_cuts_are_kept_with_their_size() {
        let pixels: Vec<u32> = (0..AREA as u32 + 8).collect();
        let sizes = [(48, 64), (64, 48), (1, 1), WHOLE, (64, 1)];
        let mut cells = Cells::new(2);
        for (n, &(w, h)) in sizes.iter().enumerate() {
            let drawn = &pixels[n..][..(w * h) as usize];
            assert!(keep(&mut cells, drawn, (w, h)));
            let slot = n as u32 % 2;
            assert_eq!(cells.get(slot, (w, h)), Some(drawn));
            let others = sizes.iter().filter(|&&size| size != (w, h));
            for &size in others {
                assert_eq!(cells.get(slot, size), None);
            }
        }
        let larger = vec![0; AREA + TILE as usize];
        assert!(!keep(&mut cells, &larger, (TILE + 1, TILE)));
        assert!(!keep(&mut cells, &larger, (TILE, TILE + 1)));
    }

    #[test]
    fn wiping_leaves_no_pixel_of_any_cell_that_was_ever_kept() {
        let mut cells = Cells::new(SLAB as u32 + 2);
        for n in 1..=SLAB as u32 * 2 {
            let size = if n % 3 == 0 { (7, 9) } else { WHOLE };
            assert!(keep(&mut cells, &vec![n; (size.0 * size.1) as usize], size));
        }
        assert!(cells.slabs.iter().flatten().any(|pixel| *pixel != 0));
        cells.wipe();
        assert!(cells.slabs.iter().flatten().all(|pixel| *pixel == 0));
    }

    #[test]
    fn same_pixels_in_rows_of_another_length_have_another_name() {
        let ledger = Ledger::new(1, 7);
        let pixels = [5; 64];
        let shapes = [(64, 1), (32, 2), (8, 8), (2, 32), (1, 64)];
        let names = shapes.map(|(w, h)| {
            let cell = PixelsRef::new(&pixels, w as usize, w, h).unwrap();
            assert_eq!(ledger.name(cell), ledger.name(cell));
            ledger.name(cell).unwrap()
        });
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), shapes.len());
    }
}

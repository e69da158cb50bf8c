//! Pixels that are kept of cells, in memory that goes from one cell to the next.
//!
//! What changes is kept until it is sent, a cell or a part of one at a time, all day. That memory is
//! the thread's and not a layer's: which of them changes next nobody knows.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use heliostat_tiles::{PixelsRef, TILE};

/// Pixels of a small piece of memory: a letter that was typed has a hundred or two, a cell thousands.
pub(super) const SMALL: usize = 1024;
/// Pixels of a large piece.
const WHOLE: usize = (TILE * TILE) as usize;
/// Small pieces that are put by: 256 KiB.
const MOST_SMALL: usize = 64;
/// Large ones, 8 MiB: of a screen of 1920×1080 that changes wholly. What more cells keep is allocated
/// each time.
const MOST_WHOLE: usize = 512;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { small: Vec::new(), whole: Vec::new() }) };
}

/// Memory that holds nothing.
struct Spare {
    small: Vec<Vec<u32>>,
    whole: Vec<Vec<u32>>,
}

impl Spare {
    /// Room for so many pixels.
    fn take(&mut self, pixels: usize) -> Vec<u32> {
        let (pieces, room) = match pixels {
            ..=SMALL => (&mut self.small, SMALL),
            _ => (&mut self.whole, WHOLE.max(pixels)),
        };
        pieces.pop().unwrap_or_else(|| Vec::with_capacity(room))
    }

    fn put(&mut self, mut piece: Vec<u32>) {
        piece.clear();
        let (pieces, most) = match piece.capacity() {
            WHOLE.. => (&mut self.whole, MOST_WHOLE),
            SMALL.. => (&mut self.small, MOST_SMALL),
            _ => return,
        };
        if pieces.len() < most {
            pieces.push(piece);
        }
    }
}

/// Gives what is put by back to the allocator.
pub fn give_back() {
    SPARE.with_borrow_mut(|spare| {
        spare.small = Vec::new();
        spare.whole = Vec::new();
    });
}

/// Pixels of a cell or a part of one, rows without gaps.
#[derive(Debug)]
pub(super) struct Kept(Vec<u32>);

impl Kept {
    /// A copy of these. A cell has at most 64×64.
    pub(super) fn copy_of(view: PixelsRef<'_>) -> Self {
        let pixels = view.width() as usize * view.height() as usize;
        let mut piece = SPARE.with_borrow_mut(|spare| spare.take(pixels));
        view.rows().for_each(|row| piece.extend_from_slice(row));
        Self(piece)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let piece = std::mem::take(&mut self.0);
        // A thread that ends has none put by any more.
        let _ = SPARE.try_with(|spare| spare.borrow_mut().put(piece));
    }
}

impl Deref for Kept {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.0
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut [u32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::allocations;

    fn keep(sizes: impl Iterator<Item = u32>) {
        let pixels: Vec<u32> = (0..TILE * TILE).collect();
        let kept: Vec<_> = sizes
            .map(|side| {
                let view = PixelsRef::new(&pixels, TILE as usize, side, side).unwrap();
                let kept = Kept::copy_of(view);
                let rows: Vec<u32> = view.rows().flatten().copied().collect();
                assert_eq!(*kept, rows[..]);
                kept
            })
            .collect();
        drop(kept);
    }

    fn put_by() -> (usize, usize) {
        SPARE.with_borrow(|spare| (spare.small.len(), spare.whole.len()))
    }

    #[test]
    fn pieces_go_from_cell_to_cell_whatever_their_sizes_and_only_so_many_are_put_by() {
        keep((1..=TILE).cycle().take(1200));
        assert_eq!(put_by(), (MOST_SMALL, MOST_WHOLE));
        let pixels = vec![7; WHOLE];
        let before = allocations();
        for side in (1..=TILE).rev() {
            let view = PixelsRef::new(&pixels, TILE as usize, side, side).unwrap();
            let both = (Kept::copy_of(view), Kept::copy_of(view));
            assert_eq!(both.0.len(), both.1.len());
        }
        assert_eq!(allocations(), before);
        assert_eq!(put_by(), (MOST_SMALL, MOST_WHOLE));
        give_back();
        assert_eq!(put_by(), (0, 0));
    }
}

//! The allocator. All unsafe code of this crate is here.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Pieces from this size on come from the kernel.
pub(crate) const LARGE: usize = 1 << 20;
/// Pieces from this size on are pictures, and come in huge pages, as those do that are made to fill
/// whole ones. Other smaller ones are buffers, of which most is room: in huge pages all of it is there
/// with the first byte.
const PICTURE: usize = 3 << 20;
/// Bytes of a huge page, on all machines that are booted: where its size is another one, the advice
/// is in vain and nothing else.
const HUGE: usize = 2 << 20;
/// Bytes of a page at least.
const PAGE: usize = 4 << 10;
/// A piece is made whole huge pages where that wastes at most such a part of it.
const WASTE: usize = 8;

/// Gives large pieces straight from the kernel, the largest in huge pages, and leaves all others to the
/// system's allocator.
///
/// ```
/// #[global_allocator]
/// static MEMORY: heliostat_memory::Pages = heliostat_memory::Pages;
/// assert!(vec![0u8; 3 << 20].iter().all(|byte| *byte == 0));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Pages;

/// Bytes that are mapped for a piece of `size`.
fn mapped(size: usize) -> Option<usize> {
    let huge = size.checked_next_multiple_of(HUGE)?;
    if is_picture(size) && huge - size <= size / WASTE {
        return Some(huge);
    }
    size.checked_next_multiple_of(PAGE)
}

fn is_picture(size: usize) -> bool {
    size >= PICTURE || size.is_multiple_of(HUGE)
}

/// Whether pieces of this kind come from the kernel. It depends on nothing but the layout, so that a
/// piece goes back to where it came from.
fn is_large(layout: &Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE && mapped(layout.size()).is_some()
}

/// A piece of zeros, null where the kernel has none.
fn map(layout: &Layout) -> *mut u8 {
    take(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
}

fn take(layout: &Layout) -> Option<NonNull<u8>> {
    let length = mapped(layout.size())?;
    // Huge pages begin at multiples of their size; what is too much before and behind goes back.
    let room = length.checked_add(HUGE - PAGE)?;
    // SAFETY: a new mapping at a place that the kernel chooses touches no memory of anybody.
    let start = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            room,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    };
    let start: *mut u8 = start.ok()?.cast();
    let before = start.align_offset(HUGE);
    // An offset that is none, or one beyond the room, would leave too little behind it.
    let behind = room.checked_sub(before)?.checked_sub(length)?;
    let piece = start.wrapping_add(before);
    // SAFETY: all three ranges are parts of the mapping above, which nobody else knows: the first and
    // the last are none of the piece. Advice changes no contents. Lengths of zero are left out.
    unsafe {
        if before > 0 {
            let _ = munmap(start.cast(), before);
        }
        if behind > 0 {
            let _ = munmap(piece.wrapping_add(length).cast(), behind);
        }
        let pages = match is_picture(layout.size()) {
            true => Advice::LinuxHugepage,
            false => Advice::LinuxNoHugepage,
        };
        // Kernels without huge pages say no, and give small ones.
        let _ = madvise(piece.cast(), length, pages);
    }
    NonNull::new(piece)
}

// SAFETY: what is not large is the system allocator's, which keeps the promises. Large pieces are
// mappings of their own of at least `layout.size()` bytes at multiples of HUGE, which is at least any
// alignment that `is_large` lets through; they stay until `dealloc` with the same layout unmaps just
// them. Nothing here panics or allocates.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(&layout) {
            return map(&layout);
        }
        // SAFETY: the caller's layout has a size, as we were promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(&layout) {
            return map(&layout);
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if let (true, Some(length)) = (is_large(&layout), mapped(layout.size())) {
            // SAFETY: a piece of this layout was mapped with this length, and its owner is done with
            // it.
            let _ = unsafe { munmap(piece.cast(), length) };
            return;
        }
        // SAFETY: the piece came from there, since layouts decide.
        unsafe { System.dealloc(piece, layout) }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else {
            return ptr::null_mut();
        };
        match (is_large(&layout), is_large(&wanted)) {
            // SAFETY: the piece came from there and stays there.
            (false, false) => unsafe { System.realloc(piece, layout, size) },
            (true, true) if mapped(layout.size()) == mapped(size) => piece,
            _ => {
                // SAFETY: both pieces have at least the bytes that are copied, are not the same, and
                // the old one is given back with its own layout.
                unsafe {
                    let new = self.alloc(wanted);
                    if !new.is_null() {
                        ptr::copy_nonoverlapping(piece, new, layout.size().min(size));
                        self.dealloc(piece, layout);
                    }
                    new
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A piece, filled with what tells it from others.
    struct Piece {
        start: *mut u8,
        layout: Layout,
        seed: u8,
    }

    impl Piece {
        fn new(size: usize, align: usize, zeroed: bool, seed: u8) -> Self {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: no size is zero.
            let start = unsafe {
                match zeroed {
                    true => Pages.alloc_zeroed(layout),
                    false => Pages.alloc(layout),
                }
            };
            assert!(!start.is_null() && start.addr().is_multiple_of(align));
            let mut piece = Self {
                start,
                layout,
                seed,
            };
            if zeroed {
                assert!(piece.bytes().iter().all(|byte| *byte == 0));
            }
            piece.fill();
            piece
        }

        fn bytes(&mut self) -> &mut [u8] {
            // SAFETY: the piece has that many bytes, written or zeroed; those of one that is neither
            // are only written.
            unsafe { std::slice::from_raw_parts_mut(self.start, self.layout.size()) }
        }

        fn fill(&mut self) {
            let seed = self.seed;
            self.bytes().fill(seed);
        }

        fn resize(&mut self, size: usize) {
            let kept = size.min(self.layout.size());
            // SAFETY: it is a piece of this layout, and the size is not zero.
            self.start = unsafe { Pages.realloc(self.start, self.layout, size) };
            assert!(!self.start.is_null() && self.start.addr().is_multiple_of(self.layout.align()));
            self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
            let seed = self.seed;
            assert!(self.bytes()[..kept].iter().all(|byte| *byte == seed));
            self.fill();
        }
    }

    impl Drop for Piece {
        fn drop(&mut self) {
            let seed = self.seed;
            assert!(self.bytes().iter().all(|byte| *byte == seed));
            // SAFETY: it is a piece of this layout, and gone after this.
            unsafe { Pages.dealloc(self.start, self.layout) };
        }
    }

    fn size() -> impl Strategy<Value = usize> {
        let near = |size: usize| size - 3..size + 3;
        prop_oneof![
            1..100usize,
            near(LARGE),
            near(HUGE),
            near(2 * HUGE),
            near(LARGE + PAGE),
            near(PICTURE),
            LARGE..5 * HUGE,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn pieces_keep_what_is_in_them_and_lie_apart(
            pieces in prop::collection::vec((size(), 0..13u32, any::<bool>(), size()), 1..6),
        ) {
            let mut all: Vec<Piece> = (1u8..)
                .zip(&pieces)
                .map(|(seed, (size, align, zeroed, _))| Piece::new(*size, 1 << align, *zeroed, seed))
                .collect();
            for (piece, (.., size)) in all.iter_mut().zip(&pieces) {
                piece.resize(*size);
            }
        }

        #[test]
        fn little_is_wasted(size in LARGE..1usize << 40) {
            let mapped = mapped(size).unwrap();
            prop_assert!(mapped >= size && mapped - size <= (size / WASTE).max(PAGE - 1));
        }
    }

    #[test]
    fn more_than_there_is_is_none_and_no_panic() {
        let layout = Layout::from_size_align(isize::MAX as usize - HUGE, 8).unwrap();
        // SAFETY: the layout has a size; what is not given is not used.
        assert!(unsafe { Pages.alloc(layout) }.is_null());
        let mut piece = Piece::new(3 * LARGE, 8, false, 9);
        // SAFETY: it is a piece of this layout; one that is refused stays as it is.
        let grown = unsafe { Pages.realloc(piece.start, piece.layout, isize::MAX as usize - HUGE) };
        assert!(grown.is_null());
        assert!(piece.bytes().iter().all(|byte| *byte == 9));
    }
}

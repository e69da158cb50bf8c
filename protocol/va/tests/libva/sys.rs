//! Counts what a thread allocates, and looks into the memory of surfaces.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Allocations of this thread so far.
pub fn allocations() -> usize {
    COUNT.with(Cell::get)
}

// SAFETY: it is the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// A copy of the first bytes of a buffer.
pub fn bytes(fd: &OwnedFd, length: usize) -> Vec<u8> {
    // SAFETY: the buffer is as long as the driver has said, and nobody writes it meanwhile.
    let map = unsafe { memmap2::MmapOptions::new().len(length).map(fd.as_raw_fd()) };
    map.unwrap().to_vec()
}

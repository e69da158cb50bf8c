//! What becomes of the address of a piece that was freed. By itself in its process, so that nobody
//! else takes the address meanwhile.

use std::alloc::{GlobalAlloc, Layout};
use std::fs::read_to_string;

use heliostat_memory::Pages;

/// Whether an address is mapped, by the kernel's word.
fn is_mapped(address: usize) -> bool {
    let maps = read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let (start, end) = range.unwrap();
        let number = |text| usize::from_str_radix(text, 16).unwrap();
        (number(start)..number(end)).contains(&address)
    })
}

#[test]
fn freed_piece_is_the_kernels_with_all_its_room() {
    for size in [
        1 << 20,
        (2 << 20) - 5,
        (3 << 20) + 1,
        (8 << 20) - 3,
        9 << 20,
    ] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the layout has a size.
        let piece = unsafe { Pages.alloc(layout) };
        assert!(!piece.is_null());
        let (first, last) = (piece.addr(), piece.addr() + size - 1);
        assert!(is_mapped(first) && is_mapped(last));
        // SAFETY: it is a piece of this layout that nobody uses any more.
        unsafe { Pages.dealloc(piece, layout) };
        assert!(!is_mapped(first) && !is_mapped(last), "{size} bytes");
    }
}

//! What becomes of the address of a piece that was freed. By itself in its process, so that nobody
//! else takes the address meanwhile.

use std::fs::read_to_string;
use std::hint::black_box;

#[global_allocator]
static MEMORY: heliostat_memory::Pages = heliostat_memory::Pages;

/// Whether an address is mapped, by the kernel's word.
fn is_mapped(address: usize) -> bool {
    let maps = read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| {
        let range = line.split(' ').next();
        let (start, end) = range.and_then(|range| range.split_once('-')).unwrap();
        let number = |text| usize::from_str_radix(text, 16).unwrap();
        (number(start)..number(end)).contains(&address)
    })
}

#[test]
fn freed_piece_is_the_kernels_with_all_its_room() {
    let sizes = [
        1 << 20,
        (2 << 20) - 5,
        (3 << 20) + 1,
        (8 << 20) - 3,
        9 << 20,
    ];
    for size in sizes {
        let piece = black_box(vec![7u8; size]);
        let (first, last) = (piece.as_ptr().addr(), piece.as_ptr().addr() + size - 1);
        assert!(is_mapped(first) && is_mapped(last));
        drop(piece);
        assert!(!is_mapped(first) && !is_mapped(last), "{size} bytes");
    }
}

//! Which pieces are asked of the kernel in huge pages, by what it says of them.

use std::fs::read_to_string;
use std::hint::black_box;

#[global_allocator]
static MEMORY: heliostat_memory::Pages = heliostat_memory::Pages;

/// What the kernel was told of the memory at an address: `hg` to use huge pages, `nh` not to.
fn flags(at: *const u8) -> String {
    let maps = read_to_string("/proc/self/smaps").unwrap();
    let mut is_here = false;
    for line in maps.lines() {
        let range = line.split_once(' ').and_then(|(it, _)| it.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        if let Some((start, end)) = range.and_then(|(a, b)| number(a).zip(number(b))) {
            is_here = (start..end).contains(&at.addr());
        }
        if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| is_here) {
            return flags.to_owned();
        }
    }
    panic!("{at:?} is nowhere");
}

#[test]
fn pictures_and_what_fills_huge_pages_are_in_them_and_buffers_are_not() {
    let of = |bytes: usize| {
        let piece = black_box(vec![1u8; bytes]);
        flags(piece.as_ptr())
    };
    let picture = of(1920 * 1080 * 4);
    if !picture.contains("hg") && !picture.contains("nh") {
        println!("skipped: this kernel has no huge pages:{picture}");
        return;
    }
    // A slab of the cells that a terminal keeps: 128 of 64×64 pixels.
    let slab = of(128 * 64 * 64 * 4);
    let buffer = of(32 * 64 * 1472);
    let is_huge = [picture, slab, buffer].map(|flags| flags.contains("hg"));
    assert_eq!(is_huge, [true, true, false]);
}

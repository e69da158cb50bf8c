//! What goes on all day: it allocates no more for many cells than for few.

use super::client::Painting;
use super::fixture::{Fixture, within};

const FRAMES: u32 = 200;
/// Frames after which all that is kept has been allocated.
const FIRST: u32 = 40;
/// Allocations of the session's thread for a commit and the frame that it leads to, of all kinds:
/// what the client asks for (a buffer and its pool of its own each time), what is compressed, and
/// what is handed to the link.
const FOR_A_FRAME: u64 = 100;
/// The same where a letter is all that has changed.
const FOR_A_LETTER: u64 = 40;
/// More for a frame of some 230 more cells: lists of cells that grow by doubling.
const FOR_MORE_CELLS: u64 = 32;

/// Allocations of the threads that compress, for a part of a frame: its bytes, its place, and what they
/// tell link and compositor at the end.
const FOR_A_PART: u64 = 8;
/// Parts of a frame of so much grain.
const PARTS: u64 = 12;

/// Allocations for a frame, on average.
#[derive(Debug)]
struct Made {
    here: u64,
    by_threads: u64,
}

/// The most that a frame allocates on average, once all is under way. `draw` is told which frame it is
/// for.
fn allocations(size: (u32, u32), mut draw: impl FnMut(&mut Fixture, usize, u32)) -> Made {
    let mut fixture = Fixture::new();
    // What is always new is no film here.
    fixture.be_always_exact();
    fixture.attach("a", (1280, 960));
    let (w, h) = size;
    let window = fixture.open(Painting { w, h, seed: 2 });
    fixture.settle();
    let (mut counted, mut by_threads) = ((0, 0), 0);
    for n in 0..FIRST + FRAMES {
        let before = (fixture.allocated(), fixture.frames());
        let threads = fixture.allocated_by_threads();
        draw(&mut fixture, window, n);
        let serial = fixture.model().serial;
        within("the change is shown", || {
            fixture.turn();
            fixture.model().serial > serial
        });
        if n >= FIRST {
            counted.0 += fixture.allocated() - before.0;
            counted.1 += fixture.frames() - before.1;
            by_threads += fixture.allocated_by_threads() - threads;
        }
    }
    fixture.settle();
    fixture.assert_shows(&[window]);
    let (made, frames) = counted;
    println!("{made} allocations in {frames} frames of {w}×{h}, {by_threads} by threads");
    assert!(
        frames >= u64::from(FRAMES) && made > frames,
        "nothing is counted"
    );
    Made {
        here: made.div_ceil(frames),
        by_threads: by_threads.div_ceil(frames),
    }
}

/// A letter in each cell.
fn write(fixture: &mut Fixture, window: usize, n: u32) {
    let client = fixture.client(window);
    let (w, h) = client.size();
    let mut pixels = std::mem::take(&mut client.pixels);
    for (column, row) in (0..w / 64).flat_map(|column| (0..h / 64).map(move |row| (column, row))) {
        for y in row * 64 + 20..row * 64 + 38 {
            let start = (y * w + column * 64 + 20 + n % 3 * 9) as usize;
            pixels[start..start + 9].fill(0xff00_0000 | (n * 0x35_79bd + y) & 0xff_ffff);
        }
    }
    client.drew((w, h), pixels);
    client.show_again();
}

/// Three rows up, and three new ones.
fn scroll(fixture: &mut Fixture, window: usize, n: u32) {
    let client = fixture.client(window);
    let (w, h) = client.size();
    let mut pixels = std::mem::take(&mut client.pixels);
    pixels.copy_within((3 * w) as usize.., 0);
    let new = (h - 3) * w;
    for (at, pixel) in (0u32..).zip(&mut pixels[new as usize..]) {
        // Letters: runs of a few pixels of one colour.
        let is_ink = (at / 5 + n * 7919).wrapping_mul(0x9e37_79b9) >> 30 == 0;
        *pixel = if is_ink { 0xff20_2020 } else { 0xfff0_f0e8 };
    }
    client.drew((w, h), pixels);
    client.show_again();
}

/// Grain in every pixel, of which a frame has some parts.
fn glitter(fixture: &mut Fixture, window: usize, n: u32) {
    let client = fixture.client(window);
    let (w, h) = client.size();
    let mut pixels = std::mem::take(&mut client.pixels);
    for (at, pixel) in (0u32..).zip(&mut pixels) {
        let grain = (at + n * 7919).wrapping_mul(0x9e37_79b9);
        *pixel = 0xff00_0000 | (grain ^ grain >> 15) & 0xff_ffff;
    }
    client.drew((w, h), pixels);
    client.show_again();
}

/// What `draw` allocates for a frame of 8 or 9 cells, and for one of 234 or 247.
fn assert_not_by_the_cell(few: (u32, u32), draw: fn(&mut Fixture, usize, u32)) {
    let few = allocations(few, draw);
    let many = allocations((1200, 832), draw);
    assert!(few.here <= FOR_A_FRAME, "{few:?}");
    assert!(many.here <= few.here + FOR_MORE_CELLS, "{many:?}, {few:?}");
    assert!(many.by_threads <= FOR_A_PART, "{many:?}");
}

#[test]
fn writing_allocates_nothing_for_a_cell() {
    assert_not_by_the_cell((128, 256), write);
}

#[test]
fn scrolling_allocates_nothing_for_a_cell() {
    assert_not_by_the_cell((192, 192), scroll);
}

#[test]
fn threads_that_compress_allocate_by_the_part_and_not_by_the_cell() {
    let made = allocations((1200, 832), glitter);
    assert!(made.by_threads > 0, "they have something to do");
    assert!(made.by_threads <= PARTS * FOR_A_PART, "{made:?}");
}

/// One cell and no more, as a person's typing does.
#[test]
fn typing_allocates_little() {
    let made = allocations((100, 100), write);
    assert!(made.here <= FOR_A_LETTER, "{made:?}");
    assert_eq!(made.by_threads, 0, "a letter is worth no thread");
}

use proptest::prelude::*;

use super::*;
use crate::geometry::{Rect, TILE};
use crate::oracle::{Layer, Layers};
use crate::{Decoder, Encoder, Limits};

fn noise(x: u32, y: u32) -> u32 {
    let mut v = x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b);
    v ^= v >> 15;
    v = v.wrapping_mul(0xc2b2_ae35);
    (v ^ v >> 13) | 0xff00_0000
}

fn drawn(w: u32, h: u32, colour: impl Fn(u32, u32) -> u32) -> Layer {
    let mut layer = Layer::new(w, h);
    for (i, pixel) in layer.pixels.iter_mut().enumerate() {
        *pixel = colour(i as u32 % w, i as u32 / w);
    }
    layer
}

/// Lines of something like text on white.
fn text(x: u32, y: u32) -> u32 {
    let (line, in_line) = (y / 18, y % 18);
    let letter = noise(x / 8, line) % 40;
    let ink = in_line < 12 && letter > 8 && noise(x % 8 + letter * 8, in_line) & 1 == 1;
    if ink { 0xff20_2020 } else { 0xffff_ffff }
}

fn find(old: &Layer, new: &Layer) -> Vec<Copy> {
    let mut copies = Vec::new();
    Motion::default().find(
        old.view(),
        new.view(),
        &mut Workspace::default(),
        &mut copies,
    );
    copies
}

/// `old` with the copies done by the decoder, and how many pixels then differ from `new`.
fn after(old: &Layer, new: &Layer, copies: &[Copy]) -> usize {
    let mut encoder = Encoder::new(1);
    for copy in copies {
        assert!(encoder.copy(0, copy));
    }
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    let mut layers = Layers(vec![old.clone()]);
    Decoder::new()
        .decode(&batch, &Limits::default(), &mut layers)
        .unwrap();
    let pairs = layers.0[0].pixels.iter().zip(&new.pixels);
    pairs.filter(|(a, b)| a != b).count()
}

#[test]
fn scrolled_page_is_one_copy_and_the_line_that_came() {
    let old = drawn(800, 600, text);
    let new = drawn(800, 600, |x, y| text(x, y + 54));
    let copies = find(&old, &new);
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert!(after(&old, &new, &copies) <= 800 * 54);
}

#[test]
fn page_between_bars_that_stay_scrolls_alone() {
    let page = |x: u32, y: u32, by: u32| match (x, y) {
        (0..150, _) => noise(x / 9, y / 9),
        (_, 0..40) => 0xff33_6699,
        (790.., _) => 0xff80_8080 + y / 3,
        _ => text(x, y + by),
    };
    let old = drawn(800, 600, |x, y| page(x, y, 0));
    let new = drawn(800, 600, |x, y| page(x, y, 51));
    let left = after(&old, &new, &find(&old, &new));
    assert!(left <= 640 * 52, "{left} pixels left");
}

#[test]
fn picture_dragged_over_text_is_copied_to_its_last_pixel() {
    let page = |x: u32, y: u32, left: u32, top: u32| {
        let inside = (left..left + 300).contains(&x) && (top..top + 200).contains(&y);
        if inside {
            noise(x - left, y - top)
        } else {
            text(x, y)
        }
    };
    let old = drawn(640, 480, |x, y| page(x, y, 100, 90));
    let new = drawn(640, 480, |x, y| page(x, y, 113, 83));
    let copies = find(&old, &new);
    let uncovered = 300 * 200 - 287 * 193;
    let left = after(&old, &new, &copies);
    assert!(left <= uncovered, "{left} pixels left, {copies:?}");
}

#[test]
fn two_panes_scroll_by_themselves() {
    let pane = |x: u32, y: u32, a: u32, b: u32| match x {
        0..320 => text(x, y + a),
        _ => text(x + 77, y + b + 7),
    };
    let old = drawn(640, 480, |x, y| pane(x, y, 0, 60));
    let new = drawn(640, 480, |x, y| pane(x, y, 36, 0));
    let copies = find(&old, &new);
    assert!(copies.len() >= 2, "{copies:?}");
    let left = after(&old, &new, &copies);
    assert!(left <= 320 * 36 + 320 * 60, "{left} pixels left");
}

#[test]
fn new_picture_is_searched_ever_less_often() {
    let mut motion = Motion::default();
    let mut workspace = Workspace::default();
    let mut searched = 0;
    for n in 0..100 {
        let old = drawn(128, 128, |x, y| noise(x + n * 999, y));
        let new = drawn(128, 128, |x, y| noise(x + n * 999 + 500, y));
        if !motion.is_due() {
            continue;
        }
        searched += 1;
        let mut copies = Vec::new();
        motion.find(old.view(), new.view(), &mut workspace, &mut copies);
        assert!(copies.is_empty());
    }
    assert!(searched < 25, "{searched} of 100");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn copies_stay_inside_and_never_meet_and_only_help(
        w in 33u32..200,
        h in 20u32..200,
        moves in prop::collection::vec((0u32..200, 0u32..200, 1u32..150, 1u32..150, 0u32..200, 0u32..200), 0..5),
        seed: u32,
        busy: bool,
    ) {
        let colour = |x, y| if busy { noise(x + seed % 997, y) } else { text(x + seed % 997, y) };
        let old = drawn(w, h, colour);
        let mut new = old.clone();
        for (x, y, mw, mh, tx, ty) in moves {
            let from = Rect { x: x % w, y: y % h, w: mw, h: mh };
            for dy in 0..mh {
                for dx in 0..mw {
                    let (sx, sy) = (from.x + dx, from.y + dy);
                    let (px, py) = (tx % w + dx, ty % h + dy);
                    if sx < w && sy < h && px < w && py < h {
                        new.pixels[(py * w + px) as usize] = old.pixels[(sy * w + sx) as usize];
                    }
                }
            }
        }
        let copies = find(&old, &new);
        let area = old.area();
        for (at, copy) in copies.iter().enumerate() {
            prop_assert_eq!(area.intersection(copy.from), Some(copy.from));
            prop_assert_eq!(area.intersection(copy.target()), Some(copy.target()));
            for other in &copies[..at] {
                prop_assert_eq!(other.target().intersection(copy.target()), None);
            }
        }
        let before = old.pixels.iter().zip(&new.pixels).filter(|(a, b)| a != b).count();
        prop_assert!(after(&old, &new, &copies) <= before);
        prop_assert!(TILE as usize >= BLOCK);
    }
}

/// Whether a search for `new` in `old` would be begun.
fn is_promising(motion: &mut Motion, old: &Layer, new: &Layer) -> bool {
    let view = new.view();
    let (columns, rows) = (
        view.width() as usize / BLOCK,
        view.height() as usize / BLOCK,
    );
    let blocks = (0..columns * rows).map(|at| (at % columns, at / columns));
    let put = |y: u32, row: &mut Vec<u32>| row.extend_from_slice(old.view().row(y));
    motion.is_promising(
        view,
        (columns * rows, blocks),
        put,
        &mut Workspace::default(),
    )
}

#[test]
fn what_has_moved_is_promising_however_far_and_what_is_new_is_not() {
    let old = drawn(800, 608, noise);
    for (x, y) in [(0, 3), (5, 0), (9, 7), (400, 1), (1, 300)] {
        let new = drawn(800, 608, |to_x, to_y| noise(to_x + x, to_y + y));
        assert!(is_promising(&mut Motion::default(), &old, &new), "{x} {y}");
    }
    // A part of it that has moved, and all else is new.
    let part = drawn(800, 608, |x, y| {
        let inside = (200..600).contains(&x) && (150..450).contains(&y);
        if inside {
            noise(x + 11, y + 5)
        } else {
            noise(x + 9000, y)
        }
    });
    assert!(is_promising(&mut Motion::default(), &old, &part));

    let new = drawn(800, 608, |x, y| noise(x + 5000, y));
    let mut motion = Motion::default();
    assert!(motion.is_due());
    assert!(!is_promising(&mut motion, &old, &new));
    assert!(!motion.is_due(), "it counts as a vain search");
}

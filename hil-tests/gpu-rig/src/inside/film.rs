//! A film whose pictures say which they are, however they got to the screen.
//!
//! ```text
//!   ┌ border, by which it is found on a screen ┐
//!   │ twelve cells: the picture's number, dark  │
//!   │   and light; its lowest bit first         │
//!   │ four patches of colours                   │
//!   └ a texture that moves, for the encoder ────┘
//! ```

use hil_local::framebuffer::Shot;

use super::buffer::Layout;
use super::colour::{BT709, distance};

/// How large it is; no multiple of sixteen, so that decoders have to crop.
pub const SIZE: (u32, u32) = (640, 360);
/// The border's width and colour.
const BORDER: u32 = 8;
const BORDER_RGB: [u8; 3] = [190, 20, 190];
/// A cell's side, and where the first one is.
const CELL: u32 = 32;
const CELLS_AT: (u32, u32) = (32, 24);
const BITS: u32 = 12;
const DARK: [u8; 3] = [16, 16, 16];
const LIGHT: [u8; 3] = [235, 235, 235];
/// A patch's side, and where the first one is.
const PATCH: u32 = 64;
const PATCHES_AT: (u32, u32) = (32, 72);
/// The patches' colours.
pub const PATCHES: [[u8; 3]; 4] = [[200, 40, 40], [40, 180, 60], [30, 60, 220], [128, 128, 128]];
/// How far the border may be off: neighbours in chroma and the encoder blur it.
const BORDER_DISTANCE: u8 = 60;

/// From the left and the top, width and height.
pub type Place = (u32, u32, u32, u32);

/// Everything of a picture but its texture: rectangles and their colours.
fn rectangles(number: u32) -> Vec<(Place, [u8; 3])> {
    let (w, h) = SIZE;
    let mut found = vec![
        ((0, 0, w, BORDER), BORDER_RGB),
        ((0, h - BORDER, w, BORDER), BORDER_RGB),
        ((0, 0, BORDER, h), BORDER_RGB),
        ((w - BORDER, 0, BORDER, h), BORDER_RGB),
    ];
    for bit in 0..BITS {
        let place = (CELLS_AT.0 + bit * CELL, CELLS_AT.1, CELL, CELL);
        found.push((place, if number >> bit & 1 == 1 { LIGHT } else { DARK }));
    }
    for (at, rgb) in (0..).zip(PATCHES) {
        found.push(((PATCHES_AT.0 + at * PATCH, PATCHES_AT.1, PATCH, PATCH), rgb));
    }
    found
}

/// A soft wave of this length and height.
fn wave(at: u32, length: u32, height: u32) -> u32 {
    let at = at % length;
    at.min(length - at) * 2 * height / length
}

/// The luma of the texture: soft stripes that move to the left. Their grain is another one in each
/// picture, as a camera's is: what only moves goes as copies of itself, and never as a film.
fn luma(x: u32, y: u32, number: u32) -> u8 {
    let x = x + 4 * number;
    let grain = (x ^ y << 7 ^ number << 17).wrapping_mul(0x9e37_79b9) >> 29;
    (60 + wave(x, 96, 60) + wave(x + 2 * y, 50, 60) + grain) as u8
}

/// Its two chromas, for four pixels at once.
fn chroma(x: u32, y: u32) -> [u8; 2] {
    [
        112 + wave(x, 120, 32) as u8,
        112 + wave(y + x, 90, 32) as u8,
    ]
}

/// Draws a picture as NV12, BT.709, limited range.
pub fn draw_nv12(bytes: &mut [u8], layout: &Layout, number: u32) {
    let (w, h) = SIZE;
    for y in 0..h {
        let row = &mut bytes[(layout.offsets[0] + y * layout.pitches[0]) as usize..][..w as usize];
        for (x, level) in (0..).zip(row) {
            *level = luma(x, y, number);
        }
    }
    for y in 0..h / 2 {
        let row = &mut bytes[(layout.offsets[1] + y * layout.pitches[1]) as usize..][..w as usize];
        for (x, pair) in (0..).zip(row.chunks_exact_mut(2)) {
            pair.copy_from_slice(&chroma(x + 2 * number, y));
        }
    }
    for (place, rgb) in rectangles(number) {
        layout.fill_nv12(bytes, place, BT709.yuv(rgb));
    }
}

/// A part in which all that says which picture it is lies, for films of which no more moves.
pub const PART: Place = (32, 24, 600, 216);

/// Draws a picture as XRGB8888.
pub fn draw_xrgb(bytes: &mut [u8], pitch: u32, number: u32) {
    draw_part(bytes, pitch, number, (0, 0, SIZE.0, SIZE.1));
}

/// Draws a part of a picture as XRGB8888.
pub fn draw_part(bytes: &mut [u8], pitch: u32, number: u32, part: Place) {
    let (left, top, w, h) = part;
    for y in top..top + h {
        let row = &mut bytes[(y * pitch + left * 4) as usize..][..w as usize * 4];
        for (x, pixel) in (left..).zip(row.chunks_exact_mut(4)) {
            let level = luma(x, y, number);
            let [blue, red] = chroma(x / 2 + 2 * number, y / 2).map(|c| c - 112);
            pixel.copy_from_slice(&[level - blue, level, level - red, 0xff]);
        }
    }
    for ((x, y, w, h), [r, g, b]) in rectangles(number) {
        let (x, right) = (x.max(left), (x + w).min(left + part.2));
        for row in y.max(top)..(y + h).min(top + part.3) {
            let wide = right.saturating_sub(x) as usize * 4;
            let row = &mut bytes[(row * pitch + x * 4) as usize..][..wide];
            for pixel in row.chunks_exact_mut(4) {
                pixel.copy_from_slice(&[b, g, r, 0xff]);
            }
        }
    }
}

/// A picture of the film that was found on a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where it is.
    pub at: (u32, u32),
    /// Which it is.
    pub number: u32,
    /// How far the patch that is furthest off is from its colour.
    pub off: u8,
}

/// Finds the film, whole, and reads it.
pub fn find(shot: &Shot) -> Option<Seen> {
    let rgb = |x: u32, y: u32| {
        let [b, g, r] = shot.pixel(x, y);
        [r, g, b]
    };
    let is_border = |x: u32, y: u32| distance(rgb(x, y), BORDER_RGB) <= BORDER_DISTANCE;
    // A column of the border's is as high as the film, and so is the space between two of its rows.
    let long = |from: (u32, u32), step: (u32, u32), length: u32| {
        (0..length).all(|n| is_border(from.0 + n * step.0, from.1 + n * step.1))
    };
    let (w, h) = SIZE;
    for y in 0..shot.h.checked_sub(h)? + 1 {
        for x in 0..shot.w.checked_sub(w)? + 1 {
            let whole = is_border(x, y)
                && long((x, y), (1, 0), w)
                && long((x, y), (0, 1), h)
                && long((x + w - 1, y), (0, 1), h)
                && long((x, y + h - 1), (1, 0), w)
                // Beside it there is something else, or the screen ends.
                && (x == 0 || !is_border(x - 1, y + h / 2))
                && (y == 0 || !is_border(x + w / 2, y - 1));
            if whole {
                return Some(read((x, y), rgb));
            }
        }
    }
    None
}

fn read(at: (u32, u32), rgb: impl Fn(u32, u32) -> [u8; 3]) -> Seen {
    let cell = |bit: u32| {
        let [_, green, _] = rgb(
            at.0 + CELLS_AT.0 + bit * CELL + CELL / 2,
            at.1 + CELLS_AT.1 + CELL / 2,
        );
        u32::from(green > 128) << bit
    };
    let patch = |(number, wanted): (u32, [u8; 3])| {
        let x = at.0 + PATCHES_AT.0 + number * PATCH + PATCH / 2;
        distance(rgb(x, at.1 + PATCHES_AT.1 + PATCH / 2), wanted)
    };
    Seen {
        at,
        number: (0..BITS).map(cell).sum(),
        off: (0..).zip(PATCHES).map(patch).max().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A screen with a film at a place.
    fn screen(at: (u32, u32), number: u32) -> Shot {
        let (w, h) = (800, 500);
        let mut pixels = vec![0x30; (w * h * 4) as usize];
        let start = ((at.1 * w + at.0) * 4) as usize;
        draw_xrgb(&mut pixels[start..], w * 4, number);
        Shot { w, h, pixels }
    }

    #[test]
    fn a_film_is_found_where_it_is_and_read() {
        for (at, number) in [((0, 0), 0), ((17, 31), 1234), ((160, 140), 4095)] {
            let seen = find(&screen(at, number)).expect("it is there");
            assert_eq!(seen, Seen { at, number, off: 0 });
        }
    }

    #[test]
    fn half_a_film_and_none_are_not_found() {
        let mut shot = screen((17, 31), 7);
        let row = 4 * shot.w as usize;
        shot.pixels[row * 300..].fill(0x30);
        assert_eq!(find(&shot), None);
        shot.pixels.fill(0x30);
        assert_eq!(find(&shot), None);
    }

    #[test]
    fn both_kinds_of_pixels_show_the_same_picture() {
        let layout = Layout::nv12(SIZE, SIZE.0);
        let mut planes = vec![0; layout.bytes()];
        draw_nv12(&mut planes, &layout, 77);
        let (w, h) = SIZE;
        let mut pixels = Vec::new();
        for y in 0..h {
            for x in 0..w {
                let chroma = (layout.offsets[1] + y / 2 * w + x / 2 * 2) as usize;
                let luma = planes[(y * w + x) as usize];
                let [r, g, b] = BT709.rgb([luma, planes[chroma], planes[chroma + 1]]);
                pixels.extend([b, g, r, 0]);
            }
        }
        let seen = find(&Shot { w, h, pixels }).expect("it is all there is");
        assert_eq!((seen.at, seen.number), ((0, 0), 77));
        assert!(seen.off <= 3, "{seen:?}");
    }
}

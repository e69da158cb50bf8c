//! Pixels as planes of bytes: green, blue − green, red − green, and alpha where it counts.
//!
//! Neighbouring channels of one pixel resemble each other; taking green off the others makes greys,
//! the most frequent colours of a desktop, two planes of zeros.
//!
//! What repeats, as letters do, is better off with the bytes of a pixel together: zstd finds it once
//! then, and not once in each plane.

use crate::four::Four;
use crate::geometry::TILE;

const SIDE: usize = TILE as usize;

/// Appends the planes of `pixels`.
pub fn put(pixels: &[u32], alpha: bool, out: &mut Vec<u8>) {
    out.extend(pixels.iter().map(|p| (p >> 8) as u8));
    out.extend(
        pixels
            .iter()
            .map(|p| (*p as u8).wrapping_sub((p >> 8) as u8)),
    );
    out.extend(
        pixels
            .iter()
            .map(|p| ((p >> 16) as u8).wrapping_sub((p >> 8) as u8)),
    );
    if alpha {
        out.extend(pixels.iter().map(|p| (p >> 24) as u8));
    }
}

/// Appends `pixels`, the bytes of each together.
pub fn put_together(pixels: &[u32], alpha: bool, out: &mut Vec<u8>) {
    let bytes = |pixel: u32| {
        let [b, g, r, a] = pixel.to_le_bytes();
        [g, b.wrapping_sub(g), r.wrapping_sub(g), a]
    };
    let start = out.len();
    out.resize(start + len(pixels.len(), alpha), 0);
    let out = &mut out[start..];
    match alpha {
        true => {
            let pairs = pixels.iter().zip(out.chunks_exact_mut(4));
            pairs.for_each(|(pixel, out)| out.copy_from_slice(&bytes(*pixel)));
        }
        false => {
            let pairs = pixels.iter().zip(out.chunks_exact_mut(3));
            pairs.for_each(|(pixel, out)| out.copy_from_slice(&bytes(*pixel)[..3]));
        }
    }
}

/// Appends the pixels of which each has its bytes together.
pub fn take_together(bytes: &[u8], alpha: bool, out: &mut Vec<u32>) {
    let pixel = |g: u8, b: u8, r: u8, a: u8| {
        u32::from_le_bytes([b.wrapping_add(g), g, r.wrapping_add(g), a])
    };
    match alpha {
        true => {
            let pixels = bytes.chunks_exact(4);
            out.extend(pixels.map(|p| pixel(p[0], p[1], p[2], p[3])));
        }
        false => {
            let pixels = bytes.chunks_exact(3);
            out.extend(pixels.map(|p| pixel(p[0], p[1], p[2], 0xff)));
        }
    }
}

/// Bytes of the planes of `count` pixels, or of these pixels put together.
pub fn len(count: usize, alpha: bool) -> usize {
    count * (3 + usize::from(alpha))
}

/// The pixels of `planes`, which hold `out.len()` of them.
pub fn take(planes: &[u8], alpha: bool, out: &mut [u32]) {
    let count = out.len();
    let (green, rest) = planes.split_at(count);
    let (blue, rest) = rest.split_at(count);
    let (red, opacity) = rest.split_at(count);
    for (i, pixel) in out.iter_mut().enumerate() {
        let g = green[i];
        let (b, r) = (blue[i].wrapping_add(g), red[i].wrapping_add(g));
        let a = if alpha { opacity[i] } else { 0xff };
        *pixel = u32::from_le_bytes([b, g, r, a]);
    }
}

/// Appends what the median predictor missed of a plane of rows of `w`. The oracle of [`predict`].
#[cfg(test)]
fn put_missed(plane: &[u8], w: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + plane.len(), 0);
    let mut rows = plane.chunks(w).zip(out[start..].chunks_mut(w));
    let Some((first, missed)) = rows.next() else {
        return;
    };
    missed[0] = first[0];
    for ((missed, here), left) in missed[1..].iter_mut().zip(&first[1..]).zip(first) {
        *missed = here.wrapping_sub(*left);
    }
    let mut above = first;
    for (row, missed) in rows {
        missed[0] = row[0].wrapping_sub(above[0]);
        let known = row.iter().zip(&above[1..]).zip(above);
        for ((missed, here), ((left, up), corner)) in
            missed[1..].iter_mut().zip(&row[1..]).zip(known)
        {
            *missed = here.wrapping_sub(median(*left, *up, *corner));
        }
        above = row;
    }
}

/// A row of a plane behind what counts as the left neighbour of its first byte.
type PlaneRow = [u8; SIDE + 1];

/// Leaves what the median predictor (LOCO-I) missed of planes of `area` bytes that stand one after the
/// other, in rows of `w` bytes, which are at most [`TILE`].
pub fn predict(planes: &mut [u8], area: usize, w: usize) {
    for plane in planes.chunks_exact_mut(area) {
        // Zeros above and to the left of the first row make the median the left neighbour there.
        let (mut above, mut here): (PlaneRow, PlaneRow) = ([0; SIDE + 1], [0; SIDE + 1]);
        for row in plane.chunks_exact_mut(w) {
            // The byte above three times over makes the median that byte in the first column.
            (here[0], above[0]) = (above[1], above[1]);
            here[1..=w].copy_from_slice(row);
            // Slices in step and no branches: the compiler does sixteen bytes at a time.
            let known = here.iter().zip(&above[1..]).zip(&above);
            for ((missed, here), ((left, up), corner)) in row.iter_mut().zip(&here[1..]).zip(known)
            {
                *missed = here.wrapping_sub(median(*left, *up, *corner));
            }
            std::mem::swap(&mut above, &mut here);
        }
    }
}

/// Undoes [`predict`], in place, for planes of `area` bytes that stand one after the other, in rows of
/// `w` bytes, which are at most [`TILE`].
pub fn unpredict(planes: &mut [u8], area: usize, w: usize) {
    // Each byte waits for the one to its left, so that a pixel's bytes at once take hardly longer
    // than one of them.
    for planes in planes.chunks_mut(Four::COUNT * area) {
        let mut planes = planes.chunks_exact_mut(area);
        let mut planes: [&mut [u8]; Four::COUNT] =
            std::array::from_fn(|_| planes.next().unwrap_or_default());
        let mut above = [Four::default(); SIDE];
        for start in (0..area).step_by(w) {
            let mut row = [0; SIDE];
            let row = &mut row[..w];
            for (n, plane) in planes.iter().enumerate() {
                let missed = plane.iter().skip(start).zip(row.iter_mut());
                missed.for_each(|(missed, four)| *four |= u32::from(*missed) << (8 * n));
            }
            // What stands before a row counts as what is above its first pixel, and what is above
            // the first row as zeros.
            let (mut left, mut corner) = (above[0], above[0]);
            for (four, above) in row.iter_mut().zip(&mut above) {
                left = Four::from(*four).plus(left.median(*above, corner));
                corner = std::mem::replace(above, left);
                *four = left.into();
            }
            for (n, plane) in planes.iter_mut().enumerate() {
                let bytes = plane.iter_mut().skip(start).zip(row.iter());
                bytes.for_each(|(byte, four)| *byte = (four >> (8 * n)) as u8);
            }
        }
    }
}

#[inline]
fn median(left: u8, up: u8, corner: u8) -> u8 {
    let (low, high) = (left.min(up), left.max(up));
    let slope = left.wrapping_add(up).wrapping_sub(corner);
    if corner >= high {
        low
    } else if corner <= low {
        high
    } else {
        slope
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn planes_give_the_pixels_back(
            pixels in prop::collection::vec(any::<u32>(), 1..300),
            alpha: bool,
        ) {
            let mut bytes = Vec::new();
            put(&pixels, alpha, &mut bytes);
            prop_assert_eq!(bytes.len(), len(pixels.len(), alpha));
            let mut back = vec![0; pixels.len()];
            take(&bytes, alpha, &mut back);
            let mask = if alpha { 0 } else { 0xff00_0000 };
            let expected: Vec<_> = pixels.iter().map(|p| p | mask).collect();
            prop_assert_eq!(back, expected);
        }

        #[test]
        fn prediction_in_place_is_that_of_each_plane(
            rows in prop::collection::vec(prop::collection::vec(any::<u8>(), SIDE), 1..=SIDE),
            w in 1..=SIDE,
            count in 1usize..5,
        ) {
            let plane: Vec<u8> = rows.iter().flat_map(|row| &row[..w]).copied().collect();
            let turned = |n| plane.iter().map(move |byte| byte.rotate_left(n));
            let mut planes: Vec<u8> = (0..count as u32).flat_map(turned).collect();
            let mut expected = Vec::new();
            planes.chunks(plane.len()).for_each(|plane| put_missed(plane, w, &mut expected));
            predict(&mut planes, plane.len(), w);
            prop_assert_eq!(planes, expected);
        }

        #[test]
        fn prediction_is_undone(
            rows in prop::collection::vec(any::<[u8; 7]>(), 1..20),
            w in 1usize..8,
            count in 1usize..5,
        ) {
            let plane: Vec<u8> = rows.iter().flat_map(|row| &row[..w]).copied().collect();
            let planes: Vec<_> = (0..count as u8).map(|n| plane.iter().map(|byte| byte ^ n).collect::<Vec<_>>()).collect();
            let mut bytes = Vec::new();
            planes.iter().for_each(|plane| put_missed(plane, w, &mut bytes));
            unpredict(&mut bytes, plane.len(), w);
            prop_assert_eq!(bytes, planes.concat());
        }

        #[test]
        fn prediction_is_that_of_the_format(
            rows in prop::collection::vec(any::<[u8; 5]>(), 1..9),
        ) {
            let plane = rows.concat();
            let mut missed = Vec::new();
            put_missed(&plane, 5, &mut missed);
            for (at, missed) in missed.iter().enumerate() {
                let (x, y) = (at % 5, at / 5);
                let guess = match (x, y) {
                    (0, 0) => 0,
                    (_, 0) => plane[at - 1],
                    (0, _) => plane[at - 5],
                    _ => {
                        let (a, b, c) = (plane[at - 1], plane[at - 5], plane[at - 6]);
                        if c >= a.max(b) {
                            a.min(b)
                        } else if c <= a.min(b) {
                            a.max(b)
                        } else {
                            a.wrapping_add(b).wrapping_sub(c)
                        }
                    }
                };
                prop_assert_eq!(*missed, plane[at].wrapping_sub(guess));
            }
        }
    }
}

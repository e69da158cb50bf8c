//! What really changed: clients damage more than they draw.

use xxhash_rust::xxh3::Xxh3;

use crate::geometry::{PixelsRef, Rect};

/// The smallest rectangle, relative to the views, outside which `old` and `new` are equal; nothing
/// if they are equal. Views of different sizes differ everywhere.
pub fn changed(old: PixelsRef<'_>, new: PixelsRef<'_>) -> Option<Rect> {
    let (w, h) = (new.width(), new.height());
    if (old.width(), old.height()) != (w, h) {
        return Some(Rect { x: 0, y: 0, w, h });
    }
    let top = (0..h).find(|&y| old.row(y) != new.row(y))?;
    let bottom = (top..h).rev().find(|&y| old.row(y) != new.row(y))?;
    let (mut left, mut right) = (w as usize, 0);
    for y in top..=bottom {
        let (old, new) = (old.row(y), new.row(y));
        if old[..left] != new[..left] {
            left = first_difference(&old[..left], &new[..left]).unwrap_or(left);
        }
        if old[right..] != new[right..] {
            let last = old[right..]
                .iter()
                .zip(&new[right..])
                .rposition(|(a, b)| a != b);
            right = last.map_or(right, |last| right + last + 1);
        }
    }
    Some(Rect {
        x: left as u32,
        y: top,
        w: (right - left) as u32,
        h: bottom - top + 1,
    })
}

fn first_difference(old: &[u32], new: &[u32]) -> Option<usize> {
    old.iter().zip(new).position(|(a, b)| a != b)
}

/// The lowest bytes of the hash of a cell, by which two ends compare what they hold.
pub fn digest(seed: u64, pixels: PixelsRef<'_>) -> [u8; 4] {
    (hash(seed, pixels) as u32).to_le_bytes()
}

/// A hash of pixels that does not depend on how they lie in memory.
pub(crate) fn hash(seed: u64, pixels: PixelsRef<'_>) -> u128 {
    let mut state = Xxh3::with_seed(seed);
    let mut bytes = [0; 4 * 256];
    for row in pixels.rows() {
        for part in row.chunks(256) {
            for (bytes, pixel) in bytes.chunks_exact_mut(4).zip(part) {
                bytes.copy_from_slice(&pixel.to_le_bytes());
            }
            state.update(&bytes[..part.len() * 4]);
        }
    }
    state.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_outside_the_rectangle_changed_and_every_edge_of_it_did(
            w in 1u32..20,
            h in 1u32..20,
            dots in prop::collection::vec((0usize..400, 1u32..4), 0..6),
        ) {
            let old = vec![0u32; (w * h) as usize];
            let mut new = old.clone();
            for (at, value) in dots {
                let len = new.len();
                new[at % len] = value;
            }
            let view = |data| PixelsRef::new(data, w as usize, w, h).unwrap();
            let found = changed(view(&old), view(&new));
            let differing: Vec<_> = (0..w * h)
                .filter(|&i| old[i as usize] != new[i as usize])
                .map(|i| (i % w, i / w))
                .collect();
            let expected = differing.first().map(|_| {
                let left = differing.iter().map(|p| p.0).min().unwrap();
                let right = differing.iter().map(|p| p.0).max().unwrap();
                let top = differing.iter().map(|p| p.1).min().unwrap();
                let bottom = differing.iter().map(|p| p.1).max().unwrap();
                Rect { x: left, y: top, w: right - left + 1, h: bottom - top + 1 }
            });
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn hash_sees_pixels_and_not_strides() {
        let tight = [1, 2, 3, 4];
        let loose = [1, 2, 9, 3, 4, 9];
        let a = hash(7, PixelsRef::new(&tight, 2, 2, 2).unwrap());
        assert_eq!(a, hash(7, PixelsRef::new(&loose, 3, 2, 2).unwrap()));
        assert_ne!(a, hash(7, PixelsRef::new(&loose, 2, 2, 2).unwrap()));
    }
}

//! Pixels as planes of bytes: green, blue − green, red − green, and alpha where it counts.
//!
//! Neighbouring channels of one pixel resemble each other; taking green off the others makes greys,
//! the most frequent colours of a desktop, two planes of zeros.

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

/// Bytes of the planes of `count` pixels.
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

/// Replaces each byte of a plane of rows of `w` by what the median predictor missed (LOCO-I).
pub fn predict(plane: &mut [u8], w: usize) {
    for i in (0..plane.len()).rev() {
        let guess = median(plane, i, w);
        plane[i] = plane[i].wrapping_sub(guess);
    }
}

/// Undoes [`predict`].
pub fn unpredict(plane: &mut [u8], w: usize) {
    for i in 0..plane.len() {
        let guess = median(plane, i, w);
        plane[i] = plane[i].wrapping_add(guess);
    }
}

fn median(plane: &[u8], i: usize, w: usize) -> u8 {
    let (has_left, has_up) = (!i.is_multiple_of(w), i >= w);
    match (has_left, has_up) {
        (false, false) => 0,
        (true, false) => plane[i - 1],
        (false, true) => plane[i - w],
        (true, true) => {
            let (left, up, corner) = (plane[i - 1], plane[i - w], plane[i - w - 1]);
            let (low, high) = (left.min(up), left.max(up));
            if corner >= high {
                low
            } else if corner <= low {
                high
            } else {
                left.wrapping_add(up).wrapping_sub(corner)
            }
        }
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
        fn prediction_is_undone(
            plane in prop::collection::vec(any::<u8>(), 1..300),
            w in 1usize..20,
        ) {
            let mut bytes = plane.clone();
            predict(&mut bytes, w);
            unpredict(&mut bytes, w);
            prop_assert_eq!(bytes, plane);
        }
    }
}

//! Pictures like photos and films: smooth shapes at several sizes with grain, integers only.

use crate::canvas::Canvas;
use crate::text::mix;

/// Distance of the corners of a layer of noise as a power of two, and its strength.
const LAYERS: [(u32, i32); 4] = [(8, 110), (6, 60), (4, 24), (2, 8)];
/// Strength of the grain.
const GRAIN: u64 = 3;

/// Paints photo number `seed` over the whole picture.
pub fn paint(canvas: &mut Canvas, seed: u64) {
    let width = canvas.w as usize;
    let mut light = vec![0i32; width];
    let mut warmth = vec![0i32; width];
    for y in 0..canvas.h {
        light.fill(128);
        warmth.fill(0);
        for (layer, (shift, strength)) in LAYERS.into_iter().enumerate() {
            add_noise(&mut light, y, seed * 16 + layer as u64, shift, strength);
        }
        add_noise(&mut warmth, y, seed * 16 + 9, 7, 50);
        let mut grain = mix(seed << 20 ^ u64::from(y));
        for (x, pixel) in canvas.row_mut(0, y, width as u32).iter_mut().enumerate() {
            grain = grain
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let lit = light[x] + (grain >> 60 & GRAIN) as i32;
            let channel = |value: i32| value.clamp(0, 255) as u32;
            *pixel = 0xff00_0000
                | channel(lit + warmth[x]) << 16
                | channel(lit) << 8
                | channel(lit - warmth[x]);
        }
    }
}

/// Adds one layer of smooth noise to a row: between −strength/2 and +strength/2.
fn add_noise(row: &mut [i32], y: u32, seed: u64, shift: u32, strength: i32) {
    let size = 1u32 << shift;
    let corner =
        |x: u32, y: u32| (mix(seed << 40 ^ u64::from(y) << 20 ^ u64::from(x)) & 0xff) as i32;
    let (above, part_y) = (y >> shift, smooth(y & (size - 1), shift));
    let at = |x: u32| corner(x, above) * (256 - part_y) + corner(x, above + 1) * part_y;
    let mut left = at(0);
    for (column, pixels) in row.chunks_mut(size as usize).enumerate() {
        let right = at(column as u32 + 1);
        for (x, pixel) in pixels.iter_mut().enumerate() {
            let part = smooth(x as u32, shift);
            let value = (left >> 8) * (256 - part) + (right >> 8) * part;
            *pixel += (((value >> 8) - 128) * strength) >> 8;
        }
        left = right;
    }
}

/// A share of 256 that starts and ends flat.
fn smooth(x: u32, shift: u32) -> i32 {
    let x = (x << 8 >> shift) as i32;
    x * x / 256 * (768 - 2 * x) / 256
}

/// Paints frame `n` of a film: gradients that drift, a ball that moves over them, and noise.
pub fn paint_film(canvas: &mut Canvas, n: u32) {
    let (w, h) = (canvas.w as i32, canvas.h as i32);
    let t = n as i32;
    let columns: Vec<i32> = (0..w).map(|x| wave(x + t * 3, 512)).collect();
    let (ball_x, ball_y) = (wave(t * 7, 2 * w) * w / 256, wave(t * 5, 2 * h) * h / 256);
    let radius = h / 5;
    for y in 0..h {
        let (down, slow) = (wave(y * 2 + t, 640), wave(y - t * 2, 1024));
        let reach = (radius * radius - (y - ball_y).pow(2)).max(0).isqrt();
        let mut noise = mix(u64::from(n) << 20 ^ y as u64);
        for (x, pixel) in (0..).zip(canvas.row_mut(0, y as u32, w as u32)) {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let grain = (noise >> 61) as i32 - 3;
            let across = columns[x as usize];
            let mut rgb = [(across + down) / 2, (down + slow) / 2, (across + slow) / 2];
            if (x - ball_x).abs() < reach {
                rgb = [230, 180 - across / 4, 60];
            }
            let [r, g, b] = rgb.map(|value| (value + grain).clamp(0, 255) as u32);
            *pixel = 0xff00_0000 | r << 16 | g << 8 | b;
        }
    }
}

/// A wave between 0 and 255 with this period.
fn wave(x: i32, period: i32) -> i32 {
    let part = x.rem_euclid(period) * 512 / period;
    let up = if part < 256 { part } else { 511 - part };
    smooth(up as u32, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photo_is_the_same_each_time_and_neither_flat_nor_all_noise() {
        let mut one = Canvas::new(320, 200, 0);
        paint(&mut one, 3);
        let mut two = Canvas::new(320, 200, 0);
        paint(&mut two, 3);
        assert!(one == two);
        paint(&mut two, 4);
        assert!(one != two);
        let steps = one.pixels.windows(2).map(|pair| {
            let green = |pixel: u32| (pixel >> 8 & 0xff) as i32;
            (green(pair[0]) - green(pair[1])).abs()
        });
        let mean = steps.sum::<i32>() as f64 / one.pixels.len() as f64;
        assert!((0.5..12.0).contains(&mean), "mean step {mean}");
    }
}

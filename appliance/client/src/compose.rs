//! Drawing the scene with the CPU: only what is damaged, only what is not covered.

use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::scene::{Placement, Transform, UNITS_PER_PIXEL};

use crate::geometry::Rect;
use crate::scene::{Layer, Scene, crop_is_inside};

/// Pixels to draw on: rows of XRGB8888, `stride` pixels apart.
pub struct Target<'a> {
    /// The first row and all after it.
    pub pixels: &'a mut [u32],
    /// Distance of rows in pixels.
    pub stride: usize,
    /// Its size as a rectangle at the origin.
    pub bounds: Rect,
}

impl Target<'_> {
    /// Part of one row.
    pub fn row(&mut self, x: i32, y: i32, w: i32) -> &mut [u32] {
        let start = y as usize * self.stride + x as usize;
        &mut self.pixels[start..][..w as usize]
    }

    /// Fills a rectangle, as far as it is inside.
    pub fn fill(&mut self, rect: Rect, rgb: u32) {
        let Some(rect) = rect.intersection(self.bounds) else {
            return;
        };
        for y in rect.y..rect.bottom() {
            self.row(rect.x, y, rect.w).fill(rgb);
        }
    }
}

/// What drawing all of an output may cost, in outputs copied pixel by pixel.
const MAX_COST: u64 = 1024;
/// What blending a pixel costs, of copies.
const BLENDING: u64 = 4;
/// What sampling a pixel costs, of copies.
const SAMPLING: u64 = 16;

/// Whether an output can be drawn in bounded time.
pub fn is_affordable(scene: &Scene, output: OutputId) -> bool {
    let Some(shown) = scene.output(output) else {
        return true;
    };
    let whole = Rect::of_size(shown.size.w, shown.size.h);
    let area = |rect: Rect| rect.w.max(0) as u64 * rect.h.max(0) as u64;
    let mut left = MAX_COST * area(whole);
    for placement in shown.stack.iter().rev() {
        let part = Rect::from_wire(placement.dst).intersection(whole);
        let (Some(layer), Some(part)) = (scene.layer(placement.layer), part) else {
            continue;
        };
        let opaque = placement.opacity == 255 && layer.is_opaque_within(placement.src);
        let a_pixel = match (exact_offset(placement), opaque) {
            (Some(_), true) => 1,
            (Some(_), false) => BLENDING,
            (None, _) => SAMPLING,
        };
        let Some(rest) = left.checked_sub(a_pixel * area(part)) else {
            return false;
        };
        left = rest;
        if covers(scene, placement, whole) {
            break;
        }
    }
    true
}

/// A place through which a plane under what is drawn is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The layer that the video is of: what is over it stays.
    pub layer: LayerId,
    /// On the output.
    pub rect: Rect,
}

/// Draws `area` of an output; where there are holes as pixels with alpha: opaque, but for holes, and
/// for what is over those.
pub fn compose_with_holes(
    scene: &Scene,
    output: OutputId,
    holes: &[Hole],
    area: Rect,
    target: &mut Target<'_>,
) {
    let Some(shown) = scene.output(output) else {
        return;
    };
    let Some(area) = area.intersection(target.bounds) else {
        return;
    };
    let has_alpha = !holes.is_empty();
    let lowest = shown
        .stack
        .iter()
        .rposition(|placement| covers(scene, placement, area));
    if lowest.is_none() {
        let alpha = if has_alpha { 0xff00_0000 } else { 0 };
        target.fill(area, alpha | shown.background);
    }
    for placement in &shown.stack[lowest.unwrap_or(0)..] {
        let dst = Rect::from_wire(placement.dst);
        let (Some(layer), Some(part)) = (scene.layer(placement.layer), dst.intersection(area))
        else {
            continue;
        };
        draw(layer, placement, part, target);
        // Pixels of such layers may have any alpha, which the plane would believe.
        if has_alpha && !layer.alpha && is_opaque(layer, placement) {
            for y in part.y..part.bottom() {
                let row = target.row(part.x, y, part.w);
                row.iter_mut().for_each(|pixel| *pixel |= 0xff00_0000);
            }
        }
        for hole in holes.iter().filter(|hole| hole.layer == placement.layer) {
            if let Some(hole) = hole.rect.intersection(part) {
                target.fill(hole, 0);
            }
        }
    }
}

fn is_opaque(layer: &Layer, placement: &Placement) -> bool {
    placement.opacity == 255
        && crop_is_inside(placement.src, layer.size)
        && layer.is_opaque_within(placement.src)
}

/// Whether nothing below `placement` shows within `area`.
pub fn covers(scene: &Scene, placement: &Placement, area: Rect) -> bool {
    let Some(layer) = scene.layer(placement.layer) else {
        return false;
    };
    placement.opacity == 255
        && Rect::from_wire(placement.dst).contains(area)
        && crop_is_inside(placement.src, layer.size)
        && layer.is_opaque_within(placement.src)
}

fn draw(layer: &Layer, placement: &Placement, part: Rect, target: &mut Target<'_>) {
    // A layer may have shrunk under its placement.
    if !crop_is_inside(placement.src, layer.size) {
        return;
    }
    let opaque = placement.opacity == 255 && layer.is_opaque_within(placement.src);
    match exact_offset(placement) {
        Some((x, y)) => draw_exact(layer, (x, y), placement.opacity, opaque, part, target),
        None => draw_sampled(layer, placement, opaque, part, target),
    }
}

/// Where the output's origin lies in the layer, if pixels map one to one.
fn exact_offset(placement: &Placement) -> Option<(i32, i32)> {
    let (src, dst) = (placement.src, placement.dst);
    let whole = src.x.is_multiple_of(UNITS_PER_PIXEL) && src.y % UNITS_PER_PIXEL == 0;
    let same = u64::from(src.w) == u64::from(dst.w) * u64::from(UNITS_PER_PIXEL)
        && u64::from(src.h) == u64::from(dst.h) * u64::from(UNITS_PER_PIXEL);
    if placement.transform != Transform::Normal || !whole || !same {
        return None;
    }
    let offset = |src: u32, dst: i32| ((src / UNITS_PER_PIXEL) as i32).checked_sub(dst);
    Some((offset(src.x, dst.x)?, offset(src.y, dst.y)?))
}

fn draw_exact(
    layer: &Layer,
    (dx, dy): (i32, i32),
    opacity: u8,
    opaque: bool,
    part: Rect,
    target: &mut Target<'_>,
) {
    for y in part.y..part.bottom() {
        let start = (y + dy) as usize * layer.size.w as usize + (part.x + dx) as usize;
        let source = &layer.pixels[start..][..part.w as usize];
        let row = target.row(part.x, y, part.w);
        if opaque {
            row.copy_from_slice(source);
        } else {
            blend_row(row, source, opacity, layer.alpha);
        }
    }
}

/// Blends a row of premultiplied pixels over another.
pub fn blend_row(row: &mut [u32], source: &[u32], opacity: u8, alpha: bool) {
    let force = if alpha { 0 } else { 0xff00_0000 };
    for (below, pixel) in row.iter_mut().zip(source) {
        *below = blend(*below, pixel | force, opacity);
    }
}

/// `pixel`, premultiplied, over `below`.
fn blend(below: u32, pixel: u32, opacity: u8) -> u32 {
    let pixel = if opacity == 255 {
        pixel
    } else {
        scaled(pixel, u32::from(opacity))
    };
    match pixel >> 24 {
        255 => pixel,
        0 if pixel == 0 => below,
        alpha => {
            let below = scaled(below, 255 - alpha);
            saturating_add(pixel, below)
        }
    }
}

/// All four channels times `factor`/255, rounded; two channels at a time.
fn scaled(pixel: u32, factor: u32) -> u32 {
    let half = |channels: u32| {
        let product = channels * factor + 0x80_0080;
        (product + ((product >> 8) & 0xff_00ff)) >> 8 & 0xff_00ff
    };
    half(pixel & 0xff_00ff) | half(pixel >> 8 & 0xff_00ff) << 8
}

/// Channels added; a wrong premultiplication must not spill into the next channel.
fn saturating_add(a: u32, b: u32) -> u32 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    u32::from_le_bytes(std::array::from_fn(|i| a[i].saturating_add(b[i])))
}

/// Turned or scaled: each pixel's place in the layer is computed, and neighbours are mixed.
fn draw_sampled(
    layer: &Layer,
    placement: &Placement,
    opaque: bool,
    part: Rect,
    target: &mut Target<'_>,
) {
    let map = Mapping::new(placement);
    for y in part.y..part.bottom() {
        let row = target.row(part.x, y, part.w);
        for (x, below) in (part.x..).zip(row) {
            let pixel = sample(layer, map.source(x, y));
            *below = if opaque {
                pixel
            } else {
                blend(*below, pixel, placement.opacity)
            };
        }
    }
}

/// From an output's pixel to a place in the layer, in 1/256 pixel from a pixel's centre.
struct Mapping {
    transform: Transform,
    dst: (i64, i64, i64, i64),
    src: (i64, i64, i64, i64),
}

impl Mapping {
    fn new(placement: &Placement) -> Self {
        let (d, s) = (placement.dst, placement.src);
        Self {
            transform: placement.transform,
            dst: (
                i64::from(d.x),
                i64::from(d.y),
                i64::from(d.w),
                i64::from(d.h),
            ),
            src: (
                i64::from(s.x),
                i64::from(s.y),
                i64::from(s.w),
                i64::from(s.h),
            ),
        }
    }

    fn source(&self, x: i32, y: i32) -> (i64, i64) {
        let (dx, dy, dw, dh) = self.dst;
        let (sx, sy, sw, sh) = self.src;
        // Place within the destination, in 2^16ths of its sides, from the pixel's centre.
        let along = |at: i64, length: i64| ((2 * at + 1) << 15) / length;
        let (u, v) = (along(i64::from(x) - dx, dw), along(i64::from(y) - dy, dh));
        let end = 1 << 16;
        let (u, v) = match self.transform {
            Transform::Normal => (u, v),
            Transform::Rotate90 => (end - v, u),
            Transform::Rotate180 => (end - u, end - v),
            Transform::Rotate270 => (v, end - u),
            Transform::Flipped => (end - u, v),
            Transform::Flipped90 => (v, u),
            Transform::Flipped180 => (u, end - v),
            Transform::Flipped270 => (end - v, end - u),
        };
        (sx + ((u * sw) >> 16) - 128, sy + ((v * sh) >> 16) - 128)
    }
}

/// The colour at a place, mixed from the four pixels around it.
fn sample(layer: &Layer, (x, y): (i64, i64)) -> u32 {
    let (w, h) = (i64::from(layer.size.w), i64::from(layer.size.h));
    let (column, row) = (x >> 8, y >> 8);
    let (right, down) = ((x & 255) as u32, (y & 255) as u32);
    let force = if layer.alpha { 0 } else { 0xff00_0000 };
    let at = |column: i64, row: i64| {
        let (column, row) = (column.clamp(0, w - 1), row.clamp(0, h - 1));
        layer.pixels[(row * w + column) as usize] | force
    };
    if right == 0 && down == 0 {
        return at(column, row);
    }
    let upper = mix(at(column, row), at(column + 1, row), right);
    let lower = mix(at(column, row + 1), at(column + 1, row + 1), right);
    mix(upper, lower, down)
}

/// `a` where `t` is 0, `b` where it is 256.
fn mix(a: u32, b: u32, t: u32) -> u32 {
    let half = |a: u32, b: u32| ((a * (256 - t) + b * t) >> 8) & 0xff_00ff;
    half(a & 0xff_00ff, b & 0xff_00ff) | half(a >> 8 & 0xff_00ff, b >> 8 & 0xff_00ff) << 8
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;

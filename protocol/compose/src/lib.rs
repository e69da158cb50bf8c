//! Drawing placed layers with the CPU: only what is damaged, only what is not covered.
//!
//! A terminal draws so what it is told, and a session what it composes for a terminal that could not
//! hold all of it. The two agree to the pixel, so that nobody sees where a picture was composed.
#![forbid(unsafe_code)]

pub mod geometry;

use heliostat_wire::id::LayerId;
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Crop, Placement, Transform, UNITS_PER_PIXEL};

use geometry::Rect;

/// A layer's pixels.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// Width and height; neither is zero.
    pub size: Size,
    /// Whether alpha counts; the pixels are premultiplied then.
    pub alpha: bool,
    /// Parts known to be opaque, in its pixels.
    pub opaque: &'a [Rect],
    /// Rows without gaps.
    pub pixels: &'a [u32],
}

impl Picture<'_> {
    /// Whether `crop` (in 1/256 pixel) shows opaque pixels only.
    pub fn is_opaque_within(&self, crop: Crop) -> bool {
        if !self.alpha {
            return true;
        }
        let unit = i64::from(UNITS_PER_PIXEL);
        let (x, y) = (i64::from(crop.x), i64::from(crop.y));
        let right = (x + i64::from(crop.w) + unit - 1) / unit;
        let bottom = (y + i64::from(crop.h) + unit - 1) / unit;
        let shown = Rect::from_edges(x / unit, y / unit, right, bottom);
        self.opaque.iter().any(|rect| rect.contains(shown))
    }
}

/// What an output shows.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Colour where no layer is, 0xRRGGBB.
    pub background: u32,
    /// Placements, lowest first.
    pub stack: &'a [Placement],
}

/// Pixels to draw on: rows of XRGB8888, `stride` pixels apart.
pub struct Target<'a> {
    /// The first row and all after it.
    pub pixels: &'a mut [u32],
    /// Distance of rows in pixels.
    pub stride: usize,
    /// What they are of an output, whose pixels are counted from its own corner.
    pub bounds: Rect,
}

impl Target<'_> {
    /// Part of one row.
    pub fn row(&mut self, x: i32, y: i32, w: i32) -> &mut [u32] {
        let (x, y) = (x - self.bounds.x, y - self.bounds.y);
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

/// Draws `area` of an output. Layers that `picture` does not know are left out.
pub fn compose<'a>(
    shown: &Shown<'_>,
    picture: impl Fn(LayerId) -> Option<Picture<'a>>,
    area: Rect,
    target: &mut Target<'_>,
) {
    compose_and(shown, picture, area, target, |_, _, _, _| {});
}

/// The same, and `after` may change what was drawn of each placement before the next one is.
pub fn compose_and<'a>(
    shown: &Shown<'_>,
    picture: impl Fn(LayerId) -> Option<Picture<'a>>,
    area: Rect,
    target: &mut Target<'_>,
    mut after: impl FnMut(&Placement, &Picture<'a>, Rect, &mut Target<'_>),
) {
    let Some(area) = area.intersection(target.bounds) else {
        return;
    };
    let is_lowest = |placement: &Placement| {
        picture(placement.layer).is_some_and(|picture| covers(&picture, placement, area))
    };
    let lowest = shown.stack.iter().rposition(is_lowest);
    if lowest.is_none() {
        target.fill(area, shown.background);
    }
    for placement in &shown.stack[lowest.unwrap_or(0)..] {
        let dst = Rect::from_wire(placement.dst);
        if let (Some(picture), Some(part)) = (picture(placement.layer), dst.intersection(area)) {
            draw(&picture, placement, part, target);
            after(placement, &picture, part, target);
        }
    }
}

/// Whether nothing of what is below shows through a placement.
pub fn is_opaque(picture: &Picture<'_>, placement: &Placement) -> bool {
    placement.opacity == 255
        && crop_is_inside(placement.src, picture.size)
        && picture.is_opaque_within(placement.src)
}

/// Whether nothing below `placement` shows within `area`.
pub fn covers(picture: &Picture<'_>, placement: &Placement, area: Rect) -> bool {
    Rect::from_wire(placement.dst).contains(area) && is_opaque(picture, placement)
}

/// What drawing all of an output may cost, in outputs copied pixel by pixel: a terminal refuses what
/// costs more.
pub const MAX_COST: u64 = 1024;
/// What blending a pixel costs, of copies.
const BLENDING: u64 = 4;
/// What sampling a pixel costs, of copies.
const SAMPLING: u64 = 16;

/// Of so many placements any output can be drawn for this many copies of it, whatever they are.
pub fn are_affordable(placements: usize, copies: u64) -> bool {
    placements as u64 <= copies / SAMPLING
}

/// The lowest placement of `stack` that can be drawn where all of an output of `size` may cost so many
/// copies of it: 0 where all of them can. From the highest one down each costs its pixels on the output,
/// once where they are copied as they are, four times where they are blended and sixteen times where they
/// are scaled, turned or between pixels; what is below one that covers the output costs nothing.
/// `picture` needs no pixels, and layers that it does not know cost nothing.
pub fn first_affordable<'a>(
    stack: &[Placement],
    size: Size,
    copies: u64,
    picture: impl Fn(LayerId) -> Option<Picture<'a>>,
) -> usize {
    if are_affordable(stack.len(), copies) {
        return 0;
    }
    let whole = Rect::of_size(size.w, size.h);
    let area = |rect: Rect| rect.w.max(0) as u64 * rect.h.max(0) as u64;
    let mut left = copies * area(whole);
    for (height, placement) in stack.iter().enumerate().rev() {
        let part = Rect::from_wire(placement.dst).intersection(whole);
        let (Some(picture), Some(part)) = (picture(placement.layer), part) else {
            continue;
        };
        let opaque = placement.opacity == 255 && picture.is_opaque_within(placement.src);
        let a_pixel = match (exact_offset(placement), opaque) {
            (Some(_), true) => 1,
            (Some(_), false) => BLENDING,
            (None, _) => SAMPLING,
        };
        let Some(rest) = left.checked_sub(a_pixel * area(part)) else {
            return height + 1;
        };
        left = rest;
        if covers(&picture, placement, whole) {
            break;
        }
    }
    0
}

/// Whether `crop` is not empty and inside a layer of `size`.
pub fn crop_is_inside(crop: Crop, size: Size) -> bool {
    let inside = |start: u32, length: u32, side: u32| {
        let end = u64::from(start) + u64::from(length);
        length > 0 && end <= u64::from(side) * u64::from(UNITS_PER_PIXEL)
    };
    inside(crop.x, crop.w, size.w) && inside(crop.y, crop.h, size.h)
}

/// Draws `part` of an output, which is inside the placement and the target.
pub fn draw(layer: &Picture<'_>, placement: &Placement, part: Rect, target: &mut Target<'_>) {
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
pub fn exact_offset(placement: &Placement) -> Option<(i32, i32)> {
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
    layer: &Picture<'_>,
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
    layer: &Picture<'_>,
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
fn sample(layer: &Picture<'_>, (x, y): (i64, i64)) -> u32 {
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
    let half = |a: u32, b: u32| ((a * (256 - t) + b * t + 0x80_0080) >> 8) & 0xff_00ff;
    half(a & 0xff_00ff, b & 0xff_00ff) | half(a >> 8 & 0xff_00ff, b >> 8 & 0xff_00ff) << 8
}

/// Where pixels of a layer appear under a placement. Where it is scaled each is mixed with those beside
/// it, so that it reaches as far as they do, however large they are shown.
pub fn shown_at(placement: &Placement, rect: Rect) -> Rect {
    let dst = Rect::from_wire(placement.dst);
    if placement.transform != Transform::Normal {
        return dst;
    }
    let unit = i64::from(UNITS_PER_PIXEL);
    let src = placement.src;
    let (dw, dh) = (i64::from(placement.dst.w), i64::from(placement.dst.h));
    let exact = dw * unit == i64::from(src.w)
        && dh * unit == i64::from(src.h)
        && src.x.is_multiple_of(UNITS_PER_PIXEL)
        && src.y.is_multiple_of(UNITS_PER_PIXEL);
    let (reach, rounding) = if exact { (0, 0) } else { (1, 2) };
    let along = |start: i64, crop: u32, length: i64, crop_length: u32| {
        (start * unit - i64::from(crop)) * length / i64::from(crop_length.max(1))
    };
    let (x, y) = (i64::from(rect.x) - reach, i64::from(rect.y) - reach);
    let right = x + i64::from(rect.w) + 2 * reach;
    let bottom = y + i64::from(rect.h) + 2 * reach;
    let shown = Rect::from_edges(
        i64::from(dst.x) + along(x, src.x, dw, src.w) - rounding,
        i64::from(dst.y) + along(y, src.y, dh, src.h) - rounding,
        i64::from(dst.x) + along(right, src.x, dw, src.w) + rounding,
        i64::from(dst.y) + along(bottom, src.y, dh, src.h) + rounding,
    );
    shown
        .intersection(dst)
        .unwrap_or(Rect { w: 0, h: 0, ..dst })
}

#[cfg(test)]
mod tests;

//! One picture of an output: layers' textures drawn one over the other, and what is read of it.

use std::collections::BTreeMap;

use anyhow::Context;
use heliostat_compose::crop_is_inside;
use heliostat_compose::geometry::{Damage, Rect};
use heliostat_wire::id::LayerId;
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Placement, Transform as WireTransform, UNITS_PER_PIXEL};
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::gles::{GlesRenderbuffer, GlesTarget, GlesTexture};
use smithay::backend::renderer::{Color32F, Frame, Offscreen};
use smithay::utils::{Buffer, Physical, Rectangle, Transform};

use super::super::composer::Job;
use crate::gpu::{Drawing, Ended};

/// A layer's texture.
#[derive(Debug)]
pub struct Known {
    /// It.
    pub texture: GlesTexture,
    /// Its alpha counts.
    pub alpha: bool,
    /// It is its client's buffer itself.
    pub is_lent: bool,
}

/// A buffer of GLES's own, as large as an output.
pub fn own_buffer(drawing: &mut Drawing, size: Size) -> anyhow::Result<GlesRenderbuffer> {
    let sides = (size.w as i32, size.h as i32).into();
    let buffer = drawing.renderer().create_buffer(Fourcc::Abgr8888, sides);
    buffer.context("make a buffer for an output")
}

/// Gives parts of what was drawn to `take`.
pub fn read(
    drawing: &mut Drawing,
    target: &GlesTarget<'_>,
    parts: &[Rect],
    room: &mut Vec<u32>,
    take: &mut impl FnMut(Rect, &[u32]),
) -> Result<(), Ended> {
    drawing.read(target, parts, room, |n, pixels| {
        // Nothing shines through an output.
        pixels.iter_mut().for_each(|pixel| *pixel |= 0xff00_0000);
        take(parts[n], pixels);
    })
}

/// Draws `damage` of an output, and waits until that is done.
pub fn draw(
    drawing: &mut Drawing,
    target: &mut GlesTarget<'_>,
    job: &Job<'_>,
    damage: &Damage,
    textures: &BTreeMap<LayerId, Known>,
) -> Result<(), Ended> {
    let size = (job.size.w as i32, job.size.h as i32).into();
    let [_, r, g, b] = job.shown.background.to_be_bytes();
    let channel = |value: u8| f32::from(value) / 255.0;
    let background = Color32F::new(channel(r), channel(g), channel(b), 1.0);
    drawing.draw(target, size, |frame, program| {
        // One after the other, since they may overlap, and nothing is to shine through twice.
        for rect in damage.rects() {
            frame.clear(background, &[physical(*rect)])?;
            for placement in job.shown.stack {
                let known = textures.get(&placement.layer);
                let known = known.zip(job.picture(placement.layer));
                let dst = Rect::from_wire(placement.dst);
                let (Some((known, picture)), Some(part)) = (known, rect.intersection(dst)) else {
                    continue;
                };
                if !crop_is_inside(placement.src, picture.size) {
                    continue;
                }
                let part = [physical(Rect {
                    x: part.x - dst.x,
                    y: part.y - dst.y,
                    ..part
                })];
                let is_opaque = picture.is_opaque_within(placement.src);
                let opaque = if is_opaque { &part[..] } else { &[] };
                frame.render_texture_from_to(
                    &known.texture,
                    source(placement),
                    physical(dst),
                    &part,
                    opaque,
                    transform(placement.transform),
                    f32::from(placement.opacity) / 255.0,
                    Some(program),
                    &[],
                )?;
            }
        }
        Ok(())
    })
}

fn physical(rect: Rect) -> Rectangle<i32, Physical> {
    Rectangle::new((rect.x, rect.y).into(), (rect.w, rect.h).into())
}

fn source(placement: &Placement) -> Rectangle<f64, Buffer> {
    let unit = f64::from(UNITS_PER_PIXEL);
    let pixels = |units: u32| f64::from(units) / unit;
    let src = placement.src;
    Rectangle::new(
        (pixels(src.x), pixels(src.y)).into(),
        (pixels(src.w), pixels(src.h)).into(),
    )
}

/// How a buffer was drawn that is turned upright so.
fn transform(wire: WireTransform) -> Transform {
    match wire {
        WireTransform::Normal => Transform::Normal,
        WireTransform::Rotate90 => Transform::_270,
        WireTransform::Rotate180 => Transform::_180,
        WireTransform::Rotate270 => Transform::_90,
        WireTransform::Flipped => Transform::Flipped,
        WireTransform::Flipped90 => Transform::Flipped90,
        WireTransform::Flipped180 => Transform::Flipped180,
        WireTransform::Flipped270 => Transform::Flipped270,
    }
}

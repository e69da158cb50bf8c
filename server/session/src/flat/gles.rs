//! Composing with GLES: surfaces' pixels go into textures as far as they have changed, what is damaged
//! is drawn into a buffer as large as the output, and read back.
//!
//! The device is one of hardware; Mesa's software is taken in tests only, since the processor
//! composes faster by itself than through it.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, ensure};
use heliostat_compose::geometry::{Damage, Rect};
use heliostat_compose::{Picture, crop_is_inside};
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Placement, Transform as WireTransform, UNITS_PER_PIXEL};
use smithay::backend::allocator::Fourcc;
use smithay::backend::egl::EGLDevice;
use smithay::backend::renderer::gles::{
    GlesRenderbuffer, GlesRenderer, GlesTarget, GlesTexProgram, GlesTexture,
};
use smithay::backend::renderer::{
    Bind, Color32F, ExportMem, Frame, ImportMem, Offscreen, Renderer, Texture,
};
use smithay::utils::{Buffer, Physical, Rectangle, Transform};

use super::composer::{Job, Layer};
use super::swapchain::FlatBuffer;
use crate::sys;

/// Coordinates in textures have to be finer than what GLES promises without being asked: layers that
/// are shown unscaled are to come out as they are.
const SHADER: &str = "#version 100
//_DEFINES_
#ifdef EXTERNAL
#extension GL_OES_EGL_image_external : require
#endif
precision highp float;
#ifdef EXTERNAL
uniform samplerExternalOES tex;
#else
uniform highp sampler2D tex;
#endif
uniform float alpha;
varying vec2 v_coords;
#ifdef DEBUG_FLAGS
uniform float tint;
#endif
void main() {
    vec4 pixel = texture2D(tex, v_coords);
#ifdef NO_ALPHA
    pixel.a = 1.0;
#endif
    gl_FragColor = pixel * alpha;
}
";

/// Which devices are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Those of hardware.
    Hardware,
    /// Mesa's software as well.
    #[cfg_attr(not(test), allow(dead_code, reason = "tests have no other"))]
    Any,
}

/// A context, and what it holds.
#[derive(Debug)]
pub struct Gles {
    renderer: GlesRenderer,
    program: GlesTexProgram,
    /// The longest side of a texture: smithay would not hear of one that was not made.
    longest: u32,
    name: String,
    outputs: BTreeMap<OutputId, Held>,
}

/// What is held for an output.
#[derive(Debug)]
struct Held {
    size: Size,
    buffer: GlesRenderbuffer,
    textures: BTreeMap<LayerId, Uploaded>,
}

/// A layer's texture.
#[derive(Debug)]
struct Uploaded {
    texture: GlesTexture,
    alpha: bool,
}

impl Gles {
    /// Opens the first device that is good enough.
    pub fn open(wanted: Device) -> anyhow::Result<Self> {
        sys::check_egl()?;
        let devices = EGLDevice::enumerate().context("ask libEGL for devices")?;
        let mut why = anyhow!("there is no graphics device");
        for device in devices {
            if wanted == Device::Hardware && device.is_software() {
                continue;
            }
            let name = match device.render_device_path() {
                Ok(path) => path.display().to_string(),
                Err(_) => "Mesa's software".to_owned(),
            };
            match sys::gles(device).and_then(with_program) {
                Ok((renderer, program, longest)) => {
                    return Ok(Self {
                        renderer,
                        program,
                        longest,
                        name,
                        outputs: BTreeMap::new(),
                    });
                }
                Err(error) => why = error.context(name),
            }
        }
        Err(why)
    }

    /// The device, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Nothing of an output is needed any more.
    pub fn forget(&mut self, output: OutputId) {
        self.outputs.remove(&output);
        // What cannot be freed now is when something is drawn next.
        let _ = self.renderer.cleanup_texture_cache();
    }

    /// Composes what is damaged, and gives each part of it with its pixels to `take`.
    pub fn compose(
        &mut self,
        job: &Job<'_>,
        room: &mut Vec<u32>,
        take: &mut impl FnMut(Rect, &[u32]),
    ) -> anyhow::Result<()> {
        let mut held = self.take_up(job)?;
        let Held {
            buffer, textures, ..
        } = &mut held;
        let mut target = self.renderer.bind(buffer).context("draw into a buffer")?;
        let tools = (&mut self.renderer, &self.program);
        draw(tools, &mut target, job, job.damage, textures)?;
        drop(target);
        self.read(job, buffer, room, take)?;
        self.outputs.insert(job.output, held);
        Ok(())
    }

    /// Composes what is to be drawn of it into a buffer for an encoder, and waits until it is done.
    pub fn compose_into(
        &mut self,
        job: &Job<'_>,
        buffer: &mut FlatBuffer,
        drawn: &Damage,
    ) -> anyhow::Result<()> {
        let held = self.take_up(job)?;
        let target = self.renderer.bind(&mut buffer.dmabuf);
        let mut target = target.context("draw into a buffer of the encoder")?;
        let tools = (&mut self.renderer, &self.program);
        draw(tools, &mut target, job, drawn, &held.textures)?;
        drop(target);
        self.outputs.insert(job.output, held);
        Ok(())
    }

    /// What is held for the job's output, with the newest pixels of all layers.
    fn take_up(&mut self, job: &Job<'_>) -> anyhow::Result<Held> {
        let mut held = match self.outputs.remove(&job.output) {
            Some(held) if held.size == job.size => held,
            _ => self.hold(job.size)?,
        };
        let placed = |id: &LayerId| job.layers.iter().any(|layer| layer.id == *id);
        held.textures.retain(|id, _| placed(id));
        for layer in job.layers {
            self.upload(&mut held.textures, layer)?;
        }
        Ok(held)
    }

    fn check(&self, size: Size) -> anyhow::Result<()> {
        let Size { w, h } = size;
        ensure!(w.max(h) <= self.longest, "{w}×{h} pixels are too many");
        Ok(())
    }

    /// As on a device with another limit.
    #[cfg(test)]
    pub(super) fn limit(&mut self, longest: u32) {
        self.longest = longest;
    }

    fn hold(&mut self, size: Size) -> anyhow::Result<Held> {
        self.check(size)?;
        let buffer = (size.w as i32, size.h as i32).into();
        let buffer = self.renderer.create_buffer(Fourcc::Abgr8888, buffer);
        Ok(Held {
            size,
            buffer: buffer.context("make a buffer for an output")?,
            textures: BTreeMap::new(),
        })
    }

    /// Sees to it that a layer's texture has its newest pixels.
    fn upload(
        &mut self,
        textures: &mut BTreeMap<LayerId, Uploaded>,
        layer: &Layer<'_>,
    ) -> anyhow::Result<()> {
        let Picture {
            size,
            alpha,
            pixels,
            ..
        } = layer.picture;
        // The whole picture is handed over and parts of it are named: it must be that large.
        let area = size.w as usize * size.h as usize;
        ensure!(pixels.len() == area, "a layer's pixels are not its size");
        self.check(size)?;
        let bytes: &[u8] = bytemuck::cast_slice(pixels);
        let known = textures.get(&layer.id).filter(|known| {
            let texture = (known.texture.width(), known.texture.height());
            texture == (size.w, size.h) && known.alpha == alpha
        });
        let Some(known) = known else {
            let format = match alpha {
                true => Fourcc::Argb8888,
                false => Fourcc::Xrgb8888,
            };
            let size = (size.w as i32, size.h as i32).into();
            let texture = self.renderer.import_memory(bytes, format, size, false);
            let texture = texture.context("make a layer's texture")?;
            textures.insert(layer.id, Uploaded { texture, alpha });
            return Ok(());
        };
        let whole = Rect::of_size(size.w, size.h);
        let parts = layer.touched.rects().iter();
        for part in parts.filter_map(|part| part.intersection(whole)) {
            let region = Rectangle::new((part.x, part.y).into(), (part.w, part.h).into());
            let updated = self.renderer.update_memory(&known.texture, bytes, region);
            updated.context("change a layer's texture")?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        job: &Job<'_>,
        buffer: &mut GlesRenderbuffer,
        room: &mut Vec<u32>,
        take: &mut impl FnMut(Rect, &[u32]),
    ) -> anyhow::Result<()> {
        for rect in job.damage.rects() {
            let target = self.renderer.bind(buffer).context("read from a buffer")?;
            let region = Rectangle::new((rect.x, rect.y).into(), (rect.w, rect.h).into());
            let copied = self
                .renderer
                .copy_framebuffer(&target, region, Fourcc::Abgr8888)
                .context("read what was drawn")?;
            drop(target);
            let bytes = self.renderer.map_texture(&copied).context("read")?;
            room.clear();
            // In memory red comes first here, and blue in a layer.
            let pixels = bytes.chunks_exact(4).map(|pixel| {
                let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
                0xff00_0000 | r << 16 | g << 8 | b
            });
            room.extend(pixels);
            ensure!(room.len() as i64 == rect.area(), "too little was read");
            take(*rect, room);
        }
        Ok(())
    }
}

fn with_program(
    (mut renderer, longest): (GlesRenderer, u32),
) -> anyhow::Result<(GlesRenderer, GlesTexProgram, u32)> {
    let program = renderer.compile_custom_texture_shader(SHADER, &[]);
    let program = program.context("compile a shader")?;
    Ok((renderer, program, longest))
}

/// Draws `damage` of an output, and waits until that is done.
fn draw(
    (renderer, program): (&mut GlesRenderer, &GlesTexProgram),
    target: &mut GlesTarget<'_>,
    job: &Job<'_>,
    damage: &Damage,
    textures: &BTreeMap<LayerId, Uploaded>,
) -> anyhow::Result<()> {
    let size = (job.size.w as i32, job.size.h as i32).into();
    let mut frame = renderer
        .render(target, size, Transform::Normal)
        .context("begin to draw")?;
    let [_, r, g, b] = job.shown.background.to_be_bytes();
    let channel = |value: u8| f32::from(value) / 255.0;
    let background = Color32F::new(channel(r), channel(g), channel(b), 1.0);
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
    let drawn = frame.finish().context("draw")?;
    renderer.wait(&drawn).context("wait until it is drawn")
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

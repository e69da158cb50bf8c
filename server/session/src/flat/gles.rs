//! Composing with GLES: surfaces' pixels go into textures as far as they have changed, clients' DMA-BUFs
//! are textures as they are, and what is damaged is drawn into a buffer as large as the output.
//!
//! ```text
//!   no encoder that reads RGB, or no GBM: a buffer of GLES's, of which what was drawn is read back
//!   else: one of a chain of DMA-BUFs, which is lent to the encoder; what is no film is read back
//! ```
//!
//! The device is one of hardware; Mesa's software is taken in tests only, since the processor
//! composes faster by itself than through it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use heliostat_compose::geometry::{Damage, Rect};
use heliostat_compose::{Picture, crop_is_inside};
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Placement, Transform as WireTransform, UNITS_PER_PIXEL};
use smithay::backend::allocator::Fourcc;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::egl::EGLDevice;
use smithay::backend::renderer::gles::{
    GlesRenderbuffer, GlesRenderer, GlesTarget, GlesTexProgram, GlesTexture,
};
use smithay::backend::renderer::{
    Bind, Color32F, ExportMem, Frame, ImportDma, ImportMem, Offscreen, Renderer, Texture,
};
use smithay::utils::{Buffer, Physical, Rectangle, Transform};

use super::composer::{Job, Layer};
use super::swapchain::{Chain, FlatBuffer};
use crate::gpu::Loan;
use crate::sys::{self, Gbm};

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
    /// Where buffers come from that an encoder reads as well.
    source: Option<Gbm>,
    outputs: BTreeMap<OutputId, Held>,
}

/// What is held for an output.
#[derive(Debug)]
struct Held {
    size: Size,
    canvas: Canvas,
    textures: BTreeMap<LayerId, Known>,
}

/// What is drawn into.
#[derive(Debug)]
enum Canvas {
    /// A buffer of which everything is read back.
    Own(GlesRenderbuffer),
    /// Buffers that go to an encoder.
    Lent(Chain),
}

/// A layer's texture.
#[derive(Debug)]
struct Known {
    texture: GlesTexture,
    alpha: bool,
    /// It is its client's buffer itself.
    is_lent: bool,
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
            match sys::gles(device, false).and_then(|made| Self::new(made, name.clone())) {
                Ok(gles) => return Ok(gles),
                Err(error) => why = error.context(name),
            }
        }
        Err(why)
    }

    /// Opens a node by GBM. What it draws goes to an encoder where that `lends`.
    pub fn on_node(node: &Path, wanted: Device, lends: bool) -> anyhow::Result<Self> {
        sys::check_egl()?;
        let open = || {
            let gbm = Gbm::open(node)?;
            let made = sys::gles(gbm.clone(), wanted == Device::Hardware)?;
            let mut gles = Self::new(made, node.display().to_string())?;
            gles.source = lends.then_some(gbm);
            anyhow::Ok(gles)
        };
        open().with_context(|| node.display().to_string())
    }

    fn new((mut renderer, longest): (GlesRenderer, u32), name: String) -> anyhow::Result<Self> {
        let program = renderer.compile_custom_texture_shader(SHADER, &[]);
        Ok(Self {
            program: program.context("compile a shader")?,
            renderer,
            longest,
            name,
            source: None,
            outputs: BTreeMap::new(),
        })
    }

    /// The device, for people, and what becomes of what it draws.
    pub fn describe(&self) -> String {
        let way = match self.source {
            Some(_) => "into buffers that go to the encoder as they are",
            None => "and read back",
        };
        format!("{}, {way}", self.name)
    }

    /// Nothing of an output is needed any more.
    pub fn forget(&mut self, output: OutputId) {
        self.outputs.remove(&output);
        // What cannot be freed now is when something is drawn next.
        let _ = self.renderer.cleanup_texture_cache();
    }

    /// Composes what is damaged, and gives each part of that which is to be read with its pixels to
    /// `take`. Returns the buffer that it is in, where that can go to an encoder.
    pub fn compose(
        &mut self,
        job: &Job<'_>,
        room: &mut Vec<u32>,
        take: &mut impl FnMut(Rect, &[u32]),
    ) -> anyhow::Result<Option<FlatBuffer>> {
        let mut held = self.take_up(job)?;
        let tools = (&mut self.renderer, &self.program);
        let lent = match &mut held.canvas {
            Canvas::Own(buffer) => {
                let target = tools.0.bind(buffer);
                let mut target = target.context("draw into a buffer")?;
                draw(tools, &mut target, job, job.damage, &held.textures)?;
                read(&mut self.renderer, &target, job.read, room, take)?;
                None
            }
            Canvas::Lent(chain) => {
                let acquired = chain.acquire(job.damage)?;
                let (mut buffer, drawn) = acquired.context("the encoder has all buffers")?;
                let target = tools.0.bind(&mut buffer.dmabuf);
                let mut target = target.context("draw into a buffer for the encoder")?;
                draw(tools, &mut target, job, &drawn, &held.textures)?;
                read(&mut self.renderer, &target, job.read, room, take)?;
                drop(target);
                chain.submitted(&buffer);
                Some(buffer)
            }
        };
        self.outputs.insert(job.output, held);
        Ok(lent)
    }

    /// Reads a part of a buffer that was drawn into, and gives it to `take`.
    pub fn read_back(
        &mut self,
        buffer: &Dmabuf,
        part: Rect,
        room: &mut Vec<u32>,
        take: &mut impl FnMut(Rect, &[u32]),
    ) -> anyhow::Result<()> {
        let mut buffer = buffer.clone();
        let target = self.renderer.bind(&mut buffer);
        let target = target.context("read from a buffer of the encoder")?;
        read(&mut self.renderer, &target, &[part], room, take)
    }

    /// Whether a client's buffer can be a texture as it is. Those of luma and chroma cannot: whether
    /// BT.709 comes of them is the driver's choice.
    pub fn takes(&mut self, loan: &Loan) -> bool {
        if loan.is_nv12() || self.check(loan.into()).is_err() {
            return false;
        }
        let imported = self.renderer.import_dmabuf(loan.dmabuf(), None);
        imported
            .inspect_err(|error| tracing::debug!("GLES does not take a client's buffer: {error}"))
            .is_ok()
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
        let canvas = match &self.source {
            Some(source) => {
                let mut chain = Chain::new(Box::new(source.clone()), size);
                match self.try_out(&mut chain) {
                    Ok(()) => Some(Canvas::Lent(chain)),
                    Err(error) => {
                        tracing::info!("flat outputs are read back: {error:#}");
                        self.source = None;
                        None
                    }
                }
            }
            None => None,
        };
        let canvas = match canvas {
            Some(canvas) => canvas,
            None => {
                let buffer = (size.w as i32, size.h as i32).into();
                let buffer = self.renderer.create_buffer(Fourcc::Abgr8888, buffer);
                Canvas::Own(buffer.context("make a buffer for an output")?)
            }
        };
        Ok(Held {
            size,
            canvas,
            textures: BTreeMap::new(),
        })
    }

    /// Whether there are such buffers, and GLES draws into them.
    fn try_out(&mut self, chain: &mut Chain) -> anyhow::Result<()> {
        let acquired = chain.acquire(&Damage::new())?;
        let (mut buffer, _) = acquired.context("there is no buffer")?;
        let target = self.renderer.bind(&mut buffer.dmabuf);
        target.map(|_| ()).context("draw into a linear buffer")
    }

    /// Sees to it that a layer's texture has its newest pixels.
    fn upload(
        &mut self,
        textures: &mut BTreeMap<LayerId, Known>,
        layer: &Layer<'_>,
    ) -> anyhow::Result<()> {
        let Picture {
            size,
            alpha,
            pixels,
            ..
        } = layer.picture;
        self.check(size)?;
        if let Some(loan) = layer.buffer {
            let texture = self.renderer.import_dmabuf(loan.dmabuf(), None);
            let known = Known {
                texture: texture.context("take a client's buffer")?,
                alpha,
                is_lent: true,
            };
            textures.insert(layer.id, known);
            return Ok(());
        }
        // The whole picture is handed over and parts of it are named: it must be that large.
        let area = size.w as usize * size.h as usize;
        ensure!(pixels.len() == area, "a layer's pixels are not its size");
        let bytes: &[u8] = bytemuck::cast_slice(pixels);
        let known = textures.get(&layer.id).filter(|known| {
            let texture = (known.texture.width(), known.texture.height());
            texture == (size.w, size.h) && known.alpha == alpha && !known.is_lent
        });
        let Some(known) = known else {
            let format = match alpha {
                true => Fourcc::Argb8888,
                false => Fourcc::Xrgb8888,
            };
            let size = (size.w as i32, size.h as i32).into();
            let texture = self.renderer.import_memory(bytes, format, size, false);
            let known = Known {
                texture: texture.context("make a layer's texture")?,
                alpha,
                is_lent: false,
            };
            textures.insert(layer.id, known);
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
}

/// Gives parts of what was drawn to `take`.
fn read(
    renderer: &mut GlesRenderer,
    target: &GlesTarget<'_>,
    parts: &[Rect],
    room: &mut Vec<u32>,
    take: &mut impl FnMut(Rect, &[u32]),
) -> anyhow::Result<()> {
    for rect in parts {
        let region = Rectangle::new((rect.x, rect.y).into(), (rect.w, rect.h).into());
        let copied = renderer
            .copy_framebuffer(target, region, Fourcc::Abgr8888)
            .context("read what was drawn")?;
        let bytes = renderer.map_texture(&copied).context("read")?;
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

/// Draws `damage` of an output, and waits until that is done.
fn draw(
    (renderer, program): (&mut GlesRenderer, &GlesTexProgram),
    target: &mut GlesTarget<'_>,
    job: &Job<'_>,
    damage: &Damage,
    textures: &BTreeMap<LayerId, Known>,
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

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

use std::collections::{BTreeMap, BTreeSet};
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
use smithay::backend::renderer::gles::{GlesRenderbuffer, GlesTarget, GlesTexture};
use smithay::backend::renderer::{
    Bind, Color32F, Frame, ImportDma, ImportMem, Offscreen, Renderer, Texture,
};
use smithay::utils::{Buffer, Physical, Rectangle, Transform};

use super::composer::{Job, Layer};
use super::swapchain::{Chain, FlatBuffer};
use crate::gpu::{Drawing, Ended, Loan, part_with};
use crate::sys::{self, Gbm};

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
    // What is held goes before what it was made with.
    outputs: BTreeMap<OutputId, Held>,
    drawing: Drawing,
    /// Where buffers come from that an encoder reads as well.
    source: Option<Gbm>,
    /// Outputs that it cannot compose as they are now.
    refused: BTreeSet<OutputId>,
}

/// Who composes an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// GLES.
    Gles,
    /// The processor.
    Processor,
    /// The processor, once clients' buffers that are on it have been read.
    ReadFirst,
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
            match Drawing::new(device, false, name.clone()) {
                Ok(drawing) => return Ok(Self::new(drawing)),
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
            let (hardware, name) = (wanted == Device::Hardware, node.display().to_string());
            let mut gles = Self::new(Drawing::new(gbm.clone(), hardware, name)?);
            gles.source = lends.then_some(gbm);
            anyhow::Ok(gles)
        };
        open().with_context(|| node.display().to_string())
    }

    fn new(drawing: Drawing) -> Self {
        Self {
            drawing,
            source: None,
            refused: BTreeSet::new(),
            outputs: BTreeMap::new(),
        }
    }

    /// The device, for people, and what becomes of what it draws.
    pub fn describe(&self) -> String {
        let way = match self.source {
            Some(_) => "into buffers that go to the encoder as they are",
            None => "and read back",
        };
        let robust = match self.drawing.is_robust() {
            true => "",
            false => "; that the device was reset it would not say",
        };
        format!("{}, {way}{robust}", self.drawing.name())
    }

    /// What has ended goes, or is left behind.
    pub fn end(self, ended: &Ended) {
        part_with(self, ended, |gles| &mut gles.drawing);
    }

    /// Who composes this: what is longer than a texture may be is nobody's failure, and the processor's
    /// for as long as it is there.
    pub fn way(&mut self, job: &Job<'_>) -> Way {
        let sizes = job.layers.iter().map(|layer| layer.picture.size);
        let long = sizes
            .chain([job.size])
            .find(|size| self.drawing.check(*size).is_err());
        let Some(Size { w, h }) = long else {
            self.refused.remove(&job.output);
            return Way::Gles;
        };
        if self.refused.insert(job.output) {
            let output = job.output.0;
            tracing::info!(
                "the processor composes output {output}: {w}×{h} pixels are too many for GLES"
            );
            self.outputs.remove(&job.output);
        }
        match job.layers.iter().any(|layer| layer.buffer.is_some()) {
            true => Way::ReadFirst,
            false => Way::Processor,
        }
    }

    /// Nothing of an output is needed any more.
    pub fn forget(&mut self, output: OutputId) {
        self.refused.remove(&output);
        self.outputs.remove(&output);
        // What cannot be freed now is when something is drawn next.
        let _ = self.drawing.renderer().cleanup_texture_cache();
    }

    /// Composes what is damaged, and gives each part of that which is to be read with its pixels to
    /// `take`. Returns the buffer that it is in, where that can go to an encoder.
    pub fn compose(
        &mut self,
        job: &Job<'_>,
        room: &mut Vec<u32>,
        take: &mut impl FnMut(Rect, &[u32]),
    ) -> Result<Option<FlatBuffer>, Ended> {
        let composed = self.draw_and_read(job, room, take);
        composed.map_err(|ended| self.drawing.explain(ended))
    }

    fn draw_and_read(
        &mut self,
        job: &Job<'_>,
        room: &mut Vec<u32>,
        take: &mut impl FnMut(Rect, &[u32]),
    ) -> Result<Option<FlatBuffer>, Ended> {
        let mut held = self.take_up(job)?;
        let drawing = &mut self.drawing;
        let lent = match &mut held.canvas {
            Canvas::Own(buffer) => {
                let target = drawing.renderer().bind(buffer);
                let mut target = target.context("draw into a buffer")?;
                draw(drawing, &mut target, job, job.damage, &held.textures)?;
                read(drawing, &target, job.read, room, take)?;
                None
            }
            Canvas::Lent(chain) => {
                let acquired = chain.acquire(job.damage)?;
                let (mut buffer, drawn) = acquired.context("the encoder has all buffers")?;
                let target = drawing.renderer().bind(&mut buffer.dmabuf);
                let mut target = target.context("draw into a buffer for the encoder")?;
                draw(drawing, &mut target, job, &drawn, &held.textures)?;
                read(drawing, &target, job.read, room, take)?;
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
    ) -> Result<(), Ended> {
        let mut buffer = buffer.clone();
        let target = self.drawing.renderer().bind(&mut buffer);
        let target = target.context("read from a buffer of the encoder");
        let read = match target {
            Ok(target) => read(&mut self.drawing, &target, &[part], room, take),
            Err(error) => Err(error.into()),
        };
        read.map_err(|ended| self.drawing.explain(ended))
    }

    /// Whether a client's buffer can be a texture of an output as it is. Those of luma and chroma cannot: whether
    /// BT.709 comes of them is the driver's choice. Nor can one that its client draws into still, though
    /// it has committed it: the device would wait for it, and we for the device.
    pub fn takes(&mut self, output: OutputId, loan: &Loan) -> bool {
        let is_refused = self.refused.contains(&output) || self.drawing.check(loan.into()).is_err();
        if is_refused || loan.is_nv12() || !loan.is_drawn() {
            return false;
        }
        let imported = self.drawing.renderer().import_dmabuf(loan.dmabuf(), None);
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

    /// Whether it composes an output itself.
    #[cfg(test)]
    pub(super) fn composes(&self, output: OutputId) -> bool {
        self.outputs.contains_key(&output)
    }

    /// As on a device with another limit.
    #[cfg(test)]
    pub(super) fn limit(&mut self, longest: u32) {
        self.drawing.limit(longest);
    }

    fn hold(&mut self, size: Size) -> anyhow::Result<Held> {
        self.drawing.check(size)?;
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
                let buffer = self
                    .drawing
                    .renderer()
                    .create_buffer(Fourcc::Abgr8888, buffer);
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
        let target = self.drawing.renderer().bind(&mut buffer.dmabuf);
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
        self.drawing.check(size)?;
        if let Some(loan) = layer.buffer {
            let texture = self.drawing.renderer().import_dmabuf(loan.dmabuf(), None);
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
            let texture = self
                .drawing
                .renderer()
                .import_memory(bytes, format, size, false);
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
            let updated = self
                .drawing
                .renderer()
                .update_memory(&known.texture, bytes, region);
            updated.context("change a layer's texture")?;
        }
        Ok(())
    }
}

/// Gives parts of what was drawn to `take`.
fn read(
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
fn draw(
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

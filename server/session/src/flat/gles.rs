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

mod picture;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, anyhow};
use heliostat_compose::Picture;
use heliostat_compose::geometry::{Damage, Rect};
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::output::Size;
use smithay::backend::allocator::Fourcc;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::egl::EGLDevice;
use smithay::backend::renderer::gles::{GlesFrame, GlesRenderbuffer, GlesTarget, GlesTexProgram};
use smithay::backend::renderer::{Bind, ImportDma, ImportMem, Renderer, Texture};
use smithay::utils::Rectangle;

use self::picture::{Known, draw, own_buffer, read};
use super::composer::{Job, Layer};
use super::swapchain::{Chain, FlatBuffer};
use crate::gpu::{DeviceId, Drawing, Ended, Lease, Loan, part_with};
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
    lease: Lease,
    /// Where buffers come from that an encoder reads as well.
    source: Option<Gbm>,
    /// Outputs that it cannot compose as they are now.
    refused: BTreeSet<OutputId>,
    /// Those whose next picture is the processor's, since it was refused, and refused pictures, one after
    /// the other.
    spared: BTreeSet<OutputId>,
    refusals: u32,
    /// The next picture is refused.
    #[cfg(test)]
    refuses: bool,
}

/// Says whether a device may be used, and what is needed for that.
pub type May<'a> = dyn FnMut(DeviceId) -> anyhow::Result<Lease> + 'a;

/// Pictures in a row that may be refused before that is a fault.
const MOST_REFUSALS: u32 = 3;

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

impl Gles {
    /// Opens the first device that is good enough, of those that it `may` use.
    pub fn open(wanted: Device, may: &mut May<'_>) -> anyhow::Result<Self> {
        sys::check_egl()?;
        let devices = EGLDevice::enumerate().context("ask libEGL for devices")?;
        let mut why = anyhow!("there is no graphics device");
        for device in devices {
            if wanted == Device::Hardware && device.is_software() {
                continue;
            }
            let (name, id) = match device.render_device_path() {
                Ok(path) => (path.display().to_string(), DeviceId::of_node(&path)),
                Err(_) => ("Mesa's software".to_owned(), DeviceId::without_node()),
            };
            let open = |lease| Ok(Self::new(Drawing::new(device, false, name.clone())?, lease));
            match may(id).and_then(open) {
                Ok(gles) => return Ok(gles),
                Err(error) => why = error.context(name),
            }
        }
        Err(why)
    }

    /// The first device, which is Mesa's software where there is no other.
    #[cfg(test)]
    pub fn any() -> anyhow::Result<Self> {
        Self::open(Device::Any, &mut |_| Ok(Lease::default()))
    }

    /// Opens a node by GBM. What it draws goes to an encoder where that `lends`.
    pub fn on_node(
        node: &Path,
        wanted: Device,
        lends: bool,
        may: &mut May<'_>,
    ) -> anyhow::Result<Self> {
        sys::check_egl()?;
        let mut open = || {
            let lease = may(DeviceId::of_node(node))?;
            let gbm = Gbm::open(node)?;
            let (hardware, name) = (wanted == Device::Hardware, node.display().to_string());
            let mut gles = Self::new(Drawing::new(gbm.clone(), hardware, name)?, lease);
            gles.source = lends.then_some(gbm);
            anyhow::Ok(gles)
        };
        open().with_context(|| node.display().to_string())
    }

    fn new(drawing: Drawing, lease: Lease) -> Self {
        Self {
            drawing,
            lease,
            source: None,
            refused: BTreeSet::new(),
            spared: BTreeSet::new(),
            refusals: 0,
            #[cfg(test)]
            refuses: false,
            outputs: BTreeMap::new(),
        }
    }

    /// Whether the device does anything: what was reset may open and not draw.
    pub fn try_out(&mut self) -> anyhow::Result<()> {
        let mut buffer = own_buffer(&mut self.drawing, Size { w: 16, h: 16 })?;
        let target = self.drawing.renderer().bind(&mut buffer);
        let mut target = target.context("draw into a buffer")?;
        let nothing = |_: &mut GlesFrame<'_, '_>, _: &GlesTexProgram| Ok(());
        self.drawing.draw(&mut target, (16, 16).into(), nothing)?;
        Ok(())
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

    /// What has ended goes, or is left behind. Returns which device it was on.
    pub fn end(self, ended: &Ended) -> Lease {
        let lease = self.lease.clone();
        part_with(self, ended, |gles| &mut gles.drawing);
        lease
    }

    /// Who composes this: what is longer than a texture may be is nobody's failure, and the processor's
    /// for as long as it is there.
    pub fn way(&mut self, job: &Job<'_>) -> Way {
        let sizes = job.layers.iter().map(|layer| layer.picture.size);
        let long = sizes
            .chain([job.size])
            .find(|size| self.drawing.check(*size).is_err());
        let has_buffers = job.layers.iter().any(|layer| layer.buffer.is_some());
        let Some(Size { w, h }) = long else {
            self.refused.remove(&job.output);
            return match self.spared.contains(&job.output) {
                true if has_buffers => Way::ReadFirst,
                true => {
                    self.spared.remove(&job.output);
                    Way::Processor
                }
                false => Way::Gles,
            };
        };
        if self.refused.insert(job.output) {
            let output = job.output.0;
            tracing::info!(
                "the processor composes output {output}: {w}×{h} pixels are too many for GLES"
            );
            self.outputs.remove(&job.output);
        }
        match has_buffers {
            true => Way::ReadFirst,
            false => Way::Processor,
        }
    }

    /// Nothing of an output is needed any more.
    pub fn forget(&mut self, output: OutputId) {
        self.refused.remove(&output);
        self.spared.remove(&output);
        self.outputs.remove(&output);
        // What cannot be freed now is when something is drawn next.
        if self.lease.check().is_ok() {
            let _ = self.drawing.renderer().cleanup_texture_cache();
        }
    }

    /// Composes what is damaged, and gives each part of that which is to be read with its pixels to
    /// `take`. Returns the buffer that it is in, where that can go to an encoder. What is refused is the
    /// processor's, once; and a fault, where nothing but that comes of it.
    pub fn compose(
        &mut self,
        job: &Job<'_>,
        room: &mut Vec<u32>,
        take: &mut impl FnMut(Rect, &[u32]),
    ) -> Result<Option<FlatBuffer>, Ended> {
        self.lease.check()?;
        let composed = self.draw_and_read(job, room, take);
        let composed = composed.map_err(|ended| self.drawing.explain(ended));
        match composed {
            Err(Ended::Refused(why)) if self.refusals == MOST_REFUSALS => Err(Ended::Broken(why)),
            Err(Ended::Refused(why)) => {
                self.refusals += 1;
                self.spared.insert(job.output);
                Err(Ended::Refused(why))
            }
            composed => {
                self.refusals = 0;
                composed
            }
        }
    }

    fn draw_and_read(
        &mut self,
        job: &Job<'_>,
        room: &mut Vec<u32>,
        take: &mut impl FnMut(Rect, &[u32]),
    ) -> Result<Option<FlatBuffer>, Ended> {
        let mut held = self.take_up(job)?;
        #[cfg(test)]
        if std::mem::take(&mut self.refuses) {
            return Err(Ended::Refused(anyhow!("it was told to")));
        }
        let drawing = &mut self.drawing;
        let textures = &held.textures;
        let mut put = |drawing: &mut Drawing, target: &mut GlesTarget<'_>, damage: &Damage| {
            draw(drawing, target, job, damage, textures)?;
            read(drawing, target, job.read, room, take)
        };
        let lent = match &mut held.canvas {
            Canvas::Own(buffer) => {
                let target = drawing.renderer().bind(buffer);
                put(
                    drawing,
                    &mut target.context("draw into a buffer")?,
                    job.damage,
                )?;
                None
            }
            Canvas::Lent(chain) => match chain.acquire(job.damage).map_err(Ended::Refused)? {
                Some((mut buffer, drawn)) => {
                    let target = drawing.renderer().bind(&mut buffer.dmabuf);
                    let target = target.context("draw into a buffer for the encoder");
                    put(drawing, &mut target?, &drawn)?;
                    chain.submitted(&buffer);
                    Some(buffer)
                }
                None => {
                    // The encoder has all of them: what is wanted here goes without one.
                    chain.skip(job.damage);
                    let mut wanted = Damage::new();
                    job.read.iter().for_each(|part| wanted.add(*part));
                    let mut buffer = own_buffer(drawing, job.size)?;
                    let target = drawing.renderer().bind(&mut buffer);
                    put(drawing, &mut target.context("draw into a buffer")?, &wanted)?;
                    None
                }
            },
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
        self.lease.check()?;
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
        let is_refused = self.refused.contains(&output) || self.spared.contains(&output);
        let is_refused = is_refused || self.drawing.check(loan.into()).is_err();
        if is_refused || loan.is_nv12() || self.lease.check().is_err() || !loan.is_drawn() {
            return false;
        }
        let imported = self.drawing.renderer().import_dmabuf(loan.dmabuf(), None);
        let Err(error) = imported else {
            return true;
        };
        let ended = self.drawing.explain(anyhow!(error).into());
        tracing::debug!("GLES does not take a client's buffer: {ended}");
        // Where it is the device's fault, nothing is asked of that any more, and it ends when it is to compose.
        self.lease.has_ended(&ended);
        false
    }

    /// What is held for the job's output, with the newest pixels of all layers.
    fn take_up(&mut self, job: &Job<'_>) -> Result<Held, Ended> {
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

    /// Which device it is on.
    #[cfg(test)]
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Refuses the next picture, as where memory is used up.
    #[cfg(test)]
    pub(super) fn refuse_next(&mut self) {
        self.refuses = true;
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
                match self.try_chain(&mut chain) {
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
            None => Canvas::Own(own_buffer(&mut self.drawing, size)?),
        };
        Ok(Held {
            size,
            canvas,
            textures: BTreeMap::new(),
        })
    }

    /// Whether there are such buffers, and GLES draws into them.
    fn try_chain(&mut self, chain: &mut Chain) -> anyhow::Result<()> {
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
    ) -> Result<(), Ended> {
        let Picture {
            size,
            alpha,
            pixels,
            ..
        } = layer.picture;
        self.drawing.check(size)?;
        if let Some(loan) = layer.buffer {
            let texture = self.drawing.renderer().import_dmabuf(loan.dmabuf(), None);
            // It was taken before, and may be again.
            let texture = texture.context("take a client's buffer");
            let known = Known {
                texture: texture.map_err(Ended::Refused)?,
                alpha,
                is_lent: true,
            };
            textures.insert(layer.id, known);
            return Ok(());
        }
        // The whole picture is handed over and parts of it are named: it must be that large.
        let area = size.w as usize * size.h as usize;
        if pixels.len() != area {
            return Err(anyhow!("a layer's pixels are not its size").into());
        }
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

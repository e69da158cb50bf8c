//! Clients' buffers as the device reads them: those of layouts that the processor does not know, and those
//! that it reads too slowly.
//!
//! ```text
//!   buffer ─► texture ─► what is damaged of it, one to one, in a buffer of ours ─► read
//! ```
//!
//! It costs the compositor's thread two waits for the device, each of them bounded.

#[cfg(test)]
pub mod pretended;
mod trial;

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use heliostat_compose::geometry::Rect;
use heliostat_tiles::Rect as TileRect;
use heliostat_va::dmabuf;
use heliostat_wire::output::Size;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::{Format, Fourcc, Modifier};
use smithay::backend::egl::native::EGLNativeDisplay;
use smithay::backend::renderer::gles::{GlesRenderbuffer, GlesTexture};
use smithay::backend::renderer::{Bind, ImportDma, Offscreen, Renderer, TextureFilter};
use smithay::utils::{Rectangle, Transform};

use super::Reading;
use super::device::ANSWERS;
use super::devices::{DeviceId, Devices, Lease, Trial, Wake};
use super::drawing::{Drawing, Ended, part_with};
use super::offers::is_linear;
use crate::sys::{self, Gbm};

/// Parts of a buffer that are read one by one; where there are more, all around them is read.
const MOST_PARTS: usize = 16;

/// What reads in place of the processor.
#[derive(Debug, Default)]
pub enum Reader {
    /// Nothing.
    #[default]
    Nobody,
    /// GLES.
    Gles(Box<ByGles>),
    /// Something that takes a layout apart which tests have made up.
    #[cfg(test)]
    Fake(Box<pretended::ByFake>),
}

impl Reader {
    /// GLES on a node, and the layouts that it reads; or why it does not. It is tried out first, by a
    /// thread that a driver which does not answer may keep.
    pub fn open(
        node: &Path,
        reading: Reading,
        devices: &Devices,
    ) -> anyhow::Result<(Self, Vec<Format>)> {
        ensure!(
            reading != Reading::Processor,
            "the configuration wants the processor to (gpu_reading)"
        );
        let opener = Opener::Node {
            node: node.to_owned(),
            hardware: reading != Reading::Device,
        };
        let layouts = match opener.try_out(Box::new(|| ()))?.wait() {
            Ok(layouts) => layouts,
            Err(Ended::Hung) => bail!(
                "{} has not answered for {} s",
                node.display(),
                ANSWERS.as_secs()
            ),
            Err(why) => bail!("{}: {why}", node.display()),
        };
        let lease = devices.lease(DeviceId::of_node(node));
        Ok((opener.open(lease)?, layouts))
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        !matches!(self, Self::Nobody)
    }

    /// Whether it reads such a buffer. Where it is not there any more it reads none, and nobody is to blame.
    pub fn takes(&mut self, buffer: &Dmabuf) -> Result<(), Ended> {
        match self {
            Self::Nobody => Ok(()),
            Self::Gles(gles) => gles.takes(buffer),
            #[cfg(test)]
            Self::Fake(fake) => fake.takes(buffer),
        }
    }

    /// Gives the pixels of parts of a buffer, which lie in it, with their number to `take`: rows without
    /// gaps, 0xAARRGGBB.
    pub fn read(
        &mut self,
        buffer: &Dmabuf,
        parts: &[TileRect],
        take: &mut dyn FnMut(usize, &[u32]),
    ) -> Result<(), Ended> {
        match self {
            Self::Nobody => Err(anyhow::anyhow!("nobody reads it").into()),
            Self::Gles(gles) => gles.read(buffer, parts, take),
            #[cfg(test)]
            Self::Fake(fake) => fake.read(buffer, parts, take),
        }
    }

    /// On which device it is, and how it is opened there.
    pub fn origin(&self) -> Option<(Lease, Opener)> {
        match self {
            Self::Nobody => None,
            Self::Gles(gles) => Some((gles.lease.clone(), gles.opener.clone()?)),
            #[cfg(test)]
            Self::Fake(fake) => Some((fake.lease.clone(), Opener::Fake)),
        }
    }

    /// It has ended, and goes or is left behind.
    pub fn end(self, ended: &Ended) {
        match self {
            Self::Nobody => {}
            Self::Gles(gles) => part_with(*gles, ended, |gles| &mut gles.drawing),
            #[cfg(test)]
            Self::Fake(_) => {}
        }
    }
}

/// How a reader is opened, be it again.
#[derive(Debug, Clone)]
pub enum Opener {
    /// GLES on a node; on one of hardware, where that is wanted.
    Node {
        /// The node.
        node: PathBuf,
        /// Mesa's software is not taken.
        hardware: bool,
    },
    /// The stand-in.
    #[cfg(test)]
    Fake,
}

impl Opener {
    /// Has it tried out.
    pub fn try_out(&self, wake: Wake) -> anyhow::Result<Trial> {
        match self.clone() {
            Self::Node { node, hardware } => Trial::start(wake, move || {
                let (mut gles, gbm) = ByGles::on_node(&node, hardware)?;
                gles.try_out(&gbm)
            }),
            #[cfg(test)]
            Self::Fake => Trial::start(wake, || Ok(pretended::layouts().to_vec())),
        }
    }

    /// Opens it, on its device.
    pub fn open(&self, lease: Lease) -> anyhow::Result<Reader> {
        match self {
            Self::Node { node, hardware } => {
                let (mut gles, _) = ByGles::on_node(node, *hardware)?;
                gles.lease = lease;
                gles.opener = Some(self.clone());
                Ok(Reader::Gles(Box::new(gles)))
            }
            #[cfg(test)]
            Self::Fake => Ok(Reader::Fake(Box::new(pretended::ByFake::on(lease)))),
        }
    }
}

/// GLES that reads.
#[derive(Debug)]
pub struct ByGles {
    lease: Lease,
    opener: Option<Opener>,
    // What is held goes before what it was made with.
    canvas: Option<(GlesRenderbuffer, Size)>,
    room: Vec<u32>,
    drawing: Drawing,
}

impl ByGles {
    /// On a node, by GBM; on one of hardware, where that is wanted.
    fn on_node(node: &Path, hardware: bool) -> anyhow::Result<(Self, Gbm)> {
        sys::check_egl()?;
        let gbm = Gbm::open(node)?;
        let name = node.display().to_string();
        Ok((Self::new(gbm.clone(), hardware, name)?, gbm))
    }

    pub(super) fn new<N: EGLNativeDisplay + 'static>(
        device: N,
        hardware: bool,
        name: String,
    ) -> anyhow::Result<Self> {
        let mut drawing = Drawing::new(device, hardware, name)?;
        // Pixels go one to one.
        drawing.renderer().upscale_filter(TextureFilter::Nearest)?;
        drawing
            .renderer()
            .downscale_filter(TextureFilter::Nearest)?;
        Ok(Self {
            lease: Lease::default(),
            opener: None,
            canvas: None,
            room: Vec::new(),
            drawing,
        })
    }

    /// Layouts of its own that it makes textures of.
    pub(super) fn layouts(&mut self) -> Vec<Format> {
        let rgb = |code: Fourcc| {
            dmabuf::Format::of_drm(code as u32).is_some_and(|format| !format.is_nv12)
        };
        let formats = self.drawing.renderer().dmabuf_formats();
        let formats = formats.into_iter().filter(|format| {
            rgb(format.code) && !is_linear(format) && format.modifier != Modifier::Invalid
        });
        formats.collect()
    }

    fn take(&mut self, buffer: &Dmabuf) -> anyhow::Result<GlesTexture> {
        use smithay::backend::allocator::Buffer;
        self.drawing.check(Size {
            w: buffer.width(),
            h: buffer.height(),
        })?;
        // Textures of buffers that are gone hold the device's memory until somebody asks.
        let _ = self.drawing.renderer().cleanup_texture_cache();
        let texture = self.drawing.renderer().import_dmabuf(buffer, None);
        texture.context("make a texture of it")
    }

    /// Whether it makes a texture of a buffer.
    fn takes(&mut self, buffer: &Dmabuf) -> Result<(), Ended> {
        self.lease.check()?;
        let taken = self.take(buffer).map(drop);
        taken.map_err(|error| self.drawing.explain_new(error.into()))
    }

    pub(super) fn read(
        &mut self,
        buffer: &Dmabuf,
        parts: &[TileRect],
        take: &mut dyn FnMut(usize, &[u32]),
    ) -> Result<(), Ended> {
        self.lease.check()?;
        let read = match self.take(buffer) {
            Ok(texture) => self.copy(&texture, parts, take),
            Err(error) => Err(error.into()),
        };
        read.map_err(|ended| self.drawing.explain(ended))
    }

    /// Reads parts of a texture, which lie in it.
    pub(super) fn copy(
        &mut self,
        texture: &GlesTexture,
        parts: &[TileRect],
        take: &mut dyn FnMut(usize, &[u32]),
    ) -> Result<(), Ended> {
        let Some(all) = parts.iter().copied().reduce(TileRect::around) else {
            return Ok(());
        };
        let (mut canvas, size) = self.canvas(all)?;
        let target = self.drawing.renderer().bind(&mut canvas);
        let mut target = target.context("draw into a buffer")?;
        let place = |part: &TileRect| Rect::of_area(part.x - all.x, part.y - all.y, part.w, part.h);
        let places: Vec<_> = parts.iter().map(place).collect();
        let area = (size.w as i32, size.h as i32).into();
        self.drawing.draw(&mut target, area, |frame, program| {
            for (part, place) in parts.iter().zip(&places) {
                let [x, y, w, h] = [part.x, part.y, part.w, part.h].map(f64::from);
                let whole = [Rectangle::from_size((place.w, place.h).into())];
                frame.render_texture_from_to(
                    texture,
                    Rectangle::new((x, y).into(), (w, h).into()),
                    Rectangle::new((place.x, place.y).into(), (place.w, place.h).into()),
                    &whole,
                    // Alpha is copied, and nothing of what was there shines through it.
                    &whole,
                    Transform::Normal,
                    1.0,
                    Some(program),
                    &[],
                )?;
            }
            Ok(())
        })?;
        let room = &mut self.room;
        self.drawing
            .read(&target, &places, room, |n, pixels| take(n, pixels))?;
        drop(target);
        self.canvas = Some((canvas, size));
        Ok(())
    }

    /// A buffer of ours that such a part fits into: no more than is needed, and the last one where it is
    /// large enough.
    fn canvas(&mut self, part: TileRect) -> Result<(GlesRenderbuffer, Size), Ended> {
        let is_enough = |(_, size): &(_, Size)| size.w >= part.w && size.h >= part.h;
        if let Some(held) = self.canvas.take().filter(is_enough) {
            return Ok(held);
        }
        let size = Size {
            w: part.w,
            h: part.h,
        };
        self.drawing.check(size)?;
        let sides = (size.w as i32, size.h as i32).into();
        let canvas = self
            .drawing
            .renderer()
            .create_buffer(Fourcc::Abgr8888, sides);
        Ok((canvas.context("make a buffer to read from")?, size))
    }
}

/// What is read for rectangles of a buffer: parts, and which of the rectangles lie in each. Clients name as
/// many rectangles as they like, over each other as well; what is read for them is bounded.
pub fn parts_of(rects: &[TileRect], (w, h): (u32, u32)) -> Vec<(TileRect, Range<usize>)> {
    let Some(all) = rects.iter().copied().reduce(TileRect::around) else {
        return Vec::new();
    };
    let area: u64 = rects.iter().map(|rect| rect.area() as u64).sum();
    if rects.len() > MOST_PARTS || area > u64::from(w) * u64::from(h) {
        return vec![(all, 0..rects.len())];
    }
    let one = |(n, rect): (usize, &TileRect)| (*rect, n..n + 1);
    rects.iter().enumerate().map(one).collect()
}

/// A run of pixels from (x, y) on, of a part that was read. False where it does not lie there.
pub fn copy_run(part: TileRect, pixels: &[u32], (x, y): (u32, u32), run: &mut [u32]) -> bool {
    let (Some(left), Some(top)) = (x.checked_sub(part.x), y.checked_sub(part.y)) else {
        return false;
    };
    let (left, top, w) = (left as usize, top as usize, part.w as usize);
    if left.saturating_add(run.len()) > w || top >= part.h as usize {
        return false;
    }
    let start = top * w + left;
    let source = pixels.get(start..start + run.len());
    source.is_some_and(|source| {
        run.copy_from_slice(source);
        true
    })
}

#[cfg(test)]
mod tests;

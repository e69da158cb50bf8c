//! Pixels that the hardware scans out.

use anyhow::Context;
use drm::buffer::{Buffer as _, DrmFourcc};
use drm::control::dumbbuffer::DumbBuffer;
use drm::control::{Device as _, framebuffer};

use super::device::Device;
use crate::compose::Target;
use crate::geometry::{Damage, Rect};

/// A dumb buffer with its framebuffer, and what in it is out of date.
pub struct Buffer {
    dumb: DumbBuffer,
    framebuffer: framebuffer::Handle,
    /// The same pixels with alpha, once they were wanted.
    with_alpha: Option<framebuffer::Handle>,
    stale: Damage,
    bounds: Rect,
}

impl Buffer {
    /// A buffer all of whose pixels are out of date.
    pub fn new(device: &Device, (w, h): (u32, u32), format: DrmFourcc) -> anyhow::Result<Self> {
        let dumb = device
            .create_dumb_buffer((w, h), format, 32)
            .context("allocate a buffer")?;
        let depth = if format == DrmFourcc::Argb8888 {
            32
        } else {
            24
        };
        let framebuffer = match format {
            DrmFourcc::Argb8888 => add_with_alpha(device, &dumb),
            _ => device.add_framebuffer(&dumb, depth, 32),
        };
        let framebuffer = framebuffer.context("make a framebuffer")?;
        let bounds = Rect::of_size(w, h);
        let mut stale = Damage::new();
        stale.add(bounds);
        Ok(Self {
            dumb,
            framebuffer,
            with_alpha: None,
            stale,
            bounds,
        })
    }

    /// What the kernel calls it.
    pub fn framebuffer(&self) -> framebuffer::Handle {
        self.framebuffer
    }

    /// As above, for planes that heed alpha.
    pub fn framebuffer_with_alpha(
        &mut self,
        device: &Device,
    ) -> anyhow::Result<framebuffer::Handle> {
        match self.with_alpha {
            Some(known) => Ok(known),
            None => {
                let made = add_with_alpha(device, &self.dumb);
                let made = made.context("make a framebuffer with alpha")?;
                self.with_alpha = Some(made);
                Ok(made)
            }
        }
    }

    /// Whether all its pixels are as they should be.
    pub fn is_current(&self) -> bool {
        self.stale.is_empty()
    }

    /// These pixels are out of date.
    pub fn add_stale(&mut self, damage: &Damage) {
        self.stale.add_all(damage);
    }

    /// Draws what is out of date.
    pub fn repaint(&mut self, device: &Device, paint: &mut super::Paint<'_>) -> anyhow::Result<()> {
        let stale = std::mem::take(&mut self.stale);
        let drawn = self.draw(device, |target| {
            for rect in stale.rects() {
                paint(*rect, target);
            }
        });
        if drawn.is_err() {
            self.stale = stale;
        }
        drawn
    }

    /// Draws anything.
    pub fn draw(
        &mut self,
        device: &Device,
        draw: impl FnOnce(&mut Target<'_>),
    ) -> anyhow::Result<()> {
        let stride = self.dumb.pitch() as usize / 4;
        let mut mapping = device
            .map_dumb_buffer(&mut self.dumb)
            .context("map a buffer")?;
        let pixels = bytemuck::try_cast_slice_mut(mapping.as_mut())
            .map_err(|error| anyhow::anyhow!("map a buffer: {error}"))?;
        draw(&mut Target {
            pixels,
            stride,
            bounds: self.bounds,
        });
        Ok(())
    }

    /// Gives it back.
    pub fn destroy(self, device: &Device) {
        let _ = device.destroy_framebuffer(self.framebuffer);
        if let Some(with_alpha) = self.with_alpha {
            let _ = device.destroy_framebuffer(with_alpha);
        }
        let _ = device.destroy_dumb_buffer(self.dumb);
    }
}

fn add_with_alpha(device: &Device, dumb: &DumbBuffer) -> std::io::Result<framebuffer::Handle> {
    device.add_planar_framebuffer(&Planar(dumb), drm::control::FbCmd2Flags::empty())
}

/// A dumb buffer as the one plane of a framebuffer with alpha.
struct Planar<'a>(&'a DumbBuffer);

impl drm::buffer::PlanarBuffer for Planar<'_> {
    fn size(&self) -> (u32, u32) {
        self.0.size()
    }

    fn format(&self) -> DrmFourcc {
        DrmFourcc::Argb8888
    }

    fn modifier(&self) -> Option<drm::buffer::DrmModifier> {
        None
    }

    fn pitches(&self) -> [u32; 4] {
        [self.0.pitch(), 0, 0, 0]
    }

    fn handles(&self) -> [Option<drm::buffer::Handle>; 4] {
        [Some(self.0.handle()), None, None, None]
    }

    fn offsets(&self) -> [u32; 4] {
        [0; 4]
    }
}

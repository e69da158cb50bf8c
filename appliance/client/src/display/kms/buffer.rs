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
    memory: Memory,
    framebuffer: framebuffer::Handle,
    /// The same pixels with alpha, once they were wanted.
    with_alpha: Option<framebuffer::Handle>,
    stale: Damage,
    bounds: Rect,
}

/// Where pixels are.
enum Memory {
    /// In a buffer of the kernel's.
    Dumb(DumbBuffer),
    /// In ours, for a kernel that is made up.
    #[cfg(test)]
    Plain(Vec<u32>),
}

impl Memory {
    fn new(device: &Device, (w, h): (u32, u32), format: DrmFourcc) -> std::io::Result<Self> {
        #[cfg(test)]
        if device.fake.is_some() {
            return Ok(Self::Plain(vec![0; (w * h) as usize]));
        }
        device
            .create_dumb_buffer((w, h), format, 32)
            .map(Self::Dumb)
    }

    /// A framebuffer of it, with alpha or without.
    fn framebuffer(
        &self,
        device: &Device,
        has_alpha: bool,
    ) -> std::io::Result<framebuffer::Handle> {
        match self {
            Self::Dumb(dumb) if has_alpha => {
                device.add_planar_framebuffer(&Planar(dumb), drm::control::FbCmd2Flags::empty())
            }
            Self::Dumb(dumb) => device.add_framebuffer(dumb, 24, 32),
            #[cfg(test)]
            Self::Plain(_) => {
                let made = device
                    .fake
                    .as_ref()
                    .map(|kernel| kernel.borrow_mut().make());
                Ok(made.and_then(drm::control::from_u32).expect("a kernel"))
            }
        }
    }

    fn destroy(self, device: &Device) {
        match self {
            Self::Dumb(dumb) => {
                let _ = device.destroy_dumb_buffer(dumb);
            }
            #[cfg(test)]
            Self::Plain(_) => {}
        }
    }
}

impl Buffer {
    /// A buffer all of whose pixels are out of date.
    pub fn new(device: &Device, (w, h): (u32, u32), format: DrmFourcc) -> anyhow::Result<Self> {
        let memory = Memory::new(device, (w, h), format).context("allocate a buffer")?;
        let framebuffer = match memory.framebuffer(device, format == DrmFourcc::Argb8888) {
            Ok(framebuffer) => framebuffer,
            Err(error) => {
                memory.destroy(device);
                return Err(error).context("make a framebuffer");
            }
        };
        let bounds = Rect::of_size(w, h);
        let mut stale = Damage::new();
        stale.add(bounds);
        Ok(Self {
            memory,
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
                let made = self.memory.framebuffer(device, true);
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

    /// All its pixels are out of date.
    pub fn spoil(&mut self) {
        self.stale.add(self.bounds);
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
        let bounds = self.bounds;
        match &mut self.memory {
            Memory::Dumb(dumb) => {
                let stride = dumb.pitch() as usize / 4;
                let mut mapping = device.map_dumb_buffer(dumb).context("map a buffer")?;
                let pixels = bytemuck::try_cast_slice_mut(mapping.as_mut())
                    .map_err(|error| anyhow::anyhow!("map a buffer: {error}"))?;
                draw(&mut Target {
                    pixels,
                    stride,
                    bounds,
                });
            }
            #[cfg(test)]
            Memory::Plain(pixels) => draw(&mut Target {
                pixels,
                stride: bounds.w as usize,
                bounds,
            }),
        }
        Ok(())
    }

    /// Makes all pixels black, and has them drawn anew when they are wanted.
    pub fn blacken(&mut self, device: &Device) {
        let bounds = self.bounds;
        self.spoil();
        let _ = self.draw(device, |target| target.fill(bounds, 0));
    }

    /// The pixels, where they are in our memory.
    #[cfg(test)]
    pub fn plain(&self) -> &[u32] {
        match &self.memory {
            Memory::Plain(pixels) => pixels,
            Memory::Dumb(_) => &[],
        }
    }

    /// Gives it back.
    pub fn destroy(self, device: &Device) {
        device.remove_framebuffer(self.framebuffer);
        if let Some(with_alpha) = self.with_alpha {
            device.remove_framebuffer(with_alpha);
        }
        self.memory.destroy(device);
    }
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

//! Framebuffers of surfaces: made once for each, and given back when the decoder's pool is gone.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context;
use drm::buffer::{DrmFourcc, DrmModifier, Handle, PlanarBuffer};
use drm::control::{Device as _, FbCmd2Flags, framebuffer};
use drm::{Device as _, DriverCapability};
use heliostat_va::decoder::{Frame, Place};
use tracing::debug;

use super::device::Device;
use crate::planes::UNSAID;

/// Surfaces of several videos; more are only there when decoders come and go within a moment.
const MOST: usize = 128;

/// What was made of a surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// The kernel's number.
    pub framebuffer: framebuffer::Handle,
    /// Inode of the DMA-BUF that the kernel scans out.
    pub inode: u64,
}

/// Framebuffers of surfaces.
#[derive(Debug, Default)]
pub struct Framebuffers {
    known: Vec<(Place, Scanned)>,
}

impl Framebuffers {
    /// The framebuffer of a surface.
    pub fn of(&mut self, device: &Device, frame: &Frame) -> anyhow::Result<Scanned> {
        if let Some((_, found)) = self.known.iter().find(|(place, _)| place.is_of(frame)) {
            return Ok(*found);
        }
        self.sweep(device);
        anyhow::ensure!(self.known.len() < MOST, "too many surfaces are shown");
        let made = make(device, frame)?;
        debug!(framebuffer = ?made.framebuffer, inode = made.inode, "framebuffer of a surface");
        self.known.push((frame.place(), made));
        Ok(made)
    }

    /// Gives back what is of surfaces that are gone. Nothing shows those any more.
    pub fn sweep(&mut self, device: &Device) {
        self.known.retain(|(place, made)| {
            if place.is_gone() {
                device.remove_framebuffer(made.framebuffer);
            }
            !place.is_gone()
        });
    }

    /// Gives all back: the kernel takes them away from whatever still shows them.
    pub fn clear(&mut self, device: &Device) {
        for (_, made) in self.known.drain(..) {
            device.remove_framebuffer(made.framebuffer);
        }
    }
}

fn make(device: &Device, frame: &Frame) -> anyhow::Result<Scanned> {
    let memory = frame.memory();
    let mut handles: Vec<Handle> = Vec::new();
    let imported = memory.fds.iter().try_for_each(|fd| {
        let handle = device.prime_fd_to_buffer(fd.as_fd())?;
        handles.push(handle);
        std::io::Result::Ok(())
    });
    let made = imported
        .context("import a surface")
        .and_then(|()| add(device, frame, &handles));
    // The framebuffer holds the memory; a buffer has one handle, however often it is imported.
    let mut all = handles;
    all.sort_by_key(|handle| u32::from(*handle));
    all.dedup();
    for handle in all {
        let _ = device.close_buffer(handle);
    }
    made
}

fn add(device: &Device, frame: &Frame, handles: &[Handle]) -> anyhow::Result<Scanned> {
    let surface = Surface::of(frame, handles, takes_modifiers(device))?;
    let flags = match surface.modifier {
        Some(_) => FbCmd2Flags::MODIFIERS,
        None => FbCmd2Flags::empty(),
    };
    // Asked of the kernel and not of the frame: it is what is scanned out.
    let first = handles.first().context("a surface without memory")?;
    let exported = device.buffer_to_prime_fd(*first, drm::CLOEXEC);
    let inode = exported.map_or(0, |fd| inode(fd.as_fd()));
    let framebuffer = device
        .add_planar_framebuffer(&surface, flags)
        .context("make a framebuffer of a surface")?;
    Ok(Scanned { framebuffer, inode })
}

fn takes_modifiers(device: &Device) -> bool {
    let told = device.get_driver_capability(DriverCapability::AddFB2Modifiers);
    told.is_ok_and(|told| told != 0)
}

fn inode(fd: BorrowedFd<'_>) -> u64 {
    nix::sys::stat::fstat(fd).map_or(0, |stat| stat.st_ino)
}

/// A surface as the planes of one framebuffer.
#[derive(Debug)]
struct Surface {
    size: (u32, u32),
    format: DrmFourcc,
    handles: [Option<Handle>; 4],
    pitches: [u32; 4],
    offsets: [u32; 4],
    modifier: Option<DrmModifier>,
}

impl Surface {
    fn of(frame: &Frame, handles: &[Handle], takes_modifiers: bool) -> anyhow::Result<Self> {
        let d = &frame.memory().descriptor;
        let layer = &d.layers[0];
        let told = d.objects[0].drm_format_modifier;
        let modifier = match (takes_modifiers, told) {
            (true, UNSAID) | (false, UNSAID | crate::planes::LINEAR) => None,
            (true, told) => Some(DrmModifier::from(told)),
            (false, told) => {
                anyhow::bail!("the graphics driver takes no modifiers, such as {told:#x}")
            }
        };
        let format = DrmFourcc::try_from(frame.format().drm);
        let mut surface = Self {
            size: (frame.size().w, frame.size().h),
            format: format.context("a format that the kernel does not know")?,
            handles: [None; 4],
            pitches: [0; 4],
            offsets: [0; 4],
            modifier,
        };
        for plane in 0..(layer.num_planes as usize).min(4) {
            let object = layer.object_index[plane] as usize;
            surface.handles[plane] = Some(*handles.get(object).context("a plane without memory")?);
            surface.pitches[plane] = layer.pitch[plane];
            surface.offsets[plane] = layer.offset[plane];
        }
        Ok(surface)
    }
}

impl PlanarBuffer for Surface {
    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn format(&self) -> DrmFourcc {
        self.format
    }

    fn modifier(&self) -> Option<DrmModifier> {
        self.modifier
    }

    fn pitches(&self) -> [u32; 4] {
        self.pitches
    }

    fn handles(&self) -> [Option<Handle>; 4] {
        self.handles
    }

    fn offsets(&self) -> [u32; 4] {
        self.offsets
    }
}

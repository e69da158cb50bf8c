//! Explicit synchronisation from a client's side: points that say when a buffer is drawn, and others that tell when
//! it is free.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use drm::control::Device as _;
use drm::control::syncobj::Handle;
use rustix::event::{EventfdFlags, eventfd};
use wayland_client::globals::GlobalList;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Dispatch, QueueHandle};
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_manager_v1::WpLinuxDrmSyncobjManagerV1;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_surface_v1::WpLinuxDrmSyncobjSurfaceV1;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_timeline_v1::WpLinuxDrmSyncobjTimelineV1;

use super::card::Card;

/// A timeline of a device.
pub struct Line {
    handle: Handle,
    value: u64,
}

impl Line {
    /// One that is somebody else's as well.
    pub fn import(device: &Card, fd: BorrowedFd<'_>) -> Result<Self> {
        let handle = device
            .fd_to_syncobj(fd, false)
            .context("import a timeline")?;
        Ok(Self { handle, value: 0 })
    }

    /// How far it is.
    pub fn reached(&self, device: &Card) -> Result<u64> {
        let mut reached = [0];
        device.syncobj_timeline_query(&[self.handle], &mut reached, false)?;
        Ok(reached[0])
    }

    /// A descriptor that is readable once it has come so far.
    pub fn told(&self, device: &Card, value: u64) -> Result<OwnedFd> {
        let told = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let asked = device.syncobj_eventfd(self.handle, value, told.as_fd(), false);
        asked.context("be told of a point")?;
        Ok(told)
    }
}

/// A timeline that the compositor knows.
struct Shared {
    line: Line,
    fd: OwnedFd,
    object: WpLinuxDrmSyncobjTimelineV1,
}

/// The points of a surface: one timeline for what is drawn, and one for each buffer.
pub struct Points {
    device: Card,
    surface: WpLinuxDrmSyncobjSurfaceV1,
    drawn: Shared,
    free: Vec<Shared>,
}

impl Points {
    /// For a surface with so many buffers, on the device of a render node.
    pub fn new<State>(
        node: &Path,
        globals: &GlobalList,
        handle: &QueueHandle<State>,
        (surface, buffers): (&WlSurface, usize),
    ) -> Result<Self>
    where
        State: Dispatch<WpLinuxDrmSyncobjManagerV1, ()>
            + Dispatch<WpLinuxDrmSyncobjSurfaceV1, ()>
            + Dispatch<WpLinuxDrmSyncobjTimelineV1, ()>
            + 'static,
    {
        let device = Card::open(node)?;
        let manager: WpLinuxDrmSyncobjManagerV1 = globals
            .bind(handle, 1..=1, ())
            .context("the compositor knows no explicit synchronisation")?;
        let line = || -> Result<Shared> {
            let made = device.create_syncobj(false).context("make a timeline")?;
            let fd = device.syncobj_to_fd(made, false)?;
            Ok(Shared {
                object: manager.import_timeline(fd.as_fd(), handle, ()),
                line: Line {
                    handle: made,
                    value: 0,
                },
                fd,
            })
        };
        Ok(Self {
            surface: manager.get_surface(surface, handle, ()),
            drawn: line()?,
            free: (0..buffers).map(|_| line()).collect::<Result<_>>()?,
            device,
        })
    }

    /// The next commit is of this buffer. Returns what becomes readable when it is free again.
    pub fn set(&mut self, buffer: usize) -> Result<OwnedFd> {
        let halves = |value: u64| ((value >> 32) as u32, value as u32);
        self.drawn.line.value += 1;
        let (high, low) = halves(self.drawn.line.value);
        self.surface
            .set_acquire_point(&self.drawn.object, high, low);
        let free = &mut self.free[buffer];
        free.line.value += 1;
        let (high, low) = halves(free.line.value);
        self.surface.set_release_point(&free.object, high, low);
        free.line.told(&self.device, free.line.value)
    }

    /// What was committed is drawn.
    pub fn drawn(&self) -> Result<()> {
        let Line { handle, value } = self.drawn.line;
        Ok(self.device.syncobj_timeline_signal(&[handle], &[value])?)
    }

    /// By which descriptor of this process, and which point of that, a buffer's end is told.
    pub fn end_of(&self, buffer: usize) -> (i32, u64) {
        let free = &self.free[buffer];
        (free.fd.as_raw_fd(), free.line.value)
    }
}

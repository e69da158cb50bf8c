//! The window's pixels: two buffers in shared memory, of which only what has changed is written.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use anyhow::Context;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use wayland_client::QueueHandle;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm::{Format, WlShm};

use crate::app::App;
use crate::scene::Pixels;

/// See the module.
pub struct Buffers {
    memory: File,
    size: (u32, u32),
    buffers: Vec<Slot>,
}

struct Slot {
    buffer: WlBuffer,
    /// The session still reads it.
    busy: bool,
    /// What has been painted since it was written.
    stale: Option<Pixels>,
}

impl Buffers {
    /// Buffers for a screen of this size.
    pub fn new(shm: &WlShm, size: (u32, u32), handle: &QueueHandle<App>) -> anyhow::Result<Self> {
        let (w, h) = (i32::try_from(size.0)?, i32::try_from(size.1)?);
        let bytes = w
            .checked_mul(h)
            .and_then(|pixels| pixels.checked_mul(8))
            .context("the screen is too large")?;
        let memory = memfd_create("heliostat-greeter", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, bytes as u64)?;
        let pool = shm.create_pool(memory.as_fd(), bytes, handle, ());
        let make = |at: usize| Slot {
            buffer: pool.create_buffer(
                at as i32 * (bytes / 2),
                w,
                h,
                w * 4,
                Format::Xrgb8888,
                handle,
                at,
            ),
            busy: false,
            stale: Some(Pixels::all(size)),
        };
        let buffers = (0..2).map(make).collect();
        pool.destroy();
        Ok(Self {
            memory: File::from(memory),
            size,
            buffers,
        })
    }

    /// Of what size they are.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Takes down what has changed on the screen.
    pub fn damage(&mut self, pixels: Pixels) {
        for slot in &mut self.buffers {
            slot.stale = Some(slot.stale.map_or(pixels, |stale| stale.union(pixels)));
        }
    }

    /// The session has read a buffer.
    pub fn release(&mut self, buffer: &WlBuffer, at: usize) {
        // It may be one of an earlier size.
        if let Some(slot) = self
            .buffers
            .get_mut(at)
            .filter(|slot| slot.buffer == *buffer)
        {
            slot.busy = false;
        }
    }

    /// Brings a buffer that is free up to date and gives it out; nothing while there is none. What
    /// is painted is asked of `paint`.
    pub fn next(
        &mut self,
        paint: impl FnOnce(Pixels) -> Vec<u32>,
    ) -> anyhow::Result<Option<(&WlBuffer, Pixels)>> {
        let Some(at) = self.buffers.iter().position(|slot| !slot.busy) else {
            return Ok(None);
        };
        let slot = &mut self.buffers[at];
        let part = slot.stale.take().unwrap_or(Pixels {
            left: 0,
            top: 0,
            right: 1,
            bottom: 1,
        });
        let painted = paint(part);
        let (w, h) = (u64::from(self.size.0), u64::from(self.size.1));
        let start = at as u64 * w * h * 4;
        let bytes: Vec<u8> = painted.iter().flat_map(|rgb| rgb.to_ne_bytes()).collect();
        for (row, line) in bytes.chunks(part.w() as usize * 4).enumerate() {
            let y = u64::from(part.top) + row as u64;
            let place = start + (y * w + u64::from(part.left)) * 4;
            self.memory.write_all_at(line, place)?;
        }
        slot.busy = true;
        Ok(Some((&slot.buffer, part)))
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        for slot in &self.buffers {
            slot.buffer.destroy();
        }
    }
}

//! What libva keeps for us, as values that give it back: displays, configurations, contexts, surfaces
//! and buffers.
//!
//! ```text
//!   Display ◄── Config ◄── Context ◄── Buffer
//!           ◄── Surface
//! ```
//!
//! Each holds what it is of, so that nothing is destroyed before what builds on it. A driver that
//! refuses to destroy something is waited for and asked once more; what it keeps even then goes with
//! the display.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::abi::{self, ConfigAttrib, Id, PrimeSurfaceDescriptor, Status, SurfaceAttrib};
use crate::sys::plain::Plain;
use crate::sys::{Mapped, Raw};

/// Why libva did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no libva, or it cannot be loaded.
    #[error("libva is not installed, or cannot be loaded: {0}")]
    Missing(#[source] libloading::Error),
    /// libva is there, but without this function.
    #[error("libva is too old: it has no {0}")]
    Lacks(&'static str),
    /// The file is no node of DRM.
    #[error("libva does not take the file for a node of a graphics device")]
    NoDisplay,
    /// A function failed.
    #[error("{call} fails with {}", abi::status_name(*.status))]
    Call {
        /// Its name in C.
        call: &'static str,
        /// What it answered.
        status: Status,
    },
    /// The driver did not answer in time, and is not used any more.
    #[error("the graphics driver hangs: it did not end what it was given")]
    Lost,
    /// A function counted more than there was room for.
    #[error("{call} counts {found} where there is room for {room}")]
    Lies {
        /// Its name in C.
        call: &'static str,
        /// How many there would be.
        found: i64,
        /// How many there could be.
        room: usize,
    },
}

/// A display: a graphics device with its driver.
#[derive(Clone)]
pub struct Display(Arc<Raw>);

impl std::fmt::Debug for Display {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Display").field(&self.vendor()).finish()
    }
}

impl Display {
    /// The display of an open DRM node, which should be a render node: libva from 2.20 on finds no
    /// driver by a primary one.
    pub fn open(node: OwnedFd) -> Result<Self, Error> {
        Raw::open(node).map(|raw| Self(Arc::new(raw)))
    }

    /// Surfaces that are dropped from now on are destroyed by [`sweep`](Self::sweep) and not by whoever
    /// drops them, who may have no time for a driver that hangs.
    pub fn defer(&self) {
        self.0.defer();
    }

    /// Destroys the surfaces that were dropped since [`defer`](Self::defer).
    pub fn sweep(&self) {
        self.0.sweep();
    }

    /// The driver has taken too long, whatever it was asked: from now on all that would be asked of it is
    /// [`Error::Lost`].
    pub fn lose(&self) -> Error {
        self.0.lose()
    }

    /// Whether it has.
    pub fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    /// The version of VA-API that libva and the driver have agreed on.
    pub fn version(&self) -> (i32, i32) {
        self.0.version()
    }

    /// What the driver calls itself.
    pub fn vendor(&self) -> String {
        self.0.vendor()
    }

    /// `VAProfile`s that are offered.
    pub fn profiles(&self) -> Result<Vec<i32>, Error> {
        self.0.profiles()
    }

    /// `VAEntrypoint`s of a profile.
    pub fn entrypoints(&self, profile: i32) -> Result<Vec<i32>, Error> {
        self.0.entrypoints(profile)
    }

    /// Values of `VAConfigAttribType`s; nothing for those that the driver does not know.
    pub fn attributes<const N: usize>(
        &self,
        (profile, entrypoint): (i32, i32),
        kinds: [i32; N],
    ) -> Result<[Option<u32>; N], Error> {
        let mut list = kinds.map(|kind| ConfigAttrib { kind, value: 0 });
        self.0.attributes(profile, entrypoint, &mut list)?;
        let known = |value| (value != abi::config_attrib::NOT_SUPPORTED).then_some(value);
        Ok(list.map(|attribute| known(attribute.value)))
    }

    /// A surface of its own memory. `fourcc` is one of VA's.
    pub fn create_surface(
        &self,
        rt_format: u32,
        size: (u32, u32),
        fourcc: u32,
    ) -> Result<Surface, Error> {
        self.surface(rt_format, size, fourcc, None)
    }

    /// A surface in the memory of a DMA-BUF, whose descriptors stay the caller's. What it claims has
    /// to be checked before: see [`crate::dmabuf`].
    pub fn import_surface(
        &self,
        rt_format: u32,
        descriptor: &PrimeSurfaceDescriptor,
    ) -> Result<Surface, Error> {
        let size = (descriptor.width, descriptor.height);
        self.surface(rt_format, size, descriptor.fourcc, Some(descriptor))
    }

    fn surface(
        &self,
        rt_format: u32,
        size: (u32, u32),
        fourcc: u32,
        import: Option<&PrimeSurfaceDescriptor>,
    ) -> Result<Surface, Error> {
        let id = self.0.create_surface(rt_format, size, fourcc, import)?;
        Ok(Surface {
            raw: Arc::clone(&self.0),
            id,
        })
    }
}

/// A profile and an entry point with their attributes.
pub struct Config {
    raw: Arc<Raw>,
    id: Id,
}

impl Config {
    /// A configuration with these attributes (`VAConfigAttribType` and value).
    pub fn new(
        display: &Display,
        (profile, entrypoint): (i32, i32),
        attributes: &[(i32, u32)],
    ) -> Result<Self, Error> {
        let attributes = attributes.iter();
        let mut list: Vec<ConfigAttrib> = attributes
            .map(|&(kind, value)| ConfigAttrib { kind, value })
            .collect();
        let raw = Arc::clone(&display.0);
        let id = raw.create_config(profile, entrypoint, &mut list)?;
        Ok(Self { raw, id })
    }

    /// What surfaces for it may be.
    pub fn surface_attributes(&self) -> Result<Vec<SurfaceAttrib>, Error> {
        self.raw.surface_attributes(self.id)
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        if self.raw.destroy_config(self.id).is_err() {
            let _ = self.raw.destroy_config(self.id);
        }
    }
}

struct Running {
    id: Id,
    config: Config,
}

impl Running {
    fn raw(&self) -> &Raw {
        &self.config.raw
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.raw().destroy_context(self.id).is_err() {
            let _ = self.raw().destroy_context(self.id);
        }
    }
}

/// What encodes, decodes or converts: one stream of one configuration.
pub struct Context(Arc<Running>);

/// The most buffers of one picture: a decoder's may have 64 slices with a header and data each.
const MAX_BUFFERS: usize = 160;

impl Context {
    /// A context for pictures of `size`, which will use these surfaces and maybe others.
    pub fn new(config: Config, size: (u32, u32), targets: &[&Surface]) -> Result<Self, Error> {
        let mut targets: Vec<Id> = targets.iter().map(|surface| surface.id).collect();
        let id = config.raw.create_context(config.id, size, &mut targets)?;
        Ok(Self(Arc::new(Running { id, config })))
    }

    /// A buffer of type `kind` that holds a structure.
    pub fn create_buffer<T: Plain>(&self, kind: i32, value: &T) -> Result<Buffer, Error> {
        let id = self.0.raw().create_buffer(self.0.id, kind, value)?;
        Ok(self.buffer(id, 0))
    }

    /// A buffer of type `kind` that holds bytes.
    pub fn create_buffer_of(&self, kind: i32, bytes: &[u8]) -> Result<Buffer, Error> {
        let id = self.0.raw().create_buffer_of(self.0.id, kind, bytes)?;
        Ok(self.buffer(id, 0))
    }

    /// A buffer with room for a coded picture of so many bytes.
    pub fn create_coded(&self, room: u32) -> Result<Buffer, Error> {
        let id = self.0.raw().create_coded(self.0.id, room)?;
        Ok(self.buffer(id, room as usize))
    }

    fn buffer(&self, id: Id, room: usize) -> Buffer {
        Buffer {
            context: Arc::clone(&self.0),
            id,
            room,
        }
    }

    /// Gives a picture with its buffers, 160 at most, and does not wait for it. `target` is what an
    /// encoder reads and what all others write.
    pub fn submit(&self, target: &Surface, buffers: &[Buffer]) -> Result<(), Error> {
        let (raw, id) = (self.0.raw(), self.0.id);
        let mut ids = [abi::INVALID_ID; MAX_BUFFERS];
        if buffers.len() > MAX_BUFFERS {
            return Err(Error::Lies {
                call: "vaRenderPicture",
                found: buffers.len() as i64,
                room: MAX_BUFFERS,
            });
        }
        for (id, buffer) in ids.iter_mut().zip(buffers) {
            *id = buffer.id;
        }
        raw.begin(id, target.id)?;
        let rendered = raw.render(id, &mut ids[..buffers.len()]);
        let ended = raw.end(id);
        if ended.is_err() {
            // A picture that stays open would keep its target and its buffers.
            let _ = raw.end(id);
        }
        rendered.and(ended)
    }

    /// What a converter offers.
    pub(crate) fn conversions(&self) -> Result<(Vec<i32>, [Vec<u32>; 2]), Error> {
        self.0.raw().conversions(self.0.id)
    }
}

/// A picture in memory of the device's.
pub struct Surface {
    raw: Arc<Raw>,
    id: Id,
}

impl Surface {
    /// Its number, for parameters.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Waits until nothing works on it.
    pub fn sync(&self) -> Result<(), Error> {
        self.raw.sync_surface(self.id)
    }

    /// As [`sync`](Self::sync), but not for ever: after a second the driver counts as lost, and all that is
    /// asked of its display from then on is [`Error::Lost`]. `memory` is the surface's own; where the
    /// driver knows no limit, the kernel says when nothing works on it.
    pub fn sync_or_lose(&self, memory: &Exported) -> Result<(), Error> {
        if let Some(synced) = self.raw.sync_surface_within(self.id, PATIENCE) {
            return synced;
        }
        match is_idle_within(&memory.fds, PATIENCE) {
            true => self.sync(),
            false => Err(self.raw.lose()),
        }
    }

    pub(crate) fn raw(&self) -> &Arc<Raw> {
        &self.raw
    }

    /// Hands its memory out; `flags` are `VA_EXPORT_SURFACE_*`.
    pub fn export(&self, flags: u32) -> Result<Exported, Error> {
        self.raw.export(self.id, flags)
    }
}

impl Drop for Surface {
    fn drop(&mut self) {
        self.raw.let_go(self.id);
    }
}

/// How long a driver may work on a picture: one of 4K takes some milliseconds, and a device that has to
/// be woken first some tenths of a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Whether nothing works on DMA-BUFs any more, or not after `limit` either. Those of which the kernel
/// does not know it are idle.
fn is_idle_within(fds: &[OwnedFd], limit: Duration) -> bool {
    let end = Instant::now() + limit;
    fds.iter().all(|fd| {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&left)) {
                Ok(ready) => return ready > 0,
                Err(Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    })
}

/// The memory of a surface.
#[derive(Debug)]
pub struct Exported {
    /// How it lies. The descriptors in it are those of `fds`, and closed with them.
    pub descriptor: PrimeSurfaceDescriptor,
    /// A descriptor for each object.
    pub fds: Vec<OwnedFd>,
}

/// Parameters, data, or room for a coded picture.
pub struct Buffer {
    context: Arc<Running>,
    id: Id,
    room: usize,
}

impl Buffer {
    /// Its number, for parameters.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Waits until it is written. Where libva cannot wait for buffers, waits for `input`.
    pub fn sync(&self, input: &Surface) -> Result<(), Error> {
        let raw = self.context.raw();
        raw.sync_buffer(self.id).unwrap_or_else(|| input.sync())
    }

    /// Maps a coded buffer.
    pub fn map(&self) -> Result<MappedBuffer<'_>, Error> {
        let mapped = self.context.raw().map_coded(self.id, self.room)?;
        Ok(MappedBuffer(mapped))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let raw = self.context.raw();
        if raw.destroy_buffer(self.id).is_err() {
            let _ = raw.sync_buffer(self.id);
            let _ = raw.destroy_buffer(self.id);
        }
    }
}

/// A coded buffer that can be read.
pub struct MappedBuffer<'a>(Mapped<'a>);

impl MappedBuffer<'_> {
    /// Gives each part with its status (`VA_CODED_BUF_STATUS_*`) to `take`.
    pub fn segments(&self, take: impl FnMut(&[u8], u32)) -> Result<(), Error> {
        self.0.segments(take)
    }

    /// Ends reading. Dropping does so as well, and does not say how it went.
    pub fn unmap(self) -> Result<(), Error> {
        self.0.unmap()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn memory_that_something_works_on_is_waited_for_and_not_for_ever() {
        // A pipe is readable when somebody has written, as a DMA-BUF when its writers are done.
        let (reader, mut writer) = std::io::pipe().unwrap();
        let fds = [OwnedFd::from(reader)];
        assert!(!is_idle_within(&fds, Duration::from_millis(5)));
        writer.write_all(&[1]).unwrap();
        assert!(is_idle_within(&fds, Duration::from_millis(5)));
        assert!(is_idle_within(&[], Duration::ZERO));
    }
}

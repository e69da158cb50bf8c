//! The DRM device file, and finding things by their names.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use anyhow::{Context, bail};
use drm::control::property::RawValue;
use drm::control::{
    AtomicCommitFlags, Device as ControlDevice, PlaneType, ResourceHandle, connector, crtc,
    framebuffer, plane, property,
};
use drm::{ClientCapability, Device as BasicDevice};
use heliostat_sys::kms;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::request::Request;

/// An open DRM device.
#[derive(Debug)]
pub struct Device {
    file: File,
    /// How many commits there were. They are counted together, so that one of a screen that has gone is
    /// not taken for one of its successor on the same CRTC.
    commits: Cell<u64>,
    /// Who answers in place of the kernel.
    #[cfg(test)]
    pub fake: Option<std::cell::RefCell<super::fake::Kernel>>,
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl BasicDevice for Device {}
impl ControlDevice for Device {}

impl Device {
    /// Opens the device file.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map(|file| Self {
                file,
                commits: Cell::new(0),
                #[cfg(test)]
                fake: None,
            })
    }

    /// A device of a kernel that is made up.
    #[cfg(test)]
    pub fn fake() -> Self {
        let mut device = Self::open(Path::new("/dev/null")).expect("there is always /dev/null");
        device.fake = Some(std::cell::RefCell::default());
        device
    }

    /// Commits what is requested. Returns the number that an event of it will have.
    pub fn commit(&self, flags: AtomicCommitFlags, request: &mut Request) -> std::io::Result<u64> {
        let number = self.commits.get() + 1;
        self.commits.set(number);
        #[cfg(test)]
        if let Some(kernel) = &self.fake {
            kernel.borrow_mut().commit(flags, request, number)?;
            return Ok(number);
        }
        let arrays = request.arrays();
        let commit = kms::Commit {
            objects: &arrays.objects,
            counts: &arrays.counts,
            properties: &arrays.properties,
            values: &arrays.values,
        };
        kms::commit(self, flags.bits(), commit, number)?;
        Ok(number)
    }

    /// Reads events, waiting for one where there is none.
    pub fn read_events<'a>(&self, room: &'a mut [u8]) -> std::io::Result<&'a [u8]> {
        let length = (&self.file).read(room)?;
        Ok(room.get(..length).unwrap_or_default())
    }

    /// Has the kernel keep a value; returns its number.
    pub fn make_blob<T>(&self, value: &T) -> std::io::Result<u64> {
        #[cfg(test)]
        if let Some(kernel) = &self.fake {
            return Ok(kernel.borrow_mut().make().into());
        }
        self.create_property_blob(value).map(Into::into)
    }

    /// Gives a value back.
    pub fn remove_blob(&self, blob: u64) {
        #[cfg(test)]
        if let Some(kernel) = &self.fake {
            kernel.borrow_mut().live.remove(&(blob as u32));
            return;
        }
        let _ = self.destroy_property_blob(blob);
    }

    /// Gives a framebuffer back. The kernel takes it away from planes that show it.
    pub fn remove_framebuffer(&self, framebuffer: framebuffer::Handle) {
        #[cfg(test)]
        if let Some(kernel) = &self.fake {
            kernel.borrow_mut().live.remove(&framebuffer.into());
            return;
        }
        let _ = self.destroy_framebuffer(framebuffer);
    }

    /// Makes us the device's master and asks for atomic mode setting.
    pub fn prepare(&self) -> anyhow::Result<()> {
        // The first to open it is its master already; this fails where somebody else is.
        let _ = self.acquire_master_lock();
        self.set_client_capability(ClientCapability::UniversalPlanes, true)
            .context("the graphics driver has no universal planes")?;
        self.set_client_capability(ClientCapability::Atomic, true)
            .context("the graphics driver has no atomic mode setting")?;
        // Drivers of virtual machines show their cursor plane only to those who promise hotspots.
        let _ = self.set_client_capability(ClientCapability::CursorPlaneHotspot, true);
        Ok(())
    }

    /// Whether there are events to be read; reading waits where there are none.
    pub fn has_events(&self) -> bool {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Whether the screens are ours.
    pub fn is_master(&self) -> bool {
        self.acquire_master_lock().is_ok()
    }

    /// A CRTC that can drive a connector and does not drive another.
    pub fn free_crtc(
        &self,
        connector: &connector::Info,
        all: &[crtc::Handle],
        taken: &[crtc::Handle],
    ) -> anyhow::Result<crtc::Handle> {
        let resources = self.resource_handles()?;
        for encoder in connector.encoders() {
            let possible = resources.filter_crtcs(self.get_encoder(*encoder)?.possible_crtcs());
            let free = all
                .iter()
                .find(|crtc| possible.contains(crtc) && !taken.contains(crtc));
            if let Some(crtc) = free {
                return Ok(*crtc);
            }
        }
        bail!("no display controller is left for it")
    }

    /// A plane of a kind that a CRTC can show.
    pub fn plane(
        &self,
        crtc: crtc::Handle,
        kind: PlaneType,
    ) -> anyhow::Result<Option<plane::Handle>> {
        let resources = self.resource_handles()?;
        for handle in self.plane_handles()? {
            let possible = resources.filter_crtcs(self.get_plane(handle)?.possible_crtcs());
            if possible.contains(&crtc) && self.value(handle, "type")? == Some(kind as u64) {
                return Ok(Some(handle));
            }
        }
        Ok(None)
    }

    /// The value of a property, if the object has it.
    pub fn value<T: ResourceHandle>(&self, of: T, name: &str) -> anyhow::Result<Option<RawValue>> {
        Ok(self.find(of, name)?.map(|(_, value)| value))
    }

    /// A property and its value, if the object has it.
    pub fn find<T: ResourceHandle>(
        &self,
        of: T,
        name: &str,
    ) -> anyhow::Result<Option<(property::Info, RawValue)>> {
        let properties = self.get_properties(of)?;
        for (handle, value) in &properties {
            let info = self.get_property(*handle)?;
            if info.name().to_bytes() == name.as_bytes() {
                return Ok(Some((info, *value)));
            }
        }
        Ok(None)
    }
}

/// The properties of one object by name, looked up once.
#[derive(Debug, Clone)]
pub struct Properties<T> {
    object: T,
    names: Vec<(String, property::Handle)>,
}

impl<T: ResourceHandle + Copy> Properties<T> {
    /// Looks them up.
    pub fn of(device: &Device, object: T) -> anyhow::Result<Self> {
        let mut names = Vec::new();
        for (handle, _) in &device.get_properties(object)? {
            let name = device
                .get_property(*handle)?
                .name()
                .to_string_lossy()
                .into_owned();
            // What is set of these is an address that the kernel writes to: nobody gets to name them.
            if !name.ends_with("OUT_FENCE_PTR") {
                names.push((name, *handle));
            }
        }
        Ok(Self { object, names })
    }

    /// An object of a kernel that is made up.
    #[cfg(test)]
    pub fn fake(object: T) -> Self {
        let numbered = super::fake::NAMES.iter().zip(1..);
        let handle = |number| drm::control::from_u32(number).expect("no number is zero");
        Self {
            object,
            names: numbered
                .map(|(name, number)| ((*name).to_owned(), handle(number)))
                .collect(),
        }
    }

    /// The object.
    pub fn object(&self) -> T {
        self.object
    }

    /// Adds a property to a request; says whether the object has it.
    pub fn set(&self, request: &mut Request, name: &str, value: u64) -> bool {
        let known = self.names.iter().find(|(known, _)| known == name);
        if let Some((_, handle)) = known {
            let object: drm::control::RawResourceHandle = self.object.into();
            request.set(object.get(), (*handle).into(), value);
        }
        known.is_some()
    }
}

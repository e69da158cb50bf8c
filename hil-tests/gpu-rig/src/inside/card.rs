//! A display with its planes, properties looked up by name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use drm::buffer::DrmFourcc;
use drm::control::atomic::AtomicModeReq;
use drm::control::{
    AtomicCommitFlags, Device as ControlDevice, FbCmd2Flags, Mode, PlaneType, RawResourceHandle,
    ResourceHandle, connector, crtc, framebuffer, plane, property,
};
use drm::{ClientCapability, Device as BasicDevice};

use super::buffer::{DmaBuf, Imported, Layout};

/// An open device of DRM.
#[derive(Debug)]
pub struct Card(OwnedFd);

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl BasicDevice for Card {}
impl ControlDevice for Card {}

/// The properties of one object.
#[derive(Debug, Clone)]
pub struct Object<T> {
    /// The object.
    pub handle: T,
    properties: BTreeMap<String, (property::Handle, u64)>,
}

/// One plane.
#[derive(Debug, Clone)]
pub struct Plane {
    /// Itself, with its properties.
    pub object: Object<plane::Handle>,
    /// What it is for.
    pub kind: PlaneType,
    /// What it shows.
    pub formats: Vec<u32>,
}

impl Plane {
    /// Whether it takes a format.
    pub fn takes(&self, format: DrmFourcc) -> bool {
        self.formats.contains(&(format as u32))
    }
}

/// Where the nodes of a driver are: its cards, or its render nodes.
pub fn nodes(driver: &str, start: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/dev/dri").context("no devices of DRM")? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // Others may be for somebody else.
        let is_it = |card: Card| card.get_driver().is_ok_and(|known| known.name() == driver);
        if name.starts_with(start) && Card::open(&path).is_ok_and(is_it) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl Card {
    /// Opens a node.
    pub fn open(path: &std::path::Path) -> Result<Self> {
        let file = File::options().read(true).write(true).open(path);
        Ok(Self(
            file.with_context(|| path.display().to_string())?.into(),
        ))
    }

    /// Opens vkms, with all planes to be seen.
    pub fn vkms() -> Result<Self> {
        let path = nodes("vkms", "card")?.pop().context("no card of vkms")?;
        let card = Self::open(&path)?;
        card.see_planes()?;
        Ok(card)
    }

    /// Somebody's open device.
    pub fn lent(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Asks to be told of all planes.
    pub fn see_planes(&self) -> Result<()> {
        self.set_client_capability(ClientCapability::UniversalPlanes, true)?;
        Ok(self.set_client_capability(ClientCapability::Atomic, true)?)
    }

    /// Its first display controller.
    pub fn crtc(&self) -> Result<crtc::Handle> {
        let resources = self.resource_handles()?;
        resources
            .crtcs()
            .first()
            .copied()
            .context("the card has no CRTC")
    }

    /// Its first connector that a screen is plugged into, with the mode that it likes best.
    pub fn screen(&self) -> Result<(connector::Handle, Vec<Mode>)> {
        for handle in self.resource_handles()?.connectors() {
            let info = self.get_connector(*handle, true)?;
            if info.interface() != connector::Interface::Writeback
                && info.state() == connector::State::Connected
            {
                return Ok((*handle, info.modes().to_vec()));
            }
        }
        bail!("no connector is connected")
    }

    /// Its planes, from the lowest.
    pub fn planes(&self) -> Result<Vec<Plane>> {
        let plane = |handle: &plane::Handle| -> Result<Plane> {
            let object = self.object(*handle)?;
            let kind = match object.value("type").context("a plane without a type")? {
                kind if kind == PlaneType::Primary as u64 => PlaneType::Primary,
                kind if kind == PlaneType::Cursor as u64 => PlaneType::Cursor,
                _ => PlaneType::Overlay,
            };
            Ok(Plane {
                object,
                kind,
                formats: self.get_plane(*handle)?.formats().to_vec(),
            })
        };
        self.plane_handles()?.iter().map(plane).collect()
    }

    /// The properties of an object as they are now.
    pub fn object<T: ResourceHandle>(&self, handle: T) -> Result<Object<T>> {
        let mut properties = BTreeMap::new();
        for (property, value) in &self.get_properties(handle)? {
            let info = self.get_property(*property)?;
            let name = info.name().to_string_lossy().into_owned();
            properties.insert(name, (*property, *value));
        }
        Ok(Object { handle, properties })
    }

    /// The number behind a word of an enumeration.
    pub fn number_of<T: ResourceHandle>(
        &self,
        object: &Object<T>,
        name: &str,
        word: &str,
    ) -> Result<u64> {
        let (handle, _) = object
            .properties
            .get(name)
            .with_context(|| format!("no property {name}"))?;
        let property::ValueType::Enum(values) = self.get_property(*handle)?.value_type() else {
            bail!("{name} is no enumeration");
        };
        let (numbers, words) = values.values();
        let at = words
            .iter()
            .position(|entry| entry.name().to_bytes() == word.as_bytes());
        Ok(numbers[at.with_context(|| format!("{name} knows no {word}"))?])
    }

    /// Makes a framebuffer of a DMA-BUF.
    pub fn show(&self, buffer: &DmaBuf, layout: Layout) -> Result<framebuffer::Handle> {
        let handle = self
            .prime_fd_to_buffer(buffer.fd())
            .context("import a DMA-BUF")?;
        let flags = match layout.modifier {
            Some(_) => FbCmd2Flags::MODIFIERS,
            None => FbCmd2Flags::empty(),
        };
        let made = self.add_planar_framebuffer(&Imported { layout, handle }, flags);
        // The framebuffer holds the buffer by itself.
        self.close_buffer(handle)?;
        made.context("add a framebuffer")
    }

    /// Commits, or asks whether that could be done.
    pub fn commit(&self, request: Request, flags: AtomicCommitFlags) -> Result<()> {
        Ok(self.atomic_commit(flags, request.0)?)
    }
}

impl<T: ResourceHandle> Object<T> {
    /// The value of a property when it was looked up.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.properties.get(name).map(|(_, value)| *value)
    }

    /// The names of all properties.
    pub fn names(&self) -> Vec<&str> {
        self.properties.keys().map(String::as_str).collect()
    }
}

/// What is to be committed.
#[derive(Debug, Clone, Default)]
pub struct Request(AtomicModeReq);

impl Request {
    /// Sets a property.
    pub fn set<T: ResourceHandle>(
        &mut self,
        object: &Object<T>,
        name: &str,
        value: u64,
    ) -> Result<()> {
        let (handle, _) = object
            .properties
            .get(name)
            .with_context(|| format!("no property {name}"))?;
        let raw: RawResourceHandle = object.handle.into();
        self.0.add_raw_property(raw, *handle, value);
        Ok(())
    }

    /// Puts a framebuffer onto a plane: a part of it (in 1/65536 pixel) at a place of the screen.
    pub fn place(
        &mut self,
        plane: &Object<plane::Handle>,
        crtc: crtc::Handle,
        framebuffer: framebuffer::Handle,
        source: [u32; 4],
        (x, y, w, h): (i32, i32, u32, u32),
    ) -> Result<()> {
        self.set(plane, "FB_ID", u32::from(framebuffer).into())?;
        self.set(plane, "CRTC_ID", u32::from(crtc).into())?;
        for (name, value) in ["SRC_X", "SRC_Y", "SRC_W", "SRC_H"].into_iter().zip(source) {
            self.set(plane, name, value.into())?;
        }
        // Places may be negative; the property is a signed one.
        self.set(plane, "CRTC_X", i64::from(x) as u64)?;
        self.set(plane, "CRTC_Y", i64::from(y) as u64)?;
        self.set(plane, "CRTC_W", w.into())?;
        self.set(plane, "CRTC_H", h.into())
    }

    /// Takes a plane off the screen.
    pub fn clear(&mut self, plane: &Object<plane::Handle>) -> Result<()> {
        self.set(plane, "FB_ID", 0)?;
        self.set(plane, "CRTC_ID", 0)
    }
}

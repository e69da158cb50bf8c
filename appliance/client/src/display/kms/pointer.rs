//! The plane of the pointer.

use drm::Device as _;
use drm::buffer::DrmFourcc;
use drm::control::{PlaneType, crtc};
use heliostat_wire::output::Size;

use super::buffer::Buffer;
use super::device::Device;
use super::planes::{self, VideoPlane};
use super::request::Request;
use crate::cursor::CursorImage;

/// What the plane shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    /// The place of the hotspot; nothing where there is no pointer.
    at: Option<(i32, i32)>,
    /// Counts the images.
    image: u64,
}

/// The plane of the pointer.
pub struct CursorPlane {
    /// What the kernel says of it.
    pub plane: VideoPlane,
    buffer: Buffer,
    side: (u32, u32),
    /// The image in the buffer.
    image: Option<CursorImage>,
    wanted: Look,
    /// What the kernel was told last.
    told: Look,
}

impl CursorPlane {
    /// The cursor plane of a CRTC, if it has one.
    pub fn open(device: &Device, crtc: crtc::Handle) -> Option<Self> {
        let plane = device.plane(crtc, PlaneType::Cursor).ok().flatten()?;
        let plane = planes::of(device, plane).ok()?;
        let side = |capability| {
            let told = device.get_driver_capability(capability).ok();
            told.unwrap_or(64).clamp(16, 512) as u32
        };
        let (w, h) = (
            side(drm::DriverCapability::CursorWidth),
            side(drm::DriverCapability::CursorHeight),
        );
        Self::of(device, plane, (w, h)).ok()
    }

    /// A plane whose images have a size.
    pub fn of(device: &Device, plane: VideoPlane, side: (u32, u32)) -> anyhow::Result<Self> {
        Ok(Self {
            plane,
            buffer: Buffer::new(device, side, DrmFourcc::Argb8888)?,
            side,
            image: None,
            wanted: Look::default(),
            told: Look::default(),
        })
    }

    /// Whether an image of this size is shown whole.
    pub fn holds(&self, size: Size) -> bool {
        size.w <= self.side.0 && size.h <= self.side.1
    }

    /// Takes an image and a place. One that is larger than the plane is not shown.
    pub fn update(
        &mut self,
        device: &Device,
        image: Option<&CursorImage>,
        at: (i32, i32),
    ) -> anyhow::Result<()> {
        let image = image.filter(|image| self.holds(image.size));
        self.wanted.at = image.map(|_| at);
        let Some(image) = image.filter(|image| self.image.as_ref() != Some(image)) else {
            return Ok(());
        };
        let (w, h) = self.side;
        self.buffer.draw(device, |target| {
            let of_image = image.size.w as usize;
            for y in 0..h as i32 {
                let row = target.row(0, y, w as i32);
                row.fill(0);
                let start = y as usize * of_image;
                if let Some(source) = image.pixels.get(start..start + of_image) {
                    row[..of_image].copy_from_slice(source);
                }
            }
        })?;
        self.image = Some(image.clone());
        self.wanted.image += 1;
        Ok(())
    }

    /// Whether the plane is to show something else than the kernel was told.
    pub fn is_changed(&self) -> bool {
        let is_seen = self.wanted.at.is_some() || self.told.at.is_some();
        is_seen && self.wanted != self.told
    }

    /// The kernel has taken what was added.
    pub fn is_told(&mut self) {
        self.told = self.wanted;
    }

    /// The screen is dark, and the plane off.
    pub fn is_off(&mut self) {
        self.told = Look::default();
    }

    /// Adds it to a request.
    pub fn add_to(&self, request: &mut Request, crtc: crtc::Handle) {
        let shown = self.image.as_ref().zip(self.wanted.at);
        let Some((image, at)) = shown else {
            return self.add_off(request);
        };
        let (w, h) = self.side;
        let (x, y) = (
            at.0.saturating_sub(image.hotspot.0),
            at.1.saturating_sub(image.hotspot.1),
        );
        let signed = |value: i32| i64::from(value) as u64;
        let fields = [
            ("FB_ID", u64::from(u32::from(self.buffer.framebuffer()))),
            ("CRTC_ID", u64::from(u32::from(crtc))),
            ("SRC_X", 0),
            ("SRC_Y", 0),
            ("SRC_W", u64::from(w) << 16),
            ("SRC_H", u64::from(h) << 16),
            ("CRTC_X", signed(x)),
            ("CRTC_Y", signed(y)),
            ("CRTC_W", u64::from(w)),
            ("CRTC_H", u64::from(h)),
            ("HOTSPOT_X", signed(image.hotspot.0)),
            ("HOTSPOT_Y", signed(image.hotspot.1)),
        ];
        for (name, value) in fields {
            self.plane.properties.set(request, name, value);
        }
    }

    /// Adds that it shows nothing.
    pub fn add_off(&self, request: &mut Request) {
        self.plane.properties.set(request, "FB_ID", 0);
        self.plane.properties.set(request, "CRTC_ID", 0);
    }

    /// Gives the buffer back, with which the plane is off.
    pub fn close(self, device: &Device) {
        self.buffer.destroy(device);
    }
}

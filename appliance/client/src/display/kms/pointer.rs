//! The plane of the pointer.

use drm::Device as _;
use drm::buffer::DrmFourcc;
use drm::control::atomic::AtomicModeReq;
use drm::control::{PlaneType, crtc};

use super::buffer::Buffer;
use super::device::Device;
use super::planes::{self, VideoPlane};
use crate::cursor::CursorImage;

/// The plane of the pointer.
pub struct CursorPlane {
    /// What the kernel says of it.
    pub plane: VideoPlane,
    buffer: Buffer,
    side: (u32, u32),
    /// The image in the buffer, and whether it is shown.
    image: Option<CursorImage>,
    at: (i32, i32),
    shown: bool,
    /// The plane is to show something else than it does.
    pub changed: bool,
}

impl CursorPlane {
    /// The cursor plane of a CRTC, if it has one.
    pub fn open(device: &Device, crtc: crtc::Handle) -> Option<Self> {
        let plane = device.plane(crtc, PlaneType::Cursor).ok().flatten()?;
        let side = |capability| device.get_driver_capability(capability).ok();
        let (w, h) = (
            side(drm::DriverCapability::CursorWidth)
                .unwrap_or(64)
                .clamp(16, 512) as u32,
            side(drm::DriverCapability::CursorHeight)
                .unwrap_or(64)
                .clamp(16, 512) as u32,
        );
        Some(Self {
            plane: planes::of(device, plane).ok()?,
            buffer: Buffer::new(device, (w, h), DrmFourcc::Argb8888).ok()?,
            side: (w, h),
            image: None,
            at: (0, 0),
            shown: false,
            changed: false,
        })
    }

    /// Takes an image and a place.
    pub fn update(
        &mut self,
        device: &Device,
        image: Option<&CursorImage>,
        at: (i32, i32),
    ) -> anyhow::Result<()> {
        let shown = image.is_some();
        self.changed |= self.shown != shown || shown && self.at != at;
        (self.shown, self.at) = (shown, at);
        let Some(image) = image.filter(|image| self.image.as_ref() != Some(image)) else {
            return Ok(());
        };
        let (w, h) = self.side;
        self.buffer.draw(device, |target| {
            for y in 0..h as i32 {
                let row = target.row(0, y, w as i32);
                row.fill(0);
                let kept = image.size.w.min(w) as usize;
                let start = y as usize * image.size.w as usize;
                if let Some(source) = image.pixels.get(start..start + kept) {
                    row[..kept].copy_from_slice(source);
                }
            }
        })?;
        self.image = Some(image.clone());
        self.changed = true;
        Ok(())
    }

    /// Adds it to a request.
    pub fn add_to(&mut self, request: &mut AtomicModeReq, crtc: crtc::Handle) {
        self.changed = false;
        let Some(image) = self.image.as_ref().filter(|_| self.shown) else {
            self.plane.properties.set(request, "FB_ID", 0);
            self.plane.properties.set(request, "CRTC_ID", 0);
            return;
        };
        let (w, h) = self.side;
        let (x, y) = (self.at.0 - image.hotspot.0, self.at.1 - image.hotspot.1);
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

    /// Gives the buffer back.
    pub fn close(self, device: &Device) {
        self.buffer.destroy(device);
    }
}

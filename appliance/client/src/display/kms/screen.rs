//! One screen: a connector, the CRTC that drives it, its planes and its buffers.

use anyhow::Context;
use drm::Device as _;
use drm::buffer::DrmFourcc;
use drm::control::atomic::AtomicModeReq;
use drm::control::{
    AtomicCommitFlags, Device as _, Mode, ModeTypeFlags, PlaneType, connector, crtc, plane,
    property,
};
use heliostat_wire::id::OutputId;
use heliostat_wire::output::{Output, Size};

use super::buffer::Buffer;
use super::device::{Device, Properties};
use crate::cursor::CursorImage;
use crate::display::{Caption, Paint};
use crate::geometry::Damage;

/// What the screen is doing.
enum State {
    /// Nothing has been shown yet: the first picture sets the mode.
    Dark,
    /// A picture is shown; the next may be drawn.
    Free,
    /// A picture waits for its turn.
    Flipping(Caption),
}

/// A lit screen.
pub struct Screen {
    output: Output,
    connector: Properties<connector::Handle>,
    crtc: Properties<crtc::Handle>,
    primary: Properties<plane::Handle>,
    cursor: Option<CursorPlane>,
    mode: Mode,
    mode_blob: property::RawValue,
    buffers: [Buffer; 2],
    /// The buffer that is shown or about to be.
    front: usize,
    state: State,
}

/// The plane of the pointer.
struct CursorPlane {
    plane: Properties<plane::Handle>,
    buffer: Buffer,
    side: (u32, u32),
    /// The image in the buffer, and whether it is shown.
    image: Option<CursorImage>,
    at: (i32, i32),
    shown: bool,
    changed: bool,
}

impl Screen {
    /// Prepares a screen; the first picture lights it.
    pub fn open(
        device: &Device,
        id: OutputId,
        info: &connector::Info,
        crtc: crtc::Handle,
    ) -> anyhow::Result<Self> {
        let mode = best_mode(info.modes()).context("it has no mode")?;
        let (w, h) = (u32::from(mode.size().0), u32::from(mode.size().1));
        let primary = device
            .plane(crtc, PlaneType::Primary)?
            .context("it has no primary plane")?;
        let blob = device
            .create_property_blob(&mode)
            .context("describe the mode")?;
        let buffers = [
            Buffer::new(device, (w, h), DrmFourcc::Xrgb8888)?,
            Buffer::new(device, (w, h), DrmFourcc::Xrgb8888)?,
        ];
        let (make, model) = edid_names(device, info.handle());
        let physical = info.size().unwrap_or((0, 0));
        let output = Output {
            id,
            connector: format!("{}-{}", info.interface().as_str(), info.interface_id())
                .as_str()
                .into(),
            make: make.as_str().into(),
            model: model.as_str().into(),
            size: Size { w, h },
            refresh_mhz: refresh_mhz(&mode),
            physical_mm: Size {
                w: physical.0,
                h: physical.1,
            },
            x: 0,
            y: 0,
        };
        Ok(Self {
            output,
            connector: Properties::of(device, info.handle())?,
            crtc: Properties::of(device, crtc)?,
            primary: Properties::of(device, primary)?,
            cursor: CursorPlane::open(device, crtc),
            mode,
            mode_blob: blob.into(),
            buffers,
            front: 0,
            state: State::Dark,
        })
    }

    /// Gives everything back.
    pub fn close(self, device: &Device) {
        self.buffers
            .into_iter()
            .for_each(|buffer| buffer.destroy(device));
        if let Some(cursor) = self.cursor {
            cursor.buffer.destroy(device);
        }
        let _ = device.destroy_property_blob(self.mode_blob);
    }

    /// The wire's id.
    pub fn id(&self) -> OutputId {
        self.output.id
    }

    /// The connector's name.
    pub fn name(&self) -> &str {
        &self.output.connector
    }

    /// What the session is told of it.
    pub fn output(&self) -> Output {
        self.output.clone()
    }

    /// Pixels.
    pub fn size(&self) -> Size {
        self.output.size
    }

    /// Its place on the desk.
    pub fn set_x(&mut self, x: i32) {
        self.output.x = x;
    }

    /// The CRTC that drives it.
    pub fn crtc(&self) -> crtc::Handle {
        self.crtc.object()
    }

    /// Whether this is the screen of a connector, in the mode that the connector still likes best.
    pub fn is_on(&self, info: &connector::Info) -> bool {
        self.connector.object() == info.handle() && best_mode(info.modes()) == Some(self.mode)
    }

    /// Whether a picture may be drawn.
    pub fn is_free(&self) -> bool {
        !matches!(self.state, State::Flipping(_))
    }

    /// Whether the pointer has a plane of its own.
    pub fn has_cursor_plane(&self) -> bool {
        self.cursor.is_some()
    }

    /// The picture that waited is shown now.
    pub fn flipped(&mut self) -> Option<Caption> {
        match std::mem::replace(&mut self.state, State::Free) {
            State::Flipping(caption) => Some(caption),
            State::Dark | State::Free => None,
        }
    }

    /// Draws into the buffer that is not shown, and flips to it.
    pub fn present(
        &mut self,
        device: &Device,
        damage: &Damage,
        caption: Caption,
        paint: &mut Paint<'_>,
    ) -> anyhow::Result<()> {
        self.buffers
            .iter_mut()
            .for_each(|buffer| buffer.add_stale(damage));
        let back = 1 - self.front;
        self.buffers[back].repaint(device, paint)?;
        let mut request = AtomicModeReq::new();
        let mut flags = AtomicCommitFlags::PAGE_FLIP_EVENT | AtomicCommitFlags::NONBLOCK;
        if matches!(self.state, State::Dark) {
            flags = AtomicCommitFlags::PAGE_FLIP_EVENT | AtomicCommitFlags::ALLOW_MODESET;
            self.light(&mut request);
        }
        self.show(&mut request, back);
        if let Some(cursor) = &mut self.cursor {
            cursor.add_to(&mut request, self.crtc.object());
        }
        let blob = self.add_damage_clips(device, &mut request, damage);
        let result = device.atomic_commit(flags, request);
        if let Some(blob) = blob {
            let _ = device.destroy_property_blob(blob);
        }
        result.context("show a picture")?;
        self.front = back;
        self.state = State::Flipping(caption);
        Ok(())
    }

    fn light(&self, request: &mut AtomicModeReq) {
        let crtc = u64::from(u32::from(self.crtc.object()));
        self.connector.set(request, "CRTC_ID", crtc);
        self.crtc.set(request, "MODE_ID", self.mode_blob);
        self.crtc.set(request, "ACTIVE", 1);
    }

    fn show(&self, request: &mut AtomicModeReq, buffer: usize) {
        let Size { w, h } = self.output.size;
        let framebuffer = u64::from(u32::from(self.buffers[buffer].framebuffer()));
        let crtc = u64::from(u32::from(self.crtc.object()));
        let fields = [
            ("FB_ID", framebuffer),
            ("CRTC_ID", crtc),
            ("SRC_X", 0),
            ("SRC_Y", 0),
            ("SRC_W", u64::from(w) << 16),
            ("SRC_H", u64::from(h) << 16),
            ("CRTC_X", 0),
            ("CRTC_Y", 0),
            ("CRTC_W", u64::from(w)),
            ("CRTC_H", u64::from(h)),
        ];
        for (name, value) in fields {
            self.primary.set(request, name, value);
        }
    }

    /// Tells drivers that copy what they show which part of it changed.
    fn add_damage_clips(
        &self,
        device: &Device,
        request: &mut AtomicModeReq,
        damage: &Damage,
    ) -> Option<u64> {
        let clips: Vec<[i32; 4]> = damage
            .rects()
            .iter()
            .map(|r| [r.x, r.y, r.right(), r.bottom()])
            .collect();
        // A blob has the size of its type; a list of clips is as many calls of a fixed size.
        let bounds = clips.iter().copied().reduce(|a, b| {
            [
                a[0].min(b[0]),
                a[1].min(b[1]),
                a[2].max(b[2]),
                a[3].max(b[3]),
            ]
        })?;
        let blob = device.create_property_blob(&bounds).ok()?.into();
        self.primary
            .set(request, "FB_DAMAGE_CLIPS", blob)
            .then_some(blob)
    }

    /// Shows the pointer, or hides it. It moves at once when no picture is on its way, and with the
    /// picture otherwise.
    pub fn set_cursor(
        &mut self,
        device: &Device,
        image: Option<&CursorImage>,
        at: (i32, i32),
    ) -> anyhow::Result<()> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(());
        };
        cursor.update(device, image, at)?;
        if !cursor.changed || !matches!(self.state, State::Free) {
            return Ok(());
        }
        let mut request = AtomicModeReq::new();
        cursor.add_to(&mut request, self.crtc.object());
        // The event frees the screen again; nothing new is shown by it.
        let flags = AtomicCommitFlags::NONBLOCK;
        match device.atomic_commit(flags, request) {
            Ok(()) => Ok(()),
            // The commit before is still under way; the next picture or move takes the cursor along.
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {
                cursor.changed = true;
                Ok(())
            }
            Err(error) => {
                self.cursor = None;
                Err(error.into())
            }
        }
    }
}

impl CursorPlane {
    fn open(device: &Device, crtc: crtc::Handle) -> Option<Self> {
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
            plane: Properties::of(device, plane).ok()?,
            buffer: Buffer::new(device, (w, h), DrmFourcc::Argb8888).ok()?,
            side: (w, h),
            image: None,
            at: (0, 0),
            shown: false,
            changed: false,
        })
    }

    fn update(
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

    fn add_to(&mut self, request: &mut AtomicModeReq, crtc: crtc::Handle) {
        self.changed = false;
        let Some(image) = self.image.as_ref().filter(|_| self.shown) else {
            self.plane.set(request, "FB_ID", 0);
            self.plane.set(request, "CRTC_ID", 0);
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
            self.plane.set(request, name, value);
        }
    }
}

/// The mode the screen prefers, else the largest.
fn best_mode(modes: &[Mode]) -> Option<Mode> {
    let preferred = modes
        .iter()
        .find(|m| m.mode_type().contains(ModeTypeFlags::PREFERRED));
    let area = |mode: &&Mode| u32::from(mode.size().0) * u32::from(mode.size().1);
    preferred.or_else(|| modes.iter().max_by_key(area)).copied()
}

fn refresh_mhz(mode: &Mode) -> u32 {
    let (total_w, total_h) = (u64::from(mode.hsync().2), u64::from(mode.vsync().2));
    let exact = u64::from(mode.clock()) * 1_000_000 / (total_w * total_h).max(1);
    if exact == 0 {
        mode.vrefresh() * 1000
    } else {
        exact as u32
    }
}

/// Manufacturer and model from the connector's EDID (VESA E-EDID 1.4); empty where it has none.
fn edid_names(device: &Device, connector: connector::Handle) -> (String, String) {
    let blob = device
        .value(connector, "EDID")
        .ok()
        .flatten()
        .filter(|blob| *blob != 0);
    let edid = blob
        .and_then(|blob| device.get_property_blob(blob).ok())
        .unwrap_or_default();
    (
        edid_maker(&edid).unwrap_or_default(),
        edid_model(&edid).unwrap_or_default(),
    )
}

/// Three letters of five bits each.
fn edid_maker(edid: &[u8]) -> Option<String> {
    let packed = u16::from_be_bytes(edid.get(8..10)?.try_into().ok()?);
    let letter = |shift: u16| match (packed >> shift & 31) as u8 {
        n @ 1..=26 => Some(char::from(b'A' + n - 1)),
        _ => None,
    };
    Some([letter(10)?, letter(5)?, letter(0)?].iter().collect())
}

/// The display product name among the four descriptors.
fn edid_model(edid: &[u8]) -> Option<String> {
    let descriptors = edid.get(54..126)?.chunks_exact(18);
    let named = descriptors
        .into_iter()
        .find(|d| d.starts_with(&[0, 0, 0, 0xfc]))?;
    let name = String::from_utf8_lossy(&named[5..]);
    Some(
        name.trim_end()
            .chars()
            .filter(|c| !c.is_control())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edid_gives_names_and_any_bytes_do_no_harm() {
        let mut edid = vec![0; 128];
        edid[8..10].copy_from_slice(&(4u16 << 10 | 5 << 5 | 12).to_be_bytes());
        edid[72..90].copy_from_slice(b"\0\0\0\xfc\0U2415\n       ");
        assert_eq!(edid_maker(&edid).as_deref(), Some("DEL"));
        assert_eq!(edid_model(&edid).as_deref(), Some("U2415"));
        for length in 0..128 {
            let _ = (edid_maker(&edid[..length]), edid_model(&edid[..length]));
        }
        assert_eq!(edid_maker(&[0xff; 128]), None);
    }
}

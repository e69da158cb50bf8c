//! One screen: a connector, the CRTC that drives it, its planes and its buffers.

use anyhow::Context;
use drm::buffer::DrmFourcc;
use drm::control::atomic::AtomicModeReq;
use drm::control::{
    AtomicCommitFlags, Device as _, Mode, ModeTypeFlags, PlaneType, connector, crtc, property,
};
use heliostat_va::decoder::Frame;
use heliostat_wire::id::{OutputId, VideoId};
use heliostat_wire::output::{Output, Size};

use super::buffer::Buffer;
use super::commit::{self, On};
use super::device::{Device, Properties};
use super::framebuffers::Scanned;
use super::planes::{self, VideoPlane};
use super::pointer::CursorPlane;
use crate::cursor::CursorImage;
use crate::display::{Caption, OnPlane, Paint};
use crate::geometry::{Damage, Rect};
use crate::planes::{Fit, Ground, PlaneId};

/// What the screen is doing.
enum State {
    /// Nothing has been shown yet: the first picture sets the mode.
    Dark,
    /// A picture is shown; the next may be drawn.
    Free,
    /// A picture waits for its turn.
    Flipping(Caption),
}

/// A surface on a plane. It is held until the flip that takes it away is done: until then it is
/// scanned out, and nothing may be decoded into it.
#[derive(Debug, Clone)]
pub struct Held {
    /// The plane.
    pub plane: PlaneId,
    /// The video.
    pub video: VideoId,
    /// What of it goes where.
    pub fit: Fit,
    /// Its framebuffer.
    pub scanned: Scanned,
    /// What is held.
    pub _frame: Frame,
}

/// A layout with the framebuffers that it is of.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The primary plane.
    pub ground: Ground,
    /// Planes with videos.
    pub uses: Vec<Held>,
    /// Where planes stand.
    pub heights: Vec<(PlaneId, u64)>,
}

/// A lit screen.
pub struct Screen {
    output: Output,
    connector: Properties<connector::Handle>,
    crtc: Properties<crtc::Handle>,
    primary: VideoPlane,
    cursor: Option<CursorPlane>,
    mode: Mode,
    mode_blob: property::RawValue,
    buffers: [Buffer; 2],
    /// The buffer that is shown or about to be.
    front: usize,
    /// What the primary plane shows, or is about to.
    ground: Ground,
    /// What planes show.
    showing: Vec<Held>,
    /// What they will show after the flip.
    coming: Vec<Held>,
    state: State,
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
        let (make, model) = super::edid::names(device, info.handle());
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
            primary: planes::of(device, primary)?,
            cursor: CursorPlane::open(device, crtc),
            mode,
            mode_blob: blob.into(),
            buffers,
            front: 0,
            ground: Ground::Drawn,
            showing: Vec::new(),
            coming: Vec::new(),
            state: State::Dark,
        })
    }

    /// Gives everything back.
    pub fn close(self, device: &Device, overlays: &[VideoPlane]) {
        let held: Vec<&VideoPlane> = overlays
            .iter()
            .filter(|plane| self.has_plane(plane.caps.id))
            .collect();
        if !held.is_empty() {
            // Another screen may want them, and nothing of a picture is to stay on them.
            let mut request = AtomicModeReq::new();
            for plane in held {
                plane.properties.set(&mut request, "FB_ID", 0);
                plane.properties.set(&mut request, "CRTC_ID", 0);
            }
            let _ = device.atomic_commit(AtomicCommitFlags::ALLOW_MODESET, request);
        }
        self.buffers
            .into_iter()
            .for_each(|buffer| buffer.destroy(device));
        if let Some(cursor) = self.cursor {
            cursor.close(device);
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

    /// Whether anything has been shown.
    pub fn is_lit(&self) -> bool {
        !matches!(self.state, State::Dark)
    }

    /// The primary plane.
    pub fn primary(&self) -> &VideoPlane {
        &self.primary
    }

    /// The pointer's plane.
    pub fn cursor(&self) -> Option<&VideoPlane> {
        self.cursor.as_ref().map(|cursor| &cursor.plane)
    }

    /// Whether a plane shows something here, or is about to.
    pub fn has_plane(&self, plane: PlaneId) -> bool {
        let mut held = self.showing.iter().chain(&self.coming);
        held.any(|held| held.plane == plane)
    }

    /// What planes show, or are about to.
    pub fn on_planes(&self) -> Vec<OnPlane> {
        let held = match self.state {
            State::Flipping(_) => &self.coming,
            State::Dark | State::Free => &self.showing,
        };
        let told = |held: &Held| OnPlane {
            plane: held.plane,
            video: held.video,
            framebuffer: held.scanned.framebuffer.into(),
            inode: held.scanned.inode,
        };
        held.iter().map(told).collect()
    }

    /// Asks the driver whether it would show this.
    pub fn is_allowed(
        &mut self,
        device: &Device,
        overlays: &[VideoPlane],
        resolved: &Resolved,
    ) -> anyhow::Result<bool> {
        let mut request = AtomicModeReq::new();
        let mut flags = AtomicCommitFlags::TEST_ONLY;
        if !self.is_lit() {
            flags |= AtomicCommitFlags::ALLOW_MODESET;
            self.light(&mut request);
        }
        self.show(device, &mut request, self.front, resolved.ground)?;
        self.show_films(&mut request, overlays, resolved);
        Ok(device.atomic_commit(flags, request).is_ok())
    }

    /// The picture that waited is shown now, and what it took the place of is let go.
    pub fn flipped(&mut self) -> Option<Caption> {
        if matches!(self.state, State::Flipping(_)) {
            self.showing = std::mem::take(&mut self.coming);
        }
        match std::mem::replace(&mut self.state, State::Free) {
            State::Flipping(caption) => Some(caption),
            State::Dark | State::Free => None,
        }
    }

    /// Draws into the buffer that is not shown, and flips to it and to what planes show from now on.
    pub fn present(
        &mut self,
        device: &Device,
        overlays: &[VideoPlane],
        (damage, resolved): (&Damage, Resolved),
        caption: Caption,
        paint: &mut Paint<'_>,
    ) -> anyhow::Result<()> {
        self.buffers
            .iter_mut()
            .for_each(|buffer| buffer.add_stale(damage));
        // What is drawn is not seen behind a video; it is drawn when the video has gone.
        let draws = resolved.ground != Ground::Video && !self.buffers[self.front].is_current();
        let next = if draws { 1 - self.front } else { self.front };
        if draws {
            self.buffers[next].repaint(device, paint)?;
        }
        let mut request = AtomicModeReq::new();
        let mut flags = AtomicCommitFlags::PAGE_FLIP_EVENT | AtomicCommitFlags::NONBLOCK;
        if matches!(self.state, State::Dark) {
            flags = AtomicCommitFlags::PAGE_FLIP_EVENT | AtomicCommitFlags::ALLOW_MODESET;
            self.light(&mut request);
        }
        if draws || resolved.ground != self.ground || matches!(self.state, State::Dark) {
            self.show(device, &mut request, next, resolved.ground)?;
        }
        self.show_films(&mut request, overlays, &resolved);
        if let Some(cursor) = &mut self.cursor {
            cursor.add_to(&mut request, self.crtc.object());
        }
        let blob = draws.then(|| self.add_damage_clips(device, &mut request, damage));
        let mut result = device.atomic_commit(flags, request.clone());
        let is_busy = |error: &std::io::Error| error.raw_os_error() == Some(nix::libc::EBUSY);
        if result.as_ref().is_err_and(is_busy) {
            // The pointer's last move is under way until the next retrace, and has no event. To lose
            // this picture would be worse than to wait for that.
            let waiting = flags.difference(AtomicCommitFlags::NONBLOCK);
            result = device.atomic_commit(waiting, request);
        }
        if let Some(blob) = blob.flatten() {
            let _ = device.destroy_property_blob(blob);
        }
        result.context("show a picture")?;
        (self.front, self.ground, self.coming) = (next, resolved.ground, resolved.uses);
        self.state = State::Flipping(caption);
        Ok(())
    }

    fn light(&self, request: &mut AtomicModeReq) {
        let crtc = u64::from(u32::from(self.crtc.object()));
        self.connector.set(request, "CRTC_ID", crtc);
        self.crtc.set(request, "MODE_ID", self.mode_blob);
        self.crtc.set(request, "ACTIVE", 1);
    }

    /// Puts a buffer on the primary plane, unless a video is there.
    fn show(
        &mut self,
        device: &Device,
        request: &mut AtomicModeReq,
        buffer: usize,
        ground: Ground,
    ) -> anyhow::Result<()> {
        let buffer = &mut self.buffers[buffer];
        let framebuffer = match ground {
            Ground::Drawn => buffer.framebuffer(),
            Ground::Holed => buffer.framebuffer_with_alpha(device)?,
            Ground::Video => return Ok(()),
        };
        let Size { w, h } = self.output.size;
        let whole = Fit {
            source: [0, 0, w << 16, h << 16],
            dst: Rect::of_size(w, h),
        };
        for (name, value) in commit::place(framebuffer.into(), self.crtc.object().into(), whole) {
            self.primary.properties.set(request, name, value);
        }
        Ok(())
    }

    /// Puts videos on planes, takes all others away from planes, and puts planes where they stand.
    fn show_films(
        &self,
        request: &mut AtomicModeReq,
        overlays: &[VideoPlane],
        resolved: &Resolved,
    ) {
        let crtc = self.crtc.object();
        let ours = || overlays.iter().chain([&self.primary]).chain(self.cursor());
        let find = |id: PlaneId| ours().find(|plane| plane.caps.id == id);
        let on: Vec<On> = resolved
            .uses
            .iter()
            .map(|held| On {
                plane: held.plane,
                framebuffer: held.scanned.framebuffer.into(),
                fit: held.fit,
                colours: find(held.plane).and_then(|plane| plane.colours),
            })
            .collect();
        let is_left = |plane: &&VideoPlane| {
            self.has_plane(plane.caps.id) || !self.is_lit() && plane.left_on == Some(crtc)
        };
        let before: Vec<PlaneId> = overlays
            .iter()
            .filter(is_left)
            .map(|plane| plane.caps.id)
            .collect();
        for set in commit::films(crtc.into(), &on, &before, &resolved.heights) {
            if let Some(plane) = find(set.plane) {
                plane.properties.set(request, set.name, set.value);
            }
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
            .properties
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

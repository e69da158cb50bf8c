//! One screen: a connector, the CRTC that drives it, its planes and its buffers.
//!
//! ```text
//!   Dark ── picture ──► Flipping ── event ──► Free ── the pointer alone ──► Moving
//!    ▲                      ▲                 │  ▲ ◄──────── event ────────────┘
//!    └────── darkened ──────┼─────────────────┤
//!                           └──── picture ────┘
//! ```
//!
//! The kernel takes one commit at a time. Each asks for an event, so that none is ever in the way of
//! another, and knows the number of the one that is under way: an event of an earlier one says nothing.
//! What waits for one that does not come is `Repeating` where the driver takes another commit, and `Free`
//! where it takes one more after that; else it is stuck, and [`Screen::stuck`] says so.

mod lost;
mod pointer;
mod power;

pub use lost::is_busy;

use anyhow::Context;
use drm::buffer::DrmFourcc;
use drm::control::{AtomicCommitFlags, Mode, ModeTypeFlags, PlaneType, connector, crtc};
use heliostat_va::decoder::Frame;
use heliostat_wire::id::{OutputId, VideoId};
use heliostat_wire::output::{Output, Size};

use super::buffer::Buffer;
use super::commit::{self, On};
use super::device::{Device, Properties};
use super::framebuffers::Scanned;
use super::link::Trials;
use super::overdue::Overdue;
use super::planes::{self, VideoPlane};
use super::pointer::CursorPlane;
use super::request::Request;
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
    /// The pointer waits for its turn; what is shown else stays.
    Moving,
    /// What is shown was committed anew, since an event was lost.
    Repeating,
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
    /// What is held; nothing of what nobody decodes into.
    pub _frame: Option<Frame>,
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

/// What a screen is made of.
pub struct Objects {
    /// Where it is plugged in.
    pub connector: Properties<connector::Handle>,
    /// What drives it.
    pub crtc: Properties<crtc::Handle>,
    /// What is drawn.
    pub primary: VideoPlane,
}

/// A lit screen.
pub struct Screen {
    output: Output,
    connector: Properties<connector::Handle>,
    crtc: Properties<crtc::Handle>,
    primary: VideoPlane,
    cursor: Option<CursorPlane>,
    mode: Mode,
    mode_blob: u64,
    buffers: [Buffer; 2],
    /// The buffer that is shown or about to be.
    front: usize,
    /// What the primary plane shows, or is about to.
    ground: Ground,
    /// What planes show.
    showing: Vec<Held>,
    /// What they will show after the flip.
    coming: Vec<Held>,
    /// The last picture was taken, so that the next one's damage is all that differs from it.
    is_followed: bool,
    state: State,
    /// What came of its link.
    trials: Trials,
    /// The number of the commit that has asked for an event last.
    asked: u64,
    /// Watches what is under way.
    overdue: Overdue,
    /// Events that were lost so far.
    lost: u64,
    /// How often the kernel has refused to go on since the last one was.
    refused: u32,
    /// Events so far.
    told: u32,
    /// The attach whose picture is shown, 0 for none.
    seen: u64,
    /// Used again and again.
    request: Request,
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
        let objects = Objects {
            connector: Properties::of(device, info.handle())?,
            crtc: Properties::of(device, crtc)?,
            primary: planes::of(device, primary)?,
        };
        let mut screen = Self::of(device, output, objects, mode)?;
        screen.cursor = CursorPlane::open(device, crtc);
        Ok(screen)
    }

    /// A screen of these objects, in a mode.
    pub fn of(
        device: &Device,
        output: Output,
        objects: Objects,
        mode: Mode,
    ) -> anyhow::Result<Self> {
        let Size { w, h } = output.size;
        let buffer = || Buffer::new(device, (w, h), DrmFourcc::Xrgb8888);
        let first = buffer()?;
        let second = match buffer() {
            Ok(second) => second,
            Err(error) => {
                first.destroy(device);
                return Err(error);
            }
        };
        let buffers = [first, second];
        let mode_blob = match device.make_blob(&mode) {
            Ok(blob) => blob,
            Err(error) => {
                buffers
                    .into_iter()
                    .for_each(|buffer| buffer.destroy(device));
                return Err(error).context("describe the mode");
            }
        };
        Ok(Self {
            output,
            connector: objects.connector,
            crtc: objects.crtc,
            primary: objects.primary,
            cursor: None,
            mode,
            mode_blob,
            buffers,
            front: 0,
            ground: Ground::Drawn,
            showing: Vec::new(),
            coming: Vec::new(),
            is_followed: false,
            state: State::Dark,
            trials: Trials::default(),
            asked: 0,
            overdue: Overdue::default(),
            lost: 0,
            refused: 0,
            told: 0,
            seen: 0,
            request: Request::default(),
        })
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

    /// Where it is plugged in.
    pub fn connector(&self) -> connector::Handle {
        self.connector.object()
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
        matches!(self.state, State::Dark | State::Free)
    }

    /// Whether no picture waits for its turn.
    pub fn is_settled(&self) -> bool {
        !matches!(self.state, State::Flipping(_))
    }

    /// Whether a pointer image of this size is shown by a plane of its own.
    pub fn draws_cursor(&self, size: Size) -> bool {
        self.cursor.as_ref().is_some_and(|plane| plane.holds(size))
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

    /// Whether planes show videos, or are about to.
    pub fn shows_films(&self) -> bool {
        !self.newest().is_empty()
    }

    fn newest(&self) -> &[Held] {
        match self.state {
            State::Flipping(_) => &self.coming,
            State::Dark | State::Free | State::Moving | State::Repeating => &self.showing,
        }
    }

    /// What planes show, or are about to.
    pub fn on_planes(&self) -> Vec<OnPlane> {
        let told = |held: &Held| OnPlane {
            plane: held.plane,
            video: held.video,
            framebuffer: held.scanned.framebuffer.into(),
            inode: held.scanned.inode,
        };
        self.newest().iter().map(told).collect()
    }

    /// Asks the driver whether it would show this.
    pub fn is_allowed(
        &mut self,
        device: &Device,
        overlays: &[VideoPlane],
        resolved: &Resolved,
    ) -> anyhow::Result<bool> {
        let mut request = std::mem::take(&mut self.request);
        request.clear();
        let mut flags = AtomicCommitFlags::TEST_ONLY;
        if !self.is_lit() {
            flags |= AtomicCommitFlags::ALLOW_MODESET;
            self.light(&mut request);
        }
        self.show(device, &mut request, self.front, resolved.ground)?;
        self.show_films(&mut request, overlays, resolved);
        let answer = device.commit(flags, &mut request);
        self.request = request;
        Ok(answer.is_ok())
    }

    /// The kernel says that what was committed by this number is shown.
    pub fn flipped(&mut self, number: u64) -> Option<Caption> {
        self.told = self.told.saturating_add(1);
        match number == self.asked {
            true => self.done(),
            // It is late, and something else is under way.
            false => None,
        }
    }

    /// What was committed is shown now; where that was a picture, what it took the place of is let go.
    fn done(&mut self) -> Option<Caption> {
        self.refused = 0;
        match self.state {
            // Of the commit before the screen went dark.
            State::Dark => return None,
            State::Free | State::Moving | State::Repeating => {}
            State::Flipping(caption) => {
                self.seen = caption.attach;
                std::mem::swap(&mut self.showing, &mut self.coming);
                self.coming.clear();
            }
        }
        match std::mem::replace(&mut self.state, State::Free) {
            State::Flipping(caption) => Some(caption),
            State::Dark | State::Free | State::Moving | State::Repeating => None,
        }
    }

    /// Draws into the buffer that is not shown, and flips to it and to what planes show from now on.
    /// After an error what was to be shown is the caller's to show again.
    pub fn present(
        &mut self,
        device: &Device,
        overlays: &[VideoPlane],
        (damage, resolved): (&Damage, &mut Resolved),
        caption: Caption,
        paint: &mut Paint<'_>,
    ) -> anyhow::Result<()> {
        self.buffers
            .iter_mut()
            .for_each(|buffer| buffer.add_stale(damage));
        let is_followed = std::mem::take(&mut self.is_followed);
        // What is drawn is not seen behind a video; it is drawn when the video has gone.
        let draws = resolved.ground != Ground::Video && !self.buffers[self.front].is_current();
        let next = if draws { 1 - self.front } else { self.front };
        if draws {
            self.buffers[next].repaint(device, paint)?;
        }
        let mut request = std::mem::take(&mut self.request);
        request.clear();
        let is_lit = self.is_lit();
        let mut flags = AtomicCommitFlags::PAGE_FLIP_EVENT;
        if is_lit {
            flags |= AtomicCommitFlags::NONBLOCK;
        } else {
            flags |= AtomicCommitFlags::ALLOW_MODESET;
            self.light(&mut request);
        }
        let is_same_ground = resolved.ground == self.ground;
        if draws || !is_same_ground || !is_lit {
            self.show(device, &mut request, next, resolved.ground)?;
        }
        self.show_films(&mut request, overlays, resolved);
        if let Some(cursor) = &mut self.cursor {
            cursor.add_to(&mut request, self.crtc.object());
        }
        // Of what differs else, as after a failure, the driver has not heard.
        let is_clipped = draws && is_same_ground && is_lit && is_followed;
        let clips = is_clipped.then(|| self.add_damage_clips(device, &mut request, damage));
        let result = device.commit(flags, &mut request);
        self.request = request;
        if let Some(blob) = clips.flatten() {
            device.remove_blob(blob);
        }
        self.asked = result.context("show a picture")?;
        if let Some(cursor) = &mut self.cursor {
            cursor.is_told();
        }
        (self.front, self.ground) = (next, resolved.ground);
        std::mem::swap(&mut self.coming, &mut resolved.uses);
        (self.state, self.is_followed) = (State::Flipping(caption), true);
        Ok(())
    }

    /// Puts a buffer on the primary plane, unless a video is there.
    fn show(
        &mut self,
        device: &Device,
        request: &mut Request,
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
    fn show_films(&self, request: &mut Request, overlays: &[VideoPlane], resolved: &Resolved) {
        let crtc = self.crtc.object();
        let ours = || overlays.iter().chain([&self.primary]).chain(self.cursor());
        let find = |id: PlaneId| ours().find(|plane| plane.caps.id == id);
        let on = resolved.uses.iter().map(|held| On {
            plane: held.plane,
            framebuffer: held.scanned.framebuffer.into(),
            fit: held.fit,
            colours: find(held.plane).and_then(|plane| plane.colours),
        });
        let is_left = |plane: &&VideoPlane| {
            self.has_plane(plane.caps.id) || !self.is_lit() && plane.left_on == Some(crtc)
        };
        let before = overlays.iter().filter(is_left).map(|plane| plane.caps.id);
        commit::films(crtc.into(), on, before, &resolved.heights, &mut |set| {
            if let Some(plane) = find(set.plane) {
                plane.properties.set(request, set.name, set.value);
            }
        });
    }

    /// Tells drivers that copy what they show which part of it changed.
    fn add_damage_clips(
        &self,
        device: &Device,
        request: &mut Request,
        damage: &Damage,
    ) -> Option<u64> {
        // A blob has the size of its type; a list of clips is as many calls of a fixed size.
        let bounds = damage.rects().iter().copied().reduce(Rect::union)?;
        let bounds = [bounds.x, bounds.y, bounds.right(), bounds.bottom()];
        let blob = device.make_blob(&bounds).ok()?;
        self.primary
            .properties
            .set(request, "FB_DAMAGE_CLIPS", blob)
            .then_some(blob)
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

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;

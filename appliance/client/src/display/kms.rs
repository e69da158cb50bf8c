//! Real screens: atomic kernel mode setting with two dumb buffers each.
//!
//! ```text
//!   Free ── present ──▶ Flipping ── page flip event ──▶ Free
//! ```
//!
//! Each screen draws only what has changed since its buffer was last shown. The pointer has a plane
//! of its own where the hardware has one, and moves without drawing anything. Videos that hardware
//! decodes are on planes as far as `crate::planes` finds that to be right and the driver allows it;
//! they change in the same commit as what is drawn.

mod buffer;
mod commit;
mod connectors;
pub mod device;
mod edid;
mod events;
#[cfg(test)]
mod fake;
mod framebuffers;
mod link;
mod overdue;
pub mod planes;
mod pointer;
mod report;
mod request;
mod screen;
mod verdicts;

pub use screen::is_busy;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use drm::control::{Device as ControlDevice, connector, crtc};
use heliostat_va::decoder::Frame;
use heliostat_wire::List;
use heliostat_wire::id::OutputId;
use heliostat_wire::output::{Outputs, Size};
use tracing::{debug, info, warn};

use self::device::Device;
use self::events::Flip;
use self::framebuffers::Framebuffers;
use self::planes::{Kind, VideoPlane};
use self::screen::{Held, Resolved, Screen};
use self::verdicts::Verdicts;
use super::stuck::Stuck;
use super::{Caption, Films, Find, OnPlane, Paint, Shown};
use crate::clock::monotonic_ns;
use crate::cursor::CursorImage;
use crate::geometry::{Damage, Rect};
use crate::planes::{Arrangement, Layout, Planes, Wanted, Why, plan};

/// An event that says that it is older than this is of another clock.
const LATEST_EVENT: Duration = Duration::from_millis(100);

/// A graphics device and the screens on it.
pub struct Kms {
    device: Device,
    path: PathBuf,
    screens: Vec<Screen>,
    /// Planes that any CRTC of theirs may have.
    overlays: Vec<VideoPlane>,
    framebuffers: Framebuffers,
    verdicts: Verdicts,
    shown: Vec<Shown>,
    /// Used again and again.
    resolved: Resolved,
}

/// When a flip was done: as its event says, unless that is of another clock or of none, as with
/// some drivers.
fn scanned_out_ns(told: Duration, now_ns: u64) -> u64 {
    let told_ns = u64::try_from(told.as_nanos()).unwrap_or(u64::MAX);
    let late_ns = now_ns.checked_sub(told_ns);
    match late_ns.is_some_and(|late| late < LATEST_EVENT.as_nanos() as u64) {
        true => told_ns,
        false => now_ns,
    }
}

/// The first card in /dev/dri that has connectors.
pub fn find_device() -> anyhow::Result<PathBuf> {
    let mut cards: Vec<PathBuf> = std::fs::read_dir("/dev/dri")
        .context("no graphics device: /dev/dri is missing")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with("card"))
        })
        .collect();
    cards.sort();
    let with_screens = |path: &&PathBuf| {
        let device = Device::open(path).ok();
        device
            .and_then(|d| d.resource_handles().ok())
            .is_some_and(|r| !r.connectors().is_empty())
    };
    let found = cards.iter().find(with_screens).cloned();
    found.context("no graphics device with connectors in /dev/dri")
}

impl Kms {
    /// Opens a device and lights its screens.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let device = Device::open(path).with_context(|| format!("open {}", path.display()))?;
        device.prepare()?;
        let mut overlays = planes::all(&device)?;
        overlays.retain(|plane| plane.kind == Kind::Overlay);
        let mut kms = Self {
            device,
            path: path.to_owned(),
            screens: Vec::new(),
            overlays,
            framebuffers: Framebuffers::default(),
            verdicts: Verdicts::default(),
            shown: Vec::new(),
            resolved: Resolved::default(),
        };
        kms.scan()?;
        Ok(kms)
    }

    /// The device file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor that is readable when there are events.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// Looks at the connectors again. Returns whether anything changed.
    pub fn scan(&mut self) -> anyhow::Result<bool> {
        let resources = self.device.resource_handles().context("list connectors")?;
        let get = |handle| self.device.get_connector(handle, true);
        let looked = connectors::look_at(resources.connectors(), get);
        let mut connected = looked.found;
        connected
            .retain(|info| info.state() == connector::State::Connected && !info.modes().is_empty());
        self.verdicts.forget();
        let before = self.screens.len();
        let stays = |screen: &Screen| {
            let is_unread = looked.unread.contains(&screen.connector());
            is_unread || connected.iter().any(|info| screen.is_on(info))
        };
        let gone: Vec<Screen> = self
            .screens
            .extract_if(.., |screen| !stays(screen))
            .collect();
        let mut changed = !gone.is_empty();
        for screen in gone {
            info!(connector = screen.name(), "screen gone");
            if !screen.close(&self.device, &self.overlays) {
                self.framebuffers.clear(&self.device);
            }
        }
        changed |= self.darken_failed_links();
        self.framebuffers.sweep(&self.device);
        for info in &connected {
            if self.screens.iter().any(|screen| screen.is_on(info)) {
                continue;
            }
            match self.light(info, resources.crtcs()) {
                Ok(screen) => {
                    info!(connector = screen.name(), size = ?screen.size(), "screen lit");
                    self.screens.push(screen);
                    changed = true;
                }
                Err(error) => warn!(%error, "a screen cannot be lit"),
            }
        }
        self.stand();
        Ok(changed || before != self.screens.len())
    }

    /// Switches off screens that have lost their link, so that the next picture trains it again. Returns
    /// whether there were any.
    fn darken_failed_links(&mut self) -> bool {
        let (device, overlays) = (&self.device, &self.overlays);
        let mut were_any = false;
        for screen in &mut self.screens {
            if !screen.has_lost_link(device, Instant::now()) {
                continue;
            }
            warn!(
                connector = screen.name(),
                "a screen has lost its link and is lit again"
            );
            were_any = true;
            if let Err(error) = screen.darken(device, overlays) {
                warn!(
                    connector = screen.name(),
                    "it cannot be switched off: {error:#}"
                );
                self.framebuffers.clear(device);
            }
        }
        were_any
    }

    /// The screens of now.
    pub fn outputs(&self) -> Outputs {
        List::truncated(self.screens.iter().map(Screen::output).collect())
    }

    /// Whether a new picture may be drawn.
    pub fn is_free(&self, output: OutputId) -> bool {
        self.screens
            .iter()
            .any(|screen| screen.id() == output && screen.is_free())
    }

    /// Whether no picture waits for its turn.
    pub fn is_settled(&self, output: OutputId) -> bool {
        self.screens
            .iter()
            .any(|screen| screen.id() == output && screen.is_settled())
    }

    /// Switches a screen off until the next picture.
    pub fn darken(&mut self, output: OutputId) -> anyhow::Result<()> {
        let Some(screen) = self.screens.iter_mut().find(|screen| screen.id() == output) else {
            return Ok(());
        };
        let done = screen.darken(&self.device, &self.overlays);
        if done.is_err() {
            self.framebuffers.clear(&self.device);
        }
        done
    }

    /// Decides which planes show which videos.
    pub fn arrange(&mut self, output: OutputId, wanted: &[Wanted], frame: Find<'_>) -> Arrangement {
        let planes = self.planes(output);
        let found = self.screens.iter_mut().find(|screen| screen.id() == output);
        let (Some(planes), Some(screen)) = (planes, found) else {
            return Arrangement::copied(wanted, Why::NoPlanes);
        };
        let (device, overlays) = (&self.device, &self.overlays);
        let (framebuffers, verdicts) = (&mut self.framebuffers, &mut self.verdicts);
        let resolved = &mut self.resolved;
        let size = screen.size();
        plan(
            Rect::of_size(size.w, size.h),
            &planes,
            wanted,
            &mut |layout| {
                let sizes = sizes(layout, frame);
                verdicts.judge(output, layout, &sizes, || {
                    let found = resolve(device, framebuffers, (layout, frame), resolved);
                    let asked = found.and_then(|()| screen.is_allowed(device, overlays, resolved));
                    resolved.uses.clear();
                    asked.unwrap_or_else(|error| {
                        debug!(%error, "a video cannot be put on a plane");
                        false
                    })
                })
            },
        )
    }

    /// The planes that an output can have now.
    fn planes(&self, output: OutputId) -> Option<Planes> {
        let screen = self.screens.iter().find(|screen| screen.id() == output)?;
        let is_free = |plane: &&VideoPlane| {
            let mut others = self.screens.iter().filter(|other| other.id() != output);
            plane.crtcs.contains(&screen.crtc())
                && !others.any(|other| other.has_plane(plane.caps.id))
        };
        Some(Planes {
            primary: screen.primary().caps.clone(),
            overlays: self
                .overlays
                .iter()
                .filter(is_free)
                .map(|plane| plane.caps.clone())
                .collect(),
            cursor: screen.cursor().map(|plane| plane.caps.clone()),
        })
    }

    /// A layout was allowed, and failed when it was to be shown.
    pub fn distrust(&mut self, output: OutputId, layout: &Layout) {
        warn!("planes that were allowed to show videos fail; these are copied");
        self.verdicts.refuse(output, layout);
    }

    /// What planes of an output show.
    pub fn on_planes(&self, output: OutputId) -> Vec<OnPlane> {
        let screen = self.screens.iter().find(|screen| screen.id() == output);
        screen.map(Screen::on_planes).unwrap_or_default()
    }

    /// Draws and flips.
    pub fn present(
        &mut self,
        output: OutputId,
        damage: &Damage,
        films: &Films<'_>,
        caption: Caption,
        paint: &mut Paint<'_>,
    ) -> anyhow::Result<()> {
        let Some(screen) = self.screens.iter_mut().find(|screen| screen.id() == output) else {
            return Ok(());
        };
        let (device, resolved) = (&self.device, &mut self.resolved);
        let wanted = (films.layout, films.frame);
        resolve(device, &mut self.framebuffers, wanted, resolved)?;
        let what = (damage, &mut *resolved);
        let shown = screen.present(device, &self.overlays, what, caption, paint);
        // What could not be shown is held no longer.
        resolved.uses.clear();
        screen.watch(monotonic_ns());
        shown
    }

    /// How long the next event may still take, where one is waited for.
    pub fn event_left(&self, now_ns: u64) -> Option<Duration> {
        let screens = self.screens.iter();
        screens.filter_map(|screen| screen.event_left(now_ns)).min()
    }

    /// Has screens go on whose events have not come in time. Whether any has been looked at.
    pub fn mind_overdue(&mut self, now_ns: u64) -> bool {
        if self.event_left(now_ns) != Some(Duration::ZERO) {
            return false;
        }
        // We may be who is late.
        if self.device.has_events()
            && let Err(error) = self.dispatch()
        {
            warn!(%error, "display events cannot be read");
        }
        for screen in &mut self.screens {
            let caption = screen.mind_overdue(&self.device, &self.overlays, now_ns);
            self.shown.extend(caption.map(|caption| Shown {
                output: screen.id(),
                caption,
                at_ns: now_ns,
            }));
        }
        self.framebuffers.sweep(&self.device);
        true
    }

    /// Screens that say nothing and take nothing.
    pub fn stuck(&self) -> Vec<Stuck> {
        self.screens.iter().filter_map(Screen::stuck).collect()
    }

    /// Reads the device's events.
    pub fn dispatch(&mut self) -> anyhow::Result<()> {
        let mut room = [0; events::ROOM];
        let told = self.device.read_events(&mut room);
        for flip in events::flips(told.context("read display events")?) {
            self.flipped(flip);
        }
        Ok(())
    }

    /// Pictures shown since somebody has taken them out.
    pub fn shown(&mut self) -> &mut Vec<Shown> {
        &mut self.shown
    }

    /// Whether planes of an output show videos, or are about to.
    pub fn shows_films(&self, output: OutputId) -> bool {
        let mut screens = self.screens.iter();
        screens.any(|screen| screen.id() == output && screen.shows_films())
    }

    /// Whether a pointer image of this size is shown by a plane of its own.
    pub fn draws_cursor(&self, output: OutputId, size: Size) -> bool {
        self.screens
            .iter()
            .any(|screen| screen.id() == output && screen.draws_cursor(size))
    }

    /// Shows the pointer on one output, and on no other.
    pub fn set_cursor(&mut self, output: OutputId, image: Option<&CursorImage>, at: (i32, i32)) {
        for screen in &mut self.screens {
            let image = image.filter(|_| screen.id() == output);
            if let Err(error) = screen.set_cursor(&self.device, image, at) {
                warn!("the cursor plane failed, the pointer is drawn instead: {error:#}");
            }
            screen.watch(monotonic_ns());
        }
    }

    fn light(&self, info: &connector::Info, crtcs: &[crtc::Handle]) -> anyhow::Result<Screen> {
        let taken: Vec<_> = self.screens.iter().map(Screen::crtc).collect();
        let free_id = (0..=u8::MAX)
            .map(OutputId)
            .find(|id| self.screens.iter().all(|screen| screen.id() != *id))
            .context("too many screens")?;
        let crtc = self.device.free_crtc(info, crtcs, &taken)?;
        Screen::open(&self.device, free_id, info, crtc)
    }

    /// Screens stand beside each other, from the left.
    fn stand(&mut self) {
        let mut x = 0;
        for screen in &mut self.screens {
            screen.set_x(x);
            x += screen.size().w as i32;
        }
    }

    fn flipped(&mut self, flip: Flip) {
        let at_ns = scanned_out_ns(flip.at, monotonic_ns());
        let mut screens = self.screens.iter_mut();
        let screen = screens.find(|screen| u32::from(screen.crtc()) == flip.crtc);
        let flipped = screen.and_then(|screen| {
            let caption = screen.flipped(flip.number);
            screen.watch(at_ns);
            Some((screen.id(), caption?))
        });
        if let Some((output, caption)) = flipped {
            self.shown.push(Shown {
                output,
                caption,
                at_ns,
            });
        }
        self.framebuffers.sweep(&self.device);
    }
}

/// Finds or makes the framebuffers of a layout, in place of what `resolved` has.
fn resolve(
    device: &Device,
    framebuffers: &mut Framebuffers,
    (layout, frame): (&Layout, Find<'_>),
    resolved: &mut Resolved,
) -> anyhow::Result<()> {
    framebuffers.sweep(device);
    let Resolved {
        ground,
        uses,
        heights,
    } = resolved;
    uses.clear();
    *ground = layout.ground;
    heights.clone_from(&layout.heights);
    for planned in &layout.uses {
        let frame = frame(planned).context("a video without a picture")?;
        uses.push(Held {
            plane: planned.plane,
            video: planned.video,
            fit: planned.fit,
            scanned: framebuffers.of(device, &frame)?,
            _frame: Some(frame),
        });
    }
    Ok(())
}

/// Sizes of a layout's pictures.
fn sizes(layout: &Layout, frame: Find<'_>) -> Vec<(u32, u32)> {
    let size = |frame: Frame| (frame.size().w, frame.size().h);
    let of = |planned| frame(planned).map_or((0, 0), size);
    layout.uses.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_a_flip_is_its_own_unless_it_is_of_another_clock() {
        let now = 5_000_000_000;
        let flip = Duration::from_millis(4995);
        assert_eq!(scanned_out_ns(flip, now), 4_995_000_000);
        for other in [
            Duration::ZERO,
            Duration::from_secs(6),
            Duration::from_secs(1_700_000_000),
            Duration::MAX,
        ] {
            assert_eq!(scanned_out_ns(other, now), now);
        }
    }
}

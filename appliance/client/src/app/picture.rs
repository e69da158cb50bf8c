//! What is on the screen: the session's scene, or a screen of the terminal's own.

use std::collections::BTreeMap;
use std::time::Duration;

use heliostat_va::decoder::Frame;
use heliostat_wire::id::OutputId;
use heliostat_wire::output::Size;
use serde_json::json;
use tracing::{debug, info, warn};

use crate::app::App;
use crate::app::frames::Taken;
use crate::attached::{Attached, Plan};
use crate::clock::monotonic_us;
use crate::compose::{Hole, Target, compose_with_holes};
use crate::cursor::CursorImage;
use crate::display::kms::is_busy;
use crate::display::{Caption, Films};
use crate::geometry::{Damage, Rect};
use crate::planes::{Arrangement, Layout, Use, Wanted, Way, Why};
use crate::retry::Then;
use crate::screens::{self, Patience, Screen};

/// How long a picture stays that is not of the present attach, though of its session. The session
/// answers within a few round trips.
const HELD: Duration = Duration::from_secs(3);

/// The terminal's own screen, painted once for each output.
#[derive(Default)]
pub struct OwnScreens {
    screen: Option<Screen>,
    painted: BTreeMap<OutputId, (Size, Vec<u32>)>,
    /// Outputs on which it is, or is about to be.
    on: Vec<OutputId>,
    /// What is about to take its place, perhaps.
    patience: Patience,
    /// The words of that, which have been told of.
    told: Option<Screen>,
}

impl OwnScreens {
    /// Outputs changed: paint anew.
    pub fn forget(&mut self) {
        self.painted.clear();
        self.on.clear();
    }

    /// How long what is held back may still be.
    pub(super) fn left(&self, now_ns: u64) -> Option<Duration> {
        self.patience.left(now_ns)
    }
}

impl App {
    /// Draws whatever is out of date and may be drawn now.
    pub(super) fn redraw(&mut self) {
        let picture = self.has_picture();
        // A PIN is asked for on the terminal's own screen, whatever the session shows.
        let scene = picture && self.desk.proving().pin().is_none();
        let held = !scene && self.holds_picture();
        if scene {
            self.held_until_ns = None;
            self.leave_own_screens();
        } else if !held {
            self.held_until_ns = None;
            self.plan_own_screen();
        }
        for at in 0..self.outputs.len() {
            if !held {
                self.present_output(at, scene);
            }
        }
        if self.place_cursor() {
            return self.redraw();
        }
        self.settle();
    }

    fn has_picture(&self) -> bool {
        let attached = self.attached.as_ref();
        attached.is_some_and(Attached::has_picture)
    }

    /// Leaves the picture of an attach on the screens until there is one of the attach that has just
    /// taken its place.
    pub(super) fn hold_picture(&mut self) {
        self.held_until_ns = Some(Self::now_ns().saturating_add(HELD.as_nanos() as u64));
        if let Some(attached) = &mut self.attached {
            attached.damage_all();
        }
    }

    /// Whether the picture of an earlier attach stays: not over a PIN, and never without an attach.
    fn holds_picture(&self) -> bool {
        let is_early = self
            .held_until_ns
            .is_some_and(|until| Self::now_ns() < until);
        is_early && self.attached.is_some() && self.desk.proving().pin().is_none()
    }

    /// Whether nothing is drawn, as the first picture of another attach is waited for.
    pub(super) fn waits_for_picture(&self) -> bool {
        self.holds_picture() && !self.has_picture()
    }

    /// How long it may still stay.
    pub(super) fn held_left(&self, now_ns: u64) -> Option<Duration> {
        let until_ns = self.held_until_ns?;
        Some(Duration::from_nanos(until_ns.saturating_sub(now_ns)))
    }

    /// Whether it has stayed for too long.
    pub(super) fn is_held_too_long(&self) -> bool {
        self.held_left(Self::now_ns()) == Some(Duration::ZERO)
    }

    /// Shows what is out of date on one of the outputs: the scene, or a screen of our own.
    fn present_output(&mut self, at: usize, scene: bool) {
        let Some((id, size)) = self.outputs.get(at).map(|output| (output.id, output.size)) else {
            return;
        };
        if !self.retries.may_try(id, Self::now_ns()) || !self.display.is_free(id) {
            return;
        }
        let result = match scene {
            true => self.present_scene(id),
            false => self.present_own(id, size),
        };
        match result {
            Ok(()) if self.retries.worked(id) => {
                info!(output = id.0, "pictures are shown again");
            }
            Ok(()) => {}
            Err(error) => self.not_shown(id, &error),
        }
    }

    /// A whole picture could not be shown; after a few the screen is dark, since what it shows may be
    /// of somebody who has gone.
    fn not_shown(&mut self, id: OutputId, error: &anyhow::Error) {
        let known = self.outputs.iter().find(|output| output.id == id);
        let output = known.map_or("", |output| &output.connector);
        let then = self.retries.failed(id, Self::now_ns());
        match then {
            Then::Begins => {
                warn!(%output, "a picture cannot be shown, and is tried again: {error:#}")
            }
            Then::GoesDark => {
                warn!(%output, "no picture can be shown, the screen goes dark: {error:#}")
            }
            Then::Again | Then::StaysDark => debug!(%output, "still no picture: {error:#}"),
        }
        if matches!(then, Then::GoesDark | Then::StaysDark)
            && let Err(error) = self.display.darken(id)
        {
            match then {
                Then::GoesDark => warn!(%output, "the screen cannot be made dark: {error:#}"),
                _ => debug!(%output, "the screen cannot be made dark: {error:#}"),
            }
        }
    }

    /// Tries pictures again that could not be shown, where it is time to.
    pub(super) fn retry_pictures(&mut self) {
        let left = self
            .retries
            .left(Self::now_ns(), |output| self.display.is_free(output));
        if left == Some(Duration::ZERO) && !self.waits_for_picture() {
            self.redraw();
        }
    }

    fn leave_own_screens(&mut self) {
        self.own.patience.rest();
        self.own.told = None;
        if self.own.screen.take().is_some() {
            self.own.forget();
            self.retries.hurry();
            if let Some(attached) = &mut self.attached {
                attached.damage_all();
            }
        }
    }

    fn plan_own_screen(&mut self) {
        let screen = screens::plan(&self.desk, &self.around);
        self.tell_own_screen(&screen);
        let is_over_own = self.own.screen.is_some();
        if self
            .own
            .patience
            .holds(&screen, is_over_own, Self::now_ns())
            || self.own.screen.as_ref() == Some(&screen)
        {
            return;
        }
        self.own.forget();
        self.own.screen = Some(screen);
        self.retries.hurry();
    }

    /// Says what the terminal's own screen has to say now.
    fn tell_own_screen(&mut self, screen: &Screen) {
        // How many digits have been typed is not announced.
        let screen = screen.without_digits();
        if self.own.told.as_ref() == Some(&screen) {
            return;
        }
        let event = json!({
            "headline": screen.headline,
            "detail": screen.detail,
            "code": screen.code.map(|code| code.as_str()),
            "at_us": monotonic_us(),
        });
        self.announcer.say("screen", event);
        self.own.told = Some(screen);
    }

    fn present_scene(&mut self, output: OutputId) -> anyhow::Result<()> {
        let Some(attached) = &mut self.attached else {
            return Ok(());
        };
        let (mut damage, has_new_surface) = attached.take_damage(output);
        if damage.is_empty() && !has_new_surface {
            return Ok(());
        }
        let shown = self.present_damage(output, &mut damage);
        if shown.is_err()
            && let Some(attached) = &mut self.attached
        {
            attached.give_back(output, &damage, has_new_surface);
        }
        shown
    }

    /// Shows the scene, of which `damage` is drawn anew.
    fn present_damage(&mut self, output: OutputId, damage: &mut Damage) -> anyhow::Result<()> {
        let Some(attached) = &mut self.attached else {
            return Ok(());
        };
        let draws_cursor = attached
            .cursors
            .shown()
            .is_none_or(|image| self.display.draws_cursor(output, image.size));
        let pointer = self
            .seat
            .pointer()
            .filter(|(on, ..)| *on == output && !draws_cursor);
        let at = pointer.map(|(_, x, y)| (x, y));
        let top = at.and_then(|at| Some(attached.cursors.shown()?.area(at)));
        let mut plan = attached.plan(output, top);
        let scene = &attached.scene;
        let frame = |planned: &Use| scene.film_for(planned);
        if !plan.is_good {
            plan.arrangement = self.display.arrange(output, &plan.wanted, &frame);
        }
        let shown = self.show(output, &plan, damage, at);
        if shown.is_ok()
            && let Some(attached) = &mut self.attached
        {
            attached.keep_plan(output, plan);
            return Ok(());
        }
        // A commit that is under way still, though nothing is told of it, says nothing of planes.
        let is_early = shown.as_ref().is_err_and(is_busy);
        if plan.arrangement.layout.uses.is_empty() || is_early {
            return shown;
        }
        // What was allowed when it was tried can fail: by then everything is drawn. Where a picture is
        // missing, as when all surfaces are shown, no plane has failed.
        let scene = self.attached.as_ref().map(|attached| &attached.scene);
        let is_there = |planned: &Use| scene.is_some_and(|scene| scene.film_for(planned).is_some());
        if plan.arrangement.layout.uses.iter().all(is_there) {
            self.display.distrust(output, &plan.arrangement.layout);
        }
        plan.arrangement = Arrangement::copied(&plan.wanted, Why::Refused);
        self.show(output, &plan, damage, at)
    }

    /// Copies what no plane shows, draws what has changed, and shows both.
    fn show(
        &mut self,
        output: OutputId,
        Plan {
            wanted,
            arrangement,
            ..
        }: &Plan,
        damage: &mut Damage,
        cursor: Option<(i32, i32)>,
    ) -> anyhow::Result<()> {
        let Some(attached) = &mut self.attached else {
            return Ok(());
        };
        let copied = attached.scene.copied_pixels();
        attached.settle_films(output, (wanted, arrangement), damage);
        let copied = attached.scene.copied_pixels() - copied;
        let layout = &arrangement.layout;
        if damage.is_empty() && layout.uses.is_empty() && !self.display.shows_films(output) {
            // A video that is not seen has another picture.
            return Ok(());
        }
        let scene = &attached.scene;
        let is_hole =
            |wanted: &&Wanted| matches!(arrangement.way(wanted.video), Some(Way::Under(_)));
        let hole = |wanted: &Wanted| {
            Some(Hole {
                layer: scene.layer_of(wanted.video)?,
                rect: wanted.fit?.dst,
            })
        };
        let holes: Vec<Hole> = wanted.iter().filter(is_hole).filter_map(hole).collect();
        let cursor = cursor.and_then(|at| Some((attached.cursors.shown()?, at)));
        let mut paint = |rect: Rect, target: &mut Target<'_>| {
            compose_with_holes(scene, output, &holes, rect, target);
            if let Some((image, at)) = cursor {
                image.draw(at, rect, target);
            }
        };
        let films = Films {
            layout,
            frame: &|planned| scene.film_for(planned),
        };
        self.display
            .present(output, damage, &films, attached.caption(), &mut paint)?;
        self.announce_films(output, arrangement, copied);
        Ok(())
    }

    /// Says how pictures of videos that were decoded by hardware are shown.
    fn announce_films(&self, output: OutputId, arrangement: &Arrangement, copied: u64) {
        let is_told =
            |attached: &&Attached| self.announcer.enabled && !attached.renewed().is_empty();
        let Some(attached) = self.attached.as_ref().filter(is_told) else {
            return;
        };
        // Pictures that waited for their turn say nothing of what we cost.
        let overhead_ns = self.taken.as_ref().map(Taken::overhead_ns);
        let on_planes = self.display.on_planes(output);
        for video in attached.renewed() {
            let Some(way) = arrangement.way(*video) else {
                continue;
            };
            let plane = on_planes.iter().find(|on_plane| on_plane.video == *video);
            let why = match way {
                Way::Copied(why) => Some(why.to_string()),
                _ => None,
            };
            let frame = attached.scene.film(*video).map(|(frame, _)| frame);
            let event = json!({
                "attach": attached.id.0,
                "serial": attached.caption().serial,
                "output": output.0,
                "video": video.0,
                "way": way.word(),
                "why": why,
                "copied_pixels": copied,
                "converted": arrangement.is_converted(*video),
                "decoded_inode": frame.and_then(inode),
                "plane": plane.map(|p| p.plane.0),
                "framebuffer": plane.map(|p| p.framebuffer),
                "scanned_inode": plane.map(|p| p.inode),
                "overhead_us": overhead_ns.map(|ns| ns.div_ceil(1000)),
                "at_us": monotonic_us(),
            });
            self.announcer.say("video", event);
        }
    }

    fn present_own(&mut self, output: OutputId, size: Size) -> anyhow::Result<()> {
        if self.own.on.contains(&output) {
            return Ok(());
        }
        let Some(screen) = &self.own.screen else {
            return Ok(());
        };
        let bounds = Rect::of_size(size.w, size.h);
        let (_, picture) = self.own.painted.entry(output).or_insert_with(|| {
            let mut pixels = vec![0; size.w as usize * size.h as usize];
            let stride = size.w as usize;
            screens::draw(
                screen,
                &self.fonts,
                &mut Target {
                    pixels: &mut pixels,
                    stride,
                    bounds,
                },
            );
            (size, pixels)
        });
        let mut paint = |rect: Rect, target: &mut Target<'_>| {
            let Some(rect) = rect.intersection(bounds) else {
                return;
            };
            for y in rect.y..rect.bottom() {
                let start = y as usize * size.w as usize + rect.x as usize;
                let source = &picture[start..][..rect.w as usize];
                target.row(rect.x, y, rect.w).copy_from_slice(source);
            }
        };
        let mut damage = Damage::new();
        damage.add(bounds);
        // Planes are switched off with the picture that follows them.
        let films = Films {
            layout: &Layout::default(),
            frame: &|_| None,
        };
        self.display
            .present(output, &damage, &films, Caption::default(), &mut paint)?;
        // One that failed is tried again: what was there before is to go.
        self.own.on.push(output);
        Ok(())
    }

    /// What the pointer covers, where it is a part of the picture.
    pub(super) fn cursor_area(&self) -> Option<(OutputId, Rect)> {
        let (output, x, y) = self.seat.pointer()?;
        let image = self.attached.as_ref()?.cursors.shown()?;
        let is_drawn = !self.display.draws_cursor(output, image.size);
        is_drawn.then(|| (output, image.area((x, y))))
    }

    /// The pointer moved or looks different; `before` is what it covered.
    pub(super) fn cursor_changed(&mut self, before: Option<(OutputId, Rect)>) {
        let now = self.cursor_area();
        self.place_cursor();
        if before == now && now.is_none() {
            return;
        }
        for (output, area) in before.into_iter().chain(now) {
            let mut damage = Damage::new();
            damage.add(area);
            if let Some(attached) = &mut self.attached {
                attached.add_damage(output, &damage);
            }
        }
        if self.attached.is_some() {
            self.redraw();
        }
    }

    /// Puts the hardware's pointer where it belongs. Whether it has to be drawn from now on.
    fn place_cursor(&mut self) -> bool {
        if self.waits_for_picture() {
            return false;
        }
        let Some((output, x, y)) = self.seat.pointer() else {
            return false;
        };
        let attached = self
            .attached
            .as_ref()
            .filter(|attached| attached.has_picture() && self.desk.proving().pin().is_none());
        let image: Option<&CursorImage> = attached.and_then(|attached| attached.cursors.shown());
        let had_plane = image.is_some_and(|image| self.display.draws_cursor(output, image.size));
        self.display.set_cursor(output, image, (x, y));
        let area = self.cursor_area().filter(|_| had_plane);
        if let Some((output, area)) = area {
            // Its plane has failed.
            let mut damage = Damage::new();
            damage.add(area);
            if let Some(attached) = &mut self.attached {
                attached.add_damage(output, &damage);
            }
        }
        area.is_some()
    }
}

/// The inode of the DMA-BUF that a picture was decoded into.
fn inode(frame: &Frame) -> Option<u64> {
    let stat = nix::sys::stat::fstat(frame.memory().fds.first()?).ok()?;
    Some(stat.st_ino)
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;

//! wp_presentation: clients learn when what they committed was scanned out at the terminal.
//!
//! ```text
//!   committed ── all of its pixels are in a frame ──► under way ── the frame is shown ──► presented
//!       │                                                 │
//!       │ committed anew, hidden, nobody is attached      │ shown with a newer one, detached
//!       └─────────────────────────────────────────────────┴──────────────────────────► discarded
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heliostat_wire::id::OutputId;
use heliostat_wire::scene::Placement;
use smithay::reexports::wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::SurfaceData;
use smithay::wayland::presentation::{
    PresentationFeedbackCachedState, PresentationFeedbackCallback, Refresh,
};

use crate::app::App;
use crate::flat::Standin;
use crate::outputs::Screen;
use crate::scene::Scene;

/// Who wants to know when one commit of a surface is shown. Discarded when it is dropped.
#[derive(Debug)]
pub struct Feedback {
    surface: WlSurface,
    output: OutputId,
    callbacks: Vec<PresentationFeedbackCallback>,
}

impl Drop for Feedback {
    fn drop(&mut self) {
        self.callbacks
            .drain(..)
            .for_each(PresentationFeedbackCallback::discarded);
    }
}

/// Commits that no frame has taken yet, one a surface.
#[derive(Debug, Default)]
pub struct Wanted(Vec<Feedback>);

impl Wanted {
    /// A surface was committed, with other content if `is_update`. Returns whether its client wants
    /// to know when that is shown.
    pub fn committed(
        &mut self,
        surface: &WlSurface,
        states: &SurfaceData,
        is_update: bool,
    ) -> bool {
        let mut cached = states.cached_state.get::<PresentationFeedbackCachedState>();
        let callbacks = std::mem::take(&mut cached.current().callbacks);
        let wanted = !callbacks.is_empty();
        if is_update || wanted {
            self.forget(surface);
        }
        if wanted {
            self.0.push(Feedback {
                surface: surface.clone(),
                output: OutputId(0),
                callbacks,
            });
        }
        wanted
    }

    /// Whether nobody wants to know of any commit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A surface is gone.
    pub fn forget(&mut self, surface: &WlSurface) {
        self.0.retain(|wanted| wanted.surface != *surface);
    }

    /// Nobody watches.
    pub fn discard(&mut self) {
        self.0.clear();
    }
}

/// Adds the feedback of a frame to that of frames before it which are shown with it: of each
/// surface only the newest content is.
pub fn supersede(feedback: &mut Vec<Feedback>, newer: Vec<Feedback>) {
    feedback.retain(|old| newer.iter().all(|new| new.surface != old.surface));
    feedback.extend(newer);
}

/// Counts the vertical retraces of each output, from the times at which frames were scanned out.
#[derive(Debug, Default)]
pub struct Retraces(BTreeMap<OutputId, (Instant, u64)>);

impl Retraces {
    /// The number of the retrace at which a frame was shown. It never goes back.
    pub fn count(&mut self, output: OutputId, at: Instant, interval: Duration) -> u64 {
        let (last, count) = self.0.entry(output).or_insert((at, 1));
        let since = at.saturating_duration_since(*last).as_nanos();
        let interval = interval.as_nanos().max(1);
        let passed = u64::try_from((since + interval / 2) / interval).unwrap_or(0);
        if passed > 0 {
            (*last, *count) = (at, count.saturating_add(passed));
        }
        *count
    }
}

impl App {
    /// Takes the feedback of all commits that are wholly with the terminal once `scene` and what is
    /// encoded have gone; that of surfaces which are not shown is discarded.
    pub(crate) fn take_feedback(&mut self, scene: &Scene) -> Vec<Feedback> {
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for mut wanted in std::mem::take(&mut self.feedback.0) {
            let Some(known) = self.surfaces.get(&wanted.surface) else {
                continue;
            };
            let content = &known.content;
            let placements = scene.outputs.values().flat_map(|output| &output.stack);
            let places = placements.filter(|placement| placement.layer == content.layer());
            let shown = |place: &&Placement| {
                let screen = self.desk.screen(place.output);
                screen.map_or(0, |screen| area_on(place, screen))
            };
            let place = places.max_by_key(shown).map(|place| (*place, content));
            let in_flat = self.flat.standin(content.layer(), |place| shown(&place));
            let (place, content) = match (place, in_flat) {
                (Some((own, _)), Standin::Shown(place, flat)) if shown(&&place) > shown(&&own) => {
                    (place, flat)
                }
                (Some(own), _) => own,
                (None, Standin::Shown(place, flat)) => (place, flat),
                (None, Standin::Soon) => {
                    left.push(wanted);
                    continue;
                }
                (None, Standin::Nowhere) => continue,
            };
            wanted.output = place.output;
            let is_free = |video| self.videos.is_free(video);
            match content.is_dirty() || content.film_waits(is_free) {
                true => left.push(wanted),
                false => taken.push(wanted),
            }
        }
        self.feedback.0 = left;
        taken
    }

    /// Clients are told that their content was scanned out `at` that time.
    pub(crate) fn present(&mut self, feedback: Vec<Feedback>, at: Instant) {
        let now = (Instant::now(), Duration::from(self.clock.now()));
        let time = now.1.saturating_sub(now.0.saturating_duration_since(at));
        for mut shown in feedback {
            // Where its output has just gone it is discarded.
            let (Some(screen), Some(terminal)) =
                (self.desk.screen(shown.output), &mut self.terminal)
            else {
                continue;
            };
            let sequence = terminal.retraces.count(screen.id, at, screen.interval);
            let refresh = Refresh::fixed(screen.interval);
            // A terminal in a window, or without a display, has none to wait for.
            let kind = match terminal.rhythms.has_retraces(screen.id) {
                true => Kind::Vsync,
                false => Kind::empty(),
            };
            for callback in shown.callbacks.drain(..) {
                callback.presented(&screen.output, time, refresh, sequence, kind);
            }
        }
    }
}

/// Pixels of a screen that a placement takes.
fn area_on(place: &Placement, screen: &Screen) -> i64 {
    let along = |start: i32, length: u32, side: u32| {
        let end = i64::from(start) + i64::from(length);
        (end.min(i64::from(side)) - i64::from(start).max(0)).max(0)
    };
    along(place.dst.x, place.dst.w, screen.size.w) * along(place.dst.y, place.dst.h, screen.size.h)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retraces_are_counted_through_jitter_and_pauses() {
        let start = Instant::now();
        let interval = Duration::from_micros(16_667);
        let mut retraces = Retraces::default();
        let mut count =
            |us: u64| retraces.count(OutputId(0), start + Duration::from_micros(us), interval);
        assert_eq!(count(0), 1);
        assert_eq!(count(16_900), 2);
        assert_eq!(count(17_000), 2, "one retrace, heard of twice");
        assert_eq!(count(33_200), 3);
        assert_eq!(count(33_334 + 1_666_700), 103);
        assert_eq!(count(0), 103);
    }
}

//! Frame callbacks: when clients may draw their next picture.
//!
//! ```text
//!   on the desk and seen ── at the rate of the outputs, in time for the terminal's retraces
//!   on the desk, covered ── once a second
//!   not on the desk, or nobody is attached, or frames wait for the terminal ── not at all
//! ```

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::{SurfaceAttributes, with_states};

use crate::app::App;
use crate::pace::Due;
use crate::scene::Scene;
use crate::sight;
use crate::stage::{Item, Source};
use crate::window::WindowId;

/// Time between two pictures of what cannot be seen: some clients hang without any.
const UNSEEN: Duration = Duration::from_secs(1);

/// When callbacks are due.
#[derive(Debug, Default)]
pub struct Callbacks {
    /// The next ones of what can be seen.
    at: Option<Instant>,
    /// Surfaces on the desk of which nothing can be seen.
    covered: HashSet<WlSurface>,
    /// When they were last asked, and when they are if they wait.
    covered_last: Option<Instant>,
    covered_at: Option<Instant>,
}

impl Callbacks {
    /// Nobody watches.
    pub fn rest(&mut self) {
        *self = Self::default();
    }

    /// A surface is gone.
    pub fn forget(&mut self, surface: &WlSurface) {
        self.covered.remove(surface);
    }
}

impl App {
    /// Notes of what nothing can be seen. A window is seen as a whole: its client may draw the
    /// part below by the callbacks of the part above.
    pub(crate) fn note_covered(&mut self, items: &[Item], scene: &Scene) {
        let seen = sight::seen(scene, self.desk.screens());
        let layer = |item: &Item| match &item.source {
            Source::Surface(surface) => self.surfaces.get(surface),
            Source::Title(id) => self.titles.get(*id),
        };
        let is_seen =
            |item: &&Item| layer(item).is_some_and(|known| seen.contains(&known.content.layer()));
        let windows: BTreeSet<WindowId> = items
            .iter()
            .filter(is_seen)
            .filter_map(|item| item.window)
            .collect();
        let covered: HashSet<WlSurface> = items
            .iter()
            .filter(|item| !is_seen(item) && item.window.is_none_or(|id| !windows.contains(&id)))
            .filter_map(|item| match &item.source {
                Source::Surface(surface) => Some(surface.clone()),
                Source::Title(_) => None,
            })
            .collect();
        // What comes to light may have waited.
        let before = std::mem::replace(&mut self.callbacks.covered, covered);
        self.dirty.callbacks |= !before.is_subset(&self.callbacks.covered);
    }

    /// When clients that wait may draw their next frame; not while frames wait for an
    /// acknowledgement, since there is no use in more of them.
    pub(crate) fn callbacks_deadline(&self, now: Instant) -> Option<Instant> {
        if self.terminal.as_ref()?.due(now, self.desk.interval()) == Due::OnAck {
            return None;
        }
        let seen = self
            .dirty
            .callbacks
            .then(|| self.callbacks.at.unwrap_or(now));
        seen.into_iter().chain(self.callbacks.covered_at).min()
    }

    pub(crate) fn fire_callbacks_if_due(&mut self, now: Instant) {
        if self.callbacks_deadline(now).is_none_or(|at| at > now) {
            return;
        }
        let time = self.clock.now().as_millis();
        if self.callbacks.covered_at.is_some_and(|at| at <= now) {
            (self.callbacks.covered_at, self.callbacks.covered_last) = (None, Some(now));
            self.callbacks
                .covered
                .iter()
                .for_each(|surface| fire(surface, time));
        }
        if !self.dirty.callbacks || self.callbacks.at.is_some_and(|at| at > now) {
            return;
        }
        self.dirty.callbacks = false;
        let cursor = self.cursor_surface();
        let icon = self.drag_icon.clone();
        let seen = self.visible.iter().chain(&cursor).chain(&icon);
        seen.filter(|surface| !self.callbacks.covered.contains(*surface))
            .for_each(|surface| fire(surface, time));
        let interval = self.desk.interval();
        let terminal = self.terminal.as_mut();
        let aimed = terminal.and_then(|terminal| terminal.asked(now, interval));
        self.callbacks.at = Some(aimed.unwrap_or(now + interval));
        if !self.callbacks.covered.is_empty() {
            let next = self
                .callbacks
                .covered_last
                .map_or(now, |last| last + UNSEEN);
            self.callbacks.covered_at.get_or_insert(next);
        }
    }
}

fn fire(surface: &WlSurface, time: u32) {
    with_states(surface, |states| {
        let mut cached = states.cached_state.get::<SurfaceAttributes>();
        for callback in cached.current().frame_callbacks.drain(..) {
            callback.done(time);
        }
    });
}

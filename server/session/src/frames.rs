//! Frames out: what the desk and the terminal have in common.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heliostat_wire::id::{LayerId, VideoId};
use heliostat_wire::limits::MAX_SCENE_OPS;
use smithay::utils::Transform;
use smithay::wayland::compositor::{send_surface_state, with_states};
use smithay::wayland::fractional_scale::with_fractional_scale;

use crate::app::{App, Dirty};
use crate::attach::{Attachment, MAX_FRAME_PIXELS, Outgoing};
use crate::content::Room;
use crate::flat::Wanted;
use crate::pace::Due;
use crate::scene::{self, Scene, bytes_of};
use crate::shares;
use crate::stage::{Item, Source};
use crate::videos::Part;

/// What would be on its way for longer shows a likeness first.
const PATIENCE: Duration = Duration::from_millis(250);
/// Operations that films may add to a frame.
const OPS_OF_FILMS: usize = 64;

impl App {
    /// When a frame that waits may go; none where none waits, or only for an acknowledgement.
    pub(crate) fn frame_deadline(&self, now: Instant) -> Option<Instant> {
        if !self.dirty.pixels && !self.dirty.layout {
            return None;
        }
        match self.terminal.as_ref()?.due(now, self.desk.interval()) {
            Due::Now => Some(now),
            Due::At(then) => [Some(then), self.answer_deadline(now)]
                .into_iter()
                .flatten()
                .min(),
            Due::OnAck => self.answer_deadline(now),
        }
    }

    /// Sends what has changed, if anything has and a frame may go.
    pub(crate) fn send_frame_if_due(&mut self, now: Instant) {
        if self.terminal.is_none() {
            self.committed = None;
            self.feedback.discard();
            if std::mem::take(&mut self.dirty.layout) {
                self.look_around();
            }
            return;
        }
        if self.answer_deadline(now).is_some_and(|at| at <= now) && self.send_answer(now) {
            return;
        }
        if self.frame_deadline(now).is_some_and(|at| at <= now) && !self.send_films(now) {
            self.send_frame(now);
        }
    }

    fn send_frame(&mut self, now: Instant) {
        self.dirty.answer = false;
        let layout = std::mem::take(&mut self.dirty.layout);
        self.dirty.pixels = false;
        self.draw_titles();
        let items = match layout {
            true => self.look_around(),
            false => self.items(),
        };
        let Some(budget) = self.terminal.as_ref().map(Attachment::budget) else {
            return;
        };
        let Wanted {
            scene: wanted,
            whole,
            filled,
        } = self.wanted(&items, now);
        if layout {
            self.note_covered(&items, &whole);
        }
        let kept = self.kept(&wanted, budget.bytes, budget.layers);
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        let changes = scene::diff(&mut terminal.told, &wanted, |layer| kept.contains(&layer));
        self.hear_squeezed();
        let (dirty_before, started) = (self.dirty_tiles(), Instant::now());
        let room = self.encode(|layer| wanted.layers.contains_key(&layer), now);
        // Operations that bring pixels are never cut off.
        let has_room = changes.len() + OPS_OF_FILMS <= MAX_SCENE_OPS;
        let films = self.film_part(&wanted, if has_room { room } else { 0 });
        self.dirty.pixels |= self.videos.is_ready();
        let more = self.dirty.pixels;
        let terminal = self.terminal.as_mut();
        let forget = terminal.and_then(Attachment::take_forget);
        let first = forget.into_iter().collect();
        let ops = [first, films.before, changes, films.after].concat();
        if let Some(terminal) = self.terminal.as_mut().filter(|_| more) {
            terminal.more_to_come();
        }
        if let Some(terminal) = &mut self.terminal
            && ops.is_empty()
            && self.encoder.is_empty()
        {
            if more {
                terminal.pace.full(now);
            }
            return self.present_unchanged(&wanted, now);
        }
        let feedback = self.take_feedback(&wanted);
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        let out = Outgoing {
            after: None,
            ops,
            units: films.units,
            feedback,
            since: if more { None } else { self.committed.take() },
        };
        let encoder = (&mut self.encoder, &self.squeeze);
        let sent = terminal.send_frame(now, out, encoder);
        terminal.pace.more_to_come(more);
        self.counters.films.left(sent, &films.coded);
        let tiles = filled + dirty_before.saturating_sub(self.dirty_tiles());
        self.count_frame(sent, tiles, started.elapsed());
    }

    /// Takes note of frames that were compressed elsewhere and have left.
    pub(crate) fn hear_squeezed(&mut self) {
        for done in self.squeeze.done() {
            self.encoder.learn(done.packed, done.squeezed);
            let (expected, bytes) = (done.expected as u64, done.squeezed as u64);
            let counted = &mut self.counters.frame_bytes;
            *counted = (*counted + bytes).saturating_sub(expected);
            if let Some(took) = done.took {
                self.counters.commit_to_link.add(took);
            }
            let terminal = self.terminal.as_mut();
            if let Some(terminal) = terminal.filter(|terminal| terminal.id == done.attach) {
                terminal.correct(expected, bytes);
            }
        }
    }

    /// Hidden layers that the terminal may keep. The others are forgotten, here as there.
    fn kept(&mut self, wanted: &Scene, bytes: u64, layers: usize) -> Vec<LayerId> {
        let Some(terminal) = &self.terminal else {
            return Vec::new();
        };
        let mut left = bytes.saturating_sub(
            wanted
                .layers
                .values()
                .map(|shape| bytes_of(shape.size))
                .sum(),
        );
        let mut room = layers.saturating_sub(wanted.layers.len());
        let mut kept = Vec::new();
        let told = &terminal.told;
        let surfaces = self.surfaces.all_mut().chain(self.titles.all_mut());
        for surface in surfaces {
            let layer = surface.content.layer();
            if wanted.layers.contains_key(&layer) {
                continue;
            }
            let Some(shape) = told.layers.get(&layer) else {
                continue;
            };
            if room > 0 && left >= bytes_of(shape.size) {
                room -= 1;
                left -= bytes_of(shape.size);
                kept.push(layer);
            } else {
                surface.content.forget();
            }
        }
        kept
    }

    /// What of films goes now. Those that cannot be seen are none.
    fn film_part(&mut self, wanted: &Scene, room: u64) -> Part {
        let mut playing = BTreeMap::new();
        for surface in self.surfaces.all_mut().chain(self.flat.all_mut()) {
            let content = &mut surface.content;
            if !wanted.layers.contains_key(&content.layer()) {
                content.end_video();
            }
            if let Some(film) = content.playing() {
                playing.insert(film.video, content.layer());
            }
        }
        self.take_film_part(|video, layer| playing.get(&video) == Some(&layer), room)
    }

    /// What of films goes now, and which of them play on.
    pub(crate) fn take_film_part(
        &mut self,
        is_playing: impl Fn(VideoId, LayerId) -> bool,
        room: u64,
    ) -> Part {
        let part = self.videos.part(is_playing, room);
        for surface in self.surfaces.all_mut().chain(self.flat.all_mut()) {
            let content = &mut surface.content;
            if content.playing().is_some_and(|film| part.shows(film.video)) {
                content.film_shown();
            }
        }
        part
    }

    /// Encodes what has changed of the wanted layers, as far as it may go now; layers of which little
    /// has changed first. Returns how many bytes films may have beside that.
    pub(crate) fn encode(&mut self, is_wanted: impl Fn(LayerId) -> bool, now: Instant) -> u64 {
        let Some(terminal) = &mut self.terminal else {
            return 0;
        };
        let allowance = terminal.allowance(now);
        let soon = terminal.carries(PATIENCE);
        let serial = terminal.pace.next_serial();
        let answers = terminal.pace.answers(now);
        self.encoder.set_level(terminal.level());
        let room = |bytes| Room {
            pixels: MAX_FRAME_PIXELS,
            bytes,
            now,
            serial,
        };
        let surfaces = self.surfaces.all_mut().chain(self.titles.all_mut());
        let mut surfaces: Vec<_> = surfaces
            .chain(self.flat.all_mut())
            .filter(|surface| is_wanted(surface.content.layer()))
            .collect();
        shares::in_turn(&mut surfaces, |surface| surface.content.dirty_cells());
        for surface in surfaces {
            surface.content.told(serial);
            let bytes = shares::of_layer(allowance, surface.content.dirty_cells(), answers);
            if !surface
                .content
                .encode(&mut self.encoder, &mut self.motion_room, room(bytes))
            {
                self.dirty.pixels = true;
                if let Some(soon) = soon.filter(|_| self.videos.are_wanted()) {
                    surface.content.look_for_photographs(soon, now);
                }
            }
        }
        shares::of_films(allowance, self.encoder.estimate() as u64)
    }

    /// Tells surfaces on which output they are, and notes which can be seen.
    fn look_around(&mut self) -> Vec<Item> {
        let items = self.items();
        let mut visible = Vec::new();
        for item in &items {
            let Source::Surface(surface) = &item.source else {
                continue;
            };
            if let Some(screen) = self.screen_of(item).and_then(|id| self.desk.screen(id)) {
                for other in self.desk.screens() {
                    match other.id == screen.id {
                        true => other.output.enter(surface),
                        false => other.output.leave(surface),
                    }
                }
                with_states(surface, |states| {
                    send_surface_state(
                        surface,
                        states,
                        screen.scale.ceil() as i32,
                        Transform::Normal,
                    );
                    with_fractional_scale(states, |fractional| {
                        fractional.set_preferred_scale(screen.scale)
                    });
                });
            }
            visible.push(surface.clone());
        }
        for gone in self
            .visible
            .iter()
            .filter(|surface| !visible.contains(surface))
        {
            self.desk
                .screens()
                .iter()
                .for_each(|screen| screen.output.leave(gone));
        }
        // Clients that were hidden may have waited for a frame since.
        self.dirty.callbacks |= visible
            .iter()
            .any(|surface| !self.visible.contains(surface));
        self.visible = visible;
        items
    }

    /// What was committed looks like what the terminal holds, or is about to.
    fn present_unchanged(&mut self, wanted: &Scene, now: Instant) {
        if !self.dirty.pixels {
            self.committed = None;
        }
        let feedback = self.take_feedback(wanted);
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        let shown = terminal.also_wants(feedback);
        self.present(shown, now);
    }
}

impl Dirty {
    /// Adds what a commit did.
    pub(crate) fn add(&mut self, changes: crate::surface::Changes) {
        self.pixels |= changes.pixels;
        self.answer |= changes.pixels;
        self.layout |= changes.layout;
        self.callbacks |= changes.callbacks;
    }
}

//! How far the terminal is behind, and since when it is not.
//!
//! ```text
//!            a tile is dirty, the layout has changed, or a frame is under way
//!   lossless ────────────────────────────────────────────────────────────────► behind
//!      ▲                    the last frame is acknowledged                       │
//!      └─────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The same is known of each layer that is shown, by its pixels alone: a film that plays in one does
//! not hide that all others are exact.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heliostat_control::session::FromSession;
use heliostat_control::stats::{Behind, LayerKind, LayerStats, SessionStats, ShownLayers};
use heliostat_wire::id::LayerId;

use crate::app::App;
use crate::content::Content;
use crate::squeeze::Sent;

/// Since when a terminal is known to hold exactly the newest pixels.
#[derive(Debug, Default)]
pub struct Lossless(Option<Instant>);

impl Lossless {
    /// Takes what is the case now.
    pub fn observe(&mut self, is_lossless: bool, now: Instant) {
        self.0 = is_lossless.then(|| self.0.unwrap_or(now));
    }

    /// For how long it has been; none while it is not.
    pub fn lasted(&self, now: Instant) -> Option<Duration> {
        self.0.map(|since| now.saturating_duration_since(since))
    }
}

/// What is known of the layers that are shown.
#[derive(Debug, Default)]
pub struct Layers(BTreeMap<LayerId, Known>);

#[derive(Debug, Clone, Copy)]
struct Known {
    state: State,
    /// What is not is forgotten.
    is_shown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The terminal is known to show exactly the newest pixels.
    Exact(Instant),
    /// It is not.
    Behind(Instant),
}

impl Layers {
    /// Takes all layers that are shown now, and whether each is exact. What is not shown any more is
    /// forgotten.
    pub fn observe(&mut self, shown: impl Iterator<Item = (LayerId, bool)>, now: Instant) {
        self.0.values_mut().for_each(|layer| layer.is_shown = false);
        for (layer, is_exact) in shown {
            let state = match is_exact {
                true => State::Exact(now),
                false => State::Behind(now),
            };
            let known = self.0.entry(layer).or_insert(Known {
                state,
                is_shown: true,
            });
            known.is_shown = true;
            if matches!(known.state, State::Exact(_)) != is_exact {
                known.state = state;
            }
        }
        self.0.retain(|_, layer| layer.is_shown);
    }

    /// How many are shown.
    pub fn count(&self) -> u32 {
        self.0.len() as u32
    }

    /// How many are not exact, and for how long the one has not been that was exact the longest ago;
    /// none where all are.
    pub fn behind(&self, now: Instant) -> (u32, Option<Duration>) {
        let since = self.0.values().filter_map(|layer| match layer.state {
            State::Behind(since) => Some(since),
            State::Exact(_) => None,
        });
        let oldest = since.clone().min();
        let oldest = oldest.map(|since| now.saturating_duration_since(since));
        (since.count() as u32, oldest)
    }

    /// For how long a layer has been exact; none where it is not, or is not shown.
    pub fn exact_for(&self, layer: LayerId, now: Instant) -> Option<Duration> {
        match self.0.get(&layer)?.state {
            State::Exact(since) => Some(now.saturating_duration_since(since)),
            State::Behind(_) => None,
        }
    }
}

impl App {
    /// Tiles of what the terminal shows that have changed and were not sent.
    pub(crate) fn dirty_tiles(&mut self) -> u64 {
        let shown = self.shown_contents();
        shown
            .map(|content| (content.dirty_cells() + content.film_cells()) as u64)
            .sum()
    }

    /// What the terminal shows. A layer that is kept while it is hidden may be dirty for as long as
    /// it is.
    fn shown_contents(&mut self) -> impl Iterator<Item = &Content> {
        let mut shown: &[LayerId] = &[];
        if let Some(terminal) = &mut self.terminal {
            let outputs = terminal.told.outputs.values();
            let placements = outputs.flat_map(|output| &output.stack);
            terminal.shown.clear();
            terminal
                .shown
                .extend(placements.map(|placement| placement.layer));
            terminal.shown.sort_unstable();
            shown = &terminal.shown;
        }
        let surfaces = self
            .surfaces
            .all_mut()
            .chain(self.titles.all_mut())
            .chain(self.flat.all_mut());
        let contents = surfaces.map(|surface| &surface.content);
        contents.filter(move |content| shown.binary_search(&content.layer()).is_ok())
    }

    /// Counts the frame that was just sent, with so many tiles; `took` is how long it took to encode.
    pub(crate) fn count_frame(&mut self, sent: Sent, tiles: u64, took: Duration) {
        self.counters.frames += 1;
        self.memory.sent(sent.bytes, Instant::now());
        self.counters.frame_bytes += sent.bytes as u64;
        self.counters.tiles += tiles;
        self.counters.encode.add(took);
        if let Some(took) = sent.took {
            self.counters.commit_to_link.add(took);
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.note_tiles(tiles);
        }
    }

    /// Notes whether the terminal is lossless, after everything that has happened was settled.
    pub(crate) fn observe_progress(&mut self, now: Instant) {
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        let serial = terminal.shown_up_to();
        let mut layers = std::mem::take(&mut terminal.layers);
        let (mut dirty, shown) = (self.dirty.layout, self.shown_contents());
        let states = shown.map(|content| {
            dirty |= content.is_dirty() || content.film_cells() > 0;
            (content.layer(), content.is_exact_after(serial))
        });
        layers.observe(states, now);
        if let Some(terminal) = &mut self.terminal {
            terminal.layers = layers;
            let is_lossless = !dirty && terminal.is_acknowledged();
            terminal.lossless.observe(is_lossless, now);
        }
    }

    /// How each layer does that is shown.
    fn layer_stats(&mut self, now: Instant) -> ShownLayers {
        let Some(terminal) = &mut self.terminal else {
            return ShownLayers::default();
        };
        let known = std::mem::take(&mut terminal.layers);
        let layers = self.shown_contents().map(|content| {
            let (layer, size) = (content.layer(), content.size());
            let kind = match content.playing() {
                Some(_) => LayerKind::Film,
                None => LayerKind::Tiles,
            };
            LayerStats {
                layer,
                w: size.w,
                h: size.h,
                kind,
                lossless_since_s: known.exact_for(layer, now).map(|time| time.as_secs()),
            }
        });
        let layers = ShownLayers::new(layers.collect());
        if let Some(terminal) = &mut self.terminal {
            terminal.layers = known;
        }
        layers
    }

    /// Answers the broker, which asks how things are.
    pub(crate) fn report_stats(&mut self) {
        self.hear_squeezed();
        let stats = self.stats(Instant::now());
        self.tell_broker(FromSession::Stats(Box::new(stats)));
    }

    /// How things are.
    pub(crate) fn stats(&mut self, now: Instant) -> SessionStats {
        let mut stats = self.counters.stats(now);
        stats.films.read_bytes = self.surfaces.buffers.read_bytes();
        stats.gles_failures = self.surfaces.buffers.gles_ends();
        stats.flat_outputs = self.flat.count();
        stats.windows = self.windows.mapped() as u32;
        stats.clients = self.client_count();
        let dirty_tiles = self.dirty_tiles();
        let layers = self.layer_stats(now);
        stats.link = self.terminal.as_ref().map(|terminal| {
            let mut link = terminal.stats();
            let (frames_in_flight, tiles_in_flight) = terminal.in_flight();
            let (layers_behind, oldest) = terminal.layers.behind(now);
            link.behind = Some(Behind {
                frames_in_flight,
                tiles_in_flight,
                dirty_tiles,
                lossless_since_s: terminal.lossless.lasted(now).map(|time| time.as_secs()),
                layers: terminal.layers.count(),
                layers_behind,
                behind_for_ms: oldest.map(|time| time.as_millis() as u64),
            });
            link.layers = Some(layers);
            link
        });
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lossless_lasts_from_when_it_began_and_begins_anew_after_a_change() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut lossless = Lossless::default();
        assert_eq!(lossless.lasted(at(0)), None);
        lossless.observe(true, at(1));
        lossless.observe(true, at(3));
        assert_eq!(lossless.lasted(at(4)), Some(Duration::from_secs(3)));
        lossless.observe(false, at(5));
        assert_eq!(lossless.lasted(at(5)), None);
        lossless.observe(true, at(6));
        assert_eq!(lossless.lasted(at(6)), Some(Duration::ZERO));
    }

    #[test]
    fn each_layer_has_a_time_of_its_own_and_loses_it_when_it_is_hidden() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let s = Duration::from_secs;
        let (text, film, menu) = (LayerId(1), LayerId(2), LayerId(3));
        let mut layers = Layers::default();
        assert_eq!((layers.count(), layers.behind(at(0))), (0, (0, None)));
        layers.observe([(text, true), (film, false)].into_iter(), at(1));
        layers.observe(
            [(text, true), (film, false), (menu, false)].into_iter(),
            at(3),
        );
        assert_eq!(layers.exact_for(text, at(4)), Some(s(3)));
        assert_eq!(layers.exact_for(film, at(4)), None);
        assert_eq!((layers.count(), layers.behind(at(4))), (3, (2, Some(s(3)))));
        layers.observe(
            [(text, false), (film, true), (menu, false)].into_iter(),
            at(5),
        );
        assert_eq!(layers.behind(at(6)), (2, Some(s(3))));
        layers.observe([(text, true), (film, true)].into_iter(), at(7));
        assert_eq!((layers.count(), layers.behind(at(7))), (2, (0, None)));
        assert_eq!(layers.exact_for(text, at(9)), Some(s(2)));
        assert_eq!(layers.exact_for(film, at(9)), Some(s(4)));
        layers.observe([(text, true), (menu, true)].into_iter(), at(9));
        assert_eq!(layers.exact_for(menu, at(9)), Some(s(0)));
        assert_eq!(layers.exact_for(film, at(9)), None);
    }
}

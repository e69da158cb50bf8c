//! How far the terminal is behind, and since when it is not.
//!
//! ```text
//!            a tile is dirty, the layout has changed, or a frame is under way
//!   lossless ────────────────────────────────────────────────────────────────► behind
//!      ▲                    the last frame is acknowledged                       │
//!      └─────────────────────────────────────────────────────────────────────────┘
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use heliostat_control::session::FromSession;
use heliostat_control::stats::{Behind, SessionStats};
use heliostat_wire::id::LayerId;

use crate::app::App;

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

impl App {
    /// Tiles of what the terminal shows that have changed and were not sent.
    pub(crate) fn dirty_tiles(&mut self) -> u64 {
        let Some(terminal) = &self.terminal else {
            return 0;
        };
        // A layer that is kept while it is hidden may be dirty for as long as it is.
        let outputs = terminal.told.outputs.values();
        let shown: BTreeSet<LayerId> = outputs
            .flat_map(|output| output.stack.iter().map(|placement| placement.layer))
            .collect();
        let surfaces = self.surfaces.all_mut().chain(self.titles.all_mut());
        let contents = surfaces.map(|surface| &surface.content);
        contents
            .filter(|content| shown.contains(&content.layer()))
            .map(|content| (content.dirty_cells() + content.film_cells()) as u64)
            .sum()
    }

    /// Counts the frame that was just sent; `dirty_before` are the tiles that were dirty before it
    /// was encoded, `took` is how long that was.
    pub(crate) fn count_frame(&mut self, bytes: usize, dirty_before: u64, took: Duration) {
        let tiles = dirty_before.saturating_sub(self.dirty_tiles());
        self.counters.frames += 1;
        self.counters.frame_bytes += bytes as u64;
        self.counters.tiles += tiles;
        self.counters.encode.add(took);
        if let Some(terminal) = &mut self.terminal {
            terminal.note_tiles(tiles);
        }
    }

    /// Notes whether the terminal is lossless, after everything that has happened was settled.
    pub(crate) fn observe_progress(&mut self, now: Instant) {
        let dirty = self.dirty.layout || self.dirty_tiles() > 0;
        if let Some(terminal) = &mut self.terminal {
            let is_lossless = !dirty && terminal.is_acknowledged();
            terminal.lossless.observe(is_lossless, now);
        }
    }

    /// Answers the broker, which asks how things are.
    pub(crate) fn report_stats(&mut self) {
        self.hear_squeezed();
        let stats = self.stats(Instant::now());
        self.tell_broker(FromSession::Stats(stats));
    }

    /// How things are.
    pub(crate) fn stats(&mut self, now: Instant) -> SessionStats {
        let mut stats = self.counters.stats(now);
        stats.windows = self.windows.mapped() as u32;
        stats.clients = self.client_count();
        let dirty_tiles = self.dirty_tiles();
        stats.link = self.terminal.as_ref().map(|terminal| {
            let mut link = terminal.stats();
            let (frames_in_flight, tiles_in_flight) = terminal.in_flight();
            link.behind = Some(Behind {
                frames_in_flight,
                tiles_in_flight,
                dirty_tiles,
                lossless_since_s: terminal.lossless.lasted(now).map(|time| time.as_secs()),
            });
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
}

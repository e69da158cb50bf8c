//! The rhythms of a terminal's screens: each has retraces of its own, and frames are aimed at those of
//! the screen that has shown a picture last.
//!
//! Two screens of 60 Hz are refreshed at different times and drift apart, so times of one say nothing
//! about the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heliostat_wire::id::OutputId;

use crate::offset::Offset;
use crate::rhythm::Rhythm;

/// One rhythm a screen.
#[derive(Debug, Clone, Default)]
pub struct Rhythms {
    screens: BTreeMap<OutputId, Rhythm>,
    /// Where a picture was shown last.
    last: Option<OutputId>,
}

impl Rhythms {
    fn current(&self) -> Option<&Rhythm> {
        self.screens.get(self.last.as_ref()?)
    }

    /// Whether frames are aimed.
    pub fn is_locked(&self) -> bool {
        self.current().is_some_and(Rhythm::is_locked)
    }

    /// Whether a screen has been found to show pictures at retraces.
    pub fn has_retraces(&self, output: OutputId) -> bool {
        self.screens.get(&output).is_some_and(Rhythm::is_locked)
    }

    /// A frame was scanned out on a screen with so much time between two retraces, at a time of the
    /// terminal's clock, and was to be at `aimed_us`.
    pub fn shown(
        &mut self,
        output: OutputId,
        at_us: u64,
        aimed_us: Option<u64>,
        interval: Duration,
    ) {
        // What was aimed at was a retrace of the screen before.
        let aimed_us = aimed_us.filter(|_| self.last == Some(output));
        self.last = Some(output);
        let rhythm = self.screens.entry(output);
        let rhythm = rhythm.or_insert_with(|| Rhythm::new(interval));
        rhythm.shown(at_us, aimed_us, interval);
    }

    /// Only these screens are there.
    pub fn retain(&mut self, is_there: impl Fn(OutputId) -> bool) {
        self.screens.retain(|output, _| is_there(*output));
    }

    /// When a frame from `earliest` on is just in time for a retrace, and for which; nothing while
    /// the rhythm is not known.
    pub fn frame_at(
        &self,
        offset: &Offset,
        one_way: Duration,
        earliest: Instant,
    ) -> Option<(Instant, u64)> {
        self.current()?.frame_at(offset, one_way, earliest)
    }

    /// The first time from `earliest` on at which clients had better begin to draw.
    pub fn draw_at(
        &self,
        offset: &Offset,
        one_way: Duration,
        earliest: Instant,
    ) -> Option<Instant> {
        self.current()?.draw_at(offset, one_way, earliest)
    }

    /// Clients were asked to draw.
    pub fn asked(&mut self, now: Instant) {
        let rhythms = self.screens.values_mut();
        rhythms.for_each(|rhythm| rhythm.asked(now));
    }

    /// A client has drawn.
    pub fn drawn(&mut self, now: Instant) {
        let rhythms = self.screens.values_mut();
        rhythms.for_each(|rhythm| rhythm.drawn(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_micros(16_667);

    /// Pictures on two screens of the same rate, half an interval apart; returns whether the rhythm
    /// of the one shown last is known, and the retrace that a frame is aimed at.
    fn alternate(name: impl Fn(u64) -> OutputId) -> (bool, Option<u64>) {
        let start = Instant::now();
        let (mut rhythms, mut offset) = (Rhythms::default(), Offset::new(start));
        let mut at_us = 1_000_000;
        for n in 0..200 {
            at_us = 1_000_000 + n / 2 * 16_667 + n % 2 * 8_333;
            offset.hear(at_us, start + Duration::from_micros(at_us));
            rhythms.shown(name(n % 2), at_us, None, INTERVAL);
        }
        let now = start + Duration::from_micros(at_us);
        let aim = rhythms.frame_at(&offset, Duration::ZERO, now);
        (rhythms.is_locked(), aim.map(|(_, retrace)| retrace - at_us))
    }

    #[test]
    fn each_screen_has_a_phase_of_its_own() {
        let (is_locked, aimed) = alternate(|screen| OutputId(screen as u8));
        assert!(is_locked);
        // The next retrace of the second screen, and not of the first, which is half as far away.
        let aimed = aimed.expect("the rhythm is known");
        assert!(aimed.abs_diff(16_667) < 500, "{aimed}");
    }

    #[test]
    fn screens_that_are_gone_are_forgotten() {
        let mut rhythms = Rhythms::default();
        let mut at_us = 0;
        for screen in 0..4 {
            at_us += 16_667;
            rhythms.shown(OutputId(screen), at_us, None, INTERVAL);
        }
        rhythms.retain(|output| output.0 < 2);
        assert_eq!(rhythms.screens.len(), 2);
        assert!(!rhythms.is_locked());
    }
}

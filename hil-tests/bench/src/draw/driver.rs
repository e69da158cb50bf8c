//! Which frame is due: frames belong to points in time, and a late client skips some.

use std::time::{Duration, Instant};

/// How long after its last frame a run ends at the latest, whether that was drawn or not.
const PATIENCE: Duration = Duration::from_secs(1);

/// The clock's part in what is drawn.
#[derive(Debug, Default)]
pub struct Driver {
    run: Option<Run>,
    /// The last frame that was drawn, in any run.
    last: u32,
}

#[derive(Debug)]
struct Run {
    start: Instant,
    interval: Duration,
    /// The frame before the first one.
    before: u32,
    frames: u32,
    drawn: u32,
}

impl Driver {
    /// Begins a run of `frames` frames; one is due at once, the others at the interval.
    pub fn go(&mut self, now: Instant, interval: Duration, frames: u32) {
        self.run = Some(Run {
            start: now,
            interval,
            before: self.last,
            frames,
            drawn: 0,
        });
    }

    /// Ends a run with the last frame that was drawn.
    pub fn stop(&mut self) {
        if let Some(run) = &mut self.run {
            run.frames = self.last - run.before;
        }
    }

    /// Whether a run has begun and not ended.
    pub fn is_running(&self) -> bool {
        self.run.is_some()
    }

    /// When the next frame is due.
    pub fn deadline(&self) -> Option<Instant> {
        let run = self.run.as_ref()?;
        let next = self.last - run.before;
        (next < run.frames).then(|| run.start + run.interval * next)
    }

    /// The frame to show now, if it is another than the last.
    pub fn due(&self, now: Instant) -> Option<u32> {
        let run = self.run.as_ref()?;
        let gone = now.checked_duration_since(run.start)?;
        let steps = gone.as_nanos() / run.interval.as_nanos().max(1) + 1;
        let n = run.before + (steps.min(run.frames.into())) as u32;
        (n > self.last).then_some(n)
    }

    /// A frame was drawn.
    pub fn drew(&mut self, n: u32) {
        self.last = n;
        if let Some(run) = &mut self.run {
            run.drawn += 1;
        }
    }

    /// Ends the run when its last frame was drawn or can be no more; how many were.
    pub fn take_end(&mut self, now: Instant) -> Option<u32> {
        let run = self.run.as_ref()?;
        let complete = self.last >= run.before + run.frames;
        let over = now > run.start + run.interval * run.frames + PATIENCE;
        (complete || over).then(|| self.run.take().map_or(0, |run| run.drawn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_client_skips_frames_and_still_draws_the_last() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut driver = Driver::default();
        driver.go(start, Duration::from_millis(10), 5);
        assert_eq!(driver.due(start), Some(1));
        driver.drew(1);
        assert_eq!(driver.due(ms(5)), None);
        assert_eq!(driver.deadline(), Some(ms(10)));
        assert_eq!(driver.due(ms(31)), Some(4));
        driver.drew(4);
        assert_eq!(driver.take_end(ms(31)), None);
        assert_eq!(driver.due(ms(900)), Some(5));
        driver.drew(5);
        assert_eq!(driver.take_end(ms(900)), Some(3));
        assert_eq!(driver.deadline(), None);
    }

    #[test]
    fn stopped_run_ends_with_the_last_frame_drawn() {
        let start = Instant::now();
        let mut driver = Driver::default();
        driver.go(start, Duration::from_millis(10), 500);
        driver.drew(1);
        driver.stop();
        assert_eq!(driver.due(start + Duration::from_secs(1)), None);
        assert_eq!(driver.take_end(start), Some(1));
    }
}

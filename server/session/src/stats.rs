//! Figures about the session.

use std::collections::VecDeque;
use std::time::Instant;

use heliostat_control::session::SessionStats;

/// Samples that are remembered.
const KEPT: usize = 512;

/// Percentiles of the last samples.
#[derive(Debug, Default)]
pub struct Percentiles(VecDeque<u32>);

impl Percentiles {
    /// Adds a sample.
    pub fn add(&mut self, sample: u32) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The sample below which `percent` of them are; none where there are none.
    pub fn at(&self, percent: usize) -> Option<u32> {
        let mut sorted: Vec<_> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let at = (sorted.len() * percent / 100).min(sorted.len().checked_sub(1)?);
        sorted.get(at).copied()
    }
}

/// What is counted from the start.
#[derive(Debug)]
pub struct Counters {
    since: Instant,
    /// Frames sent.
    pub frames: u64,
    /// Their bytes.
    pub frame_bytes: u64,
}

impl Counters {
    /// From `now` on.
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            frames: 0,
            frame_bytes: 0,
        }
    }

    /// As the broker wants it.
    pub fn stats(&self, now: Instant) -> SessionStats {
        SessionStats {
            up_s: now.saturating_duration_since(self.since).as_secs(),
            frames: self.frames,
            frame_bytes: self.frame_bytes,
            private_bytes: private_bytes().unwrap_or_default(),
            ..SessionStats::default()
        }
    }
}

/// Memory of this process that it shares with no other.
fn private_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let kilobytes = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    Some(private.filter_map(kilobytes).sum::<u64>() * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_samples() {
        let mut percentiles = Percentiles::default();
        assert_eq!(percentiles.at(50), None);
        (0..100_000)
            .chain(1..=KEPT as u32)
            .for_each(|sample| percentiles.add(sample));
        assert_eq!(percentiles.at(50), Some(257));
        assert_eq!(percentiles.at(99), Some(507));
        assert_eq!(percentiles.at(100), Some(512));
    }

    #[test]
    fn private_memory_is_known_and_not_zero() {
        assert!(private_bytes().unwrap() > 0);
    }
}

//! Figures about the session.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use heliostat_control::stats::{ENCODE_BOUNDS_US, EncodeStats, FilmStats, SessionStats};

use crate::squeeze::Sent;
use crate::videos::Times;

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
    /// Frames acknowledged.
    pub frames_shown: u64,
    /// Tiles brought up to date.
    pub tiles: u64,
    /// Cells that terminals have said they hold, and that could be compared.
    pub cells_checked: u64,
    /// Those of them that they held wrongly.
    pub cells_wrong: u64,
    /// How long that took.
    pub encode: EncodeTimes,
    /// From the first commit whose changes were not sent until the link had the last of them.
    pub commit_to_link: EncodeTimes,
    /// Pictures of films.
    pub films: FilmCounters,
}

impl Counters {
    /// From `now` on.
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            frames: 0,
            frame_bytes: 0,
            frames_shown: 0,
            tiles: 0,
            cells_checked: 0,
            cells_wrong: 0,
            encode: EncodeTimes::default(),
            commit_to_link: EncodeTimes::default(),
            films: FilmCounters::default(),
        }
    }

    /// As the broker wants it.
    pub fn stats(&self, now: Instant) -> SessionStats {
        let up = now.saturating_duration_since(self.since);
        SessionStats {
            up_s: up.as_secs(),
            up_ms: up.as_millis() as u64,
            frames: self.frames,
            frame_bytes: self.frame_bytes,
            frames_shown: self.frames_shown,
            tiles: self.tiles,
            cells_checked: self.cells_checked,
            cells_wrong: self.cells_wrong,
            encode: self.encode.stats(),
            commit_to_link: self.commit_to_link.stats(),
            films: self.films.stats(),
            private_bytes: private_bytes().unwrap_or_default(),
            ..SessionStats::default()
        }
    }
}

/// How long something took with frames: the last ones exactly, all of them in buckets.
#[derive(Debug, Default)]
pub struct EncodeTimes {
    last: Percentiles,
    sum_us: u64,
    counts: [u64; ENCODE_BOUNDS_US.len() + 1],
}

impl EncodeTimes {
    /// Adds a frame's time.
    pub fn add(&mut self, took: Duration) {
        let us = micros(took);
        let bucket = ENCODE_BOUNDS_US.partition_point(|bound| *bound < us);
        self.last.add(us);
        self.sum_us += u64::from(us);
        self.counts[bucket] += 1;
    }

    /// As the broker wants it.
    pub fn stats(&self) -> EncodeStats {
        EncodeStats {
            p50_us: self.last.at(50),
            p99_us: self.last.at(99),
            sum_us: self.sum_us,
            counts: self.counts.to_vec(),
        }
    }
}

/// What became of films' pictures, and how long those of the hardware took.
#[derive(Debug, Default)]
pub struct FilmCounters {
    by_hardware: u64,
    by_processor: u64,
    failures: u64,
    commit_to_encoder: Percentiles,
    coded_to_link: Percentiles,
}

impl FilmCounters {
    /// A picture was encoded; only those of the hardware have times.
    pub fn encoded(&mut self, times: Option<Times>) {
        let Some(times) = times else {
            self.by_processor += 1;
            return;
        };
        self.by_hardware += 1;
        self.commit_to_encoder.add(micros(times.commit_to_encoder));
    }

    /// The hardware has failed.
    pub fn failed(&mut self) {
        self.failures += 1;
    }

    /// The frame of pictures that were encoded then was sent. Where other threads compress what is beside
    /// them it has not left yet, and they have no time.
    pub fn left(&mut self, sent: Sent, coded: &[Option<Instant>]) {
        let Some(left) = sent.left else {
            return;
        };
        for coded in coded.iter().flatten() {
            let waited = left.saturating_duration_since(*coded);
            self.coded_to_link.add(micros(waited));
        }
    }

    /// As the broker wants it.
    pub fn stats(&self) -> FilmStats {
        FilmStats {
            by_hardware: self.by_hardware,
            by_processor: self.by_processor,
            failures: self.failures,
            commit_to_encoder_p50_us: self.commit_to_encoder.at(50),
            commit_to_encoder_p99_us: self.commit_to_encoder.at(99),
            coded_to_link_p50_us: self.coded_to_link.at(50),
            coded_to_link_p99_us: self.coded_to_link.at(99),
            ..FilmStats::default()
        }
    }
}

fn micros(time: Duration) -> u32 {
    time.as_micros().min(u128::from(u32::MAX)) as u32
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
    fn a_time_falls_into_the_bucket_that_it_does_not_exceed() {
        let mut times = EncodeTimes::default();
        for us in [0, 250, 251, 16_667, 133_334] {
            times.add(Duration::from_micros(us));
        }
        times.add(Duration::from_secs(1 << 40));
        let stats = times.stats();
        assert_eq!(stats.counts, [2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
        assert_eq!(stats.sum_us, 150_502 + u64::from(u32::MAX));
        assert_eq!(stats.p50_us, Some(16_667));
    }

    #[test]
    fn private_memory_is_known_and_not_zero() {
        assert!(private_bytes().unwrap() > 0);
    }
}

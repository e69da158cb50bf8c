//! Whether the processor reads a device's memory too slowly: pure.

use std::time::Duration;

/// Fewer bytes say nothing about how fast they can be read.
const LARGE: u64 = 1 << 20;
/// Bytes a second below which windows stutter.
const SLOW: f64 = 200e6;
/// Readings in a row that are slow where reading is: one may be a processor that was wanted elsewhere.
const SLOW_TIMES: u8 = 4;

/// What was seen of it. Once it was found slow, it is so for ever.
#[derive(Debug, Default)]
pub struct Speed {
    /// Slow readings, one after the other.
    slow_times: u8,
    is_slow: bool,
}

impl Speed {
    /// So many bytes were read, and it took so long. Returns bytes a second where that has shown that
    /// reading is slow, which it does once.
    pub fn note(&mut self, bytes: u64, took: Duration) -> Option<f64> {
        if bytes < LARGE || self.is_slow {
            return None;
        }
        let a_second = bytes as f64 / took.as_secs_f64().max(1e-9);
        self.slow_times = match a_second < SLOW {
            true => self.slow_times + 1,
            false => 0,
        };
        self.is_slow = self.slow_times == SLOW_TIMES;
        self.is_slow.then_some(a_second)
    }

    /// Whether it was found slow.
    pub fn is_slow(&self) -> bool {
        self.is_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn reading_is_slow_after_four_slow_readings_in_a_row_and_that_is_said_once() {
        let mut speed = Speed::default();
        // A hundred megabytes a second, and now and then a thousand.
        for n in 1..=15 {
            let took = if n % 4 == 0 { MS } else { 10 * MS };
            assert_eq!(speed.note(1 << 20, took), None);
        }
        assert_eq!(speed.note(4 << 20, 4 * MS), None);
        for _ in 0..3 {
            assert_eq!(speed.note(1 << 20, 10 * MS), None);
            // What is small is neither fast nor slow.
            assert_eq!(speed.note(4096, MS / 1000), None);
            assert!(!speed.is_slow());
        }
        let found = speed.note(1 << 20, 10 * MS).expect("it is slow");
        assert!((found - 104_857_600.0).abs() < 1.0, "{found}");
        for took in [MS, 10 * MS] {
            assert_eq!(speed.note(1 << 20, took), None);
            assert!(speed.is_slow());
        }
    }

    #[test]
    fn small_readings_are_never_slow() {
        let mut speed = Speed::default();
        (0..100).for_each(|_| assert_eq!(speed.note(LARGE - 1, 1000 * MS), None));
        assert!(!speed.is_slow());
        // No time at all is not a division by it.
        assert_eq!(speed.note(LARGE, Duration::ZERO), None);
    }
}

//! One direction of a line, as a rule and without a clock: when does a packet arrive, if it does?

use std::time::{Duration, Instant};

use super::Shape;
use crate::text::mix;

/// One direction.
#[derive(Debug)]
pub struct Line {
    shape: Shape,
    /// When all that was taken will have been put on the line.
    busy_until: Instant,
    /// How many packets were offered; losses follow from that and the seed.
    offered: u64,
    seed: u64,
}

impl Line {
    /// A line on which nothing is; `seed` chooses which packets are lost.
    pub fn new(shape: Shape, seed: u64, now: Instant) -> Self {
        Self {
            shape,
            busy_until: now,
            offered: 0,
            seed,
        }
    }

    /// Takes a packet of `bytes`; when it arrives, unless it is lost. Packets do not overtake.
    pub fn offer(&mut self, now: Instant, bytes: u64) -> Option<Instant> {
        self.offered += 1;
        let waiting = self.time_of(self.shape.queue_bytes);
        let start = self.busy_until.max(now);
        if start + self.time_of(bytes) > now + waiting + self.time_of(bytes) {
            return None;
        }
        self.busy_until = start + self.time_of(bytes);
        // A packet lost on the way has used the line as well.
        let draw = mix(mix(self.seed) ^ self.offered) as f64 / u64::MAX as f64;
        (draw >= self.shape.loss).then_some(self.busy_until + self.shape.delay)
    }

    /// How long the line takes for so many bytes.
    fn time_of(&self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes * 8 * 1_000_000_000 / self.shape.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        bits: 8_000_000,
        delay: Duration::from_millis(30),
        loss: 0.0,
        queue_bytes: 10_000,
    };

    #[test]
    fn packet_on_an_idle_line_takes_its_length_and_the_delay() {
        let now = Instant::now();
        let mut line = Line::new(SHAPE, 1, now);
        assert_eq!(
            line.offer(now, 1000),
            Some(now + Duration::from_millis(1 + 30))
        );
        let later = now + Duration::from_secs(9);
        assert_eq!(
            line.offer(later, 500),
            Some(later + Duration::from_micros(500) + SHAPE.delay)
        );
    }

    #[test]
    fn packets_arrive_in_order_at_the_rate_of_the_line() {
        let now = Instant::now();
        let mut line = Line::new(SHAPE, 1, now);
        let arrivals: Vec<_> = (0..8).filter_map(|_| line.offer(now, 1000)).collect();
        let expected = (1..=8).map(|n| now + SHAPE.delay + Duration::from_millis(n));
        assert_eq!(arrivals, expected.collect::<Vec<_>>());
    }

    #[test]
    fn full_queue_loses_what_comes_and_takes_more_when_it_has_run_down() {
        let now = Instant::now();
        let mut line = Line::new(SHAPE, 1, now);
        let taken = (0..50).filter(|_| line.offer(now, 1000).is_some()).count();
        // Ten wait, and one is on the line.
        assert_eq!(taken, 11);
        let later = now + Duration::from_millis(3);
        let taken = (0..50)
            .filter(|_| line.offer(later, 1000).is_some())
            .count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn share_that_is_lost_is_the_one_asked_for_and_the_same_each_time() {
        let lost = |seed| {
            let mut now = Instant::now();
            let shape = Shape {
                loss: 0.05,
                ..SHAPE
            };
            let mut line = Line::new(shape, seed, now);
            let lost = (0..20_000).filter(|_| {
                now += Duration::from_millis(2);
                line.offer(now, 1000).is_none()
            });
            lost.collect::<Vec<u32>>()
        };
        let share = lost(7).len() as f64 / 20_000.0;
        assert!((0.045..0.055).contains(&share), "{share}");
        assert_eq!(lost(7), lost(7));
        assert_ne!(lost(7), lost(8));
    }
}

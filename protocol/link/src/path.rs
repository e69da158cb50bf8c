//! What the way to the peer carries: measured where packets are acknowledged.
//!
//! A rate is what was delivered between a packet's departure and its acknowledgement, over that
//! time; where the pipe was not full it is a lower bound. The method is that of BBR
//! (draft-ietf-ccwg-bbr, "Delivery Rate Samples").

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Departures that are remembered.
const MAX_MARKS: usize = 128;
/// Departures nearer to each other than this are one.
const MARK_EVERY: Duration = Duration::from_micros(250);
/// The best rate is that of so many round trips, and no shorter a time than the next.
const WINDOW_TRIPS: u32 = 8;
const SHORTEST_WINDOW: Duration = Duration::from_millis(250);
/// A queue of this time and of this many bytes is one, and no pause of a timer or of the peer.
const SURE_QUEUE: Duration = Duration::from_millis(5);
const LEAST_QUEUE: u64 = 8 << 10;
/// A round trip of twice the shortest and this much more has a queue in it.
pub(crate) const LONG_QUEUE: Duration = Duration::from_millis(50);
/// A packet of fewer bytes is nothing but an acknowledgement, or as little as one.
const ACK_ALONE: u64 = 64;
/// A measurement over a shorter time says more about timers than about the way.
const SHORTEST_SAMPLE: Duration = Duration::from_micros(100);

/// What is known of the way to the peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Path {
    /// Bytes a second that it carries at least; of packets, headers included.
    pub rate: Option<u64>,
    /// The shortest round trip so far, that is one without queues.
    pub min_rtt: Option<Duration>,
    /// The round trip as it now is, smoothed, and without what the peer waits before it
    /// acknowledges; where that is known.
    pub rtt: Option<Duration>,
}

/// The measurement; pure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    path: Path,
    delivered: u64,
    in_flight: u64,
    delivered_at: Option<Instant>,
    marks: VecDeque<Mark>,
    newest: Option<Instant>,
    best: Best,
}

/// How things stood when a packet left.
#[derive(Debug, Clone, Copy)]
struct Mark {
    sent: Instant,
    delivered: u64,
    delivered_at: Instant,
    /// More was under way than the way was thought to hold.
    full: bool,
    /// More was under way than what a trickle has.
    much: bool,
}

/// The best rate of the last two windows.
#[derive(Debug, Clone, Copy, Default)]
struct Best {
    present: u64,
    before: u64,
    since: Option<Instant>,
}

impl Meter {
    pub(crate) fn path(&self) -> Path {
        self.path
    }

    pub(crate) fn sent(&mut self, now: Instant, bytes: u64) {
        // Nobody acknowledges an acknowledgement: it would be under way for ever.
        if bytes < ACK_ALONE {
            return;
        }
        let idle = self.in_flight == 0;
        self.in_flight += bytes;
        if idle || self.delivered_at.is_none() {
            self.delivered_at = Some(now);
        }
        let recent = |mark: &Mark| now.saturating_duration_since(mark.sent) < MARK_EVERY;
        // The older marks are the ones that are measured by next.
        let enough = self.marks.len() == MAX_MARKS;
        if !idle && (enough || self.marks.back().is_some_and(recent)) {
            return;
        }
        if idle {
            self.marks.clear();
        }
        self.marks.push_back(Mark {
            sent: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at.unwrap_or(now),
            full: self.in_flight > self.held(),
            much: self.in_flight > LEAST_QUEUE,
        });
    }

    /// Bytes above which there is a queue for sure.
    fn held(&self) -> u64 {
        let (rate, rtt) = (self.path.rate, self.path.min_rtt);
        let held = rate.zip(rtt).map_or(0, |(rate, rtt)| {
            (rate as f64 * (rtt + SURE_QUEUE).as_secs_f64()).min(1e15) as u64
        });
        held.max(LEAST_QUEUE)
    }

    /// `min_rtt` is the shortest round trip so far.
    pub(crate) fn acked(&mut self, sent: Instant, bytes: u64, min_rtt: Duration) {
        self.delivered += bytes;
        // Before the first measurement it is a guess, so it may grow.
        self.path.min_rtt = Some(min_rtt);
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.newest = self.newest.max(Some(sent));
    }

    pub(crate) fn lost(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }

    /// A batch of acknowledgements is complete; by QUIC's own count `in_flight` bytes are under way.
    /// What was counted here since the last one has packets that are never acknowledged, and lacks
    /// small ones that are.
    pub(crate) fn end(&mut self, now: Instant, in_flight: u64) {
        self.in_flight = in_flight;
        self.delivered_at = Some(now);
        let Some(newest) = self.newest.take() else {
            return;
        };
        let mut mark = None;
        while let Some(next) = self.marks.front().filter(|next| next.sent <= newest) {
            mark = Some(*next);
            self.marks.pop_front();
        }
        let Some(mark) = mark else {
            return;
        };
        let took = now.saturating_duration_since(mark.delivered_at);
        let delivered = self.delivered.saturating_sub(mark.delivered);
        if took < SHORTEST_SAMPLE || delivered == 0 {
            return;
        }
        let rate = (delivered as f64 / took.as_secs_f64()) as u64;
        // A way that has become narrow holds far less than it was thought to: there the time tells
        // that it is full.
        let shortest = self.path.min_rtt.unwrap_or_default();
        let late = now.saturating_duration_since(newest) > shortest * 2 + LONG_QUEUE;
        let full = mark.full || (mark.much && late);
        let window = self.path.min_rtt.unwrap_or_default() * WINDOW_TRIPS;
        // Whether the sender had more to send says little: within a burst it always has.
        let best = &mut self.best;
        self.path.rate = Some(best.add(rate, full, now, window.max(SHORTEST_WINDOW)));
    }
}

impl Best {
    /// Adds a rate: one that is `exact` may lower the best in time, another is a lower bound.
    fn add(&mut self, rate: u64, exact: bool, now: Instant, window: Duration) -> u64 {
        let since = *self.since.get_or_insert(now);
        if exact && now.saturating_duration_since(since) > window {
            (self.before, self.present) = (self.present, 0);
            self.since = Some(now);
        }
        if exact || rate > self.before.max(self.present) {
            self.present = self.present.max(rate);
        }
        self.before.max(self.present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u64 = 1200;

    /// A way of `rate` bytes a second and `rtt`, with a queue without end.
    struct Way {
        rate: f64,
        rtt: Duration,
        busy_until: Instant,
        arriving: VecDeque<(Instant, Instant)>,
    }

    impl Way {
        fn send(&mut self, meter: &mut Meter, now: Instant) {
            meter.sent(now, MTU);
            let begins = self.busy_until.max(now);
            self.busy_until = begins + Duration::from_secs_f64(MTU as f64 / self.rate);
            self.arriving.push_back((now, self.busy_until + self.rtt));
        }

        fn acknowledge(&mut self, meter: &mut Meter, now: Instant) {
            while let Some((sent, at)) = self.arriving.front().copied() {
                if at > now {
                    return;
                }
                self.arriving.pop_front();
                meter.acked(sent, MTU, self.rtt);
                meter.end(at, self.arriving.len() as u64 * MTU);
            }
        }
    }

    fn way(rate: f64, rtt_ms: u64, now: Instant) -> Way {
        Way {
            rate,
            rtt: Duration::from_millis(rtt_ms),
            busy_until: now,
            arriving: VecDeque::new(),
        }
    }

    /// Keeps `window` packets under way for `ms`.
    fn run(meter: &mut Meter, way: &mut Way, now: &mut Instant, window: usize, ms: u64) {
        for _ in 0..ms * 4 {
            while way.arriving.len() < window {
                way.send(meter, *now);
            }
            *now += Duration::from_micros(250);
            way.acknowledge(meter, *now);
        }
    }

    #[test]
    fn full_pipe_is_measured_to_a_tenth() {
        for (rate, rtt) in [(250e3, 150), (2.5e6, 20), (12.5e6, 1)] {
            let mut now = Instant::now();
            let (mut meter, mut way) = (Meter::default(), way(rate, rtt, now));
            let window = (rate * (rtt as f64 / 1e3 + 0.05) / MTU as f64) as usize + 4;
            run(&mut meter, &mut way, &mut now, window, 3000);
            let measured = meter.path().rate.unwrap() as f64;
            assert!((measured / rate - 1.0).abs() < 0.1, "{measured} of {rate}");
        }
    }

    #[test]
    fn trickle_does_not_lower_the_rate_and_a_narrower_way_does() {
        let mut now = Instant::now();
        let (mut meter, mut way) = (Meter::default(), way(2.5e6, 20, now));
        run(&mut meter, &mut way, &mut now, 200, 1000);
        let before = meter.path().rate.unwrap();
        for _ in 0..100 {
            way.send(&mut meter, now);
            now += Duration::from_millis(100);
            way.acknowledge(&mut meter, now);
        }
        assert_eq!(meter.path().rate, Some(before));
        way.rate = 0.25e6;
        run(&mut meter, &mut way, &mut now, 200, 3000);
        let after = meter.path().rate.unwrap();
        assert!(after < before / 8, "{before} then {after}");
    }

    #[test]
    fn acknowledgements_of_our_own_are_not_under_way() {
        let mut now = Instant::now();
        let (mut meter, mut way) = (Meter::default(), way(2.5e6, 20, now));
        run(&mut meter, &mut way, &mut now, 200, 1000);
        while way.arriving.front().is_some() {
            now += Duration::from_millis(1);
            way.acknowledge(&mut meter, now);
        }
        let before = meter.path().rate.unwrap();
        // A mouse is moved over a picture that stays, for a minute, and then somebody types.
        for _ in 0..2400 {
            now += Duration::from_millis(25);
            meter.sent(now, 35);
        }
        assert_eq!(meter.in_flight, 0);
        for _ in 0..100 {
            way.send(&mut meter, now);
            // Larger ones are told apart by QUIC alone.
            for _ in 0..10 {
                meter.sent(now, 90);
            }
            now += Duration::from_millis(150);
            way.acknowledge(&mut meter, now);
        }
        assert_eq!(meter.path().rate, Some(before));
    }

    #[test]
    fn way_that_has_become_narrow_is_seen_with_little_under_way() {
        let mut now = Instant::now();
        let (mut meter, mut way) = (Meter::default(), way(125e6, 20, now));
        run(&mut meter, &mut way, &mut now, 2000, 1000);
        assert!(meter.path().rate.unwrap() > 50_000_000);
        way.rate = 125e3;
        run(&mut meter, &mut way, &mut now, 50, 4000);
        let after = meter.path().rate.unwrap();
        assert!((100_000..200_000).contains(&after), "{after}");
    }

    #[test]
    fn marks_are_bounded_and_losses_empty_the_pipe() {
        let mut meter = Meter::default();
        let mut now = Instant::now();
        for _ in 0..10_000 {
            now += Duration::from_millis(1);
            meter.sent(now, MTU);
        }
        assert_eq!(meter.marks.len(), MAX_MARKS);
        meter.lost(10_000 * MTU);
        assert_eq!(meter.in_flight, 0);
    }
}

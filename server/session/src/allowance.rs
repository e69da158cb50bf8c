//! How many bytes a frame may have: as many as the way to the terminal carries without a queue.
//!
//! What has changed goes out in pieces, paced at the rate that was measured; what does not fit
//! stays dirty, and goes later with its newest pixels. So a key's answer never waits behind a
//! photograph.
//!
//! ```text
//!            the rate has not grown for three rounds        no more than the way holds is under way
//!   Growing ────────────────────────────────────────► Draining ──────────────────────────► Cruising
//!   (twice the rate)                                  (half of it)       (the rate; a round in eight
//!                                                                         more, and one less)
//! ```
//!
//! The method is that of BBR (draft-ietf-ccwg-bbr), on frames in place of packets, without its
//! reaction to loss, which is left to QUIC.

use std::time::{Duration, Instant};

use heliostat_link::Path;

/// Less than this is not worth a frame.
pub const SMALLEST: u64 = 2 << 10;
/// What may leave at once after a pause: a frame's time.
const BURST: Duration = Duration::from_millis(16);
/// At most so much is under way above twice what the way holds.
const SPARE: Duration = Duration::from_millis(30);
/// And so much in all, however fast the way has been: it may not be so any more.
const MOST_UNDER_WAY: u64 = 512 << 10;
/// A way that carries so many bytes a second is wide, as those inside a house are.
const WIDE: f64 = 25e6;
/// What a wide way carries in this time may leave at once and be under way: a photograph that fills
/// a screen goes as one, whose pieces would else wait for each other to be acknowledged. An answer
/// to input overtakes it.
const BURST_ON_WIDE_WAYS: Duration = Duration::from_millis(40);
/// But no more than this.
const MOST_ON_WIDE_WAYS: u64 = 2 << 20;
/// What answers took beyond the pace is paid off in this time: what is really under way holds frames
/// back by itself.
const LONGEST_DEBT: Duration = Duration::from_millis(250);
/// A way of which little is known may well carry so many times more.
const HOPE: f64 = 4.0;
/// A way of which little is known is taken to carry this much in a round trip.
const FIRST_ROUND: u64 = 14 << 10;
/// No round is shorter.
const SHORTEST_ROUND: Duration = Duration::from_millis(25);
/// A rate that has grown by less in a round has not grown.
const GROWTH: f64 = 1.25;
/// Rounds without growth after which the rate is known.
const FLAT_ROUNDS: u32 = 3;
/// Multiples of the rate, a round each.
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];

/// The multiple where the round trip shows a queue: the best rate of late is a little more than the
/// way's, so that at just that rate a queue would never empty.
const EMPTYING: f64 = 0.75;
/// The multiple while somebody is at work, whose next answer is to find no queue. It is of the best
/// rate of late, which counts what frames do not: headers, and what is sent again.
const LEAVING_ROOM: f64 = 0.85;
/// A round trip longer than the shortest by an eighth and this much has a queue in it.
const SURE_QUEUE: Duration = Duration::from_millis(10);

/// The pace towards one terminal.
#[derive(Debug, Clone)]
pub struct Allowance {
    /// Bytes of frames sent.
    sent: u64,
    /// Bytes that may leave now.
    tokens: f64,
    filled: Option<Instant>,
    state: State,
    round: Option<Instant>,
    /// Whether frames were cut short in this round: else it says nothing about the way.
    was_short: bool,
    leaves_room: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Growing { rate: f64, flat: u32 },
    Draining,
    Cruising { phase: usize },
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            sent: 0,
            tokens: 0.0,
            filled: None,
            state: State::Growing { rate: 0.0, flat: 0 },
            round: None,
            was_short: false,
            leaves_room: false,
        }
    }
}

impl Allowance {
    /// Bytes that the next frame may have, when so many bytes of the frames have been `delivered`;
    /// nothing where it had better wait.
    pub fn bytes(&mut self, path: &Path, delivered: u64, now: Instant) -> Option<u64> {
        let under_way = self.sent.saturating_sub(delivered);
        let way = Way::of(path, matches!(self.state, State::Growing { .. }));
        self.advance(&way, under_way, now);
        let pace = way.rate * self.gain(&way);
        let (burst, spare, most) = match way.rate >= WIDE {
            true => {
                let most = (way.rate * BURST_ON_WIDE_WAYS.as_secs_f64()) as u64;
                let most = most.clamp(MOST_UNDER_WAY, MOST_ON_WIDE_WAYS);
                (BURST_ON_WIDE_WAYS, BURST_ON_WIDE_WAYS, most)
            }
            false => (BURST, SPARE, MOST_UNDER_WAY),
        };
        let full = (pace * burst.as_secs_f64()).max(2.0 * SMALLEST as f64);
        let since = self.filled.replace(now).map(|filled| now - filled);
        let new = since.map_or(full, |since| pace * since.as_secs_f64());
        let least = -pace * LONGEST_DEBT.as_secs_f64();
        self.tokens = (self.tokens + new).max(least).min(full);
        let holds = way.rate * (way.rtt * 2 + spare).as_secs_f64();
        let holds = (holds as u64).clamp(2 * SMALLEST, most);
        let left = holds
            .saturating_sub(under_way)
            .min(self.tokens.max(0.0) as u64);
        Some(left).filter(|left| *left >= SMALLEST)
    }

    /// A frame of so many bytes was sent.
    pub fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
        self.tokens -= bytes as f64;
    }

    /// Bytes a second that the way carries, by what is known: where that is little, some times as
    /// much as it has been seen to carry.
    pub fn rate(&self, path: &Path) -> f64 {
        let is_growing = matches!(self.state, State::Growing { .. });
        Way::of(path, is_growing).rate * if is_growing { HOPE } else { 1.0 }
    }

    /// A frame that was sent had other bytes than were `expected` then.
    pub fn correct(&mut self, expected: u64, bytes: u64) {
        self.sent = (self.sent + bytes).saturating_sub(expected);
        self.tokens += expected as f64 - bytes as f64;
    }

    /// There was more to send than was allowed.
    pub fn fell_short(&mut self) {
        self.was_short = true;
    }

    /// Whether the way is to be left free for what comes next, rather than filled.
    pub fn leave_room(&mut self, leave: bool) {
        self.leaves_room = leave;
    }

    fn gain(&self, way: &Way) -> f64 {
        match self.state {
            State::Growing { .. } => 2.0,
            State::Draining => 0.5,
            State::Cruising { .. } if way.queued => EMPTYING,
            State::Cruising { phase } if self.leaves_room => CYCLE[phase].min(LEAVING_ROOM),
            State::Cruising { phase } => CYCLE[phase],
        }
    }

    fn advance(&mut self, way: &Way, under_way: u64, now: Instant) {
        let held = way.rate * (way.rtt + BURST / 2).as_secs_f64();
        if matches!(self.state, State::Draining) && under_way as f64 <= held {
            self.state = State::Cruising { phase: 2 };
        }
        let round = *self.round.get_or_insert(now);
        if now.saturating_duration_since(round) < way.rtt.max(SHORTEST_ROUND) {
            return;
        }
        self.round = Some(now);
        let was_short = std::mem::take(&mut self.was_short);
        match &mut self.state {
            State::Growing { rate, .. } if way.rate >= *rate * GROWTH => {
                self.state = State::Growing {
                    rate: way.rate,
                    flat: 0,
                };
            }
            State::Growing { flat, .. } if was_short => {
                *flat += 1;
                if *flat == FLAT_ROUNDS {
                    self.state = State::Draining;
                }
            }
            State::Growing { .. } | State::Draining => {}
            State::Cruising { phase } => *phase = (*phase + 1) % CYCLE.len(),
        }
    }
}

/// What is known or assumed of the way.
struct Way {
    rate: f64,
    rtt: Duration,
    /// The round trip is longer than it need be.
    queued: bool,
}

impl Way {
    fn of(path: &Path, growing: bool) -> Self {
        let rtt = path.min_rtt.unwrap_or(Duration::from_millis(50));
        let known = path.rate.unwrap_or_default() as f64;
        let least = FIRST_ROUND as f64 / rtt.max(Duration::from_millis(1)).as_secs_f64();
        Self {
            rate: if growing {
                known.max(least)
            } else {
                known.max(1000.0)
            },
            rtt,
            queued: path.rtt.is_some_and(|now| now > rtt + rtt / 8 + SURE_QUEUE),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A way with a queue without end, and a meter that is always right about it once it was full.
    struct Link {
        rate: f64,
        rtt: Duration,
        busy_until: Instant,
        arriving: VecDeque<(Instant, Instant, u64)>,
        delivered: u64,
        measured: f64,
    }

    impl Link {
        fn send(&mut self, now: Instant, bytes: u64) {
            self.busy_until =
                self.busy_until.max(now) + Duration::from_secs_f64(bytes as f64 / self.rate);
            self.arriving
                .push_back((now, self.busy_until + self.rtt, bytes));
        }

        /// How long each frame took that was acknowledged by now.
        fn acknowledge(&mut self, now: Instant) -> Vec<Duration> {
            let mut took = Vec::new();
            while let Some((sent, at, bytes)) = self.arriving.front().copied() {
                if at > now {
                    break;
                }
                self.arriving.pop_front();
                self.delivered += bytes;
                let under_way: u64 = self.arriving.iter().map(|(.., bytes)| bytes).sum();
                let rate = (under_way + bytes) as f64 / (at - sent).as_secs_f64();
                self.measured = self.measured.max(rate.min(self.rate));
                took.push(at - sent);
            }
            took
        }

        fn path(&self) -> Path {
            Path {
                rate: Some(self.measured as u64).filter(|rate| *rate > 0),
                min_rtt: Some(self.rtt),
                rtt: None,
            }
        }
    }

    /// A session with no end of pixels to send; what was carried in the last second, and how long
    /// its frames took, sorted.
    fn saturated(rate: f64, rtt_ms: u64) -> (f64, Vec<Duration>, Link) {
        saturated_by(Allowance::default(), rate, rtt_ms)
    }

    fn saturated_by(
        mut allowance: Allowance,
        rate: f64,
        rtt_ms: u64,
    ) -> (f64, Vec<Duration>, Link) {
        let start = Instant::now();
        let mut link = Link {
            rate,
            rtt: Duration::from_millis(rtt_ms),
            busy_until: start,
            arriving: VecDeque::new(),
            delivered: 0,
            measured: 0.0,
        };
        let (mut took, mut before) = (Vec::new(), 0);
        for step in 0..6000 {
            let now = start + Duration::from_millis(step);
            let arrived = link.acknowledge(now);
            if step >= 5000 {
                took.extend(arrived);
            } else {
                before = link.delivered;
            }
            if step % 4 == 0 {
                allowance.fell_short();
                if let Some(bytes) = allowance.bytes(&link.path(), link.delivered, now) {
                    allowance.sent(bytes);
                    link.send(now, bytes);
                }
            }
        }
        took.sort_unstable();
        ((link.delivered - before) as f64, took, link)
    }

    #[test]
    fn full_way_is_used_and_no_frame_waits_long() {
        for (rate, rtt) in [(250e3, 150), (625e3, 60), (2.5e6, 20), (12.5e6, 1)] {
            let (carried, took, link) = saturated(rate, rtt);
            assert!(carried > rate * 0.85, "{carried} of {rate}");
            let late = took[took.len() * 95 / 100];
            let most = link.rtt + link.rtt / 4 + Duration::from_millis(30);
            assert!(late < most, "{late:?} at {rate} bytes/s and {:?}", link.rtt);
        }
    }

    #[test]
    fn way_of_somebody_at_work_is_used_without_a_queue() {
        for (rate, rtt) in [(250e3, 150), (625e3, 60), (2.5e6, 20), (12.5e6, 1)] {
            let mut allowance = Allowance::default();
            allowance.leave_room(true);
            let (carried, took, link) = saturated_by(allowance, rate, rtt);
            assert!(carried > rate * 0.75, "{carried} of {rate}");
            // A piece takes its own time on the way.
            let late = took[took.len() * 95 / 100];
            let most = link.rtt + Duration::from_millis(12);
            assert!(late < most, "{late:?} at {rate} bytes/s and {:?}", link.rtt);
        }
    }

    #[test]
    fn fast_way_takes_a_large_part_of_a_picture_at_once() {
        let now = Instant::now();
        let path = Path {
            rate: Some(20_000_000),
            min_rtt: Some(Duration::from_micros(200)),
            rtt: None,
        };
        let bytes = Allowance::default().bytes(&path, 0, now);
        assert_eq!(bytes, Some(MOST_UNDER_WAY));
        let wide = Path {
            rate: Some(40_000_000),
            ..path
        };
        let bytes = Allowance::default().bytes(&wide, 0, now);
        assert_eq!(bytes, Some(1_600_000));
        let of_a_gigabit = Path {
            rate: Some(125_000_000),
            ..path
        };
        let bytes = Allowance::default().bytes(&of_a_gigabit, 0, now);
        assert_eq!(bytes, Some(MOST_ON_WIDE_WAYS));
    }

    #[test]
    fn way_that_becomes_narrow_in_mid_frame_is_not_flooded() {
        let now = Instant::now();
        let path = Path {
            rate: Some(1_000_000_000),
            min_rtt: Some(Duration::from_micros(200)),
            rtt: None,
        };
        let mut allowance = Allowance::default();
        for step in 0..1000 {
            let now = now + Duration::from_millis(step);
            if let Some(bytes) = allowance.bytes(&path, 0, now) {
                allowance.sent(bytes);
            }
        }
        assert!(allowance.sent <= MOST_ON_WIDE_WAYS, "{}", allowance.sent);
    }

    #[test]
    fn queue_is_emptied_even_where_the_rate_was_overrated() {
        let now = Instant::now();
        let path = |rtt| Path {
            rate: Some(1_000_000),
            min_rtt: Some(Duration::from_millis(100)),
            rtt: Some(Duration::from_millis(rtt)),
        };
        let mut allowance = Allowance {
            state: State::Cruising { phase: 2 },
            ..Allowance::default()
        };
        allowance.filled = Some(now);
        allowance.round = Some(now);
        let later = now + BURST;
        let free = allowance.clone().bytes(&path(105), 0, later).unwrap();
        let queued = allowance.bytes(&path(150), 0, later).unwrap();
        assert_eq!((free, queued), (16_000, 12_000));
    }

    #[test]
    fn what_answers_took_is_not_owed_for_long() {
        let mut now = Instant::now();
        let path = Path {
            rate: Some(250_000),
            min_rtt: Some(Duration::from_millis(150)),
            rtt: None,
        };
        let mut allowance = Allowance {
            state: State::Cruising { phase: 2 },
            ..Allowance::default()
        };
        // Answers fill the way for five minutes, and nothing asks the allowance.
        let mut delivered = 0;
        for _ in 0..30_000 {
            now += Duration::from_millis(10);
            allowance.bytes(&path, delivered, now);
            allowance.sent(3_000);
            delivered += 3_000;
        }
        let ends = now;
        while allowance.bytes(&path, delivered, now).is_none() {
            now += Duration::from_millis(10);
        }
        let waited = now - ends;
        assert!(waited < Duration::from_millis(400), "{waited:?}");
    }

    #[test]
    fn unknown_way_gets_a_first_round() {
        let bytes = Allowance::default().bytes(&Path::default(), 0, Instant::now());
        assert!(bytes.is_some_and(|bytes| bytes >= SMALLEST));
    }
}

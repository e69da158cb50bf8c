//! Congestion control: Cubic, and beside it a window of our own that does not take every lost packet
//! for a queue.
//!
//! ```text
//!   window = the larger one of Cubic's and of this many times what the way holds:
//!
//!                    round trip: no queue    a queue    a long one
//!   losses: Few                  2           1          0
//!           Many                 1           1          0
//!           TooMany              1/2         1/2        0
//!
//!        too many in a round        too many again
//!   Few ─────────────────────► Many ──────────────► TooMany
//!    ▲     a while without      │ ▲  a round without   │
//!    └──────────────────────────┘ └────────────────────┘
//! ```
//!
//! After a flood Cubic's window is cut to what the measured rate carries in a moment.
//!
//! A queue that overflows shows in the round trip before it does in losses; radio and bad cables
//! show in losses alone. What the way holds is measured ([`crate::path`]), so the window follows a
//! way that becomes narrow within some round trips.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

use crate::path::{LONG_QUEUE, Meter, Path};

/// Packets that may be under way on a way of which nothing is known: the initial window of RFC 9002.
const LEAST_PACKETS: u64 = 10;
/// However fast the way has been: it may not be so any more.
const MOST: u64 = 2 << 20;
/// A round trip longer than the shortest by a quarter and this much has a queue in it.
const SURE_QUEUE: Duration = Duration::from_millis(5);
/// After a flood no more is under way than this time of the measured rate, besides the way's own:
/// Cubic alone takes ten rounds from a gigabit's window to a megabit's.
const LONGEST_QUEUE: Duration = Duration::from_millis(200);
/// Of so many bytes one may be lost: radio loses fewer, a queue that we flood more.
const LOST_OF: u64 = 8;
/// How long a way that was flooded is not overfilled again.
const CAREFUL: Duration = Duration::from_secs(10);
/// Losses are judged over no fewer bytes than this, and no shorter a time than the next.
const LEAST_JUDGED: u64 = 64 << 10;
const SHORTEST_ROUND: Duration = Duration::from_millis(25);

/// What the round trip tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Queue {
    #[default]
    None,
    Some,
    Long,
}

/// What losses tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Losses {
    #[default]
    Few,
    Many {
        since: Instant,
    },
    TooMany,
}

/// The window that is patient with losses; pure.
#[derive(Debug, Clone, Default)]
struct Patience {
    queue: Queue,
    losses: Losses,
    acked: u64,
    lost: u64,
    since: Option<Instant>,
}

impl Patience {
    fn acked(&mut self, bytes: u64) {
        self.acked += bytes;
    }

    fn lost(&mut self, bytes: u64, everything: bool) {
        self.lost += bytes;
        if everything {
            // Nothing has passed for a while: what was measured is of another way.
            (self.losses, self.queue) = (Losses::TooMany, Queue::Long);
        }
    }

    /// A batch of acknowledgements is complete.
    fn end(&mut self, now: Instant, path: &Path, rtt: Duration) {
        let shortest = path.min_rtt.unwrap_or_default();
        self.queue = match rtt {
            rtt if rtt > shortest * 2 + LONG_QUEUE => Queue::Long,
            rtt if rtt > shortest + shortest / 4 + SURE_QUEUE => Queue::Some,
            _ => Queue::None,
        };
        let since = *self.since.get_or_insert(now);
        let round = now.saturating_duration_since(since);
        let judged = self.acked + self.lost;
        if round >= shortest.max(SHORTEST_ROUND) && judged >= LEAST_JUDGED {
            let flooded = self.lost > judged / LOST_OF;
            self.losses = match self.losses {
                Losses::Few if flooded => Losses::Many { since: now },
                Losses::Few => Losses::Few,
                _ if flooded => Losses::TooMany,
                Losses::TooMany => Losses::Many { since: now },
                Losses::Many { since } if now.saturating_duration_since(since) < CAREFUL => {
                    self.losses
                }
                Losses::Many { .. } => Losses::Few,
            };
            (self.acked, self.lost) = (0, 0);
            self.since = Some(now);
        }
    }

    fn window(&self, path: &Path, mtu: u64) -> u64 {
        let times = match (self.losses, self.queue) {
            (_, Queue::Long) => return 0,
            (Losses::TooMany, _) => 0.5,
            (Losses::Few, Queue::None) => 2.0,
            (Losses::Many { .. }, _) | (_, Queue::Some) => 1.0,
        };
        let (rate, rtt) = (path.rate, path.min_rtt);
        let holds = rate
            .zip(rtt)
            .map_or(0.0, |(rate, rtt)| rate as f64 * rtt.as_secs_f64());
        ((times * holds) as u64).clamp(LEAST_PACKETS * mtu, MOST)
    }

    /// What Cubic's window may not exceed.
    fn most(&self, path: &Path, mtu: u64) -> u64 {
        match (self.losses, path.rate, path.min_rtt) {
            (Losses::Few, ..) | (_, None, _) | (.., None) => u64::MAX,
            (_, Some(rate), Some(rtt)) => {
                let time = (rtt + LONGEST_QUEUE).as_secs_f64();
                ((rate as f64 * time) as u64).max(LEAST_PACKETS * mtu)
            }
        }
    }
}

/// What a controller has measured, in nanoseconds and bytes a second; nothing is zero. Whoever asks
/// for every frame asks here: the connection's own answer is a copy of the whole controller, made
/// while nothing else of the connection can happen.
#[derive(Debug, Default)]
struct Measured {
    rate: AtomicU64,
    min_rtt: AtomicU64,
    rtt: AtomicU64,
}

impl Measured {
    fn set(&self, path: &Path, rtt: Duration) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.rate
            .store(path.rate.unwrap_or_default(), Ordering::Relaxed);
        self.min_rtt
            .store(path.min_rtt.map_or(0, nanos), Ordering::Relaxed);
        self.rtt.store(nanos(rtt), Ordering::Relaxed);
    }

    fn get(&self) -> Path {
        let read = |value: &AtomicU64| Some(value.load(Ordering::Relaxed)).filter(|v| *v > 0);
        Path {
            rate: read(&self.rate),
            min_rtt: read(&self.min_rtt).map(Duration::from_nanos),
            rtt: read(&self.rtt).map(Duration::from_nanos),
        }
    }
}

/// Where the measurements of a connection's controller are found.
#[derive(Debug, Default)]
pub(crate) struct Meters(Mutex<Option<Arc<Measured>>>);

impl Meters {
    /// What the controller of `quic` has measured.
    pub(crate) fn path(&self, quic: &quinn::Connection) -> Path {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A peer that has moved is another way, with a controller of its own.
        let current = known
            .take()
            .filter(|measured| Arc::strong_count(measured) > 1);
        let current = current.or_else(|| Metered::measured(quic.congestion_state()));
        let path = current.as_ref().map_or(Path::default(), |it| it.get());
        *known = current;
        path
    }
}

/// Cubic with patience, and a meter of the way.
pub(crate) struct Metered {
    measured: Arc<Measured>,
    cubic: Box<dyn Controller>,
    meter: Meter,
    patience: Patience,
    rtt: Duration,
    mtu: u64,
}

/// Makes [`Metered`] ones.
pub(crate) struct MeteredCubic(pub(crate) Arc<CubicConfig>);

impl ControllerFactory for MeteredCubic {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Metered {
            measured: Arc::default(),
            cubic: self.0.clone().build(now, current_mtu),
            meter: Meter::default(),
            patience: Patience::default(),
            rtt: Duration::ZERO,
            mtu: u64::from(current_mtu),
        })
    }
}

impl Metered {
    fn measured(controller: Box<dyn Controller>) -> Option<Arc<Measured>> {
        let metered = controller.into_any().downcast::<Self>().ok()?;
        Some(metered.measured)
    }
}

impl Controller for Metered {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.meter.sent(now, bytes);
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.meter.acked(sent, bytes, rtt.min());
        self.patience.acked(bytes);
        self.rtt = rtt.get();
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.meter.end(now, in_flight);
        let path = self.meter.path();
        self.patience.end(now, &path, self.rtt);
        self.measured.set(&path, self.rtt);
        self.cubic
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.meter.lost(lost_bytes);
        self.patience.lost(lost_bytes, is_persistent_congestion);
        self.cubic
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = u64::from(new_mtu);
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        let path = self.meter.path();
        let most = self.patience.most(&path, self.mtu);
        let patient = self.patience.window(&path, self.mtu);
        self.cubic.window().min(most).max(patient)
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.cubic.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            measured: self.measured.clone(),
            cubic: self.cubic.clone_box(),
            meter: self.meter.clone(),
            patience: self.patience.clone(),
            rtt: self.rtt,
            mtu: self.mtu,
        })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Duration = Duration::from_millis(40);
    const MTU: u64 = 1200;

    fn path() -> Path {
        Path {
            rate: Some(2_500_000),
            min_rtt: Some(TRIP),
            rtt: None,
        }
    }

    /// A second of so many bytes a round, of which some are lost.
    fn second(patience: &mut Patience, now: &mut Instant, lost_in_100: u64, rtt: Duration) {
        for _ in 0..25 {
            *now += TRIP;
            patience.acked(1000 * (100 - lost_in_100));
            patience.lost(1000 * lost_in_100, false);
            patience.end(*now, &path(), rtt);
        }
    }

    #[test]
    fn losses_without_a_queue_leave_twice_what_the_way_holds() {
        let (mut patience, mut now) = (Patience::default(), Instant::now());
        for lost in [0, 1, 5, 10] {
            second(&mut patience, &mut now, lost, TRIP);
            assert_eq!(patience.window(&path(), MTU), 200_000);
        }
    }

    #[test]
    fn queue_is_drained_and_a_long_one_left_to_cubic() {
        let (mut patience, mut now) = (Patience::default(), Instant::now());
        for (trips, window) in [(2, 100_000), (4, 0), (1, 200_000)] {
            second(&mut patience, &mut now, 1, TRIP * trips);
            assert_eq!(patience.window(&path(), MTU), window);
        }
    }

    #[test]
    fn way_that_was_flooded_is_not_overfilled_for_a_while() {
        let (mut patience, mut now) = (Patience::default(), Instant::now());
        second(&mut patience, &mut now, 30, TRIP);
        assert_eq!(patience.window(&path(), MTU), 50_000);
        assert_eq!(patience.most(&path(), MTU), 600_000);
        second(&mut patience, &mut now, 1, TRIP);
        assert_eq!(patience.window(&path(), MTU), 100_000);
        for _ in 0..10 {
            second(&mut patience, &mut now, 1, TRIP);
        }
        assert_eq!(patience.window(&path(), MTU), 200_000);
        assert_eq!(patience.most(&path(), MTU), u64::MAX);
        patience.lost(1000, true);
        assert_eq!(patience.window(&path(), MTU), 0);
    }

    #[test]
    fn window_is_bounded_both_ways() {
        let patience = Patience::default();
        let least = patience.window(&Path::default(), MTU);
        assert_eq!(least, LEAST_PACKETS * MTU);
        let fast = Path {
            rate: Some(u64::MAX),
            min_rtt: Some(Duration::MAX),
            rtt: None,
        };
        assert_eq!(patience.window(&fast, MTU), MOST);
    }
}

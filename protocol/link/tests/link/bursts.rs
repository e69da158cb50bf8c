//! How long a burst of pixels takes: after a connect, after a pause, and where packets are lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use heliostat_link::{Connection, FrameReceiver, FrameSender};
use heliostat_wire::List;
use heliostat_wire::scene::FrameHeader;
use tokio::sync::Semaphore;

use crate::net::{Net, now, timed};
use crate::relay::Weather;
use crate::support::*;

/// Of a desk's network: 1 Gbit/s, and what its switch queues.
const GIGABIT: u64 = 125_000_000;
const SWITCH: u64 = 512 << 10;

/// One end that sends frames and one that receives them.
struct Way {
    net: Net,
    far: Connection,
    _near: Connection,
    sender: FrameSender,
    receiver: FrameReceiver,
    serial: u32,
}

impl Way {
    async fn new(weather: Weather) -> Self {
        let net = Net::new(weather);
        let (near, far) = net.connect().await;
        Self {
            net,
            sender: FrameSender::new(&far),
            receiver: FrameReceiver::new(&near),
            far,
            _near: near,
            serial: 0,
        }
    }

    /// How long a frame of so many bytes takes.
    async fn burst(&mut self, bytes: usize) -> Duration {
        self.serial += 1;
        let header = FrameHeader {
            serial: self.serial,
            last_input: 0,
            overtakes: 0,
            ops: List::default(),
        };
        let content = Bytes::from(vec![7; bytes]);
        let sending = self.sender.send(&header, content);
        let receiving = self.receiver.next();
        let (took, (sent, frame)) = timed(within(async { tokio::join!(sending, receiving) })).await;
        sent.unwrap();
        frame.unwrap();
        took
    }
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(start_paused = true)]
async fn bursts_on_a_desks_network() {
    for trip in [200, 1000, 5000, 20_000].map(Duration::from_micros) {
        for bytes in [150_000, 600_000, 2_000_000] {
            let (mut fresh, mut paused) = (Vec::new(), Vec::new());
            let (mut sent, mut overflowed) = (0, 0);
            for _ in 0..5 {
                let weather = Weather {
                    rate: Some(GIGABIT),
                    queue: Some(SWITCH),
                    ..Weather::far(trip)
                };
                let mut way = Way::new(weather).await;
                fresh.push(way.burst(bytes).await);
                tokio::time::sleep(Duration::from_secs(1)).await;
                paused.push(way.burst(bytes).await);
                let seen = &way.net.seen;
                overflowed += seen.overflowed.load(Ordering::SeqCst);
                sent += way.far.stats().sent_datagrams;
            }
            let wire = Duration::from_secs_f64(bytes as f64 / GIGABIT as f64) + trip / 2;
            let (fresh, paused) = (middle(fresh), middle(paused));
            eprintln!(
                "round trip {trip:?}, {bytes} bytes, at best {wire:?}: {fresh:?} after the connect, {paused:?} after a pause; {overflowed} of {sent} packets overflowed",
            );
            // Timers are as coarse as a millisecond.
            let tick = Duration::from_millis(1);
            assert!(fresh <= wire + 3 * trip + 4 * tick, "{fresh:?}");
            assert!(paused <= wire + trip + 2 * tick, "{paused:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_passes_where_a_gigabit_becomes_a_megabit_in_mid_frame() {
    let wide = Weather {
        rate: Some(GIGABIT),
        queue: Some(SWITCH),
        ..Weather::far(Duration::from_millis(1))
    };
    let net = Net::new(wide);
    let ((near, mut near_main), (far, mut far_main)) = net.connect_main().await;
    let mut sender = FrameSender::new(&far);
    let sending = tokio::spawn(async move {
        let header = FrameHeader {
            serial: 1,
            last_input: 0,
            overtakes: 0,
            ops: List::default(),
        };
        let content = Bytes::from(vec![7; 2_000_000]);
        sender.send(&header, content).await
    });
    let mut receiver = FrameReceiver::new(&near);
    let receiving = tokio::spawn(async move { receiver.next().await });
    within(async {
        while net.seen.down.load(Ordering::SeqCst) < 300_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let narrow = 125_000;
    net.change(Weather {
        rate: Some(narrow),
        queue: Some(64 << 10),
        ..wide
    });
    let asked = now();
    near_main.send(&"key".to_owned()).await.unwrap();
    within(far_main.recv()).await.unwrap();
    far_main.send(&"answer".to_owned()).await.unwrap();
    within(near_main.recv()).await.unwrap();
    let took = now() - asked;
    eprintln!("an answer beside a frame of 2 MB on a way that has become narrow: {took:?}");
    // The frame alone takes the narrow way up to 13 s.
    assert!(took < Duration::from_secs(5), "{took:?}");
    sending.abort();
    receiving.abort();
}

/// Pixels without end for a while, a frame of 20 ms after the other; the share of the rate that was
/// carried after the first three seconds.
async fn fill(weather: Weather, seconds: u64) -> f64 {
    let rate = weather.rate.expect("a rate");
    let frame = (rate / 50) as usize;
    let Way {
        net,
        far,
        _near,
        mut sender,
        mut receiver,
        ..
    } = Way::new(weather).await;
    // As many as a session has under way.
    let credit = Arc::new(Semaphore::new(30));
    let taken = credit.clone();
    let sending = tokio::spawn(async move {
        for serial in 1.. {
            taken.acquire().await.unwrap().forget();
            let header = FrameHeader {
                serial,
                last_input: 0,
                overtakes: 0,
                ops: List::default(),
            };
            let content = Bytes::from(vec![7; frame]);
            if sender.send(&header, content).await.is_err() {
                return;
            }
        }
    });
    let (begun, first) = (now(), Duration::from_secs(3));
    let mut carried = 0;
    while (now() - begun) < Duration::from_secs(seconds) {
        let frame = within(receiver.next()).await.unwrap();
        credit.add_permits(1);
        if (now() - begun) > first {
            carried += frame.content.len();
        }
    }
    let share = carried as f64 / ((now() - begun) - first).as_secs_f64() / rate as f64;
    sending.abort();
    let stats = far.stats();
    let overflowed = &net.seen.overflowed;
    eprintln!(
        "{rate} bytes/s, {:?} each way, a queue of {:?}, {} in 1000 lost: {:.0} % carried; {} of {} packets overflowed; window {}, round trip {:?}, {:?}",
        weather.delay.0,
        weather.queue,
        weather.loss,
        share * 100.0,
        overflowed.load(Ordering::SeqCst),
        stats.sent_datagrams,
        stats.congestion_window,
        stats.rtt,
        far.path(),
    );
    share
}

#[tokio::test(start_paused = true)]
async fn ways_that_lose_packets_are_filled() {
    for (rate, trip, queue_ms, loss) in [
        (2_500_000, 40, 100, 0),
        (2_500_000, 40, 100, 10),
        (2_500_000, 40, 100, 50),
        (2_500_000, 40, 8, 0),
        (2_500_000, 40, 8, 10),
        (625_000, 150, 100, 10),
        (625_000, 150, 100, 50),
        (12_500_000, 20, 20, 10),
    ] {
        let weather = Weather {
            loss,
            rate: Some(rate),
            queue: Some(rate * queue_ms / 1000),
            ..Weather::far(Duration::from_millis(trip))
        };
        let carried = fill(weather, 9).await;
        // Cubic alone carries a tenth where one packet in a hundred is lost.
        assert!(carried > 0.75, "{carried}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_the_way_outlasts_an_hour_of_input() {
    let net = Net::new(Weather {
        rate: Some(2_500_000),
        ..Weather::far(Duration::from_millis(2))
    });
    let ((_near, mut near_main), (far, mut far_main)) = net.connect_main().await;
    for _ in 0..8 {
        within(far_main.send(&"x".repeat(300_000))).await.unwrap();
        within(near_main.recv()).await.unwrap();
    }
    let before = far.path().rate.unwrap();
    assert!(before > 1_500_000, "{before}");
    // As many packets as a mouse makes in some minutes: the server has nothing to say to them, and
    // acknowledges them by packets that nobody acknowledges.
    for _ in 0..8000 {
        within(near_main.send(&"moved".to_owned())).await.unwrap();
        within(far_main.recv()).await.unwrap();
    }
    // Then letters, each when the one before was seen.
    let begun = now();
    while (now() - begun) < Duration::from_secs(1) {
        within(far_main.send(&"a".repeat(400))).await.unwrap();
        within(near_main.recv()).await.unwrap();
        within(near_main.send(&"b".to_owned())).await.unwrap();
        within(far_main.recv()).await.unwrap();
    }
    let after = far.path().rate.unwrap();
    assert!(after >= before / 10 * 9, "{before}, then {after}");
}

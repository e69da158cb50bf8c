//! Typing over a way that loses packets.

use std::time::Duration;

use bytes::Bytes;
use heliostat_link::{Connection, FrameReceiver, FrameSender, LinkError, Receiver, Sender};
use heliostat_wire::List;
use heliostat_wire::scene::FrameHeader;

use crate::net::{Net, now};
use crate::relay::Weather;

/// Between keys: a good typist's.
const GAP: Duration = Duration::from_millis(120);
/// Bytes of what a typed letter changes.
const LETTER: usize = 300;

/// What a person at the terminal waits for: the answers to keys, sorted, and what was sent.
struct Typed {
    waits: Vec<Duration>,
    sent: (u64, u64),
}

impl Typed {
    fn percentile(&self, percent: usize) -> Duration {
        self.waits[(self.waits.len() - 1) * percent / 100]
    }

    fn tell(&self, what: &str) {
        let (packets, bytes) = self.sent;
        let keys = self.waits.len() as u64;
        eprintln!(
            "{what}: p50 {:?}, p95 {:?}, p99 {:?}, most {:?} of {keys} keys; {} packets and {} bytes a key",
            self.percentile(50),
            self.percentile(95),
            self.percentile(99),
            self.percentile(100),
            packets / keys,
            bytes / keys,
        );
    }
}

/// A session that answers each message but acknowledgements with a small frame.
async fn answer(far: Connection, mut heard: Receiver<String>) -> Result<(), LinkError> {
    let mut frames = FrameSender::new(&far);
    let mut serial = 0;
    loop {
        let message = heard.recv().await?;
        if message.starts_with("key") {
            serial += 1;
            let header = FrameHeader {
                serial,
                last_input: serial,
                overtakes: 0,
                ops: List::default(),
            };
            let content = Bytes::from(vec![serial as u8; LETTER]);
            frames.send(&header, content).await?;
        }
    }
}

/// Types `keys` keys on one link, the first `unmeasured` of which only show how the way is.
async fn type_on(
    mut sender: Sender<String>,
    near: &Connection,
    net: &Net,
    (unmeasured, keys): (usize, usize),
) -> Typed {
    let mut frames = FrameReceiver::new(near);
    let mut pressed = Vec::new();
    let mut waits = Vec::new();
    let mut before = (0, 0);
    let mut next = now();
    while waits.len() < unmeasured + keys {
        tokio::select! {
            () = tokio::time::sleep_until(next.into()), if pressed.len() < unmeasured + keys => {
                if pressed.len() == unmeasured {
                    before = net.on_the_wire();
                }
                next += GAP;
                pressed.push(now());
                sender.send(&format!("key {:6}", pressed.len())).await.unwrap();
            }
            frame = frames.next() => {
                let frame = frame.unwrap();
                let serial = frame.header.serial as usize;
                assert_eq!(serial, waits.len() + 1);
                assert_eq!(frame.content, vec![serial as u8; LETTER]);
                waits.push(now() - pressed[serial - 1]);
                sender.send(&"shown".to_owned()).await.unwrap();
            }
        }
    }
    let after = net.on_the_wire();
    waits.drain(..unmeasured);
    Typed {
        waits,
        sent: (after.0 - before.0, after.1 - before.1),
    }
}

/// The same on several links at once, each with a die of its own.
async fn typing(weather: Weather, links: u64, keys: (usize, usize)) -> Typed {
    let typists = (1..=links).map(|link| {
        tokio::spawn(async move {
            let weather = Weather {
                seed: weather.seed * 1000 + link,
                ..weather
            };
            let net = Net::new(weather);
            let ((near, near_main), (far, far_main)) = net.connect_main().await;
            let session = tokio::spawn(answer(far, far_main.split().1));
            let (sender, _hears) = near_main.split();
            let typed = type_on(sender, &near, &net, keys).await;
            session.abort();
            typed
        })
    });
    let typists: Vec<_> = typists.collect();
    let mut all = Typed {
        waits: Vec::new(),
        sent: (0, 0),
    };
    for typist in typists {
        let typed = typist.await.unwrap();
        all.waits.extend(typed.waits);
        all.sent.0 += typed.sent.0;
        all.sent.1 += typed.sent.1;
    }
    all.waits.sort_unstable();
    all
}

#[tokio::test(start_paused = true)]
async fn typing_hardly_feels_that_packets_are_lost() {
    let trip = Duration::from_millis(150);
    let weather = Weather {
        loss: 50,
        ..Weather::far(trip)
    };
    let typed = typing(weather, 12, (40, 60)).await;
    typed.tell("a round trip of 150 ms, one packet in 20 lost each way");
    // Where what is lost waits for a retransmission it is 390 ms.
    let late = typed.percentile(95);
    assert!(late < trip + Duration::from_millis(100), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_twice_where_nothing_is_lost() {
    let weather = Weather::far(Duration::from_millis(50));
    let typed = typing(weather, 4, (10, 20)).await;
    typed.tell("a round trip of 50 ms without losses");
    let (packets, bytes) = typed.sent;
    let keys = typed.waits.len() as u64;
    // A key, its answer, the word that it was shown, and acknowledgements.
    assert!(packets <= keys * 6, "{packets} packets");
    assert!(bytes <= keys * 700, "{bytes} bytes");
}

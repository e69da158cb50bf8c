//! The keys whose answers wait for a retransmission, typed as one types who waits for each letter.

use std::time::Duration;

use bytes::Bytes;
use heliostat_link::{Connection, FrameReceiver, FrameSender, LinkError, Receiver};
use heliostat_wire::List;
use heliostat_wire::scene::FrameHeader;

use crate::net::{Net, now, timed};
use crate::relay::Weather;
use crate::support::within;

/// Bytes of the picture that an attach begins with.
const PICTURE: usize = 60_000;
/// Bytes of what a typed letter changes.
const LETTER: usize = 100;
const KEYS: usize = 100;
const TRIP: Duration = Duration::from_millis(150);
/// Bytes of a packet with no more than a message and an acknowledgement: copies carry what was said
/// before as well.
const COPY: usize = 100;
async fn send(frames: &mut FrameSender, serial: u32, bytes: usize) -> Result<(), LinkError> {
    let header = FrameHeader {
        serial,
        last_input: serial,
        overtakes: 0,
        ops: List::default(),
    };
    let content = Bytes::from(vec![serial as u8; bytes]);
    frames.send(&header, content).await.map(drop)
}

/// A session that shows a picture, and answers each key with a small frame.
async fn answer(
    far: Connection,
    mut heard: Receiver<String>,
    (picture, letter): (usize, usize),
) -> Result<(), LinkError> {
    let mut frames = FrameSender::new(&far);
    send(&mut frames, 1, picture).await?;
    let mut serial = 1;
    loop {
        if heard.recv().await?.starts_with("key") {
            serial += 1;
            send(&mut frames, serial, letter).await?;
        }
    }
}

#[derive(Debug, Default)]
struct Typed {
    waits: Vec<Duration>,
    bytes: u64,
}

impl Typed {
    /// Keys that took another three quarters of a round trip: a retransmission, which takes more.
    fn late(&self) -> usize {
        let is_late = |wait: &&Duration| **wait > TRIP * 7 / 4;
        self.waits.iter().filter(is_late).count()
    }
}

/// Types from the first key on, on a link of its own.
async fn type_on(weather: Weather) -> Typed {
    let net = Net::new(weather);
    let ((near, near_main), (far, far_main)) = net.connect_main().await;
    let session = tokio::spawn(answer(far, far_main.split().1, (PICTURE, LETTER)));
    let (mut sender, _hears) = near_main.split();
    let mut frames = FrameReceiver::new(&near);
    frames.next().await.unwrap();
    sender.send(&"shown".to_owned()).await.unwrap();
    let mut typed = Typed::default();
    let before = net.on_the_wire().1;
    for number in 0..KEYS {
        let pause = Duration::from_millis(20 + number as u64 * 7 % 23);
        tokio::time::sleep(pause).await;
        let (took, ()) = timed(async {
            sender.send(&format!("key {number:6}")).await.unwrap();
            frames.next().await.unwrap();
        })
        .await;
        typed.waits.push(took);
        sender.send(&"shown".to_owned()).await.unwrap();
    }
    typed.bytes = net.on_the_wire().1 - before;
    session.abort();
    typed
}

#[tokio::test(start_paused = true)]
async fn hardly_any_key_waits_for_a_retransmission() {
    let links = (1..=24).map(|seed| {
        let weather = Weather {
            seed: seed * 7919,
            loss: 50,
            rate: Some(250_000),
            ..Weather::far(TRIP)
        };
        tokio::spawn(type_on(weather))
    });
    let links: Vec<_> = links.collect();
    let mut all = Typed::default();
    for link in links {
        let typed = link.await.unwrap();
        all.waits.extend(typed.waits);
        all.bytes += typed.bytes;
    }
    all.waits.sort_unstable();
    let (keys, late) = (all.waits.len(), all.late());
    let after = |percent: usize| all.waits[(keys - 1) * percent / 100];
    eprintln!(
        "{late} of {keys} keys wait for a retransmission; p50 {:?}, p95 {:?}, p99 {:?}, most {:?}; {} bytes a key",
        after(50),
        after(95),
        after(99),
        after(100),
        all.bytes / keys as u64,
    );
    // With one copy of each, and none before a loss of one's own, it is one in a hundred.
    assert!(late * 200 <= keys, "{late} of {keys}");
}

#[tokio::test(start_paused = true)]
async fn a_terminal_sends_copies_when_the_server_does() {
    let net = Net::new(Weather::far(Duration::from_millis(2)));
    let ((near, near_main), (far, far_main)) = net.connect_main().await;
    // Answers do not pass, and keys do.
    net.narrow(600);
    let session = tokio::spawn(answer(far.clone(), far_main.split().1, (700, 700)));
    let (mut sender, _hears) = near_main.split();
    let mut frames = FrameReceiver::new(&near);
    within(async {
        while far.stats().lost_packets == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        net.narrow(usize::MAX);
        frames.next().await.unwrap();
        let since = now();
        while net.seen.largest_up(since) < COPY {
            sender.send(&"key".to_owned()).await.unwrap();
            frames.next().await.unwrap();
        }
    })
    .await;
    assert_eq!(near.stats().lost_packets, 0);
    session.abort();
}

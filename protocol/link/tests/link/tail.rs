//! The keys whose answers wait for a retransmission, typed as one types who waits for each letter.

use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_link::{Connection, FrameReceiver, FrameSender, LinkError, Receiver};
use heliostat_wire::List;
use heliostat_wire::scene::FrameHeader;

use crate::relay::{Relay, Weather};
use crate::support::*;

/// Bytes of the picture that an attach begins with.
const PICTURE: usize = 60_000;
/// Bytes of what a typed letter changes.
const LETTER: usize = 100;
const KEYS: usize = 100;
const TRIP: Duration = Duration::from_millis(150);
/// Bytes of a packet with no more than a message and an acknowledgement: copies carry what was said
/// before as well.
const COPY: usize = 100;
/// Keys that are typed on a link until enough of them are counted.
const MOST_KEYS: usize = 3 * KEYS;
/// Often enough to see this thread stand still.
const LOOK: Duration = Duration::from_millis(5);
/// This thread was so much too late while a key was answered, which then says nothing of the link:
/// less than what makes a key late.
const STALL: Duration = Duration::from_millis(30);

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
    keys: usize,
    /// Of those that count.
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

/// Types from the first key on, on a link of its own; leaves out what was typed while this thread
/// stood still, which is that of both ends and of the relay between them.
async fn type_on(weather: Weather) -> Typed {
    let key = identity();
    let server = server(&key);
    let relay = Relay::start_here(server.local_addr().unwrap(), weather);
    let ((near, near_main), (far, far_main)) =
        within(connect_main(&server, relay.address, &key)).await;
    let session = tokio::spawn(answer(far, far_main.split().1, (PICTURE, LETTER)));
    let (mut sender, _hears) = near_main.split();
    let mut frames = FrameReceiver::new(&near);
    frames.next().await.unwrap();
    sender.send(&"shown".to_owned()).await.unwrap();
    let mut typed = Typed::default();
    let before = relay.on_the_wire().1;
    while typed.waits.len() < KEYS && typed.keys < MOST_KEYS {
        let number = typed.keys;
        typed.keys += 1;
        let pause = Duration::from_millis(20 + number as u64 * 7 % 23);
        tokio::time::sleep(pause).await;
        let (took, stood_still) = watched(async {
            sender.send(&format!("key {number:6}")).await.unwrap();
            frames.next().await.unwrap();
        })
        .await;
        if !stood_still {
            typed.waits.push(took);
        }
        sender.send(&"shown".to_owned()).await.unwrap();
    }
    typed.bytes = relay.on_the_wire().1 - before;
    session.abort();
    typed
}

/// How long this takes, and whether this thread was late for so long in the meantime that it does
/// not count. Looks at the clock before anything else when the thread runs again.
async fn watched(what: impl Future<Output = ()>) -> (Duration, bool) {
    let began = Instant::now();
    let (mut looked, mut late) = (began, Duration::ZERO);
    let mut what = std::pin::pin!(what);
    loop {
        let done = tokio::select! {
            biased;
            () = tokio::time::sleep_until((looked + LOOK).into()) => false,
            () = what.as_mut() => true,
        };
        let now = Instant::now();
        // Timers are late by a millisecond or two as it is.
        late += (now - looked).saturating_sub(2 * LOOK);
        looked = now;
        if done {
            return (now - began, late > STALL);
        }
    }
}

#[tokio::test]
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
        all.keys += typed.keys;
        all.waits.extend(typed.waits);
        all.bytes += typed.bytes;
    }
    all.waits.sort_unstable();
    let (keys, late) = (all.waits.len(), all.late());
    assert!(keys > 0, "this machine stood still all the time");
    let after = |percent: usize| all.waits[(keys - 1) * percent / 100];
    eprintln!(
        "{late} of {keys} keys wait for a retransmission, {} not counted; p50 {:?}, p95 {:?}, p99 {:?}, most {:?}; {} bytes a key",
        all.keys - keys,
        after(50),
        after(95),
        after(99),
        after(100),
        all.bytes / all.keys as u64,
    );
    // With one copy of each, and none before a loss of one's own, it is one in a hundred.
    assert!(late * 200 <= keys, "{late} of {keys}");
}

#[tokio::test]
async fn a_terminal_sends_copies_when_the_server_does() {
    let key = identity();
    let server = server(&key);
    let relay = Relay::start(server.local_addr().unwrap(), Weather::FINE).await;
    let ((near, near_main), (far, far_main)) =
        within(connect_main(&server, relay.address, &key)).await;
    // Answers do not pass, and keys do.
    relay.narrow(600);
    let session = tokio::spawn(answer(far.clone(), far_main.split().1, (700, 700)));
    let (mut sender, _hears) = near_main.split();
    let mut frames = FrameReceiver::new(&near);
    within(async {
        while far.stats().lost_packets == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        relay.narrow(usize::MAX);
        frames.next().await.unwrap();
        let since = Instant::now();
        while relay.seen.largest_up(since) < COPY {
            sender.send(&"key".to_owned()).await.unwrap();
            frames.next().await.unwrap();
        }
    })
    .await;
    assert_eq!(near.stats().lost_packets, 0);
    session.abort();
}

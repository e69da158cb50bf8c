//! Links that break and come back, and what they cost while they are up.

use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_link::{
    Backoff, Carrier, CloseCode, Dialer, Ended, FrameReceiver, FrameSender, IDLE_TIMEOUT,
    KEEP_ALIVE, Link, LinkError,
};
use heliostat_wire::List;
use heliostat_wire::scene::FrameHeader;

use crate::relay::{Relay, Weather};
use crate::support::*;

over_both!(
    a_server_that_shuts_down_says_so,
    a_link_is_up_in_milliseconds_and_a_message_is_answered_in_less,
    frames_on_loopback_take_no_longer_than_their_bytes,
);

#[tokio::test]
async fn a_pulled_cable_ends_the_link_at_both_ends_and_a_new_one_comes_up_after() {
    let key = identity();
    let server = server(&key);
    let relay = Relay::start(server.local_addr().unwrap(), Weather::FINE).await;
    let ((near, _a), (far, _b)) = within(connect_main(&server, relay.address, &key)).await;
    relay.cut(true);
    let cut = Instant::now();
    let (near_end, far_end) = within(async { tokio::join!(near.closed(), far.closed()) }).await;
    assert_eq!((near_end, far_end), (Ended::Silent, Ended::Silent));
    assert!(cut.elapsed() < IDLE_TIMEOUT + Duration::from_secs(4));
    relay.cut(false);
    within(connect_main(&server, relay.address, &key)).await;
}

#[tokio::test]
async fn a_short_break_is_survived_without_a_new_link() {
    let key = identity();
    let server = server(&key);
    let relay = Relay::start(server.local_addr().unwrap(), Weather::FINE).await;
    let ((near, mut near_main), (_far, mut far_main)) =
        within(connect_main(&server, relay.address, &key)).await;
    relay.cut(true);
    near_main.send(&"into the void".to_owned()).await.unwrap();
    // Two probes lost are proof enough that the cable was out.
    let before = relay.on_the_wire().0;
    within(async {
        while relay.on_the_wire().0 < before + 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    relay.cut(false);
    assert_eq!(within(far_main.recv()).await.unwrap(), "into the void");
    assert_eq!(near.ended(), None);
}

#[tokio::test]
async fn a_server_that_restarts_with_its_key_tells_its_former_peers_at_once() {
    let key = identity();
    let socket = socket();
    let address = socket.local_addr().unwrap();
    // The first life of the server dies without a word, as when killed.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let first_life = {
        let _inside = runtime.enter();
        listen(socket, &key)
    };
    let accepting = runtime.spawn({
        let server = first_life.clone();
        async move { server.accept().await.unwrap().complete().await.unwrap() }
    });
    let dialer = Dialer::new(identity());
    let near = within(dialer.dial(address, Link::Session, &[key.pin()]))
        .await
        .unwrap();
    let far = within(accepting).await.unwrap();
    let ending = move || runtime.shutdown_timeout(DEADLINE);
    tokio::task::spawn_blocking(ending).await.unwrap();
    drop((first_life, far));

    let second_life = rebind(address, &key).await;
    let died = Instant::now();
    let _: heliostat_link::Main<String, String> = near
        .open_main(Link::Session, &"anyone?".to_owned())
        .await
        .unwrap();
    assert_eq!(within(near.closed()).await, Ended::Forgotten);
    assert!(died.elapsed() < IDLE_TIMEOUT / 2);

    let mut backoff = Backoff::default();
    let (again, _) = within(async {
        tokio::join!(
            async {
                loop {
                    match dialer.dial(address, Link::Session, &[key.pin()]).await {
                        Ok(connection) => return connection,
                        Err(_) => {
                            let when = backoff.failed(Instant::now(), 0);
                            tokio::time::sleep_until(when.into()).await;
                        }
                    }
                }
            },
            async { second_life.accept().await.unwrap().complete().await },
        )
    })
    .await;
    assert_eq!(again.peer(), key.pin());
}

/// Binds an address that a dying server is about to give up.
async fn rebind(
    address: std::net::SocketAddr,
    key: &heliostat_link::Identity,
) -> std::sync::Arc<heliostat_link::Server> {
    within(async {
        loop {
            match std::net::UdpSocket::bind(address) {
                Ok(socket) => return listen(socket, key),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

async fn a_server_that_shuts_down_says_so(over: Carrier) {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let ((near, _a), _b) = within(connect_main_over(over, &server, address, &key)).await;
    within(server.shutdown(CloseCode::ShuttingDown)).await;
    let ended = within(near.closed()).await;
    assert!(matches!(
        ended,
        Ended::ByPeer {
            code: CloseCode::ShuttingDown,
            ..
        }
    ));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_given_up_in_time() {
    let nobody = socket();
    let dialer = Dialer::new(identity());
    let pins = [identity().pin()];
    let dialling = dialer.dial(nobody.local_addr().unwrap(), Link::Session, &pins);
    let error = within(dialling).await.unwrap_err();
    assert_eq!(error, LinkError::Ended(Ended::Silent));
}

/// A frame as a blinking cursor makes it, its acknowledgement, and what both cost on the wire.
#[tokio::test]
async fn a_small_frame_and_its_acknowledgement_fit_in_300_bytes_on_the_wire_and_are_not_delayed() {
    let key = identity();
    let server = server(&key);
    let relay = Relay::start(server.local_addr().unwrap(), Weather::FINE).await;
    let ((near, mut near_main), (far, mut far_main)) =
        within(connect_main(&server, relay.address, &key)).await;
    let mut sender = FrameSender::new(&far);
    let mut receiver = FrameReceiver::new(&near);
    let mut costs = Vec::new();
    let mut delays = Vec::new();
    // Path MTU discovery and new connection ids come first.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for serial in 1..=9 {
        let before = relay.on_the_wire().1;
        let sent = Instant::now();
        let header = FrameHeader {
            serial,
            last_input: 0,
            overtakes: 0,
            ops: List::default(),
        };
        let content = Bytes::from(vec![7; 60]);
        sender.send(&header, content).await.unwrap();
        assert_eq!(within(receiver.next()).await.unwrap().header.serial, serial);
        delays.push(sent.elapsed());
        // Eight bytes are what FrameShown takes with its length field.
        near_main.send(&"x".repeat(6)).await.unwrap();
        within(far_main.recv()).await.unwrap();
        // What is paid for a blink includes everything before the next.
        tokio::time::sleep(Duration::from_millis(100)).await;
        costs.push(relay.on_the_wire().1 - before);
    }
    costs.sort_unstable();
    delays.sort_unstable();
    eprintln!("bytes a blink: {costs:?}, one way: {delays:?}");
    assert!(costs[4] <= 300, "{costs:?}");
    assert!(delays[4] < Duration::from_millis(20), "{delays:?}");
}

#[tokio::test]
async fn a_terminal_that_moves_keeps_its_link() {
    let key = identity();
    let server = server(&key);
    let relay = Relay::start(server.local_addr().unwrap(), Weather::FINE).await;
    let ((near, mut near_main), (far, mut far_main)) =
        within(connect_main(&server, relay.address, &key)).await;
    for round in 0..3 {
        let before = far.remote_address();
        relay.move_terminal();
        let message = format!("from elsewhere {round}");
        near_main.send(&message).await.unwrap();
        assert_eq!(within(far_main.recv()).await.unwrap(), message);
        far_main.send(&message).await.unwrap();
        assert_eq!(within(near_main.recv()).await.unwrap(), message);
        assert_ne!(far.remote_address(), before);
    }
    assert_eq!((near.ended(), far.ended()), (None, None));
}

#[tokio::test]
async fn little_is_around_a_message_in_its_packet() {
    /// Bytes of a message with its length field.
    const MESSAGE: usize = 100;
    let key = identity();
    let server = server(&key);
    let relay = Relay::start(server.local_addr().unwrap(), Weather::FINE).await;
    let ((_near, mut near_main), (_far, mut far_main)) =
        within(connect_main(&server, relay.address, &key)).await;
    let message = "x".repeat(MESSAGE - 2);
    // What ends the handshake comes first.
    near_main.send(&message).await.unwrap();
    within(far_main.recv()).await.unwrap();
    far_main.send(&message).await.unwrap();
    within(near_main.recv()).await.unwrap();
    let since = Instant::now();
    // One direction after the other, so that there are packets without acknowledgements.
    for _ in 0..20 {
        near_main.send(&message).await.unwrap();
        within(far_main.recv()).await.unwrap();
    }
    for _ in 0..20 {
        far_main.send(&message).await.unwrap();
        within(near_main.recv()).await.unwrap();
    }
    let around = |to_server| relay.seen.smallest_around(MESSAGE, since, to_server) - MESSAGE;
    let (up, down) = (around(true), around(false));
    eprintln!("around a message: {up} bytes to the server, {down} to the terminal");
    // Flags, packet number and tag; kind, stream, place and length.
    let least = (1 + 1 + 16) + (1 + 1 + 2 + 2);
    // A server's connection ids, and a terminal's.
    assert!(up <= least + 4, "{up}");
    assert!(down <= least + 2, "{down}");
}

#[tokio::test]
async fn the_first_frame_of_an_attach_does_not_wait_for_more_than_two_round_trips() {
    let key = identity();
    let server = server(&key);
    let delay = Duration::from_millis(50);
    let weather = Weather {
        delay: (delay, delay),
        ..Weather::FINE
    };
    let relay = Relay::start(server.local_addr().unwrap(), weather).await;
    let (near, far) = within(connect(&server, relay.address, &key)).await;
    let mut sender = FrameSender::new(&far);
    let mut receiver = FrameReceiver::new(&near);
    let header = FrameHeader {
        serial: 1,
        last_input: 0,
        overtakes: 0,
        ops: List::default(),
    };
    let started = Instant::now();
    let content = Bytes::from(vec![7; 150_000]);
    sender.send(&header, content).await.unwrap();
    within(receiver.next()).await.unwrap();
    let took = started.elapsed();
    eprintln!("150 kB over a round trip of 100 ms: {took:?}");
    assert!(took < 4 * delay, "{took:?}");
}

#[tokio::test]
async fn an_idle_link_costs_one_probe_and_its_answer_every_two_seconds() {
    let key = identity();
    let server = server(&key);
    let relay = Relay::start(server.local_addr().unwrap(), Weather::FINE).await;
    let (_near, _far) = within(connect_main(&server, relay.address, &key)).await;
    // Path MTU discovery and new connection ids come first.
    tokio::time::sleep(KEEP_ALIVE).await;
    let (packets, bytes) = relay.on_the_wire();
    tokio::time::sleep(3 * KEEP_ALIVE).await;
    let (packets, bytes) = {
        let (later_packets, later_bytes) = relay.on_the_wire();
        (later_packets - packets, later_bytes - bytes)
    };
    eprintln!(
        "idle for {:?}: {packets} packets, {bytes} bytes",
        3 * KEEP_ALIVE
    );
    // Six, and some more where a busy machine answers late.
    assert!((4..=12).contains(&packets), "{packets}");
    assert!(bytes <= 12 * 64, "{bytes}");
}

/// What an attach and a key press cost of the link alone, on loopback.
async fn a_link_is_up_in_milliseconds_and_a_message_is_answered_in_less(over: Carrier) {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let mut up = Vec::new();
    for _ in 0..30 {
        let started = Instant::now();
        let ((near, mut near_main), (_far, mut far_main)) =
            within(connect_main_over(over, &server, address, &key)).await;
        far_main.send(&"attached".to_owned()).await.unwrap();
        within(near_main.recv()).await.unwrap();
        up.push(started.elapsed());
        near.close(CloseCode::Done, "");
    }
    let ((_near, mut near_main), (far, mut far_main)) =
        within(connect_main_over(over, &server, address, &key)).await;
    let mut answered = Vec::new();
    for _ in 0..500 {
        let started = Instant::now();
        near_main.send(&"key".to_owned()).await.unwrap();
        within(far_main.recv()).await.unwrap();
        far_main.send(&"seen".to_owned()).await.unwrap();
        within(near_main.recv()).await.unwrap();
        answered.push(started.elapsed());
    }
    up.sort_unstable();
    answered.sort_unstable();
    eprintln!(
        "link up: p50 {:?}, max {:?}; message and answer: p50 {:?}, p99 {:?}; {:?}",
        up[15],
        up[29],
        answered[250],
        answered[495],
        far.stats()
    );
    assert!(up[15] < Duration::from_millis(25), "{up:?}");
    assert!(answered[250] < Duration::from_millis(2), "{answered:?}");
}

/// Frames of any size that a person looks at arrive without waiting for anything.
async fn frames_on_loopback_take_no_longer_than_their_bytes(over: Carrier) {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let (near, far) = within(connect_over(over, &server, address, &key)).await;
    let mut sender = FrameSender::new(&far);
    let mut receiver = FrameReceiver::new(&near);
    let mut serial = 0;
    for (size, limit_ms) in [
        (60, 3),
        (1_500, 3),
        (20_000, 5),
        (150_000, 20),
        (2_000_000, 200),
    ] {
        let mut times = Vec::new();
        for _ in 0..20 {
            serial += 1;
            let header = FrameHeader {
                serial,
                last_input: 0,
                overtakes: 0,
                ops: List::default(),
            };
            let content = Bytes::from(vec![7; size]);
            let started = Instant::now();
            let sending = sender.send(&header, content);
            let (sent, frame) = within(async { tokio::join!(sending, receiver.next()) }).await;
            sent.unwrap();
            frame.unwrap();
            times.push(started.elapsed());
        }
        times.sort_unstable();
        eprintln!(
            "frame of {size} bytes: p50 {:?}, max {:?}",
            times[10], times[19]
        );
        assert!(
            times[10] < Duration::from_millis(limit_ms),
            "{size}: {times:?}"
        );
    }
}

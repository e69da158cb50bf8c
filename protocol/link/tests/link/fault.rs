//! Links that break and come back, and what they cost while they are up.

use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_link::{
    Backoff, Carrier, CloseCode, Dialer, Ended, FrameReceiver, FrameSender, IDLE_TIMEOUT,
    KEEP_ALIVE, Link, LinkError,
};
use heliostat_wire::List;
use heliostat_wire::scene::FrameHeader;

use crate::net::{Net, timed};
use crate::relay::{Relay, Weather};
use crate::support::*;

over_both!(a_server_that_shuts_down_says_so);

#[tokio::test(start_paused = true)]
async fn a_pulled_cable_ends_the_link_at_both_ends_and_a_new_one_comes_up_after() {
    let net = Net::new(Weather::FINE);
    let ((near, _a), (far, _b)) = net.connect_main().await;
    net.cut(true);
    let both = async { tokio::join!(near.closed(), far.closed()) };
    let (took, (near_end, far_end)) = timed(within(both)).await;
    assert_eq!((near_end, far_end), (Ended::Silent, Ended::Silent));
    assert!(took < IDLE_TIMEOUT + Duration::from_secs(4), "{took:?}");
    net.cut(false);
    net.connect_main().await;
}

#[tokio::test(start_paused = true)]
async fn a_short_break_is_survived_without_a_new_link() {
    let net = Net::new(Weather::FINE);
    let ((near, mut near_main), (_far, mut far_main)) = net.connect_main().await;
    net.cut(true);
    near_main.send(&"into the void".to_owned()).await.unwrap();
    // Two probes lost are proof enough that the cable was out.
    let before = net.on_the_wire().0;
    within(async {
        while net.on_the_wire().0 < before + 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    net.cut(false);
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
    let _: heliostat_link::Main<String, String> = near
        .open_main(Link::Session, &"anyone?".to_owned())
        .await
        .unwrap();
    assert_eq!(within(near.closed()).await, Ended::Forgotten);

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
#[tokio::test(start_paused = true)]
async fn a_small_frame_and_its_acknowledgement_fit_in_300_bytes_on_the_wire_and_are_not_delayed() {
    let net = Net::new(Weather::FINE);
    let ((near, mut near_main), (far, mut far_main)) = net.connect_main().await;
    let mut sender = FrameSender::new(&far);
    let mut receiver = FrameReceiver::new(&near);
    let mut costs = Vec::new();
    // Path MTU discovery and new connection ids come first.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for serial in 1..=9 {
        let before = net.on_the_wire().1;
        let (delay, ()) = timed(async {
            let content = Bytes::from(vec![7; 60]);
            sender.send(&header(serial), content).await.unwrap();
            let frame = within(receiver.next()).await.unwrap();
            assert_eq!(frame.header.serial, serial);
        })
        .await;
        assert_eq!(delay, Duration::ZERO);
        // Eight bytes are what FrameShown takes with its length field.
        near_main.send(&"x".repeat(6)).await.unwrap();
        within(far_main.recv()).await.unwrap();
        // What is paid for a blink includes everything before the next.
        tokio::time::sleep(Duration::from_millis(100)).await;
        costs.push(net.on_the_wire().1 - before);
    }
    eprintln!("bytes a blink: {costs:?}");
    assert!(costs.iter().all(|cost| *cost <= 300), "{costs:?}");
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

#[tokio::test(start_paused = true)]
async fn the_first_frame_of_an_attach_does_not_wait_for_more_than_two_round_trips() {
    let delay = Duration::from_millis(50);
    let net = Net::new(Weather::far(2 * delay));
    let (near, far) = net.connect().await;
    let mut sender = FrameSender::new(&far);
    let mut receiver = FrameReceiver::new(&near);
    let (took, ()) = timed(async {
        let content = Bytes::from(vec![7; 150_000]);
        sender.send(&header(1), content).await.unwrap();
        within(receiver.next()).await.unwrap();
    })
    .await;
    eprintln!("150 kB over a round trip of 100 ms: {took:?}");
    assert!(took < 4 * delay, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_costs_one_probe_and_its_answer_every_two_seconds() {
    let net = Net::new(Weather::FINE);
    let (_near, _far) = net.connect_main().await;
    // Path MTU discovery and new connection ids come first.
    tokio::time::sleep(KEEP_ALIVE).await;
    let (packets, bytes) = net.on_the_wire();
    tokio::time::sleep(3 * KEEP_ALIVE).await;
    let (packets, bytes) = {
        let (later_packets, later_bytes) = net.on_the_wire();
        (later_packets - packets, later_bytes - bytes)
    };
    eprintln!(
        "idle for {:?}: {packets} packets, {bytes} bytes",
        3 * KEEP_ALIVE
    );
    assert_eq!(packets, 6);
    assert!(bytes <= 6 * 64, "{bytes}");
}

/// What an attach and a key press are to the link alone, on a network that takes no time.
#[tokio::test(start_paused = true)]
async fn neither_a_link_nor_a_message_waits_for_anything_but_the_network() {
    let net = Net::new(Weather::FINE);
    for _ in 0..30 {
        let (took, ()) = timed(async {
            let ((near, mut near_main), (_far, mut far_main)) = net.connect_main().await;
            far_main.send(&"attached".to_owned()).await.unwrap();
            within(near_main.recv()).await.unwrap();
            near.close(CloseCode::Done, "");
        })
        .await;
        assert_eq!(took, Duration::ZERO);
    }
    let ((_near, mut near_main), (_far, mut far_main)) = net.connect_main().await;
    for _ in 0..500 {
        let (took, ()) = timed(async {
            near_main.send(&"key".to_owned()).await.unwrap();
            within(far_main.recv()).await.unwrap();
            far_main.send(&"seen".to_owned()).await.unwrap();
            within(near_main.recv()).await.unwrap();
        })
        .await;
        assert_eq!(took, Duration::ZERO);
    }
}

/// Frames of any size that a person looks at arrive without waiting for anything.
#[tokio::test(start_paused = true)]
async fn no_frame_waits_for_anything_but_the_network() {
    let net = Net::new(Weather::FINE);
    let (near, far) = net.connect().await;
    let mut sender = FrameSender::new(&far);
    let mut receiver = FrameReceiver::new(&near);
    let mut serial = 0;
    for size in [60, 1_500, 20_000, 150_000, 2_000_000] {
        for _ in 0..20 {
            serial += 1;
            let (header, content) = (header(serial), Bytes::from(vec![7; size]));
            let sending = sender.send(&header, content);
            let both = async { tokio::join!(sending, receiver.next()) };
            let (took, (sent, frame)) = timed(within(both)).await;
            sent.unwrap();
            frame.unwrap();
            assert_eq!(took, Duration::ZERO, "{size} bytes");
        }
    }
}

fn header(serial: u32) -> FrameHeader {
    FrameHeader {
        serial,
        last_input: 0,
        overtakes: 0,
        ops: List::default(),
    }
}

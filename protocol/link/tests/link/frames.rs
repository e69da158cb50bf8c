use bytes::Bytes;
use heliostat_link::{
    Carrier, Connection, Dialer, Frame, FrameReceiver, FrameSender, Link, LinkError,
};
use heliostat_wire::List;
use heliostat_wire::codec::encode_frame_header;
use heliostat_wire::scene::{FrameHeader, SceneOp};
use std::time::Duration;

use crate::relay::{Relay, Weather};
use crate::support::*;

fn header(serial: u32) -> FrameHeader {
    FrameHeader {
        serial,
        last_input: serial / 2,
        overtakes: 0,
        ops: List::truncated(vec![SceneOp::Clear; serial as usize % 3]),
    }
}

/// A frame's bytes, different for each serial and place.
fn content(serial: u32, length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| (n as u32).wrapping_mul(serial).to_le_bytes()[n % 3])
        .collect()
}

over_both!(
    frames_come_in_order_and_whole_through_loss_and_reordering,
    a_receiver_of_frames_may_be_cancelled_at_any_time,
);

async fn pair(weather: Weather, over: Carrier) -> (Connection, Connection, Option<Relay>) {
    let key = identity();
    let server = server(&key);
    let (address, relay) = reach(&server, weather, over).await;
    let (near, far) = within(connect_over(over, &server, address, &key)).await;
    (near, far, relay)
}

const STORM: Weather = Weather {
    seed: 42,
    loss: 30,
    delay: (Duration::from_millis(1), Duration::from_millis(12)),
    rate: None,
    queue: None,
};

async fn frames_come_in_order_and_whole_through_loss_and_reordering(over: Carrier) {
    let (near, far, _relay) = pair(STORM, over).await;
    let sizes = |serial: u32| [0, 40, 700, 20_000, 150_000][serial as usize % 5];
    let sending = tokio::spawn(async move {
        let mut sender = FrameSender::new(&far);
        for serial in 1..=60 {
            let content = Bytes::from(content(serial, sizes(serial)));
            sender.send(&header(serial), content).await.unwrap();
        }
        far
    });
    let mut receiver = FrameReceiver::new(&near);
    for serial in 1..=60 {
        let frame = within(receiver.next()).await.unwrap();
        assert_eq!(frame.header, header(serial));
        assert_eq!(frame.content, content(serial, sizes(serial)));
    }
    within(sending).await.unwrap();
}

/// A terminal's connection to a session that may send anything.
async fn with_bare_session() -> (Connection, quinn::Connection) {
    let key = identity();
    let session = bare_server(&key);
    let address = session.local_addr().unwrap();
    let dialer = Dialer::new(identity());
    let pins = [key.pin()];
    let (near, far) = within(async {
        tokio::join!(dialer.dial(address, Link::Session, &pins), async {
            session.accept().await.unwrap().await
        })
    })
    .await;
    (near.unwrap(), far.unwrap())
}

/// Sends streams of any content, as a session of an enemy might.
async fn send_raw(far: &quinn::Connection, streams: Vec<Vec<u8>>) {
    for bytes in streams {
        let mut stream = far.open_uni().await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.finish().unwrap();
    }
}

fn frame_bytes(serial: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1];
    encode_frame_header(&header(serial), &mut bytes).unwrap();
    bytes.extend_from_slice(content);
    bytes
}

#[tokio::test]
async fn frames_sent_in_the_wrong_order_are_put_right() {
    let (near, far) = with_bare_session().await;
    let order = [3, 2, 5, 4, 1, 7, 6];
    let streams = order.map(|serial| frame_bytes(serial, &content(serial, 100)));
    send_raw(&far, streams.to_vec()).await;
    let mut receiver = FrameReceiver::new(&near);
    for serial in 1..=7 {
        let Frame {
            header: got,
            content: bytes,
        } = within(receiver.next()).await.unwrap();
        assert_eq!((got.serial, bytes), (serial, content(serial, 100).into()));
    }
}

#[tokio::test]
async fn large_frames_before_their_turn_wait_in_the_peer_and_do_not_block_the_due_one() {
    let (near, far) = with_bare_session().await;
    let sending = tokio::spawn(async move {
        let early = 2..=7;
        let mut tasks: Vec<_> = early
            .map(|serial| (far.clone(), frame_bytes(serial, &content(serial, 5 << 20))))
            .map(|(far, bytes)| tokio::spawn(async move { send_raw(&far, vec![bytes]).await }))
            .collect();
        let (first, late) = (far.clone(), frame_bytes(1, &content(1, 5 << 20)));
        tasks.push(tokio::spawn(
            async move { send_raw(&first, vec![late]).await },
        ));
        for task in tasks {
            task.await.unwrap();
        }
        far
    });
    let mut receiver = FrameReceiver::new(&near);
    for serial in 1..=7 {
        let frame = within(receiver.next()).await.unwrap();
        assert_eq!(frame.header.serial, serial);
        assert_eq!(frame.content.len(), 5 << 20);
    }
    within(sending).await.unwrap();
}

async fn error_after(streams: Vec<Vec<u8>>) -> LinkError {
    let (near, far) = with_bare_session().await;
    send_raw(&far, streams).await;
    let mut receiver = FrameReceiver::new(&near);
    loop {
        if let Err(error) = within(receiver.next()).await {
            return error;
        }
    }
}

#[tokio::test]
async fn whatever_breaks_the_format_of_frames_is_a_protocol_violation() {
    use heliostat_wire::close::CloseCode::ProtocolViolation;
    let cases = [
        ("an unknown kind", vec![vec![9, 0, 0]]),
        ("no kind", vec![vec![]]),
        ("a header cut short", vec![vec![1, 200, 0, 0, 0, 1, 2]]),
        ("a header above the limit", vec![vec![1, 0, 0, 0, 0x7f]]),
        (
            "a header of nonsense",
            vec![vec![1, 3, 0, 0, 0, 255, 255, 255]],
        ),
        (
            "a serial twice",
            vec![frame_bytes(2, b"a"), frame_bytes(2, b"b")],
        ),
        (
            "a serial already shown",
            vec![frame_bytes(1, b"a"), frame_bytes(1, b"b")],
        ),
        ("a serial far ahead", vec![frame_bytes(1000, b"a")]),
        ("serial zero", vec![frame_bytes(0, b"a")]),
    ];
    for (what, streams) in cases {
        let error = error_after(streams).await;
        assert_eq!(error.close_code(), ProtocolViolation, "{what}: {error}");
    }
}

async fn a_receiver_of_frames_may_be_cancelled_at_any_time(over: Carrier) {
    let (near, far, _relay) = pair(STORM, over).await;
    let sending = tokio::spawn(async move {
        let mut sender = FrameSender::new(&far);
        for serial in 1..=40 {
            let content = Bytes::from(content(serial, 9000));
            sender.send(&header(serial), content).await.unwrap();
        }
        far
    });
    let mut receiver = FrameReceiver::new(&near);
    let mut tick = tokio::time::interval(Duration::from_micros(300));
    let mut cancelled = 0;
    let mut serial = 0;
    while serial < 40 {
        tokio::select! {
            biased;
            _ = tick.tick() => cancelled += 1,
            frame = within(receiver.next()) => {
                serial += 1;
                let frame = frame.unwrap();
                assert_eq!((frame.header.serial, frame.content), (serial, content(serial, 9000).into()));
            }
        }
    }
    assert!(cancelled > 0);
    within(sending).await.unwrap();
}

/// Sends datagrams of any content, as a session of an enemy might.
fn send_copies(far: &quinn::Connection, copies: Vec<Vec<u8>>) {
    for bytes in copies {
        far.send_datagram(bytes.into()).unwrap();
    }
}

#[tokio::test]
async fn a_frame_whose_copy_has_come_does_not_wait_for_its_stream() {
    let (near, far) = with_bare_session().await;
    let copies = [2, 1, 2].map(|serial| frame_bytes(serial, &content(serial, 100)));
    send_copies(&far, copies.to_vec());
    let mut receiver = FrameReceiver::new(&near);
    for serial in 1..=2 {
        let frame = within(receiver.next()).await.unwrap();
        assert_eq!(frame.content, content(serial, 100));
    }
    // The streams of all three come later.
    let streams = [1, 2, 3].map(|serial| frame_bytes(serial, &content(serial, 100)));
    send_raw(&far, streams.to_vec()).await;
    let frame = within(receiver.next()).await.unwrap();
    assert_eq!(frame.header.serial, 3);
}

#[tokio::test]
async fn copies_of_an_enemy_are_dropped_or_end_the_link() {
    use heliostat_wire::close::CloseCode::ProtocolViolation;
    let (near, far) = with_bare_session().await;
    let mut flood: Vec<_> = (0..2000)
        .map(|n| frame_bytes(n % 500, &content(n, 900)))
        .collect();
    flood.extend([vec![], vec![9], vec![2], vec![2; 9], vec![2; 700]]);
    send_copies(&far, flood);
    let streams = (1..=30).map(|serial| frame_bytes(serial, b"x"));
    send_raw(&far, streams.collect()).await;
    let mut receiver = FrameReceiver::new(&near);
    for serial in 1..=30 {
        let frame = within(receiver.next()).await.unwrap();
        assert_eq!(frame.header.serial, serial);
    }
    send_copies(&far, vec![vec![1, 3, 255, 255, 255]]);
    let error = loop {
        if let Err(error) = within(receiver.next()).await {
            break error;
        }
    };
    assert_eq!(error.close_code(), ProtocolViolation, "{error}");
}

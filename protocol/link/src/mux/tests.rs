use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const STREAMS: usize = MAX_FRAME_STREAMS as usize;

/// Moves one chunk from one end to the other; false where there was none.
fn step(from: &mut Mux, to: &mut Mux, events: &mut Vec<Event>) -> bool {
    let mut out = Vec::new();
    from.poll_output(&mut out, &mut Vec::new());
    to.handle_input(&out, events).unwrap();
    !out.is_empty()
}

/// Moves everything both ways.
fn settle(client: &mut Mux, server: &mut Mux) -> Vec<Event> {
    let mut events = Vec::new();
    while step(client, server, &mut events) | step(server, client, &mut events) {}
    events
}

fn pair() -> (Mux, Mux) {
    let (mut client, mut server) = (Mux::new(Role::Client), Mux::new(Role::Server));
    client.open_main().unwrap();
    client.write(MAIN, Bytes::from_static(b"hello"));
    settle(&mut client, &mut server);
    assert_eq!(server.accept_main(), Some(MAIN));
    assert_eq!(
        server.read(MAIN, 100),
        Read::Data(Bytes::from_static(b"hello"))
    );
    (client, server)
}

fn read_all(mux: &mut Mux, id: u64) -> (Vec<u8>, Read) {
    let mut all = Vec::new();
    loop {
        match mux.read(id, usize::MAX) {
            Read::Data(bytes) => all.extend_from_slice(&bytes),
            end => return (all, end),
        }
    }
}

/// A stream's frame as a peer would send it.
fn raw(frame: Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

fn error_of(mux: &mut Mux, frames: &[Frame<'_>]) -> Option<Violation> {
    frames
        .iter()
        .find_map(|frame| mux.handle_input(&raw(*frame), &mut Vec::new()).err())
}

#[test]
fn a_message_overtakes_a_frame_after_one_chunk_at_most() {
    let (mut client, mut server) = pair();
    let frame = server.open_uni(priority::FRAME).unwrap();
    server.write(frame, Bytes::from(vec![1; 300_000]));
    let mut events = Vec::new();
    assert!(step(&mut server, &mut client, &mut events));
    server.write(MAIN, Bytes::from_static(b"urgent"));
    assert!(step(&mut server, &mut client, &mut events));
    assert_eq!(
        client.read(MAIN, 100),
        Read::Data(Bytes::from_static(b"urgent"))
    );
}

#[test]
fn frames_are_sent_in_their_order_and_bulk_after_them() {
    let (mut client, mut server) = pair();
    let bulk = server.open_uni(priority::BULK).unwrap();
    let first = server.open_uni(priority::FRAME).unwrap();
    let second = server.open_uni(priority::FRAME).unwrap();
    for id in [bulk, second, first] {
        server.write(id, Bytes::from(vec![1; 3 * CHUNK]));
        server.finish(id);
    }
    let mut order = Vec::new();
    let mut events = Vec::new();
    while step(&mut server, &mut client, &mut events) {
        order.extend(events.drain(..).filter_map(|event| match event {
            Event::Readable(id) => Some(id),
            _ => None,
        }));
    }
    assert_eq!(
        order,
        [
            first, first, first, second, second, second, bulk, bulk, bulk
        ]
    );
}

#[test]
fn what_waits_keeps_nothing_more_urgent_out() {
    let (_client, mut server) = pair();
    let bulk = server.open_uni(priority::BULK).unwrap();
    let frame = server.open_uni(priority::FRAME).unwrap();
    let whole = server.room(bulk).unwrap();
    server.write(bulk, Bytes::from(vec![1; whole]));
    assert_eq!(server.room(bulk), Some(0));
    assert_eq!(server.room(frame), Some(whole));
    server.write(frame, Bytes::from(vec![1; whole]));
    assert_eq!(server.room(frame), Some(0));
    assert!(server.room(MAIN).unwrap() > 0);
}

#[test]
fn a_stream_that_nobody_reads_stops_at_its_window_and_holds_up_no_other() {
    let (mut client, mut server) = pair();
    let (stuck, other) = (
        server.open_uni(priority::FRAME).unwrap(),
        server.open_uni(priority::FRAME).unwrap(),
    );
    server.write(stuck, Bytes::from(vec![1; 8 << 20]));
    server.write(other, Bytes::from(vec![2; 100_000]));
    server.finish(other);
    settle(&mut client, &mut server);
    assert_eq!(read_all(&mut client, other).0.len(), 100_000);
    assert!(client.held() as u64 <= u64::from(TERMINAL_STREAM_WINDOW));
    // Once it is read it goes on to its end.
    server.finish(stuck);
    let mut got = 0;
    loop {
        let (bytes, end) = read_all(&mut client, stuck);
        got += bytes.len();
        if end == Read::End {
            break;
        }
        settle(&mut client, &mut server);
    }
    assert_eq!(got, 8 << 20);
}

#[test]
fn a_server_may_open_more_streams_once_earlier_ones_have_been_read() {
    let (mut client, mut server) = pair();
    for round in 0..100u64 {
        let mut opened = Vec::new();
        while let Some(id) = server.open_uni(priority::FRAME) {
            server.write(id, Bytes::from_static(b"frame"));
            server.finish(id);
            opened.push(id);
        }
        assert!(opened.len() >= 8, "round {round}");
        settle(&mut client, &mut server);
        for id in opened {
            assert_eq!(client.accept_uni(), Some(id));
            let whole = (b"frame".to_vec(), Read::End);
            assert_eq!(read_all(&mut client, id), whole);
        }
        settle(&mut client, &mut server);
    }
    assert_eq!(client.receiving.len(), 1);
    assert_eq!(server.sending.len(), 1);
}

#[test]
fn the_end_of_the_main_stream_is_known_to_have_come() {
    let (mut client, mut server) = pair();
    server.write(MAIN, Bytes::from_static(b"bye"));
    server.finish(MAIN);
    assert!(!server.main_is_delivered());
    settle(&mut client, &mut server);
    assert!(server.main_is_delivered());
    assert_eq!(read_all(&mut client, MAIN), (b"bye".to_vec(), Read::End));
    // The other direction is still open.
    client.write(MAIN, Bytes::from_static(b"goodbye"));
    client.finish(MAIN);
    settle(&mut client, &mut server);
    assert_eq!(
        read_all(&mut server, MAIN),
        (b"goodbye".to_vec(), Read::End)
    );
}

#[test]
fn a_close_comes_before_everything_that_waits_and_nothing_after_it() {
    let (mut client, mut server) = pair();
    server.write(MAIN, Bytes::from(vec![1; 100_000]));
    server.close(4, "newer");
    let events = settle(&mut client, &mut server);
    let words = Bytes::from_static(b"newer");
    assert_eq!(events, [Event::Closed { code: 4, words }]);
    assert!(client.is_closed() && server.is_closed());
    client.write(MAIN, Bytes::from_static(b"what?"));
    assert_eq!(settle(&mut client, &mut server), []);
}

#[test]
fn a_stream_that_is_reset_is_known_to_be_cut_short() {
    let (mut client, mut server) = pair();
    let id = server.open_uni(priority::FRAME).unwrap();
    server.write(id, Bytes::from(vec![1; 3 * CHUNK]));
    step(&mut server, &mut client, &mut Vec::new());
    server.reset(id, 0);
    settle(&mut client, &mut server);
    assert_eq!(read_all(&mut client, id).1, Read::Abandoned);
}

#[test]
fn a_flood_of_pings_is_answered_once() {
    let (mut client, _server) = pair();
    for _ in 0..10_000 {
        client
            .handle_input(&raw(Frame::Ping), &mut Vec::new())
            .unwrap();
    }
    let mut out = Vec::new();
    client.poll_output(&mut out, &mut Vec::new());
    assert_eq!(out, raw(Frame::Pong));
}

#[test]
fn whatever_breaks_the_rules_is_a_violation() {
    let data = |id, length: usize, last| Frame::Data {
        id,
        bytes: &[7; 16 << 10][..length],
        last,
    };
    let window = |id| Frame::Window { id, limit: 1 << 20 };
    let to_client: &[(&str, &[Frame<'_>])] = &[
        ("a bidirectional stream of the server", &[data(1, 1, false)]),
        ("a second stream of the client", &[data(4, 1, false)]),
        ("a client's unidirectional stream", &[data(2, 1, false)]),
        (
            "a stream too many",
            &[data(u64::from(MAX_FRAME_STREAMS) * 4 + 3, 1, false)],
        ),
        ("a stream far away", &[data((1 << 62) - 1, 1, false)]),
        ("data after the end", &[data(3, 1, true), data(3, 1, false)]),
        (
            "an end after the end",
            &[data(3, 1, true), data(3, 0, true)],
        ),
        (
            "a reset after the end",
            &[data(3, 1, true), Frame::Reset { id: 3, code: 0 }],
        ),
        ("more than the window", &[data(3, 16 << 10, false); 129]),
        ("credit for a stream never opened", &[window(6)]),
        ("credit for the peer's own stream", &[window(3)]),
        ("an end that was not sent", &[Frame::Received { id: 0 }]),
        ("an end of no stream", &[Frame::Received { id: 4 }]),
    ];
    for (what, frames) in to_client {
        let (mut client, _) = pair();
        assert!(error_of(&mut client, frames).is_some(), "{what}");
    }
    let to_server: &[(&str, &[Frame<'_>])] = &[
        ("a unidirectional stream", &[data(2, 1, false)]),
        ("a second bidirectional stream", &[data(4, 1, false)]),
        ("credit before the stream is open", &[window(0)]),
        ("more than the window", &[data(0, 16 << 10, false); 33]),
    ];
    for (what, frames) in to_server {
        let mut server = Mux::new(Role::Server);
        assert!(error_of(&mut server, frames).is_some(), "{what}");
    }
}

#[test]
fn credit_for_a_stream_that_is_over_comes_late_and_does_no_harm() {
    let (mut client, mut server) = pair();
    let id = server.open_uni(priority::FRAME).unwrap();
    server.finish(id);
    settle(&mut client, &mut server);
    let late = Frame::Window { id, limit: 1 << 20 };
    assert_eq!(error_of(&mut server, &[late]), None);
}

proptest! {
    #[test]
    fn every_stream_comes_out_as_it_went_in_however_the_bytes_are_cut(
        lengths in proptest::collection::vec(0usize..200_000, 1..12),
        words in proptest::collection::vec(1usize..5_000, 0..20),
        cuts in proptest::collection::vec(1usize..20_000, 1..20),
        reads in proptest::collection::vec(1usize..50_000, 1..20),
    ) {
        let (mut client, mut server) = pair();
        let content = |id: u64, length: usize| -> Vec<u8> {
            (0..length).map(|n| (n as u64 * (id + 1)) as u8).collect()
        };
        let mut expected = BTreeMap::new();
        for length in lengths {
            let id = server.open_uni(priority::FRAME).unwrap();
            expected.insert(id, content(id, length));
            server.write(id, content(id, length).into());
            server.finish(id);
        }
        for (n, length) in words.iter().enumerate() {
            let bytes = content(n as u64, *length);
            expected.entry(MAIN).or_insert_with(Vec::new).extend_from_slice(&bytes);
            server.write(MAIN, bytes.into());
        }
        let mut got: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let (mut cuts, mut reads) = (cuts.iter().cycle(), reads.iter().cycle());
        loop {
            let (mut out, mut back) = (Vec::new(), Vec::new());
            server.poll_output(&mut out, &mut Vec::new());
            let mut rest = &out[..];
            let mut events = Vec::new();
            while !rest.is_empty() {
                let (piece, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                client.handle_input(piece, &mut events).unwrap();
                rest = later;
            }
            let mut read = false;
            for id in expected.keys() {
                if let Read::Data(bytes) = client.read(*id, *reads.next().unwrap()) {
                    got.entry(*id).or_default().extend_from_slice(&bytes);
                    read = true;
                }
            }
            client.poll_output(&mut back, &mut Vec::new());
            server.handle_input(&back, &mut Vec::new()).unwrap();
            if out.is_empty() && back.is_empty() && !read {
                break;
            }
        }
        expected.retain(|_, bytes| !bytes.is_empty());
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        hostile_peer(&bytes);
    }

    /// As above, of bytes that are frames more often than not.
    #[test]
    fn any_frames_are_taken_or_refused_within_bounded_memory(
        frames in proptest::collection::vec(
            (0u8..9, prop_oneof![0u64..80, any::<u64>()], 0usize..16_384, any::<u64>()),
            0..200,
        ),
        client in any::<bool>(),
    ) {
        let mut mux = Mux::new(match client {
            true => Role::Client,
            false => Role::Server,
        });
        mux.open_main();
        let content = [7; 16 << 10];
        for (kind, id, length, number) in frames {
            let frame = match kind {
                0 => Frame::Data { id, bytes: &content[..length.max(1)], last: false },
                1 => Frame::Data { id, bytes: &content[..length], last: true },
                2 => Frame::Reset { id, code: number },
                3 => Frame::Window { id, limit: number },
                4 => Frame::Streams { limit: number },
                5 => Frame::Received { id },
                6 => Frame::Ping,
                7 => Frame::Pong,
                _ => Frame::Close { code: number, words: &content[..length] },
            };
            if mux.handle_input(&raw(frame), &mut Vec::new()).is_err() {
                break;
            }
            prop_assert!(mux.held() <= (STREAMS + 1) * TERMINAL_STREAM_WINDOW as usize);
            prop_assert!(mux.receiving.len() <= STREAMS + 1 && mux.arrived.len() <= STREAMS);
        }
    }
}

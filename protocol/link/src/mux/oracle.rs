//! What must hold whatever a peer sends: no panic, no memory beyond the windows, and nothing but
//! well-formed frames in answer.

use super::frame::Frame;
use super::*;

/// What an end holds for a peer at most: a frame that is not whole, what it was just fed, and a
/// window for each stream.
const MAX_HELD: usize = (MAX_FRAME_STREAMS as usize + 1) * TERMINAL_STREAM_WINDOW as usize
    + 2 * (frame::MAX_PAYLOAD + 32);

/// Any bytes from the peer, to a terminal and to a server.
pub fn hostile_peer(bytes: &[u8]) {
    let (cut, bytes) = match bytes.split_first() {
        Some((cut, bytes)) => (usize::from(*cut) + 1, bytes),
        None => return,
    };
    for role in [Role::Client, Role::Server] {
        against(role, bytes, cut);
    }
}

fn against(role: Role, bytes: &[u8], cut: usize) {
    let mut mux = Mux::new(role);
    let mut events = Vec::new();
    if let Some(main) = mux.open_main() {
        mux.write(main, Bytes::from_static(&[1; 3000]));
    }
    while let Some(uni) = mux.open_uni(priority::FRAME) {
        mux.write(uni, Bytes::from_static(&[2; 3000]));
        match uni & 4 {
            0 => mux.finish(uni),
            _ => mux.reset(uni, 0),
        }
    }
    for (n, piece) in bytes.chunks(cut).enumerate() {
        let input = mux.handle_input(piece, &mut events);
        assert!(mux.held() <= MAX_HELD, "{} bytes held", mux.held());
        if input.is_err() {
            mux.close(1, "the peer broke the protocol");
        }
        // A reader that is sometimes late, and sometimes gone.
        match n % 3 {
            0 => read_everything(&mut mux, &events),
            1 => mux.discard(7),
            _ => {}
        }
        send_everything(&mut mux, &mut events);
        events.clear();
    }
    assert!(mux.accept_main().is_none() || role == Role::Server);
}

fn read_everything(mux: &mut Mux, events: &[Event]) {
    for event in events {
        if let Event::Readable(id) = event {
            while let Read::Data(bytes) = mux.read(*id, 1000) {
                assert!(!bytes.is_empty() && bytes.len() <= 1000);
            }
        }
    }
}

fn send_everything(mux: &mut Mux, events: &mut Vec<Event>) {
    loop {
        let mut out = Vec::new();
        mux.poll_output(&mut out, events);
        if out.is_empty() {
            return;
        }
        let mut rest = &out[..];
        while !rest.is_empty() {
            let (_, taken) = Frame::decode(rest).expect("well formed").expect("whole");
            rest = &rest[taken..];
        }
    }
}

//! The multiplexer's frames as bytes: kind, stream, length, payload.
//!
//! Numbers are the variable-length integers of RFC 9000, section 16.

use super::Violation;

/// Bytes of payload that one frame may have. With its header a full one fills two TLS records, so
/// this implementation sends smaller ones.
pub(super) const MAX_PAYLOAD: usize = 16 << 10;
/// The largest number that a variable-length integer holds.
pub(super) const MAX_NUMBER: u64 = (1 << 62) - 1;
/// Bytes of the words with which a link is closed.
const MAX_WORDS: usize = 256;

mod kind {
    pub const DATA: u8 = 0;
    pub const LAST: u8 = 1;
    pub const RESET: u8 = 2;
    pub const WINDOW: u8 = 3;
    pub const STREAMS: u8 = 4;
    pub const RECEIVED: u8 = 5;
    pub const PING: u8 = 6;
    pub const PONG: u8 = 7;
    pub const CLOSE: u8 = 8;
}

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// The next bytes of a stream, the last ones where `last` is set.
    Data {
        id: u64,
        bytes: &'a [u8],
        last: bool,
    },
    /// The stream ends here and is not whole.
    Reset { id: u64, code: u64 },
    /// The peer may have sent this many bytes on the stream, counted from its start.
    Window { id: u64, limit: u64 },
    /// The peer may have opened this many unidirectional streams, counted from the first.
    Streams { limit: u64 },
    /// The peer's direction of a bidirectional stream has arrived to its end.
    Received { id: u64 },
    /// Are you there?
    Ping,
    /// I am.
    Pong,
    /// The link is over.
    Close { code: u64, words: &'a [u8] },
}

impl Frame<'_> {
    /// Appends the frame.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Data { id, bytes, last } => {
                Self::header_of_data(id, bytes.len(), last, out);
                out.extend_from_slice(bytes);
            }
            Self::Reset { id, code } => with_number(out, kind::RESET, id, code),
            Self::Window { id, limit } => with_number(out, kind::WINDOW, id, limit),
            Self::Streams { limit } => with_number(out, kind::STREAMS, 0, limit),
            Self::Received { id } => header(out, kind::RECEIVED, id, 0),
            Self::Ping => header(out, kind::PING, 0, 0),
            Self::Pong => header(out, kind::PONG, 0, 0),
            Self::Close { code, words } => {
                let words = &words[..words.len().min(MAX_WORDS)];
                header(out, kind::CLOSE, 0, number_len(code) + words.len());
                put_number(out, code);
                out.extend_from_slice(words);
            }
        }
    }

    /// Appends what stands before `length` bytes of a stream.
    pub(super) fn header_of_data(id: u64, length: usize, last: bool, out: &mut Vec<u8>) {
        let kind = match last {
            true => kind::LAST,
            false => kind::DATA,
        };
        header(out, kind, id, length);
    }

    /// The frame at the start of `input` and the bytes it takes; none while it is not whole. A
    /// length above the limit is refused before its bytes have come.
    pub(super) fn decode(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Violation> {
        let Some((&kind, rest)) = input.split_first() else {
            return Ok(None);
        };
        if kind > kind::CLOSE {
            return Err(Violation("a frame of unknown kind"));
        }
        let Some((id, rest)) = take_number(rest) else {
            return Ok(None);
        };
        let Some((length, rest)) = take_number(rest) else {
            return Ok(None);
        };
        if length > MAX_PAYLOAD as u64 {
            return Err(Violation("a frame is too long"));
        }
        let Some(payload) = rest.get(..length as usize) else {
            return Ok(None);
        };
        let taken = input.len() - rest.len() + payload.len();
        Ok(Some((frame(kind, id, payload)?, taken)))
    }
}

fn frame(kind: u8, id: u64, payload: &[u8]) -> Result<Frame<'_>, Violation> {
    let of_the_link = matches!(kind, kind::STREAMS | kind::PING | kind::PONG | kind::CLOSE);
    if of_the_link && id != 0 {
        return Err(Violation("a frame of the link names a stream"));
    }
    match kind {
        kind::DATA if payload.is_empty() => Err(Violation("a data frame is empty")),
        kind::DATA | kind::LAST => Ok(Frame::Data {
            id,
            bytes: payload,
            last: kind == kind::LAST,
        }),
        kind::RESET => only_number(payload).map(|code| Frame::Reset { id, code }),
        kind::WINDOW => only_number(payload).map(|limit| Frame::Window { id, limit }),
        kind::STREAMS => only_number(payload).map(|limit| Frame::Streams { limit }),
        kind::CLOSE => match take_number(payload) {
            Some((code, words)) if words.len() <= MAX_WORDS => Ok(Frame::Close { code, words }),
            _ => Err(Violation("a frame has a malformed payload")),
        },
        _ if !payload.is_empty() => Err(Violation("a frame has a malformed payload")),
        kind::RECEIVED => Ok(Frame::Received { id }),
        kind::PING => Ok(Frame::Ping),
        _ => Ok(Frame::Pong),
    }
}

fn header(out: &mut Vec<u8>, kind: u8, id: u64, length: usize) {
    out.push(kind);
    put_number(out, id);
    put_number(out, length as u64);
}

fn with_number(out: &mut Vec<u8>, kind: u8, id: u64, number: u64) {
    header(out, kind, id, number_len(number));
    put_number(out, number);
}

fn only_number(payload: &[u8]) -> Result<u64, Violation> {
    match take_number(payload) {
        Some((number, [])) => Ok(number),
        _ => Err(Violation("a frame has a malformed payload")),
    }
}

fn number_len(number: u64) -> usize {
    match number {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    let number = number.min(MAX_NUMBER);
    let length = number_len(number);
    let bytes = number.to_be_bytes();
    let start = out.len();
    out.extend_from_slice(&bytes[8 - length..]);
    out[start] |= (length.trailing_zeros() as u8) << 6;
}

fn take_number(input: &[u8]) -> Option<(u64, &[u8])> {
    let length = 1usize << (input.first()? >> 6);
    let (bytes, rest) = input.split_at_checked(length)?;
    let number = bytes
        .iter()
        .fold(0u64, |number, &byte| number << 8 | u64::from(byte));
    Some((number & (MAX_NUMBER >> (62 - (8 * length - 2))), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(frame: Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(Frame::decode(&bytes), Ok(Some((frame, bytes.len()))));
        for cut in 0..bytes.len() {
            assert_eq!(Frame::decode(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_part_of_it_is_taken_for_the_whole(
            id in 0..=MAX_NUMBER,
            number in 0..=MAX_NUMBER,
            bytes in proptest::collection::vec(any::<u8>(), 1..300),
        ) {
            round_trip(Frame::Data { id, bytes: &bytes, last: false });
            round_trip(Frame::Data { id, bytes: &bytes, last: true });
            round_trip(Frame::Data { id, bytes: &[], last: true });
            round_trip(Frame::Reset { id, code: number });
            round_trip(Frame::Window { id, limit: number });
            round_trip(Frame::Streams { limit: number });
            round_trip(Frame::Received { id });
            round_trip(Frame::Close { code: number, words: &bytes[..bytes.len().min(MAX_WORDS)] });
        }
    }

    #[test]
    fn the_forms_are_those_of_the_specification() {
        let form = |frame: Frame<'_>| {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            bytes
        };
        let data = Frame::Data {
            id: 7,
            bytes: b"hi",
            last: true,
        };
        assert_eq!(form(data), [1, 7, 2, b'h', b'i']);
        let window = Frame::Window {
            id: 0,
            limit: 2 << 20,
        };
        assert_eq!(form(window), [3, 0, 4, 0x80, 0x20, 0, 0]);
        assert_eq!(form(Frame::Streams { limit: 64 }), [4, 0, 2, 0x40, 64]);
        assert_eq!(form(Frame::Ping), [6, 0, 0]);
        let close = Frame::Close {
            code: 4,
            words: b"newer",
        };
        assert_eq!(form(close), b"\x08\x00\x06\x04newer");
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_its_bytes_are_awaited() {
        let mut bytes = vec![kind::DATA, 0];
        put_number(&mut bytes, MAX_PAYLOAD as u64 + 1);
        assert!(Frame::decode(&bytes).is_err());
        let mut bytes = vec![kind::DATA, 0];
        put_number(&mut bytes, MAX_NUMBER);
        assert!(Frame::decode(&bytes).is_err());
    }

    #[test]
    fn malformed_frames_are_refused() {
        for bytes in [
            &[9, 0, 0][..],
            &[kind::DATA, 0, 0],
            &[kind::PING, 4, 0],
            &[kind::PING, 0, 1, 0],
            &[kind::WINDOW, 0, 0],
            &[kind::WINDOW, 0, 2, 1, 1],
            &[kind::RECEIVED, 0, 1, 1],
            &[kind::CLOSE, 0, 0],
        ] {
            assert!(Frame::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}

//! Bytes to messages and back: the length as a varint, then a postcard body.

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{MAX_FRAME_HEADER, MAX_MESSAGE};

/// Bytes of the longest length field before a message. Most messages have one of a single byte.
pub const MAX_LENGTH_FIELD: usize = 4;
/// The longest body that a length field can announce.
const MAX_BODY: usize = (1 << (7 * MAX_LENGTH_FIELD)) - 1;

/// Why bytes are not a message, or a value cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The length field claims more than the limit.
    #[error("message of {got} bytes exceeds the limit of {max}")]
    TooLong {
        /// Claimed or produced length.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// The length field is longer than it need be, or than any.
    #[error("malformed length field")]
    BadLength,
    /// The body does not decode: {0}.
    #[error("undecodable message: {0}")]
    Undecodable(postcard::Error),
    /// Bytes are left after the message.
    #[error("{0} bytes left over after the message")]
    TrailingBytes(usize),
}

/// Appends `message` with its length field to `out`; leaves `out` as it was on failure.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), WireError> {
    encode_within(message, MAX_MESSAGE, out)
}

/// Appends a frame header with its length field to `out`.
pub fn encode_frame_header<T: Serialize>(header: &T, out: &mut Vec<u8>) -> Result<(), WireError> {
    encode_within(header, MAX_FRAME_HEADER, out)
}

fn encode_within<T: Serialize>(
    message: &T,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let start = out.len();
    // One byte is enough for nearly all; where it is not, the body moves.
    out.push(0);
    let result = postcard::serialize_with_flavor(message, Append(out));
    let body = out.len() - start - 1;
    let checked = match result {
        Err(error) => Err(WireError::Undecodable(error)),
        Ok(()) if body > max.min(MAX_BODY) => Err(WireError::TooLong { got: body, max }),
        Ok(()) => Ok(()),
    };
    match checked {
        Ok(()) => {
            let (field, size) = length_field(body);
            out.splice(start..=start, field[..size].iter().copied());
        }
        Err(_) => out.truncate(start),
    }
    checked
}

/// The length field of a body of at most [`MAX_BODY`] bytes, and how many bytes of it count.
fn length_field(body: usize) -> ([u8; MAX_LENGTH_FIELD], usize) {
    let mut field = [0; MAX_LENGTH_FIELD];
    let (mut rest, mut size) = (body, 0);
    loop {
        field[size] = (rest & 0x7f) as u8;
        rest >>= 7;
        size += 1;
        if rest == 0 {
            return (field, size);
        }
        field[size - 1] |= 0x80;
    }
}

/// A postcard flavor that appends to a borrowed vector, so that steady traffic allocates nothing.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Decodes one message body; trailing bytes are an error.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    let (message, rest) = postcard::take_from_bytes(body).map_err(WireError::Undecodable)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(WireError::TrailingBytes(rest.len()))
    }
}

/// Where a body lies, from the length field at the front of `bytes`: nothing while the field is
/// not complete. A length above `max` is refused before any of the body is looked at.
pub fn body_range(bytes: &[u8], max: usize) -> Result<Option<Range<usize>>, WireError> {
    let mut length = 0;
    for (n, byte) in bytes.iter().take(MAX_LENGTH_FIELD).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 != 0 {
            continue;
        }
        // One encoding a length.
        if *byte == 0 && n > 0 {
            return Err(WireError::BadLength);
        }
        if length > max {
            return Err(WireError::TooLong { got: length, max });
        }
        return Ok(Some(n + 1..n + 1 + length));
    }
    match bytes.len() < MAX_LENGTH_FIELD {
        true => Ok(None),
        false => Err(WireError::BadLength),
    }
}

//! Bytes to messages and back: a little-endian `u32` length, then a postcard body.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{MAX_FRAME_HEADER, MAX_MESSAGE};

/// Bytes of the length field before a message.
pub const LENGTH_FIELD: usize = 4;

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
    out.extend_from_slice(&[0; LENGTH_FIELD]);
    let result = postcard::serialize_with_flavor(message, Append(out));
    let body = out.len() - start - LENGTH_FIELD;
    let checked = match result {
        Err(error) => Err(WireError::Undecodable(error)),
        Ok(()) if body > max => Err(WireError::TooLong { got: body, max }),
        Ok(()) => Ok(()),
    };
    match checked {
        Ok(()) => out[start..start + LENGTH_FIELD].copy_from_slice(&(body as u32).to_le_bytes()),
        Err(_) => out.truncate(start),
    }
    checked
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

/// Reads a length field against `max`.
pub fn body_length(field: [u8; LENGTH_FIELD], max: usize) -> Result<usize, WireError> {
    let got = u32::from_le_bytes(field) as usize;
    if got > max {
        Err(WireError::TooLong { got, max })
    } else {
        Ok(got)
    }
}

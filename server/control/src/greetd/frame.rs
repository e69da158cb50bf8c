//! A length and JSON; bytes in, messages out.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a message. The largest honest one is a long word of PAM's, or a context with a message.
pub const MAX_MESSAGE: usize = 64 << 10;
/// Bytes of a message's length.
const HEADER: usize = 4;

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The message is longer than the limit, or longer than a length can say.
    #[error("message of {length} bytes, {MAX_MESSAGE} are allowed")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The message is not the JSON that was expected.
    // What serde says may quote the message, and that may be a password.
    #[error("unexpected message")]
    NotAMessage,
}

/// A message as bytes, with its length before it. They are wiped when dropped.
pub fn encode<T: Serialize>(message: &T) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    // Large enough that no honest message makes it grow and leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_MESSAGE + HEADER));
    bytes.extend_from_slice(&[0; HEADER]);
    serde_json::to_writer(&mut *bytes, message).expect("our own types have JSON forms");
    let length = bytes.len() - HEADER;
    if length > MAX_MESSAGE {
        return Err(FrameError::TooLong { length });
    }
    bytes[..HEADER].copy_from_slice(&(length as u32).to_ne_bytes());
    Ok(bytes)
}

/// Takes bytes as they come and gives messages out. What it has held is wiped.
#[derive(Default)]
pub struct FrameReader {
    buffer: Zeroizing<Vec<u8>>,
}

impl FrameReader {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        let wanted = self.buffer.len() + bytes.len();
        if wanted > self.buffer.capacity() {
            // A vector that grows by itself leaves what it held behind.
            let mut larger = Zeroizing::new(Vec::with_capacity(wanted.next_power_of_two()));
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message, once it is whole.
    pub fn message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_ne_bytes(*header) as usize;
        if length > MAX_MESSAGE {
            return Err(FrameError::TooLong { length });
        }
        let Some(json) = self.buffer.get(HEADER..HEADER + length) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(json);
        self.take(HEADER + length);
        message.map(Some).map_err(|_| FrameError::NotAMessage)
    }

    fn take(&mut self, length: usize) {
        let rest = self.buffer.len() - length;
        self.buffer.copy_within(length.., 0);
        self.buffer[rest..].zeroize();
        self.buffer.truncate(rest);
    }
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameReader({} bytes)", self.buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::greetd::Request;

    proptest! {
        #[test]
        fn messages_come_out_whole_however_the_bytes_were_cut(
            messages in proptest::collection::vec(".{0,40}", 0..20),
            cuts in proptest::collection::vec(1usize..30, 0..100),
        ) {
            let frames = messages.iter().map(|message| encode(message).unwrap());
            let mut bytes: Vec<u8> = frames.flat_map(|frame| frame.to_vec()).collect();
            let mut reader = FrameReader::default();
            let mut read = Vec::new();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let rest = bytes.split_off(cut.min(bytes.len()));
                reader.push(&bytes);
                bytes = rest;
                while let Some(message) = reader.message::<String>().unwrap() {
                    read.push(message);
                }
            }
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn any_bytes_are_messages_or_errors(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = FrameReader::default();
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.message::<Request>() {}
        }

        #[test]
        fn any_text_is_a_request_or_an_error(text in ".{0,200}") {
            let mut reader = FrameReader::default();
            reader.push(&(text.len() as u32).to_ne_bytes());
            reader.push(text.as_bytes());
            let _ = reader.message::<Request>();
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_has_come() {
        let mut reader = FrameReader::default();
        reader.push(&(MAX_MESSAGE as u32 + 1).to_ne_bytes());
        let error = reader.message::<String>().unwrap_err();
        assert!(matches!(error, FrameError::TooLong { length } if length == MAX_MESSAGE + 1));
        assert!(encode(&"x".repeat(MAX_MESSAGE)).is_err());
    }

    #[test]
    fn a_bad_message_is_not_quoted() {
        let mut reader = FrameReader::default();
        let text = r#"{"type":"post_auth_message_response","response":{"horse":1}}"#;
        reader.push(&(text.len() as u32).to_ne_bytes());
        reader.push(text.as_bytes());
        let error = reader.message::<Request>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("horse"));
    }
}

//! One JSON value a line, within a limit; bytes in, values out.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of a line, without its end. The largest honest one is a reply of
/// [`MAX_ROWS`](crate::admin::MAX_ROWS) receipts.
pub const MAX_LINE: usize = 32 << 20;

/// Why a line is not a message.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The line is longer than the limit.
    #[error("line longer than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// The line is not the JSON that was expected.
    #[error("unexpected line: {0}")]
    NotAMessage(#[from] serde_json::Error),
}

/// A message as a line, with its end.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("our own types have JSON forms");
    line.push(b'\n');
    line
}

/// Takes bytes as they come and gives whole lines out.
#[derive(Debug)]
pub struct LineReader {
    buffer: Vec<u8>,
    /// Bytes at the front that were given out.
    taken: usize,
    /// Bytes that were searched for a line's end in vain.
    searched: usize,
    max: usize,
}

impl Default for LineReader {
    fn default() -> Self {
        Self::new(MAX_LINE)
    }
}

impl LineReader {
    /// Reads lines of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            searched: 0,
            max,
        }
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.searched -= self.taken;
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message, once its line is whole. Empty lines are skipped.
    pub fn message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LineError> {
        while let Some(line) = self.next_line()? {
            if !line.trim_ascii().is_empty() {
                return Ok(Some(serde_json::from_slice(line)?));
            }
        }
        Ok(None)
    }

    fn next_line(&mut self) -> Result<Option<&[u8]>, LineError> {
        let too_long = LineError::TooLong { max: self.max };
        let found = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(found) = found else {
            self.searched = self.buffer.len();
            return match self.searched - self.taken > self.max {
                true => Err(too_long),
                false => Ok(None),
            };
        };
        let start = self.taken;
        let end = self.searched + found;
        self.taken = end + 1;
        self.searched = end + 1;
        if end - start > self.max {
            return Err(too_long);
        }
        Ok(Some(&self.buffer[start..end]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_come_out_whole_however_the_bytes_were_cut(
            messages in proptest::collection::vec(".{0,40}", 0..20),
            cuts in proptest::collection::vec(1usize..30, 0..100),
        ) {
            let mut bytes: Vec<u8> = messages.iter().flat_map(encode).collect();
            let mut reader = LineReader::new(1000);
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
            let mut reader = LineReader::new(64);
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.message::<serde_json::Value>() {}
        }
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_limit() {
        let mut reader = LineReader::new(8);
        reader.push(b"12345678");
        assert!(matches!(reader.message::<u64>(), Ok(None)));
        reader.push(b"9");
        let error = reader.message::<u64>().unwrap_err();
        assert!(matches!(error, LineError::TooLong { max: 8 }));
    }
}

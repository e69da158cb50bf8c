//! Bounded JSON lines.

use serde::{Serialize, de::DeserializeOwned};

/// Longest line accepted, in bytes, without the newline.
pub const MAX_LINE: usize = 16 * 1024;

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The line is longer than [`MAX_LINE`]; it is skipped up to its newline.
    #[error("line longer than {MAX_LINE} bytes")]
    TooLong,
    /// The line is not the JSON that was expected.
    #[error("line is not what was expected: {0}")]
    Json(#[from] serde_json::Error),
}

/// `message` as one JSON line, newline included.
///
/// # Errors
/// [`LineError::TooLong`] when the line would exceed [`MAX_LINE`].
pub fn encode_line<T: Serialize>(message: &T) -> Result<Vec<u8>, LineError> {
    let mut line = serde_json::to_vec(message)?;
    if line.len() > MAX_LINE {
        return Err(LineError::TooLong);
    }
    line.push(b'\n');
    Ok(line)
}

/// Cuts a byte stream into lines and parses each. Holds at most [`MAX_LINE`] bytes of an
/// unfinished line.
#[derive(Debug, Default)]
pub struct LineReader {
    partial: Vec<u8>,
    skipping: bool,
}

impl LineReader {
    /// Takes `bytes` as they came from the socket and returns every message they complete, in
    /// order. A bad line yields its error and reading goes on behind it.
    pub fn handle_bytes<T: DeserializeOwned>(&mut self, bytes: &[u8]) -> Vec<Result<T, LineError>> {
        let mut messages = Vec::new();
        for chunk in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match chunk.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (chunk, false),
            };
            self.take(text);
            if ended {
                messages.extend(self.finish());
            }
        }
        messages
    }

    fn take(&mut self, text: &[u8]) {
        if self.skipping || self.partial.len() + text.len() > MAX_LINE {
            self.skipping = true;
            self.partial.clear();
        } else {
            self.partial.extend_from_slice(text);
        }
    }

    fn finish<T: DeserializeOwned>(&mut self) -> Option<Result<T, LineError>> {
        let line = std::mem::take(&mut self.partial);
        if std::mem::take(&mut self.skipping) {
            return Some(Err(LineError::TooLong));
        }
        if line.trim_ascii().is_empty() {
            return None;
        }
        Some(serde_json::from_slice(&line).map_err(LineError::from))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{ClientReport, Code, Stage, TerminalState};

    #[test]
    fn a_message_survives_any_cut_of_its_bytes() {
        let state = TerminalState {
            stage: Stage::Ready,
            code: Some(Code::NoCable),
            brokers: vec!["10.77.0.1:4460".into()],
            ..TerminalState::default()
        };
        let line = encode_line(&state).unwrap();
        for cut in 0..line.len() {
            let mut reader = LineReader::default();
            let mut got: Vec<Result<TerminalState, _>> = reader.handle_bytes(&line[..cut]);
            got.extend(reader.handle_bytes(&line[cut..]));
            assert_eq!(got.len(), 1);
            assert_eq!(got.remove(0).unwrap(), state);
        }
    }

    #[test]
    fn an_endless_line_is_refused_and_the_next_one_is_read() {
        let mut reader = LineReader::default();
        for _ in 0..64 {
            assert!(
                reader
                    .handle_bytes::<ClientReport>(&[b'x'; 4096])
                    .is_empty()
            );
            assert!(reader.partial.len() <= MAX_LINE);
        }
        let got = reader.handle_bytes::<ClientReport>(b"\n{\"report\":\"reboot\"}\n");
        assert!(matches!(got[0], Err(LineError::TooLong)));
        assert_eq!(*got[1].as_ref().unwrap(), ClientReport::Reboot);
    }

    #[test]
    fn unknown_fields_are_ignored_so_that_ends_may_differ_in_age() {
        let line = br#"{"stage":"dhcp","code":"E12","text":"no answer","colour":"red"}
"#;
        let mut got = LineReader::default().handle_bytes::<TerminalState>(line);
        let state = got.remove(0).unwrap();
        assert_eq!(state.code, Some(Code::NoDhcpAnswer));
        assert!(!state.is_ready());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let mut reader = LineReader::default();
            for chunk in chunks {
                reader.handle_bytes::<TerminalState>(&chunk);
                prop_assert!(reader.partial.len() <= MAX_LINE);
            }
        }
    }
}

//! What the guest says: a JSON object a line, through a port that nothing else writes to.

use serde::{Deserialize, Serialize};

/// The name of the port in the guest.
pub const PORT: &str = "hil";

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line")]
pub enum Line {
    /// The guest runs, this many seconds after its kernel began.
    Up {
        /// Seconds.
        uptime_s: f64,
    },
    /// A scenario begins.
    Begin {
        /// Its name.
        name: String,
    },
    /// Something worth reading, of the scenario that runs.
    Note {
        /// A sentence.
        text: String,
    },
    /// A picture that shows what went wrong, or what is to be looked at.
    Picture {
        /// A file name without its ending.
        name: String,
        /// A PNG file in hexadecimal.
        png: String,
    },
    /// The scenario held.
    Passed {
        /// How long it took.
        seconds: f64,
    },
    /// The scenario cannot be played here.
    Skipped {
        /// Why.
        why: String,
    },
    /// The scenario failed.
    Failed {
        /// Why.
        why: String,
    },
    /// All scenarios have been played; the machine goes off.
    End,
}

impl Line {
    /// The line as it is sent, with its end.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a line is plain data");
        text.push('\n');
        text
    }
}

/// Bytes as hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes behind hexadecimal digits.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits
        .len()
        .is_multiple_of(2)
        .then(|| digits.chunks_exact(2).map(byte).collect())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_out_as_it_went_in() {
        let lines = [
            Line::Up { uptime_s: 3.5 },
            Line::Failed {
                why: "two\nlines \"quoted\"".to_owned(),
            },
            Line::End,
        ];
        for line in lines {
            let text = line.to_text();
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
        }
    }

    #[test]
    fn hexadecimal_is_read_back_and_nonsense_is_not() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        for text in ["0", "0g", "é0", "+1"] {
            assert_ne!(from_hex(text), Some(vec![0]), "{text}");
        }
        assert_eq!(from_hex("abc"), None);
        assert_eq!(from_hex("zz"), None);
    }
}

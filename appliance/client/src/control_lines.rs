//! The terminal under control: a JSON object a line in, events a line out.
//!
//! The forms are documented in `docs/book/src/headless.md`, whose examples a test parses.

use std::io::{BufRead, BufReader, Read, Write};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::events::{AppEvent, Post};

/// Longer lines are no control lines.
const MAX_LINE: u64 = 64 * 1024;

/// One line that was read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ControlLine {
    /// A key goes down or up.
    Key {
        /// Evdev code.
        code: u16,
        /// Down.
        pressed: bool,
    },
    /// The pointer moves to a place of the first output, in pixels.
    Pointer {
        /// From the left.
        x: i32,
        /// From the top.
        y: i32,
    },
    /// The pointer moves by a distance in pixels.
    Motion {
        /// To the right.
        dx: i32,
        /// Down.
        dy: i32,
    },
    /// A pointer button goes down or up.
    Button {
        /// Evdev code.
        code: u16,
        /// Down.
        pressed: bool,
    },
    /// The wheel turns, in 1/120 notch.
    Wheel {
        /// To the right.
        #[serde(default)]
        x: i32,
        /// Down.
        #[serde(default)]
        y: i32,
    },
    /// A card comes or goes.
    Card(CardLine),
    /// The screen gets another size, `WxH`.
    Resize(String),
    /// The screen is written to a PNG file.
    Screenshot(String),
    /// The terminal ends.
    Quit,
}

/// What happens to the card.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardLine {
    /// It is inserted; its card id.
    Insert(String),
    /// It is pulled.
    Pull,
}

/// Reads standard input on a thread of its own.
pub fn read_from_stdin(post: Post) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            let mut input = BufReader::new(std::io::stdin());
            while let Some(line) = next_line(&mut input) {
                post(match serde_json::from_slice(&line) {
                    Ok(line) => AppEvent::Control(line),
                    Err(error) => AppEvent::BadControl(error.to_string()),
                });
            }
            post(AppEvent::ControlEnded);
        })
        .map(drop)
}

fn next_line(input: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    match input.take(MAX_LINE).read_until(b'\n', &mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line),
    }
}

/// Says an event on standard output, if anybody controls this terminal.
#[derive(Debug, Clone, Copy)]
pub struct Announcer {
    /// Whether anybody does.
    pub enabled: bool,
}

impl Announcer {
    /// Says `event` with `fields`.
    pub fn say(self, event: &str, mut fields: Value) {
        if !self.enabled {
            return;
        }
        fields["event"] = json!(event);
        let mut line = fields.to_string();
        line.push('\n');
        // Whoever listened may have gone; that is told by standard input.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
        let _ = std::io::stdout().flush();
    }
}

/// `WxH` as two numbers.
pub fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("{text:?} is not a size: give it as WIDTHxHEIGHT, such as 1920x1080");
    let (w, h) = text.split_once('x').ok_or_else(wrong)?;
    let side = |text: &str| text.parse().ok().filter(|side| (1..=8192).contains(side));
    Ok((side(w).ok_or_else(wrong)?, side(h).ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/book/src/headless.md");

    fn examples(title: &str) -> Vec<&'static str> {
        let part = PAGE.split(title).nth(1).expect("the section exists");
        let block = part.split("```").nth(1).expect("the section has a block");
        block
            .lines()
            .skip(1)
            .filter(|line| !line.is_empty())
            .collect()
    }

    #[test]
    fn every_control_line_of_the_book_is_one() {
        let lines = examples("## Control lines");
        assert!(lines.len() >= 9);
        for line in lines {
            let parsed: Result<ControlLine, _> = serde_json::from_str(line);
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }

    #[test]
    fn every_event_of_the_book_is_an_object_with_a_name() {
        for line in examples("## Events") {
            let value: Value = serde_json::from_str(line).unwrap();
            assert!(value["event"].is_string(), "{line}");
        }
    }

    #[test]
    fn typos_are_refused() {
        for line in [
            "{\"kee\":{}}",
            "{\"key\":{\"code\":1,\"pressed\":true,\"x\":1}}",
            "1",
        ] {
            assert!(serde_json::from_str::<ControlLine>(line).is_err(), "{line}");
        }
        assert!(parse_size("800").is_err());
        assert!(parse_size("0x5").is_err());
        assert_eq!(parse_size("800x600"), Ok((800, 600)));
    }
}

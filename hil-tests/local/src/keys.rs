//! Keys by their codes in Linux, and a US keyboard's letters.
#![expect(
    missing_docs,
    reason = "they are called as linux/input-event-codes.h calls them"
)]

use anyhow::Context;

use crate::Terminal;

pub const ESC: u16 = 1;
pub const TAB: u16 = 15;
pub const ENTER: u16 = 28;
pub const LEFTCTRL: u16 = 29;
pub const D: u16 = 32;
pub const F: u16 = 33;
pub const L: u16 = 38;
pub const LEFTALT: u16 = 56;
pub const SPACE: u16 = 57;
pub const CAPS: u16 = 58;
pub const F4: u16 = 62;
pub const DOWN: u16 = 108;
pub const PAUSE: u16 = 119;
pub const LEFTMETA: u16 = 125;

/// The rows of a US keyboard, each from the code of its first key on.
const ROWS: [(u16, &str); 4] = [
    (2, "1234567890"),
    (16, "qwertyuiop"),
    (30, "asdfghjkl;"),
    (44, "zxcvbnm"),
];

impl Terminal {
    /// Presses a key and lets it go.
    pub fn press(&mut self, code: u16) -> anyhow::Result<()> {
        self.key(code, true)?;
        self.key(code, false)
    }

    /// Presses a key with modifiers.
    pub fn chord(&mut self, modifiers: &[u16], code: u16) -> anyhow::Result<()> {
        for modifier in modifiers {
            self.key(*modifier, true)?;
        }
        self.press(code)?;
        for modifier in modifiers {
            self.key(*modifier, false)?;
        }
        Ok(())
    }

    /// Types small letters and digits.
    pub fn type_text(&mut self, text: &str) -> anyhow::Result<()> {
        for letter in text.chars() {
            let key = ROWS.iter().find_map(|(first, row)| {
                let at = row.chars().position(|other| other == letter)?;
                Some(first + at as u16)
            });
            self.press(key.with_context(|| format!("no key for {letter:?}"))?)?;
        }
        Ok(())
    }
}

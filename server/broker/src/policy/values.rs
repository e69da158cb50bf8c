//! The values that settings of a policy take, each with the words that the file writes for it.

use std::fmt;
use std::time::Duration;

use heliostat_control::span;
use serde::{Deserialize, Deserializer};

/// What must be shown before a desktop is: weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Proof {
    /// A card's id is enough. Whoever can copy it has the desktop.
    #[serde(rename = "none")]
    None,
    /// The card proves that it holds its key (PIV 9E, without a PIN).
    #[serde(rename = "card")]
    Card,
    /// The card proves that it holds its key after its PIN was typed at the terminal (PIV 9A).
    #[serde(rename = "card+pin")]
    CardPin,
    /// The person's password, at the greeter.
    #[serde(rename = "password")]
    Password,
}

/// Whether somebody who has logged in may bind the unknown card in the reader to themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enrol {
    /// Cards are added by an administrator only.
    No,
    /// At once.
    Offer,
    /// An administrator has to agree: `heliostatctl card approve`.
    Approval,
}

/// Which way a thing may go between terminal and session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Not at all.
    No,
    /// From the terminal into the session.
    In,
    /// From the session to the terminal.
    Out,
    /// Both ways.
    Both,
}

/// A length of time, written as `"90s"`, `"15min"`, `"8h"`, `"30d"` or `"1h30min"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// A length of time, or `"never"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timeout(pub Option<Duration>);

/// A number of bytes, written as `"512M"` or `"4G"` (powers of 1024), or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size(pub Option<u64>);

/// How a share of something is weighed against other sessions', 1 to 10000; 100 is ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weight(pub u16);

/// A program and its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Command(pub Vec<String>);

/// Ten years: what is longer is a slip.
const MAX_SPAN_S: u64 = 3660 * 86_400;

fn span(text: &str) -> Option<Duration> {
    span::read(text).filter(|span| span.as_secs() <= MAX_SPAN_S)
}

fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&span::words(self.0))
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("never"),
            Some(after) => Span(after).fmt(f),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bytes) = self.0 else {
            return f.write_str("unlimited");
        };
        let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
        match units.iter().find(|(_, shift)| bytes % (1 << shift) == 0) {
            Some((unit, shift)) => write!(f, "{}{unit}", bytes >> shift),
            None => write!(f, "{bytes}"),
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_empty() {
            true => f.write_str("none"),
            false => f.write_str(&self.0.join(" ")),
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Card => "card",
            Self::CardPin => "card+pin",
            Self::Password => "password",
        })
    }
}

impl fmt::Display for Enrol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "no",
            Self::Offer => "offer",
            Self::Approval => "approval",
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "no",
            Self::In => "in",
            Self::Out => "out",
            Self::Both => "both",
        })
    }
}

/// A word that `read` takes, or an error that says what was expected.
fn word<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    read(&text)
        .ok_or_else(|| serde::de::Error::custom(format!("invalid {text:?}, expected {expected}")))
}

const A_SPAN: &str = "a time such as \"90s\", \"15min\", \"8h\", \"30d\" or \"1h30min\"";

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        word(deserializer, A_SPAN, |text| span(text).map(Self))
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = format!("\"never\" or {A_SPAN} that is not zero");
        word(deserializer, &expected, |text| match text {
            "never" => Some(Self(None)),
            text => span(text)
                .filter(|after| !after.is_zero())
                .map(|after| Self(Some(after))),
        })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "\"unlimited\" or a size such as \"512M\" or \"4G\"";
        word(deserializer, expected, |text| match text {
            "unlimited" => Some(Self(None)),
            text => size(text).map(|bytes| Self(Some(bytes))),
        })
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let weight = u16::deserialize(deserializer)?;
        match weight {
            1..=10_000 => Ok(Self(weight)),
            _ => Err(serde::de::Error::custom(format!(
                "invalid weight {weight}, expected 1 to 10000"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        let sound = |word: &String| !word.contains('\0');
        match words.iter().all(sound) && words.first().is_none_or(|program| !program.is_empty()) {
            true => Ok(Self(words)),
            false => Err(serde::de::Error::custom(
                "invalid command, expected a list of a program and its arguments",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_ten_years_is_a_slip() {
        assert_eq!(span("3660d").unwrap().as_secs(), MAX_SPAN_S);
        assert_eq!(span("4000d"), None);
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("512M"), Some(512 << 20));
        assert_eq!(size("4G"), Some(4 << 30));
        assert_eq!(Size(size("1536M")).to_string(), "1536M");
        for wrong in [
            "",
            "0",
            "G",
            "4GB",
            "99999999999999999999T",
            "999999999999T",
        ] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}

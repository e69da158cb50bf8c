//! Fixed-size byte strings as lowercase hex in JSON.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `N` bytes, written as `2 * N` hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

/// The text is not so many hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0} hex digits")]
pub struct BadHex(usize);

/// The bytes of an even number of hex digits.
pub fn bytes(digits: &str) -> Result<Vec<u8>, BadHex> {
    let bad = BadHex(digits.len().next_multiple_of(2));
    if !digits.len().is_multiple_of(2) {
        return Err(bad);
    }
    let digit = |c: u8| char::from(c).to_digit(16).ok_or(bad);
    digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Ok((digit(pair[0])? * 16 + digit(pair[1])?) as u8))
        .collect()
}

/// `bytes` as hex digits.
pub fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = BadHex;
    fn from_str(text: &str) -> Result<Self, BadHex> {
        let digits = text.as_bytes();
        if digits.len() != 2 * N {
            return Err(BadHex(2 * N));
        }
        let digit = |c: u8| char::from(c).to_digit(16).ok_or(BadHex(2 * N));
        let mut bytes = [0; N];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(bytes))
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_anything_else_is_refused() {
        let hex = Hex([0x00, 0xab, 0xff]);
        assert_eq!(hex.to_string(), "00abff");
        assert_eq!("00ABff".parse(), Ok(hex));
        for bad in ["", "00abf", "00abff0", "00abfg", "ä0abf"] {
            assert_eq!(bad.parse::<Hex<3>>(), Err(BadHex(6)));
        }
    }
}

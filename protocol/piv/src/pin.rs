//! A PIN on its way from the keyboard to the card: never shown, never logged, wiped afterwards.

use std::fmt;

use zeroize::Zeroizing;

/// Digits of a PIV card's PIN.
pub const SHORTEST: usize = 6;
/// Places for them.
pub const LONGEST: usize = 8;
/// What fills the places of a PIN that has fewer digits.
const PADDING: u8 = 0xff;

/// Digits typed so far, in the form that a PIV card takes them.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin {
    digits: Zeroizing<[u8; LONGEST]>,
    len: usize,
}

impl Default for Pin {
    fn default() -> Self {
        Self {
            digits: Zeroizing::new([PADDING; LONGEST]),
            len: 0,
        }
    }
}

impl Pin {
    /// Adds a digit, 0 to 9; a PIN that is full stays as it is.
    pub fn push(&mut self, digit: u8) {
        if self.len < LONGEST && digit <= 9 {
            self.digits[self.len] = b'0' + digit;
            self.len += 1;
        }
    }

    /// Takes the last digit back.
    pub fn erase(&mut self) {
        self.len = self.len.saturating_sub(1);
        self.digits[self.len] = PADDING;
    }

    /// How many digits there are.
    pub fn typed(&self) -> usize {
        self.len
    }

    /// Whether a card may have such a PIN.
    pub fn is_complete(&self) -> bool {
        self.len >= SHORTEST
    }

    /// As a card takes it.
    pub(crate) fn padded(&self) -> &[u8; LONGEST] {
        &self.digits
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_is_padded_and_says_nothing_of_itself() {
        let mut pin = Pin::default();
        for digit in [1, 2, 3, 4, 5, 6, 7] {
            assert_eq!(pin.is_complete(), pin.typed() >= 6);
            pin.push(digit);
        }
        pin.erase();
        assert_eq!(pin.padded(), b"123456\xff\xff");
        assert_eq!(format!("{pin:?}"), "Pin(…)");
        for digit in [8, 9, 9, 10] {
            pin.push(digit);
        }
        assert_eq!(pin.padded(), b"12345689");
        (0..20).for_each(|_| pin.erase());
        assert_eq!(pin, Pin::default());
    }
}

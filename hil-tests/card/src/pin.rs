//! The PIN and the code that unblocks it, and how often they may be wrong.

use crate::apdu::Status;

/// A reference value as commands carry it: padded with FF.
pub type Padded = [u8; 8];

/// The application PIN in commands.
pub const PIN: u8 = 0x80;
/// The unblocking key (PUK) in commands.
pub const PUK: u8 = 0x81;

/// What the card remembers of its PIN and PUK; it outlives every reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    pin: Secret,
    puk: Secret,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Secret {
    value: Padded,
    /// Tries after a success.
    limit: u8,
    left: u8,
}

impl Secret {
    fn check(&mut self, given: &[u8]) -> Result<(), Status> {
        if self.left == 0 {
            return Err(Status::BLOCKED);
        }
        if given != self.value {
            self.left -= 1;
            return Err(Status::tries_left(self.left));
        }
        self.left = self.limit;
        Ok(())
    }
}

impl Pins {
    /// A card as it was issued: both may be wrong `limit` times, and the PIN `left` times of them
    /// now.
    pub fn new(pin: &str, puk: &str, limit: u8, left: u8) -> Self {
        let secret = |text, left| Secret {
            value: pad(text),
            limit,
            left,
        };
        Self {
            pin: secret(pin, left),
            puk: secret(puk, limit),
        }
    }

    /// Tries of the PIN that are left.
    pub fn tries(&self) -> u8 {
        self.pin.left
    }

    /// What VERIFY without data says while the PIN has not been verified.
    pub fn status(&self) -> Status {
        match self.pin.left {
            0 => Status::BLOCKED,
            left => Status::tries_left(left),
        }
    }

    /// VERIFY.
    pub fn verify(&mut self, data: &[u8]) -> Result<(), Status> {
        is_pin(data).then_some(()).ok_or(Status::WRONG_DATA)?;
        self.pin.check(data)
    }

    /// CHANGE REFERENCE DATA: the old value and the new one.
    pub fn change(&mut self, reference: u8, data: &[u8]) -> Result<(), Status> {
        let (old, new) = two(data)?;
        let secret = match reference {
            PIN if is_pin(&new) => &mut self.pin,
            PUK => &mut self.puk,
            PIN => return Err(Status::WRONG_DATA),
            _ => return Err(Status::NO_REFERENCE),
        };
        secret.check(&old)?;
        secret.value = new;
        Ok(())
    }

    /// RESET RETRY COUNTER: the PUK and a new PIN.
    pub fn unblock(&mut self, data: &[u8]) -> Result<(), Status> {
        let (puk, new) = two(data)?;
        is_pin(&new).then_some(()).ok_or(Status::WRONG_DATA)?;
        self.puk.check(&puk)?;
        self.pin.value = new;
        self.pin.left = self.pin.limit;
        Ok(())
    }
}

/// A text as commands carry it; what is longer than eight bytes is cut.
pub fn pad(text: &str) -> Padded {
    let mut padded = [0xff; 8];
    for (to, from) in padded.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    padded
}

fn two(data: &[u8]) -> Result<(Padded, Padded), Status> {
    let (old, new) = data.split_first_chunk().ok_or(Status::WRONG_DATA)?;
    Ok((*old, new.try_into().map_err(|_| Status::WRONG_DATA)?))
}

/// Six to eight digits and FF behind them (SP 800-73-5, part 2, 2.4.3).
fn is_pin(data: &[u8]) -> bool {
    let digits = data.iter().take_while(|byte| byte.is_ascii_digit()).count();
    data.len() == 8 && digits >= 6 && data[digits..].iter().all(|byte| *byte == 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins() -> Pins {
        Pins::new("123456", "12345678", 3, 3)
    }

    fn both(first: &str, second: &str) -> Vec<u8> {
        [pad(first), pad(second)].concat()
    }

    #[test]
    fn three_wrong_pins_block_and_the_puk_unblocks() {
        let mut pins = pins();
        for left in [2, 1, 0] {
            assert_eq!(pins.verify(&pad("000000")), Err(Status::tries_left(left)));
        }
        assert_eq!(pins.verify(&pad("123456")), Err(Status::BLOCKED));
        assert_eq!(pins.status(), Status::BLOCKED);
        assert_eq!(
            pins.unblock(&both("00000000", "654321")),
            Err(Status::tries_left(2))
        );
        assert_eq!(pins.unblock(&both("12345678", "654321")), Ok(()));
        assert_eq!(pins.verify(&pad("654321")), Ok(()));
    }

    #[test]
    fn right_pin_gives_the_tries_back() {
        let mut pins = pins();
        assert!(pins.verify(&pad("999999")).is_err());
        assert_eq!(pins.tries(), 2);
        assert_eq!(pins.verify(&pad("123456")), Ok(()));
        assert_eq!(pins.tries(), 3);
    }

    #[test]
    fn what_is_no_pin_costs_no_try() {
        let mut pins = pins();
        for wrong in [
            &b"1234\xff\xff\xff\xff"[..],
            b"12345678x",
            b"abcdef\xff\xff",
            b"123456\xff7",
        ] {
            assert_eq!(pins.verify(wrong), Err(Status::WRONG_DATA));
        }
        assert_eq!(
            pins.change(PIN, &both("123456", "12")),
            Err(Status::WRONG_DATA)
        );
        assert_eq!(pins.tries(), 3);
    }

    #[test]
    fn pin_changes_for_whoever_knows_it() {
        let mut pins = pins();
        assert_eq!(
            pins.change(PIN, &both("111111", "222222")),
            Err(Status::tries_left(2))
        );
        assert_eq!(pins.change(PIN, &both("123456", "222222")), Ok(()));
        assert_eq!(pins.verify(&pad("222222")), Ok(()));
        assert_eq!(pins.change(PUK, &both("12345678", "87654321")), Ok(()));
        assert_eq!(pins.unblock(&both("87654321", "333333")), Ok(()));
        assert_eq!(pins.change(0x9b, &both("", "")), Err(Status::NO_REFERENCE));
    }
}

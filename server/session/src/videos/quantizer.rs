//! How coarse pictures are, where the driver does not choose; and how large a key may be.
//!
//! Pictures that differ from the one before are to have about as many bytes as the link has for one;
//! a key, which is all of a picture, as many as it carries in half a second.

/// Less would cost bytes that no eye sees.
pub const FINEST: u8 = 20;
/// More is no picture any more.
pub const COARSEST: u8 = 46;
/// The quantizer to begin with.
const FIRST: u8 = 26;
/// No key is worth looking at below this.
const SMALLEST_KEY: u32 = 48 << 10;
/// So much coarser has half the bytes.
const HALF: f32 = 6.0;
/// What a new rate has to differ by, in parts of the old one, to be taken.
const NOTABLE: u32 = 8;

/// Chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantizer {
    bits_per_second: u32,
    pictures_per_second: u16,
    now: u8,
}

impl Quantizer {
    /// For a video of so many bits and pictures a second.
    pub fn new(bits_per_second: u32, pictures_per_second: u16) -> Self {
        Self {
            bits_per_second: bits_per_second.max(1),
            pictures_per_second: pictures_per_second.max(1),
            now: FIRST,
        }
    }

    /// Takes another rate, where it is notably another.
    pub fn set_bits(&mut self, bits_per_second: u32) {
        let known = self.bits_per_second;
        if known.abs_diff(bits_per_second) > known / NOTABLE {
            self.bits_per_second = bits_per_second.max(1);
        }
    }

    /// The rate that is kept to.
    pub fn bits(&self) -> u32 {
        self.bits_per_second
    }

    /// The quantizer of the next picture.
    pub fn now(&self) -> u8 {
        self.now
    }

    /// A picture that builds on the one before has so many bytes.
    pub fn coded(&mut self, bytes: usize) {
        let enough = self.bits_per_second as usize / 8 / usize::from(self.pictures_per_second);
        let (up, down) = match bytes {
            _ if bytes > enough * 2 => (3, 0),
            _ if bytes > enough => (1, 0),
            _ if bytes * 2 < enough => (0, 1),
            _ => (0, 0),
        };
        self.now = (self.now + up - down).clamp(FINEST, COARSEST);
    }

    /// With which quantizer a key is encoded once more, for it has too many bytes with `quantizer`.
    pub fn coarser_key(&self, bytes: usize, quantizer: u8) -> Option<u8> {
        let most = (self.bits_per_second / 16).max(SMALLEST_KEY);
        if bytes <= most as usize || quantizer >= COARSEST {
            return None;
        }
        let more = (bytes as f32 / most as f32).log2() * HALF;
        let more = more.ceil().clamp(1.0, f32::from(COARSEST)) as u8;
        Some((quantizer + more).min(COARSEST))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of a picture of so much detail.
    fn bytes(detail: f32, quantizer: u8) -> usize {
        (detail * (-f32::from(quantizer) / HALF).exp2()) as usize
    }

    proptest! {
        #[test]
        fn pictures_come_to_have_the_bytes_that_there_are_for_one(
            detail in 1e4f32..1e8,
            bits in 200_000u32..200_000_000,
        ) {
            let mut quantizer = Quantizer::new(bits, 60);
            for _ in 0..100 {
                quantizer.coded(bytes(detail, quantizer.now()));
            }
            let enough = bits as usize / 8 / 60;
            let found = bytes(detail, quantizer.now());
            prop_assert!(found <= enough * 3 / 2 || quantizer.now() == COARSEST);
            prop_assert!(found * 3 >= enough || quantizer.now() == FINEST);
        }

        #[test]
        fn key_is_small_enough_after_few_tries_or_as_coarse_as_can_be(
            detail in 1e4f32..1e9,
            bits in 0u32..200_000_000,
        ) {
            let quantizer = Quantizer::new(bits, 60);
            let (mut at, mut tries) = (quantizer.now(), 0);
            while let Some(coarser) = quantizer.coarser_key(bytes(detail, at), at) {
                prop_assert!(coarser > at);
                (at, tries) = (coarser, tries + 1);
            }
            prop_assert!(tries <= 2);
        }
    }

    #[test]
    fn rate_that_wavers_is_left_alone() {
        let mut quantizer = Quantizer::new(8_000_000, 60);
        quantizer.set_bits(8_900_000);
        assert_eq!(quantizer.bits(), 8_000_000);
        quantizer.set_bits(9_100_000);
        assert_eq!(quantizer.bits(), 9_100_000);
        quantizer.set_bits(0);
        assert_eq!(quantizer.bits(), 1);
    }
}

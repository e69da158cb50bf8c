//! Four bytes at once, each by itself: those of a pixel.
//!
//! Where a sum waits for the one before, as in undoing a prediction, nothing is won by more bytes at a
//! time, but all by what one takes.

use wide::u8x16;

/// Four bytes, the first the lowest of a `u32`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Four(u8x16);

impl Four {
    pub(crate) const COUNT: usize = 4;

    /// The sums, modulo 256.
    #[inline]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The median predictor (LOCO-I) of the bytes to the left, which these are, those above, and those
    /// between the two.
    #[inline]
    pub(crate) fn median(self, up: Self, corner: Self) -> Self {
        let (left, up, corner) = (self.0, up.0, corner.0);
        // One of the two is zero, and neither waits for the left. A sum that does not fit is beyond
        // the bounds, too.
        let (rise, fall) = (up.saturating_sub(corner), corner.saturating_sub(up));
        let slope = left.saturating_add(rise).saturating_sub(fall);
        Self(slope.max(left.min(up)).min(left.max(up)))
    }
}

impl From<u32> for Four {
    #[inline]
    fn from(bytes: u32) -> Self {
        Self(u8x16::from(u128::from(bytes).to_le_bytes()))
    }
}

impl From<Four> for u32 {
    #[inline]
    fn from(four: Four) -> Self {
        let [first, second, third, fourth, ..] = four.0.to_array();
        Self::from_le_bytes([first, second, third, fourth])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_byte_is_by_itself(left: u32, up: u32, corner: u32) {
            let all = [left, up, corner];
            let [left, up, corner] = all.map(Four::from);
            let sums = u32::from(left.plus(up)).to_le_bytes();
            let medians = u32::from(left.median(up, corner)).to_le_bytes();
            for n in 0..Four::COUNT {
                let [left, up, corner] = all.map(|four| i32::from(four.to_le_bytes()[n]));
                prop_assert_eq!(i32::from(sums[n]), (left + up) % 256);
                let slope = left + up - corner;
                prop_assert_eq!(i32::from(medians[n]), slope.clamp(left.min(up), left.max(up)));
            }
        }
    }
}

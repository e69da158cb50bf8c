use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn blending_is_exact_at_its_ends_and_monotonic(below in any::<u32>(), colour in any::<u32>()) {
        let below = below | 0xff00_0000;
        prop_assert_eq!(blend(below, colour | 0xff00_0000, 255), colour | 0xff00_0000);
        prop_assert_eq!(blend(below, 0, 255), below);
        prop_assert_eq!(blend(below, colour | 0xff00_0000, 0), below);
    }

    #[test]
    fn scaling_rounds_to_nearest(pixel in any::<u32>(), factor in 0u32..=255) {
        let exact = pixel.to_le_bytes().map(|channel| {
            ((u32::from(channel) * factor * 2 + 255) / 510) as u8
        });
        prop_assert_eq!(scaled(pixel, factor), u32::from_le_bytes(exact));
    }
}

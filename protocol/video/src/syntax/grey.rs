//! Pictures of nothing: a decoder makes surfaces grey of them, whatever was there before.

use super::bits::{BitWriter, append_with_emulation};
use super::{PictureParameters, Reordering, SequenceParameters, Slice, SliceKind};

/// A macroblock that is predicted from its edges, has no residue, and so is grey beside grey ones and
/// where it has none: its kind (16×16 by averages), how its chroma is predicted, a quantizer that stays,
/// and no coefficients. By variable lengths; ITU-T H.264, 7.3.5 and 9.2.
const GREY_BLOCK: (u32, u32) = (0b0010_0111, 8);

impl Slice {
    /// A unit of this header, without its start code, and of so many grey macroblocks.
    ///
    /// # Panics
    /// In debug builds, where macroblocks would not be read so: arithmetic coding, predicted slices.
    pub fn grey(
        &self,
        sequence: &SequenceParameters,
        picture: &PictureParameters,
        blocks: u32,
    ) -> Vec<u8> {
        debug_assert!(!picture.arithmetic && self.kind == SliceKind::Intra);
        let (header, bits) = self.write(sequence, picture);
        let (start, body) = header.split_at(5);
        let mut plain = BitWriter::default();
        for bit in 0..bits - start.len() * 8 {
            plain.flag(body[bit / 8] >> (7 - bit % 8) & 1 == 1);
        }
        for _ in 0..blocks {
            plain.put(GREY_BLOCK.0, GREY_BLOCK.1);
        }
        let mut unit = vec![start[4]];
        append_with_emulation(&mut unit, &plain.finish());
        unit
    }

    /// The header of the first slice of a key.
    pub fn of_key() -> Self {
        Self {
            first_block: 0,
            kind: SliceKind::Intra,
            picture: 0,
            frame_number: 0,
            restart: Some(0),
            count: 0,
            bottom_count: 0,
            references: None,
            reordering: Reordering::default(),
            marking: super::Marking::Restart,
            arithmetic_table: 0,
            quantizer_delta: 0,
            deblocking: (1, 0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::Profile;
    use crate::{DecodeError, Decoder, Size};

    /// A key of slices that begin at `blocks` and have so many.
    fn key(size: Size, slices: &[(u32, u32)]) -> Vec<u8> {
        let sequence = SequenceParameters::new(size, Profile::Baseline, 40);
        let picture = PictureParameters::default();
        let mut unit = Vec::new();
        sequence.write(&mut unit);
        picture.write(&mut unit);
        for (first_block, blocks) in slices {
            let slice = Slice {
                first_block: *first_block,
                ..Slice::of_key()
            };
            unit.extend([0, 0, 1]);
            unit.extend(slice.grey(&sequence, &picture, *blocks));
        }
        unit
    }

    #[test]
    fn key_of_nothing_is_grey_everywhere() {
        for (w, h) in [(64, 48), (641, 361), (17, 99)] {
            let size = Size { w, h };
            let all = w.div_ceil(16) * h.div_ceil(16);
            for slices in [vec![(0, all)], vec![(0, 3), (3, all - 3)]] {
                let mut pixels = vec![0; size.area()];
                let mut decoder = Decoder::new(size).unwrap();
                decoder
                    .decode(&key(size, &slices), &mut pixels, w as usize)
                    .unwrap();
                let grey = |pixel: &u32| (pixel & 0xff).abs_diff(130) < 3;
                assert!(pixels.iter().all(grey), "{w}×{h}: {:x}", pixels[0]);
                assert!(pixels.windows(2).all(|two| two[0] == two[1]));
            }
        }
    }

    #[test]
    fn picture_that_is_not_covered_is_none() {
        let size = Size { w: 64, h: 48 };
        for slices in [
            vec![(0, 11)],
            vec![(0, 5), (6, 6)],
            vec![(0, 5), (5, 5)],
            vec![(3, 9)],
            vec![(0, 3), (6, 6), (3, 3)],
            vec![(0, 6), (6, 6), (6, 6)],
        ] {
            let mut pixels = vec![0; size.area()];
            let mut decoder = Decoder::new(size).unwrap();
            let decoded = decoder.decode(&key(size, &slices), &mut pixels, 64);
            let is_error = matches!(
                decoded,
                Err(DecodeError::Codec | DecodeError::NoPicture | DecodeError::Refused(_))
            );
            assert!(is_error, "{slices:?}: {decoded:?}");
            assert!(pixels.iter().all(|pixel| *pixel == 0));
        }
    }
}

//! The decoder in software.

use openh264::formats::YUVSource;

use crate::bitstream::{Refused, inspect};
use crate::picture::Planes;
use crate::{Size, is_possible};

/// Why an access unit could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No video has this size.
    #[error("no video has {}×{} pixels", .0.w, .0.h)]
    Size(Size),
    /// What it says of itself is not what was agreed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The first unit of a video, or one after an error, needs others before it.
    #[error("the access unit needs one before it that never came")]
    NoKey,
    /// The codec says no.
    #[error("the codec cannot read the access unit")]
    Codec,
    /// No picture, or one that is not the one agreed.
    #[error("the access unit is not one picture of the size that was agreed")]
    NoPicture,
}

/// Decodes one video.
pub struct Decoder {
    codec: openh264::decoder::Decoder,
    size: Size,
    /// What comes now can build on what came before.
    whole: bool,
    padded: Vec<u32>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("size", &self.size).finish()
    }
}

impl Decoder {
    /// A decoder of pictures of `size`.
    pub fn new(size: Size) -> Result<Self, DecodeError> {
        if !is_possible(size) {
            return Err(DecodeError::Size(size));
        }
        Ok(Self {
            codec: openh264::decoder::Decoder::new().map_err(|_| DecodeError::Codec)?,
            size,
            whole: false,
            padded: Vec::new(),
        })
    }

    /// The size of its pictures.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Decodes one access unit into `pixels`, whose rows are `stride` pixels apart. After an error
    /// the next unit has to be a key.
    pub fn decode(
        &mut self,
        unit: &[u8],
        pixels: &mut [u32],
        stride: usize,
    ) -> Result<(), DecodeError> {
        let whole = std::mem::take(&mut self.whole);
        let key = inspect(unit, self.size)?.key;
        if !key && !whole {
            return Err(DecodeError::NoKey);
        }
        let decoded = self.codec.decode(unit).map_err(|_| DecodeError::Codec)?;
        let decoded = decoded.ok_or(DecodeError::NoPicture)?;
        let even = self.size.even();
        if decoded.dimensions() != (even.w as usize, even.h as usize) {
            return Err(DecodeError::NoPicture);
        }
        let (y, u, v) = decoded.strides();
        let planes = Planes {
            planes: [decoded.y(), decoded.u(), decoded.v()],
            strides: [y, u, v],
        };
        let drawn = planes.draw(self.size, pixels, stride, &mut self.padded);
        drawn.map_err(|_| DecodeError::NoPicture)?;
        self.padded.fill(0);
        self.whole = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oracle::psnr;
    use crate::{Encoded, Encoder, Picture, Quality};

    /// A picture that moves.
    fn scene(size: Size, time: u32) -> Vec<u32> {
        let (w, h) = (size.w, size.h);
        let pixel = |n: u32| {
            let (x, y) = (n % w + 3 * time, n / w + time);
            let wave = |a: u32, b: u32| (a * x + b * y) / 4 % 256;
            let hill = |v: u32| if v < 128 { v * 2 } else { 510 - v * 2 };
            0xff00_0000 | hill(wave(3, 1)) << 16 | hill(wave(1, 2)) << 8 | hill(wave(2, 5))
        };
        (0..w * h).map(pixel).collect()
    }

    fn film(size: Size, pictures: u32) -> Vec<(Vec<u32>, Vec<u8>)> {
        let mut encoder = Encoder::new(size, Quality::default()).unwrap();
        let mut picture = Picture::default();
        let unit = |time| {
            let pixels = scene(size, time);
            assert!(picture.take(size, &pixels));
            let mut unit = Vec::new();
            let encoded = encoder.encode(&picture, false, &mut unit).unwrap();
            assert_ne!(encoded, Encoded::LeftOut);
            (pixels, unit)
        };
        (0..pictures).map(unit).collect()
    }

    #[test]
    fn film_comes_out_at_once_as_it_went_in_whatever_its_size() {
        for (w, h) in [(640, 360), (641, 361), (98, 64), (17, 99)] {
            let size = Size { w, h };
            let stride = w as usize + 3;
            let mut out = vec![9; stride * h as usize];
            let mut decoder = Decoder::new(size).unwrap();
            for (pixels, unit) in film(size, 5) {
                decoder.decode(&unit, &mut out, stride).unwrap();
                let rows = out.chunks(stride).flat_map(|row| &row[..w as usize]);
                let shown: Vec<u32> = rows.copied().collect();
                let quality = psnr(&pixels, &shown);
                assert!(quality > 33.0, "{w}×{h}: {quality} dB");
                assert!(out.chunks(stride).all(|row| row[w as usize..] == [9; 3]));
            }
        }
    }

    #[test]
    fn film_is_joined_at_a_key_only_and_after_an_error_too() {
        let size = Size { w: 64, h: 48 };
        let film = film(size, 3);
        let mut out = vec![0; size.area()];
        let mut decoder = Decoder::new(size).unwrap();
        let late = decoder.decode(&film[1].1, &mut out, 64);
        assert!(matches!(late, Err(DecodeError::NoKey)), "{late:?}");
        decoder.decode(&film[0].1, &mut out, 64).unwrap();
        decoder.decode(&film[1].1, &mut out, 64).unwrap();
        assert!(decoder.decode(&[0, 0, 1, 14, 3], &mut out, 64).is_err());
        let after = decoder.decode(&film[2].1, &mut out, 64);
        assert!(matches!(after, Err(DecodeError::NoKey)), "{after:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_film_is_an_error_or_a_wrong_picture_and_no_more(
            hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<Option<prop::sample::Index>>(),
        ) {
            let size = Size { w: 64, h: 48 };
            let mut out = vec![0; size.area()];
            let mut decoder = Decoder::new(size).unwrap();
            for (_, mut unit) in film(size, 3) {
                for (at, value) in &hits {
                    let at = at.index(unit.len());
                    unit[at] ^= value;
                }
                if let Some(cut) = cut {
                    unit.truncate(cut.index(unit.len()));
                }
                let _ = decoder.decode(&unit, &mut out, 64);
            }
        }
    }
}

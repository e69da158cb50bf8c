//! What an access unit says of itself, read before a decoder sees it.
//!
//! The sender is not trusted: sizes, reference pictures and kinds of units are checked here, so that
//! a decoder is never made to hold more than was agreed. Source: ITU-T H.264, 7.3 and Annex B.

use crate::Size;

/// Why an access unit is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not begin with a start code.
    #[error("the access unit does not begin with a start code")]
    NoStartCode,
    /// Units that the protocol does not have, as of SVC or data partitions.
    #[error("units of type {0} have no place in a video")]
    Kind(u8),
    /// Parameters that end too early or have values beyond all bounds.
    #[error("the sequence parameters cannot be read")]
    Malformed,
    /// A picture of another size than the one that was agreed.
    #[error("the bitstream has {0}×{1} pixels, agreed were others")]
    WrongSize(u32, u32),
    /// None, or more than one picture.
    #[error("an access unit is one picture")]
    NotOnePicture,
    /// More units than a picture has.
    #[error("an access unit of more than {MAX_UNITS} units")]
    TooMany,
    /// Interlaced, not 4:2:0, deeper than eight bits or with many reference pictures.
    #[error("the bitstream asks for what the protocol leaves out: {0}")]
    Unsupported(&'static str),
}

/// What an access unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// It needs none before it.
    pub key: bool,
}

const SLICE: u8 = 1;
const IDR: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
/// Reference pictures that a terminal holds.
const MAX_REFERENCES: u32 = 4;
/// Units of one picture.
const MAX_UNITS: usize = 64;
/// Bytes of a slice that are looked at.
const SLICE_START: usize = 16;
/// Bytes of sequence parameters that are looked at.
const MAX_SPS: usize = 256;

/// Looks at an access unit of a video of `size`.
pub fn inspect(unit: &[u8], size: Size) -> Result<Unit, Refused> {
    let mut slices = None;
    for (count, nal) in nals(unit)?.enumerate() {
        if count == MAX_UNITS {
            return Err(Refused::TooMany);
        }
        let Some((head, body)) = nal.split_first() else {
            return Err(Refused::Malformed);
        };
        match head & 31 {
            kind @ (SLICE | IDR) => {
                // A codec would decode any number of pictures from one buffer.
                let is_first = first_block(body)? == 0;
                if is_first != slices.is_none() || slices.is_some_and(|slices| slices != kind) {
                    return Err(Refused::NotOnePicture);
                }
                slices = Some(kind);
            }
            SEI | PPS | DELIMITER => {}
            SPS => check_sps(body, size)?,
            kind => return Err(Refused::Kind(kind)),
        }
    }
    let slices = slices.ok_or(Refused::NotOnePicture)?;
    Ok(Unit { key: slices == IDR })
}

/// The macroblock that a slice begins with.
fn first_block(body: &[u8]) -> Result<u32, Refused> {
    let plain = without_emulation(&body[..body.len().min(SLICE_START)]);
    Bits::new(&plain).golomb().ok_or(Refused::Malformed)
}

/// The units between start codes.
fn nals(unit: &[u8]) -> Result<impl Iterator<Item = &[u8]>, Refused> {
    let mut rest = after_start(unit).ok_or(Refused::NoStartCode)?;
    let mut over = false;
    Ok(std::iter::from_fn(move || {
        if over {
            return None;
        }
        let end = rest.windows(3).position(|three| three == [0, 0, 1]);
        let (nal, next) = match end {
            Some(end) => (&rest[..end], &rest[end + 3..]),
            None => {
                over = true;
                (rest, &[][..])
            }
        };
        rest = next;
        Some(nal)
    }))
}

fn after_start(unit: &[u8]) -> Option<&[u8]> {
    unit.strip_prefix(&[0, 0, 0, 1])
        .or_else(|| unit.strip_prefix(&[0, 0, 1]))
}

fn check_sps(body: &[u8], size: Size) -> Result<(), Refused> {
    let plain = without_emulation(&body[..body.len().min(MAX_SPS)]);
    let claim = Claim::read(&mut Bits::new(&plain)).ok_or(Refused::Malformed)??;
    if claim.references > MAX_REFERENCES {
        return Err(Refused::Unsupported("many reference pictures"));
    }
    let even = size.even();
    match (claim.w, claim.h) == (even.w, even.h) {
        true => Ok(()),
        false => Err(Refused::WrongSize(claim.w, claim.h)),
    }
}

/// Takes the bytes out that keep a start code from appearing.
fn without_emulation(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for byte in bytes {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        plain.push(*byte);
    }
    plain
}

/// What sequence parameters ask a decoder for.
struct Claim {
    w: u32,
    h: u32,
    references: u32,
}

/// Profiles whose parameters say more of the samples.
const HIGH_PROFILES: [u32; 12] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134];

impl Claim {
    /// Nothing where the bits end too early.
    fn read(bits: &mut Bits<'_>) -> Option<Result<Self, Refused>> {
        let profile = bits.take(8)?;
        let _constraints_and_level = bits.take(16)?;
        let _id = bits.golomb()?;
        if HIGH_PROFILES.contains(&profile) {
            let (chroma, luma_depth, chroma_depth) =
                (bits.golomb()?, bits.golomb()?, bits.golomb()?);
            let (_bypass, scaling) = (bits.take(1)?, bits.take(1)?);
            if (chroma, luma_depth, chroma_depth, scaling) != (1, 0, 0, 0) {
                return Some(Err(Refused::Unsupported(
                    "other samples than 4:2:0 of 8 bits",
                )));
            }
        }
        let _frame_number_bits = bits.golomb()?;
        Self::skip_order(bits)?;
        let references = bits.golomb()?;
        let _gaps = bits.take(1)?;
        let (columns, rows) = (bits.golomb()?, bits.golomb()?);
        if bits.take(1)? == 0 {
            return Some(Err(Refused::Unsupported("interlaced pictures")));
        }
        let _direct_8x8 = bits.take(1)?;
        let mut crop = [0; 4];
        if bits.take(1)? == 1 {
            for edge in &mut crop {
                *edge = bits.golomb()?;
            }
        }
        // Macroblocks of 16 samples; with 4:2:0 a cropping unit is two samples.
        let side = |blocks: u32, before: u32, after: u32| {
            let whole = blocks.checked_add(1)?.checked_mul(16)?;
            whole.checked_sub(before.checked_add(after)?.checked_mul(2)?)
        };
        let w = side(columns, crop[0], crop[1]);
        let h = side(rows, crop[2], crop[3]);
        let (Some(w), Some(h)) = (w, h) else {
            return Some(Err(Refused::Malformed));
        };
        // Cropping must not hide a picture that is far larger.
        let blocks = (columns + 1, rows + 1);
        if blocks != (w.div_ceil(16), h.div_ceil(16)) {
            return Some(Err(Refused::WrongSize(blocks.0 * 16, blocks.1 * 16)));
        }
        Some(Ok(Self { w, h, references }))
    }

    fn skip_order(bits: &mut Bits<'_>) -> Option<()> {
        match bits.golomb()? {
            0 => {
                bits.golomb()?;
            }
            1 => {
                bits.take(1)?;
                bits.golomb()?;
                bits.golomb()?;
                for _ in 0..bits.golomb()?.min(256) {
                    bits.golomb()?;
                }
            }
            _ => {}
        }
        Some(())
    }
}

/// Bits, highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// An unsigned number as 9.1 of the standard has it, below 2^24.
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 23 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Encoded, Encoder, Picture, Quality};

    fn unit(size: Size) -> Vec<u8> {
        let mut picture = Picture::default();
        assert!(picture.take(size, &vec![0xff20_4060; size.area()]));
        let mut encoder = Encoder::new(size, Quality::default()).unwrap();
        let mut unit = Vec::new();
        let encoded = encoder.encode(&picture, false, &mut unit).unwrap();
        assert_eq!(encoded, Encoded::Key);
        unit
    }

    #[test]
    fn own_bitstream_says_the_size_that_was_agreed_and_is_held_to_it() {
        for (w, h) in [
            (16, 16),
            (64, 48),
            (640, 360),
            (641, 361),
            (1280, 720),
            (1366, 768),
        ] {
            let size = Size { w, h };
            let unit = unit(size);
            assert_eq!(inspect(&unit, size), Ok(Unit { key: true }));
            let other = Size { w: w + 2, h };
            assert_eq!(
                inspect(&unit, other),
                Err(Refused::WrongSize(size.even().w, size.even().h))
            );
        }
    }

    #[test]
    fn unit_of_more_or_less_than_one_picture_is_refused() {
        let size = Size { w: 64, h: 48 };
        let one = unit(size);
        let two = [&one[..], &one[..]].concat();
        assert_eq!(inspect(&two, size), Err(Refused::NotOnePicture));
        let skipped = [0, 0, 1, 0x41, 0xe0, 0x40];
        let mixed = [&one[..], &skipped[..]].concat();
        assert_eq!(inspect(&mixed, size), Err(Refused::NotOnePicture));
        let none = [0, 0, 1, 9, 16];
        assert_eq!(inspect(&none, size), Err(Refused::NotOnePicture));
        assert_eq!(inspect(&none.repeat(65), size), Err(Refused::TooMany));
    }

    #[test]
    fn units_of_other_kinds_are_refused() {
        let size = Size { w: 64, h: 48 };
        assert_eq!(inspect(&[], size), Err(Refused::NoStartCode));
        assert_eq!(inspect(&[1, 2, 3, 4], size), Err(Refused::NoStartCode));
        assert_eq!(inspect(&[0, 0, 1], size), Err(Refused::Malformed));
        assert_eq!(inspect(&[0, 0, 1, 14], size), Err(Refused::Kind(14)));
        assert_eq!(inspect(&[0, 0, 1, 0x67, 66], size), Err(Refused::Malformed));
    }

    #[test]
    fn crop_cannot_hide_a_huge_picture() {
        // Baseline, level 4, id 0, order 2, 1 reference, 1024×1024 blocks, cropped to 64×48.
        let mut bits = String::from("01000010" /* 66 */);
        bits += "0000000000101000";
        bits += "1"; // id
        bits += "1"; // frame number bits
        bits += "011"; // order 2
        bits += "010"; // 1 reference
        bits += "0"; // gaps
        let golomb = |value: u32| {
            let binary = format!("{:b}", value + 1);
            "0".repeat(binary.len() - 1) + &binary
        };
        bits += &golomb(1023);
        bits += &golomb(1023);
        bits += "111"; // frames only, direct 8×8, cropped
        bits += &golomb(0);
        bits += &golomb((16384 - 64) / 2);
        bits += &golomb(0);
        bits += &golomb((16384 - 48) / 2);
        bits += "01000000";
        let bytes: Vec<u8> = bits
            .as_bytes()
            .chunks_exact(8)
            .map(|byte| byte.iter().fold(0, |value, bit| value << 1 | (bit - b'0')))
            .collect();
        let mut unit = vec![0, 0, 0, 1, 0x67];
        unit.extend(bytes);
        assert_eq!(
            inspect(&unit, Size { w: 64, h: 48 }),
            Err(Refused::WrongSize(16384, 16384))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_unit_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), sps in any::<bool>()) {
            let mut unit = vec![0, 0, 1];
            if sps {
                unit.push(0x67);
            }
            unit.extend(bytes);
            let _ = inspect(&unit, Size { w: 64, h: 48 });
        }
    }
}

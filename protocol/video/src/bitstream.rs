//! What an access unit says of itself, read before a decoder sees it.
//!
//! The sender is not trusted: sizes, reference pictures and kinds of units are checked here, so that
//! a decoder is never made to hold more than was agreed. Source: ITU-T H.264, 7.3 and Annex B.

use crate::Size;
use crate::syntax::{Beginning, Bits, Kind, SequenceParameters, units};

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
    #[error("its headers cannot be read")]
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

/// Reference pictures that a terminal holds.
const MAX_REFERENCES: u8 = 4;
/// Units of one picture.
const MAX_UNITS: usize = 64;
/// Bytes of a slice that are looked at.
const SLICE_START: usize = 16;

/// Looks at an access unit of a video of `size`.
pub fn inspect(unit: &[u8], size: Size) -> Result<Unit, Refused> {
    // The kind of its slices, and where the last one begins.
    let mut slices: Option<(Kind, u32)> = None;
    for (count, nal) in units(unit)?.enumerate() {
        if count == MAX_UNITS {
            return Err(Refused::TooMany);
        }
        let Some((head, body)) = nal.split_first() else {
            return Err(Refused::Malformed);
        };
        match Kind::of(*head)? {
            kind @ (Kind::Slice | Kind::Idr) => {
                // A codec would decode any number of pictures from one buffer, and leave out what
                // nobody gives it: slices are in order, from the first macroblock on.
                let begins = first_block(body)?;
                let follows = match slices {
                    None => begins == 0,
                    Some((of, before)) => of == kind && begins > before,
                };
                if !follows {
                    return Err(Refused::NotOnePicture);
                }
                slices = Some((kind, begins));
            }
            Kind::Sequence => check_sequence(nal, size)?,
            Kind::Supplemental | Kind::Picture | Kind::Delimiter => {}
        }
    }
    let (kind, _) = slices.ok_or(Refused::NotOnePicture)?;
    Ok(Unit {
        key: kind == Kind::Idr,
    })
}

/// The macroblock that a slice begins with.
fn first_block(body: &[u8]) -> Result<u32, Refused> {
    let plain = Beginning::<SLICE_START>::of(body);
    Bits::new(plain.bytes()).golomb().ok_or(Refused::Malformed)
}

fn check_sequence(unit: &[u8], size: Size) -> Result<(), Refused> {
    let claim = SequenceParameters::read(unit)?;
    if claim.references > MAX_REFERENCES {
        return Err(Refused::Unsupported("many reference pictures"));
    }
    match claim.size == size.even() {
        true => Ok(()),
        false => Err(Refused::WrongSize(claim.size.w, claim.size.h)),
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

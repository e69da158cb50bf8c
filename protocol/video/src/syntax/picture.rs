//! Picture parameters: what most pictures of a video have in common.

use super::bits::{BitWriter, Bits, without_emulation};
use super::{Kind, append};
use crate::Refused;

/// Bytes of picture parameters that are looked at.
const MAX_BYTES: usize = 256;

/// Picture parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureParameters {
    /// Their number, 0 to 255.
    pub id: u8,
    /// The number of the sequence parameters, 0 to 31.
    pub sequence: u8,
    /// Arithmetic coding in place of variable lengths.
    pub arithmetic: bool,
    /// Whether slices say a difference between the counts of two fields.
    pub bottom_count: bool,
    /// Pictures that a slice may build on unless it says otherwise, 1 to 16.
    pub references: u8,
    /// The quantizer that slices begin from, 0 to 51.
    pub quantizer: u8,
    /// What the quantizer of the first colour difference is more, -12 to 12.
    pub chroma_offset: i8,
    /// The same of the second.
    pub second_chroma_offset: i8,
    /// Whether slices say how blocks are smoothed.
    pub deblocking_control: bool,
    /// Whether intra blocks build on intra blocks only.
    pub constrained_intra: bool,
    /// Whether slices say which copy of a picture they are of.
    pub redundant_count: bool,
    /// Transforms of 8×8 samples.
    pub transform_8x8: bool,
}

impl Default for PictureParameters {
    fn default() -> Self {
        Self {
            id: 0,
            sequence: 0,
            arithmetic: false,
            bottom_count: false,
            references: 1,
            quantizer: 26,
            chroma_offset: 0,
            second_chroma_offset: 0,
            deblocking_control: true,
            constrained_intra: false,
            redundant_count: false,
            transform_8x8: false,
        }
    }
}

impl PictureParameters {
    /// Reads a unit, its first byte included.
    pub fn read(unit: &[u8]) -> Result<Self, Refused> {
        let body = unit.get(1..).ok_or(Refused::Malformed)?;
        let plain = without_emulation(&body[..body.len().min(MAX_BYTES)]);
        read(&mut Bits::new(&plain)).ok_or(Refused::Malformed)?
    }

    /// Appends them as a unit with its start code.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut bits = BitWriter::default();
        bits.golomb(self.id.into());
        bits.golomb(self.sequence.into());
        bits.flag(self.arithmetic);
        bits.flag(self.bottom_count);
        // One group of slices.
        bits.golomb(0);
        bits.golomb(u32::from(self.references) - 1);
        bits.golomb(0);
        // No weights.
        bits.put(0, 3);
        bits.signed(i32::from(self.quantizer) - 26);
        bits.signed(0);
        bits.signed(self.chroma_offset.into());
        bits.flag(self.deblocking_control);
        bits.flag(self.constrained_intra);
        bits.flag(self.redundant_count);
        if self.transform_8x8 || self.second_chroma_offset != self.chroma_offset {
            bits.flag(self.transform_8x8);
            bits.flag(false);
            bits.signed(self.second_chroma_offset.into());
        }
        append(out, 3, Kind::Picture, bits);
    }
}

/// Nothing where the bits end too early.
fn read(bits: &mut Bits<'_>) -> Option<Result<PictureParameters, Refused>> {
    let unsupported = |what| Some(Err(Refused::Unsupported(what)));
    let id = u8::try_from(bits.golomb()?).ok()?;
    let sequence = u8::try_from(bits.golomb()?).ok().filter(|id| *id <= 31)?;
    let (arithmetic, bottom_count) = (bits.flag()?, bits.flag()?);
    if bits.golomb()? != 0 {
        return unsupported("groups of slices");
    }
    let references = bits.golomb()?.checked_add(1).filter(|n| *n <= 16)? as u8;
    let _of_second_list = bits.golomb()?;
    if bits.take(1)? != 0 {
        return unsupported("weighted prediction");
    }
    let _of_two = bits.take(2)?;
    let within = |value: i32, bound: i32| (-bound..=bound).contains(&value).then_some(value);
    let quantizer = within(bits.signed()?, 26)?
        .checked_add(26)
        .filter(|q| *q <= 51)? as u8;
    let _switching = bits.signed()?;
    let chroma_offset = within(bits.signed()?, 12)? as i8;
    let (deblocking_control, constrained_intra, redundant_count) =
        (bits.flag()?, bits.flag()?, bits.flag()?);
    let (mut transform_8x8, mut second_chroma_offset) = (false, chroma_offset);
    if bits.has_more() {
        transform_8x8 = bits.flag()?;
        if bits.flag()? {
            return unsupported("scaling lists");
        }
        second_chroma_offset = within(bits.signed()?, 12)? as i8;
    }
    Some(Ok(PictureParameters {
        id,
        sequence,
        arithmetic,
        bottom_count,
        references,
        quantizer,
        chroma_offset,
        second_chroma_offset,
        deblocking_control,
        constrained_intra,
        redundant_count,
        transform_8x8,
    }))
}

//! Sequence parameters: what all pictures of a video have in common.

use super::bits::{BitWriter, Bits, without_emulation};
use super::{Kind, append};
use crate::{Refused, Size};

/// Bytes of sequence parameters that are looked at.
const MAX_BYTES: usize = 256;
/// Picture counts that a decoder may be asked to remember.
const MAX_REFERENCES: u32 = 16;
/// The widest and highest picture that any level has, in macroblocks.
const MAX_BLOCKS: u32 = 1024;
/// Sample aspect ratios from here on are written out.
const EXTENDED_ASPECT: u32 = 255;
/// Profiles whose parameters say more of the samples.
const HIGH_PROFILES: [u32; 12] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134];

/// Tools that a decoder needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Constrained Baseline.
    Baseline,
    /// Main: with arithmetic coding.
    Main,
    /// High: with transforms of 8×8 samples, too.
    High,
}

/// How pictures say when they are shown. All are shown as they are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By the lowest bits of a count, so many (4 to 16).
    Count {
        /// Bits.
        bits: u8,
    },
    /// Not at all.
    Decoding,
}

/// What the numbers of a sample mean, as ITU-T H.273 counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// 0 to 255 in place of 16 to 235.
    pub full_range: bool,
    /// The primaries.
    pub primaries: u8,
    /// The transfer characteristics.
    pub transfer: u8,
    /// The matrix.
    pub matrix: u8,
}

impl Colour {
    /// BT.709 in limited range: what the protocol's videos are.
    pub const BT709: Self = Self {
        full_range: false,
        primaries: 1,
        transfer: 1,
        matrix: 1,
    };
}

/// Sequence parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceParameters {
    /// Their number, 0 to 31.
    pub id: u8,
    /// The profile.
    pub profile: Profile,
    /// The level, ten times its number.
    pub level: u8,
    /// Bits of a frame's number, 4 to 16.
    pub frame_number_bits: u8,
    /// How pictures are ordered.
    pub order: Order,
    /// Pictures that later ones may build on, 0 to 16.
    pub references: u8,
    /// Width and height in macroblocks of 16 samples, 1 to 1024.
    pub blocks: (u16, u16),
    /// The part that is shown: its even size, from the left upper corner on unless cut there.
    pub size: Size,
    /// Samples that are cut at the left and at the top, even.
    pub cut: (u16, u16),
    /// What the samples mean, where it is said.
    pub colour: Option<Colour>,
    /// Pictures that a decoder may hold back to bring them into order; any where it is not said.
    pub held_back: Option<u8>,
}

impl SequenceParameters {
    /// Those of a video of this size that is shown as it comes, each picture from the one before.
    pub fn new(size: Size, profile: Profile, level: u8) -> Self {
        let even = size.even();
        Self {
            id: 0,
            profile,
            level,
            frame_number_bits: 8,
            order: Order::Decoding,
            references: 1,
            blocks: (blocks(even.w), blocks(even.h)),
            size: even,
            cut: (0, 0),
            colour: Some(Colour::BT709),
            held_back: Some(0),
        }
    }

    /// Reads a unit, its first byte included.
    pub fn read(unit: &[u8]) -> Result<Self, Refused> {
        let body = unit.get(1..).ok_or(Refused::Malformed)?;
        let plain = without_emulation(&body[..body.len().min(MAX_BYTES)]);
        read(&mut Bits::new(&plain)).ok_or(Refused::Malformed)?
    }

    /// Appends them as a unit with its start code.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut bits = BitWriter::default();
        // Baseline is written so that any decoder takes it: no slice groups, no redundant slices.
        let (profile, constraints) = match self.profile {
            Profile::Baseline => (66, 0b1100_0000),
            Profile::Main => (77, 0b0100_0000),
            Profile::High => (100, 0),
        };
        bits.put(profile, 8);
        bits.put(constraints, 8);
        bits.put(self.level.into(), 8);
        bits.golomb(self.id.into());
        if self.profile == Profile::High {
            bits.golomb(1);
            bits.golomb(0);
            bits.golomb(0);
            bits.put(0, 2);
        }
        bits.golomb(u32::from(self.frame_number_bits).saturating_sub(4));
        match self.order {
            Order::Count { bits: count } => {
                bits.golomb(0);
                bits.golomb(u32::from(count).saturating_sub(4));
            }
            Order::Decoding => bits.golomb(2),
        }
        bits.golomb(self.references.into());
        bits.flag(false);
        bits.golomb(u32::from(self.blocks.0).saturating_sub(1));
        bits.golomb(u32::from(self.blocks.1).saturating_sub(1));
        bits.flag(true);
        bits.flag(true);
        self.write_crop(&mut bits);
        self.write_usability(&mut bits);
        append(out, 3, Kind::Sequence, bits);
    }

    /// Samples that are cut at the left, the right, the top and the bottom: those of the blocks that are
    /// not shown. None are where the blocks have no more than is shown.
    pub fn crop(&self) -> [u32; 4] {
        let edges = |blocks: u16, before: u16, side: u32| {
            let beside = (u32::from(blocks) * 16).saturating_sub(side);
            let before = u32::from(before).min(beside);
            [before, beside - before]
        };
        let [left, right] = edges(self.blocks.0, self.cut.0, self.size.w);
        let [top, bottom] = edges(self.blocks.1, self.cut.1, self.size.h);
        [left, right, top, bottom]
    }

    fn write_crop(&self, bits: &mut BitWriter) {
        let edges = self.crop();
        let cropped = edges != [0; 4];
        bits.flag(cropped);
        if cropped {
            edges.into_iter().for_each(|edge| bits.golomb(edge / 2));
        }
    }

    fn write_usability(&self, bits: &mut BitWriter) {
        bits.flag(self.colour.is_some() || self.held_back.is_some());
        if self.colour.is_none() && self.held_back.is_none() {
            return;
        }
        // Neither an aspect ratio nor overscan.
        bits.put(0, 2);
        bits.flag(self.colour.is_some());
        if let Some(colour) = self.colour {
            // Of no particular television system.
            bits.put(5, 3);
            bits.flag(colour.full_range);
            bits.flag(true);
            for number in [colour.primaries, colour.transfer, colour.matrix] {
                bits.put(number.into(), 8);
            }
        }
        // Neither a place of the chroma, nor times, nor buffers, nor a structure of pictures.
        bits.put(0, 5);
        bits.flag(self.held_back.is_some());
        if let Some(held_back) = self.held_back {
            bits.flag(true);
            bits.golomb(0);
            bits.golomb(0);
            bits.golomb(15);
            bits.golomb(15);
            bits.golomb(held_back.into());
            bits.golomb(self.references.max(held_back).into());
        }
    }
}

/// Macroblocks of a side; those of a side that no video has are too few.
fn blocks(side: u32) -> u16 {
    u16::try_from(side.div_ceil(16)).unwrap_or(u16::MAX)
}

/// Nothing where the bits end too early.
fn read(bits: &mut Bits<'_>) -> Option<Result<SequenceParameters, Refused>> {
    let unsupported = |what| Some(Err(Refused::Unsupported(what)));
    let profile_number = bits.take(8)?;
    let _constraints = bits.take(8)?;
    let level = bits.take(8)? as u8;
    let id = bits.golomb()?;
    if HIGH_PROFILES.contains(&profile_number) {
        let (chroma, luma_depth, chroma_depth) = (bits.golomb()?, bits.golomb()?, bits.golomb()?);
        let (_bypass, scaling) = (bits.take(1)?, bits.take(1)?);
        if (chroma, luma_depth, chroma_depth, scaling) != (1, 0, 0, 0) {
            return unsupported("other samples than 4:2:0 of 8 bits");
        }
    }
    let profile = match profile_number {
        66 => Profile::Baseline,
        77 => Profile::Main,
        100 => Profile::High,
        _ => return unsupported("a profile that is none of Baseline, Main and High"),
    };
    let frame_number_bits = bits.golomb()? + 4;
    let order = match bits.golomb()? {
        0 => Order::Count {
            bits: u8::try_from(bits.golomb()? + 4).ok().filter(|n| *n <= 16)?,
        },
        1 => return unsupported("pictures in an order that is worked out"),
        2 => Order::Decoding,
        _ => return None,
    };
    let references = bits.golomb()?;
    let _gaps = bits.take(1)?;
    let (columns, rows) = (bits.golomb()?, bits.golomb()?);
    if !bits.flag()? {
        return unsupported("interlaced pictures");
    }
    let _direct_8x8 = bits.take(1)?;
    let mut crop = [0; 4];
    if bits.flag()? {
        for edge in &mut crop {
            // With 4:2:0 a cropping unit is two samples.
            *edge = bits.golomb()?.checked_mul(2)?;
        }
    }
    let (colour, held_back) = match bits.flag()? {
        true => read_usability(bits)?,
        false => (None, None),
    };
    if id > 31 || frame_number_bits > 16 || references > MAX_REFERENCES {
        return None;
    }
    let side = |blocks: u32, before: u32, after: u32| {
        let whole = blocks.checked_add(1)?.checked_mul(16)?;
        let left = whole.checked_sub(before.checked_add(after)?)?;
        (left > 0).then_some(left)
    };
    let (w, h) = (
        side(columns, crop[0], crop[1])?,
        side(rows, crop[2], crop[3])?,
    );
    // Cropping must not hide a picture that is far larger.
    let blocks = (columns + 1, rows + 1);
    let hidden = blocks != (w.div_ceil(16), h.div_ceil(16));
    if hidden || blocks.0.max(blocks.1) > MAX_BLOCKS {
        return Some(Err(Refused::WrongSize(
            blocks.0.saturating_mul(16),
            blocks.1.saturating_mul(16),
        )));
    }
    Some(Ok(SequenceParameters {
        id: id as u8,
        profile,
        level,
        frame_number_bits: frame_number_bits as u8,
        order,
        references: references as u8,
        blocks: (blocks.0 as u16, blocks.1 as u16),
        size: Size { w, h },
        cut: (crop[0] as u16, crop[2] as u16),
        colour,
        held_back,
    }))
}

/// What the parameters say of how the video is to be used, as Annex E has it.
fn read_usability(bits: &mut Bits<'_>) -> Option<(Option<Colour>, Option<u8>)> {
    if bits.flag()? && bits.take(8)? == EXTENDED_ASPECT {
        bits.take(32)?;
    }
    if bits.flag()? {
        bits.take(1)?;
    }
    let mut colour = None;
    if bits.flag()? {
        let _format = bits.take(3)?;
        let full_range = bits.flag()?;
        if bits.flag()? {
            let mut number = || Some(bits.take(8)? as u8);
            colour = Some(Colour {
                full_range,
                primaries: number()?,
                transfer: number()?,
                matrix: number()?,
            });
        }
    }
    if bits.flag()? {
        bits.golomb()?;
        bits.golomb()?;
    }
    if bits.flag()? {
        bits.take(32)?;
        bits.take(32)?;
        bits.take(1)?;
    }
    let mut buffers = false;
    for _ in 0..2 {
        if bits.flag()? {
            buffers = true;
            skip_buffers(bits)?;
        }
    }
    if buffers {
        bits.take(1)?;
    }
    let _structure = bits.take(1)?;
    if !bits.flag()? {
        return Some((colour, None));
    }
    bits.take(1)?;
    for _ in 0..4 {
        bits.golomb()?;
    }
    let held_back = u8::try_from(bits.golomb()?).ok()?;
    let _buffered = bits.golomb()?;
    Some((colour, Some(held_back)))
}

/// The parameters of a decoder's buffer, which nobody here has.
fn skip_buffers(bits: &mut Bits<'_>) -> Option<()> {
    let count = bits.golomb()? + 1;
    bits.take(8)?;
    for _ in 0..count.min(32) {
        bits.golomb()?;
        bits.golomb()?;
        bits.take(1)?;
    }
    bits.take(20)?;
    Some(())
}

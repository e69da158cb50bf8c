//! The header of a slice: which picture it is of, and what that builds on.

use super::bits::{Beginning, BitWriter, Bits};
use super::{Kind, Order, PictureParameters, SequenceParameters};
use crate::Refused;

/// Bytes of a slice that are looked at: the longest header there can be, and some.
const MAX_BYTES: usize = 512;
/// Commands of one list that are taken in.
const MAX_COMMANDS: usize = 33;

/// What the blocks of a slice may build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SliceKind {
    /// On pictures before.
    Predicted,
    /// On this picture only.
    Intra,
}

/// What becomes of the pictures that a decoder holds, once this one is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marking {
    /// Nothing builds on this picture.
    Unused,
    /// All go, this one stays.
    Restart,
    /// This one stays; where there are too many, the oldest goes.
    Sliding,
    /// This one stays; those go that are so many frame numbers back, less one.
    Forget(Vec<u32>),
}

/// Commands that put a list in order, as many as one can have. They are read of every picture, and so
/// are not to allocate.
#[derive(Clone, Copy)]
pub struct Reordering {
    commands: [(bool, u32); MAX_COMMANDS],
    count: usize,
}

impl Default for Reordering {
    fn default() -> Self {
        Self {
            commands: [(false, 0); MAX_COMMANDS],
            count: 0,
        }
    }
}

impl Reordering {
    /// Adds a command, if there is room.
    fn push(&mut self, command: (bool, u32)) -> Option<()> {
        *self.commands.get_mut(self.count)? = command;
        self.count += 1;
        Some(())
    }
}

impl std::ops::Deref for Reordering {
    type Target = [(bool, u32)];

    fn deref(&self) -> &Self::Target {
        &self.commands[..self.count]
    }
}

impl From<&[(bool, u32)]> for Reordering {
    /// The first of them, where they are too many.
    fn from(commands: &[(bool, u32)]) -> Self {
        let mut reordering = Self::default();
        for command in commands {
            let _ = reordering.push(*command);
        }
        reordering
    }
}

impl PartialEq for Reordering {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Reordering {}

impl std::fmt::Debug for Reordering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The header of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The first macroblock.
    pub first_block: u32,
    /// What it may build on.
    pub kind: SliceKind,
    /// The number of its picture parameters.
    pub picture: u8,
    /// The frame's number.
    pub frame_number: u16,
    /// Tells a picture that needs none before it from the next one of its kind.
    pub restart: Option<u16>,
    /// The lowest bits of the picture's count, where there are some.
    pub count: u16,
    /// What the count of the lower field is more.
    pub bottom_count: i32,
    /// Pictures that it may build on, where other than the parameters say.
    pub references: Option<u8>,
    /// How the list of those is put in order: whether a difference of frame numbers, less one, is
    /// added, and the difference.
    pub reordering: Reordering,
    /// What becomes of the pictures held.
    pub marking: Marking,
    /// Which table arithmetic coding begins with.
    pub arithmetic_table: u8,
    /// What its quantizer is more than that of the parameters.
    pub quantizer_delta: i8,
    /// How edges of blocks are smoothed (0 all, 1 none, 2 within slices), and two offsets, halved.
    pub deblocking: (u8, i8, i8),
}

impl Slice {
    /// The parameters' number, which has to be known before the rest can be read.
    pub fn parameters_of(unit: &[u8]) -> Result<u8, Refused> {
        let plain = plain(unit)?;
        let mut bits = Bits::new(plain.bytes());
        let mut id = || {
            let (_first, _kind) = (bits.golomb()?, bits.golomb()?);
            u8::try_from(bits.golomb()?).ok()
        };
        id().ok_or(Refused::Malformed)
    }

    /// Reads the header of a unit, its first byte included. Returns how many bits of the unit it has,
    /// the first byte and not the bytes that keep start codes away counted: VA-API's
    /// `slice_data_bit_offset`.
    pub fn read(
        unit: &[u8],
        sequence: &SequenceParameters,
        picture: &PictureParameters,
    ) -> Result<(Self, usize), Refused> {
        let head = *unit.first().ok_or(Refused::Malformed)?;
        let kind = Kind::of(head)?;
        if !matches!(kind, Kind::Slice | Kind::Idr) {
            return Err(Refused::Kind(kind as u8));
        }
        let plain = plain(unit)?;
        let mut bits = Bits::new(plain.bytes());
        let reader = Reader {
            importance: head >> 5 & 3,
            restart: kind == Kind::Idr,
            sequence,
            picture,
        };
        let slice = reader.read(&mut bits).ok_or(Refused::Malformed)??;
        Ok((slice, 8 + bits.position()))
    }

    /// The header in bits, its start code and first byte included, without the bytes that keep start
    /// codes from appearing; and how many bits count. A hardware encoder goes on from there.
    pub fn write(
        &self,
        sequence: &SequenceParameters,
        picture: &PictureParameters,
    ) -> (Vec<u8>, usize) {
        let mut out = Vec::new();
        let bits = self.write_over(sequence, picture, &mut out);
        (out, bits)
    }

    /// The same in place of what `out` holds, whose memory is used again; returns how many bits count.
    pub fn write_over(
        &self,
        sequence: &SequenceParameters,
        picture: &PictureParameters,
        out: &mut Vec<u8>,
    ) -> usize {
        let mut bits = BitWriter::over(std::mem::take(out));
        let (importance, kind) = match (&self.marking, self.restart) {
            (Marking::Unused, _) => (0, Kind::Slice),
            (_, None) => (2, Kind::Slice),
            (_, Some(_)) => (3, Kind::Idr),
        };
        bits.put(1, 32);
        bits.put(importance << 5 | kind as u32, 8);
        bits.golomb(self.first_block);
        // All slices of the picture are of this kind.
        bits.golomb(match self.kind {
            SliceKind::Predicted => 5,
            SliceKind::Intra => 7,
        });
        bits.golomb(self.picture.into());
        bits.put(self.frame_number.into(), sequence.frame_number_bits.into());
        if let Some(id) = self.restart {
            bits.golomb(id.into());
        }
        if let Order::Count { bits: count } = sequence.order {
            bits.put(self.count.into(), count.into());
            if picture.bottom_count {
                bits.signed(self.bottom_count);
            }
        }
        if picture.redundant_count {
            bits.golomb(0);
        }
        if self.kind == SliceKind::Predicted {
            bits.flag(self.references.is_some());
            if let Some(references) = self.references {
                bits.golomb(u32::from(references) - 1);
            }
            self.write_reordering(&mut bits);
        }
        self.write_marking(&mut bits);
        if picture.arithmetic && self.kind == SliceKind::Predicted {
            bits.golomb(self.arithmetic_table.into());
        }
        bits.signed(self.quantizer_delta.into());
        if picture.deblocking_control {
            let (mode, alpha, beta) = self.deblocking;
            bits.golomb(mode.into());
            if mode != 1 {
                bits.signed(alpha.into());
                bits.signed(beta.into());
            }
        }
        let (bytes, count) = bits.cut();
        *out = bytes;
        count
    }

    fn write_reordering(&self, bits: &mut BitWriter) {
        bits.flag(!self.reordering.is_empty());
        if self.reordering.is_empty() {
            return;
        }
        for (added, difference) in self.reordering.iter() {
            bits.golomb((*added).into());
            bits.golomb(*difference);
        }
        bits.golomb(3);
    }

    fn write_marking(&self, bits: &mut BitWriter) {
        match &self.marking {
            Marking::Unused => {}
            Marking::Restart => bits.put(0, 2),
            Marking::Sliding => bits.flag(false),
            Marking::Forget(back) => {
                bits.flag(true);
                for back in back {
                    bits.golomb(1);
                    bits.golomb(*back);
                }
                bits.golomb(0);
            }
        }
    }
}

fn plain(unit: &[u8]) -> Result<Beginning<MAX_BYTES>, Refused> {
    let body = unit.get(1..).ok_or(Refused::Malformed)?;
    Ok(Beginning::of(body))
}

struct Reader<'a> {
    importance: u8,
    restart: bool,
    sequence: &'a SequenceParameters,
    picture: &'a PictureParameters,
}

impl Reader<'_> {
    /// Nothing where the bits end too early.
    fn read(&self, bits: &mut Bits<'_>) -> Option<Result<Slice, Refused>> {
        let unsupported = |what| Some(Err(Refused::Unsupported(what)));
        let first_block = bits.golomb()?;
        let (columns, rows) = self.sequence.blocks;
        if first_block >= u32::from(columns) * u32::from(rows) {
            return None;
        }
        let kind = match bits.golomb()? % 5 {
            0 => SliceKind::Predicted,
            2 => SliceKind::Intra,
            1 => return unsupported("pictures that build on later ones"),
            _ => return unsupported("slices that switch between streams"),
        };
        let picture = u8::try_from(bits.golomb()?).ok()?;
        let frame_number = bits.take(self.sequence.frame_number_bits.into())? as u16;
        let restart = match self.restart {
            true => Some(u16::try_from(bits.golomb()?).ok()?),
            false => None,
        };
        let (mut count, mut bottom_count) = (0, 0);
        if let Order::Count { bits: length } = self.sequence.order {
            count = bits.take(length.into())? as u16;
            if self.picture.bottom_count {
                bottom_count = bits.signed()?;
            }
        }
        if self.picture.redundant_count && bits.golomb()? != 0 {
            return unsupported("redundant pictures");
        }
        let (mut references, mut reordering) = (None, Reordering::default());
        if kind == SliceKind::Predicted {
            if bits.flag()? {
                references = Some(bits.golomb()?.checked_add(1).filter(|n| *n <= 16)? as u8);
            }
            reordering = match read_reordering(bits)? {
                Ok(reordering) => reordering,
                Err(refused) => return Some(Err(refused)),
            };
        }
        let marking = match self.read_marking(bits)? {
            Ok(marking) => marking,
            Err(refused) => return Some(Err(refused)),
        };
        let arithmetic_table = match self.picture.arithmetic && kind == SliceKind::Predicted {
            true => u8::try_from(bits.golomb()?)
                .ok()
                .filter(|table| *table <= 2)?,
            false => 0,
        };
        let quantizer_delta = bounded(bits.signed()?, 51)?;
        let quantizer = i32::from(self.picture.quantizer) + i32::from(quantizer_delta);
        if !(0..=51).contains(&quantizer) {
            return None;
        }
        let mut deblocking = (0, 0, 0);
        if self.picture.deblocking_control {
            deblocking.0 = u8::try_from(bits.golomb()?)
                .ok()
                .filter(|mode| *mode <= 2)?;
            if deblocking.0 != 1 {
                deblocking.1 = bounded(bits.signed()?, 6)?;
                deblocking.2 = bounded(bits.signed()?, 6)?;
            }
        }
        Some(Ok(Slice {
            first_block,
            kind,
            picture,
            frame_number,
            restart,
            count,
            bottom_count,
            references,
            reordering,
            marking,
            arithmetic_table,
            quantizer_delta,
            deblocking,
        }))
    }

    fn read_marking(&self, bits: &mut Bits<'_>) -> Option<Result<Marking, Refused>> {
        let long_term = || Some(Err(Refused::Unsupported("long-term reference pictures")));
        match (self.importance, self.restart) {
            (0, true) => None,
            (0, false) => Some(Ok(Marking::Unused)),
            (_, true) => match bits.take(2)? & 1 {
                0 => Some(Ok(Marking::Restart)),
                _ => long_term(),
            },
            (_, false) if !bits.flag()? => Some(Ok(Marking::Sliding)),
            (_, false) => {
                let mut back = Vec::new();
                loop {
                    match bits.golomb()? {
                        0 => return Some(Ok(Marking::Forget(back))),
                        1 if back.len() < MAX_COMMANDS => back.push(bits.golomb()?),
                        1 => return None,
                        _ => return long_term(),
                    }
                }
            }
        }
    }
}

fn read_reordering(bits: &mut Bits<'_>) -> Option<Result<Reordering, Refused>> {
    let mut reordering = Reordering::default();
    if !bits.flag()? {
        return Some(Ok(reordering));
    }
    loop {
        match bits.golomb()? {
            added @ (0 | 1) => reordering.push((added == 1, bits.golomb()?))?,
            3 => return Some(Ok(reordering)),
            2 => return Some(Err(Refused::Unsupported("long-term reference pictures"))),
            _ => return None,
        }
    }
}

fn bounded(value: i32, bound: i32) -> Option<i8> {
    (-bound..=bound).contains(&value).then_some(value as i8)
}

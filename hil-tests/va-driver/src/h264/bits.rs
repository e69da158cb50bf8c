//! Bits, highest first, and the bytes of NAL units around them.

/// Bits ended too early, or a number beyond all bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Reads the payload of a NAL unit whose emulation prevention has been undone.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// From the first bit of `bytes` on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bits read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next `count` bits, at most 32.
    pub fn bits(&mut self, count: u32) -> Result<u32, Malformed> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8).ok_or(Malformed)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Ok(value)
    }

    /// One bit.
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        Ok(self.bits(1)? == 1)
    }

    /// An unsigned number of clause 9.1.
    pub fn ue(&mut self) -> Result<u32, Malformed> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(Malformed);
            }
        }
        Ok(((1u64 << zeros) - 1) as u32 + self.bits(zeros)?)
    }

    /// A signed number of clause 9.1.1.
    pub fn se(&mut self) -> Result<i32, Malformed> {
        let code = i64::from(self.ue()?);
        let size = (code + 1) / 2;
        i32::try_from(if code % 2 == 1 { size } else { -size }).map_err(|_| Malformed)
    }

    /// Whether more than the trailing bits follow.
    pub fn more_data(&self) -> bool {
        let Some(last) = self.bytes.iter().rposition(|byte| *byte != 0) else {
            return false;
        };
        let stop = last * 8 + 7 - self.bytes[last].trailing_zeros() as usize;
        self.at < stop
    }
}

/// Writes bits.
#[derive(Debug, Clone, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    used: usize,
}

impl BitWriter {
    /// Bits written so far.
    pub fn position(&self) -> usize {
        self.used
    }

    /// The lowest `count` bits of `value`, at most 32.
    pub fn bits(&mut self, value: u32, count: u32) {
        for shift in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> shift & 1) as u8;
            let last = self.bytes.len() - 1;
            self.bytes[last] |= bit << (7 - self.used % 8);
            self.used += 1;
        }
    }

    /// One bit.
    pub fn flag(&mut self, value: bool) {
        self.bits(u32::from(value), 1);
    }

    /// An unsigned number of clause 9.1, below 2^32 - 1.
    pub fn ue(&mut self, value: u32) {
        let code = u64::from(value) + 1;
        let length = 64 - code.leading_zeros();
        self.bits(0, length - 1);
        self.bits(1, 1);
        self.bits(code as u32, length - 1);
    }

    /// A signed number of clause 9.1.1.
    pub fn se(&mut self, value: i32) {
        let size = value.unsigned_abs();
        self.ue(if value > 0 { size * 2 - 1 } else { size * 2 });
    }

    /// Appends the bits of `bytes` from bit `from` to bit `to`.
    pub fn append(&mut self, bytes: &[u8], from: usize, to: usize) {
        if from.is_multiple_of(8) && to.is_multiple_of(8) && self.used.is_multiple_of(8) {
            self.bytes.extend_from_slice(&bytes[from / 8..to / 8]);
            self.used += to - from;
            return;
        }
        let mut reader = BitReader { bytes, at: from };
        let mut left = to - from;
        while left > 0 {
            let count = left.min(32) as u32;
            let Ok(value) = reader.bits(count) else {
                return;
            };
            self.bits(value, count);
            left -= count as usize;
        }
    }

    /// Fills the last byte up with `bit`.
    pub fn align(&mut self, bit: bool) {
        while !self.used.is_multiple_of(8) {
            self.flag(bit);
        }
    }

    /// `rbsp_trailing_bits()`, and the bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.flag(true);
        self.bytes
    }

    /// The bytes, the last filled up with zeros.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A NAL unit: type, reference indicator, payload without emulation prevention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nal {
    /// `nal_ref_idc`.
    pub reference: u8,
    /// `nal_unit_type`.
    pub kind: u8,
    /// `rbsp` bytes.
    pub payload: Vec<u8>,
}

impl Nal {
    /// Of a unit without its start code.
    pub fn parse(unit: &[u8]) -> Result<Self, Malformed> {
        let (head, body) = unit.split_first().ok_or(Malformed)?;
        if head & 0x80 != 0 {
            return Err(Malformed);
        }
        Ok(Self {
            reference: head >> 5,
            kind: head & 31,
            payload: unescape(body),
        })
    }

    /// Appends the unit with a start code and emulation prevention.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend([0, 0, 0, 1, self.reference << 5 | self.kind]);
        escape(&self.payload, out);
    }
}

/// Takes emulation prevention out.
pub fn unescape(bytes: &[u8]) -> Vec<u8> {
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

/// Appends `bytes` with emulation prevention.
pub fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let mut zeros = 0;
    for byte in bytes {
        if zeros >= 2 && *byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
}

/// The units of an Annex B stream, without start codes and the zeros before them.
pub fn units(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..stream.len().saturating_sub(2))
        .filter(|at| stream[*at..].starts_with(&[0, 0, 1]))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let bounds = starts.iter().zip(ends);
    bounds
        .map(|(start, end)| {
            let unit = &stream[start + 3..end];
            let length = unit.iter().rposition(|byte| *byte != 0);
            &unit[..length.map_or(0, |last| last + 1)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(unsigned in 0..u32::MAX, signed in -i32::MAX / 2..i32::MAX / 2) {
            let mut writer = BitWriter::default();
            writer.ue(unsigned);
            writer.se(signed);
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            prop_assert_eq!(reader.ue(), Ok(unsigned));
            prop_assert_eq!(reader.se(), Ok(signed));
            prop_assert!(!reader.more_data());
        }

        #[test]
        fn units_come_back(payload in prop::collection::vec(0u8..4, 0..80)) {
            let payload = [&payload[..], &[0x80]].concat();
            let nal = Nal { reference: 3, kind: 5, payload };
            let mut stream = Vec::new();
            nal.write(&mut stream);
            let units = units(&stream);
            prop_assert_eq!(units.len(), 1);
            prop_assert_eq!(Nal::parse(units[0]), Ok(nal));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = BitReader::new(&bytes);
            while reader.ue().is_ok() && reader.se().is_ok() {}
            for unit in units(&bytes) {
                let _ = Nal::parse(unit);
            }
        }
    }
}

//! Bits, highest first, and the numbers that they stand for.

/// The longest prefix of zeros of a number that is read: numbers beyond 2^24 have no place here.
const MAX_ZEROS: u32 = 23;

/// Reads bits.
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// An unsigned number of so many bits, 32 at most; nothing where they end before.
    pub fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    pub fn flag(&mut self) -> Option<bool> {
        Some(self.take(1)? == 1)
    }

    /// An unsigned number as 9.1 of the standard has it, below 2^24.
    pub fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > MAX_ZEROS {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }

    /// A signed number as 9.1.1 of the standard has it.
    pub fn signed(&mut self) -> Option<i32> {
        let code = self.golomb()? as i32;
        Some(match code % 2 {
            0 => -(code / 2),
            _ => code / 2 + 1,
        })
    }

    /// Bits read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether there is more than the bits that end every unit: a one, then zeros.
    pub fn has_more(&self) -> bool {
        let last = self.bytes.iter().rposition(|byte| *byte != 0);
        let end = last.map(|last| last * 8 + 7 - self.bytes[last].trailing_zeros() as usize);
        end.is_some_and(|end| self.at < end)
    }
}

/// Writes bits.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are used.
    used: u32,
}

impl BitWriter {
    /// Writes in place of these bytes.
    pub fn over(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { bytes, used: 0 }
    }

    /// The lowest `count` bits of a number.
    pub fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
                self.used = 0;
            }
            let last = self.bytes.last_mut().expect("just pushed");
            *last |= ((value >> bit & 1) as u8) << (7 - self.used);
            self.used += 1;
        }
    }

    pub fn flag(&mut self, on: bool) {
        self.put(on.into(), 1);
    }

    /// An unsigned number, below 2^24.
    pub fn golomb(&mut self, value: u32) {
        debug_assert!(value < 1 << (MAX_ZEROS + 1), "{value} cannot be read again");
        let length = 32 - (value + 1).leading_zeros();
        self.put(0, length - 1);
        self.put(value + 1, length);
    }

    pub fn signed(&mut self, value: i32) {
        let magnitude = value.unsigned_abs() * 2;
        self.golomb(if value > 0 { magnitude - 1 } else { magnitude });
    }

    /// Bits written so far.
    pub fn len(&self) -> usize {
        match self.bytes.len() {
            0 => 0,
            bytes => (bytes - 1) * 8 + self.used as usize,
        }
    }

    /// The bytes, with a one and zeros at the end.
    pub fn finish(mut self) -> Vec<u8> {
        self.put(1, 1);
        self.bytes
    }

    /// The bytes with zeros at the end, and how many bits of them count.
    pub fn cut(self) -> (Vec<u8>, usize) {
        let bits = self.len();
        (self.bytes, bits)
    }
}

/// Bytes but those that keep a start code from appearing.
fn plain(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let mut zeros = 0;
    bytes.iter().copied().filter(move |byte| {
        let is_put_in = zeros >= 2 && *byte == 3;
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        !is_put_in
    })
}

/// Takes the bytes out that keep a start code from appearing.
pub(crate) fn without_emulation(bytes: &[u8]) -> Vec<u8> {
    plain(bytes).collect()
}

/// The first `N` bytes without those that keep a start code from appearing: for what is read of every
/// picture, and so is not to allocate.
pub(crate) struct Beginning<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Beginning<N> {
    pub fn of(bytes: &[u8]) -> Self {
        let mut beginning = Self {
            bytes: [0; N],
            length: 0,
        };
        for byte in plain(&bytes[..bytes.len().min(N)]) {
            beginning.bytes[beginning.length] = byte;
            beginning.length += 1;
        }
        beginning
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Puts them in.
pub(super) fn append_with_emulation(out: &mut Vec<u8>, plain: &[u8]) {
    let mut zeros = 0;
    for byte in plain {
        if zeros >= 2 && *byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
}

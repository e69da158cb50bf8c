//! Finding the few colours of a rectangle.

/// At most 256 colours, found by a small hash table that is emptied by counting up.
pub struct Palette {
    colours: Vec<u32>,
    /// Slot: generation in the upper half, index of the colour in the lower.
    slots: Vec<u64>,
    generation: u32,
}

const SLOTS: usize = 1024;
/// More colours than this are no palette.
pub const MAX_COLOURS: usize = 256;

impl Palette {
    pub fn new() -> Self {
        Self {
            colours: Vec::with_capacity(MAX_COLOURS),
            slots: vec![0; SLOTS],
            generation: 0,
        }
    }

    /// Forgets all colours.
    pub fn clear(&mut self) {
        self.colours.clear();
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.slots.fill(0);
            self.generation = 1;
        }
    }

    /// The colours, in the order of their first appearance.
    pub fn colours(&self) -> &[u32] {
        &self.colours
    }

    /// The index of `colour`, which is added if new; nothing if there are too many.
    pub fn index(&mut self, colour: u32) -> Option<u8> {
        let mut slot = (colour.wrapping_mul(0x9e37_79b1) >> 22) as usize;
        loop {
            let entry = self.slots[slot];
            if (entry >> 32) as u32 != self.generation {
                if self.colours.len() == MAX_COLOURS {
                    return None;
                }
                let index = self.colours.len();
                self.colours.push(colour);
                self.slots[slot] = u64::from(self.generation) << 32 | index as u64;
                return Some(index as u8);
            }
            let index = entry as u32 as usize;
            if self.colours[index] == colour {
                return Some(index as u8);
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

/// Bits of an index among `colours` colours: 1, 2, 4 or 8.
pub fn index_bits(colours: usize) -> u32 {
    match colours {
        0..=2 => 1,
        3..=4 => 2,
        5..=16 => 4,
        _ => 8,
    }
}

/// Bytes of one row of `w` indices; rows start at bytes.
pub fn row_bytes(w: u32, bits: u32) -> usize {
    (w * bits).div_ceil(8) as usize
}

/// Appends rows of `w` indices, packed from the lowest bit up.
pub fn pack(indices: &[u8], w: u32, bits: u32, out: &mut Vec<u8>) {
    if bits == 8 {
        out.extend_from_slice(indices);
        return;
    }
    let per_byte = (8 / bits) as usize;
    for row in indices.chunks(w as usize) {
        out.extend(row.chunks(per_byte).map(|part| {
            part.iter()
                .rev()
                .fold(0, |byte, index| byte << bits | index)
        }));
    }
}

/// The index at `x` of a packed row.
pub fn unpack(row: &[u8], x: usize, bits: u32) -> u8 {
    let per_byte = (8 / bits) as usize;
    let shift = (x % per_byte) as u32 * bits;
    row[x / per_byte] >> shift & (0xff >> (8 - bits))
}

//! Pixels and what is drawn on them.

/// A picture of XRGB8888 pixels.
pub struct Canvas<'a> {
    /// Rows without gaps.
    pub bytes: &'a mut [u8],
    /// Width in pixels.
    pub w: u32,
}

impl Canvas<'_> {
    /// Fills a rectangle.
    pub fn fill(&mut self, (x, y, w, h): (u32, u32, u32, u32), rgb: u32) {
        for row in y..y + h {
            let start = (row * self.w + x) as usize * 4;
            for pixel in self.bytes[start..][..w as usize * 4].chunks_exact_mut(4) {
                pixel.copy_from_slice(&(rgb | 0xff00_0000).to_le_bytes());
            }
        }
    }

    /// Draws noise of which every pixel differs from number to number.
    pub fn noise(&mut self, number: u32) {
        let mixed = number.wrapping_mul(0x85eb_ca6b);
        for (i, pixel) in (0u32..).zip(self.bytes.chunks_exact_mut(4)) {
            let at = i.wrapping_mul(0x9e37_79b9).wrapping_add(mixed);
            let rgb = (at ^ at >> 15).wrapping_mul(0x27d4_eb2f) >> 8;
            pixel.copy_from_slice(&(rgb | 0xff00_0000).to_le_bytes());
        }
    }

    /// Draws soft waves with grain, as a photo has.
    pub fn photo(&mut self) {
        let w = self.w;
        for (i, pixel) in (0u32..).zip(self.bytes.chunks_exact_mut(4)) {
            let (x, y) = (i % w, i / w);
            let wave = |a: f32, b: f32| {
                ((x as f32 / a).sin() * (y as f32 / b).cos() * 100.0 + 128.0) as u32
            };
            let grain = i.wrapping_mul(0x9e37_79b9) >> 20 & 0x07_07_07;
            let rgb = wave(90.0, 70.0) << 16 | wave(50.0, 120.0) << 8 | wave(200.0, 30.0);
            pixel.copy_from_slice(&((rgb ^ grain) | 0xff00_0000).to_le_bytes());
        }
    }
}

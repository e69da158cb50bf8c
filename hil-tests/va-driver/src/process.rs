//! Pictures between formats, colours and sizes: what `VAEntrypointVideoProc` does.

use crate::format::{Bytes, Format};
use crate::refusal::{Done, refuse};
use crate::va::{self, colour, status};

/// How luma and chroma come out of red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// BT.709 instead of BT.601.
    pub bt709: bool,
    /// 0 to 255 instead of 16 to 235 and 16 to 240.
    pub full_range: bool,
}

/// A picture without gaps: rows of each plane as `Format::planes` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Its format.
    pub format: Format,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// One or two planes.
    pub planes: Vec<Vec<u8>>,
}

impl Colour {
    /// What a client's parameters mean for a surface of `format`. Where they say nothing, it is BT.601
    /// in limited range, as real drivers have it for want of better knowledge.
    pub fn of(standard: i32, properties: va::ProcColorProperties, format: Format) -> Done<Self> {
        let is_rgb = format.rgb.is_some();
        let bt709 = match (standard, properties.matrix_coefficients) {
            (colour::STANDARD_NONE | colour::STANDARD_BT601, _) => false,
            (colour::STANDARD_BT709, _) => true,
            (colour::STANDARD_SRGB, _) if is_rgb => true,
            // H.273: 1 is BT.709, 5 and 6 are BT.601, 2 is not known.
            (colour::STANDARD_EXPLICIT, 1) => true,
            (colour::STANDARD_EXPLICIT, 2 | 5 | 6) => false,
            (colour::STANDARD_EXPLICIT, 0) if is_rgb => true,
            (standard, matrix) => {
                return refuse(
                    status::INVALID_VALUE,
                    format!("colour standard {standard} with matrix {matrix} is not offered"),
                );
            }
        };
        let full_range = match (properties.color_range, is_rgb) {
            (colour::RANGE_UNKNOWN, is_rgb) => is_rgb,
            (colour::RANGE_FULL, _) => true,
            (colour::RANGE_REDUCED, _) => false,
            (range, _) => {
                return refuse(
                    status::INVALID_VALUE,
                    format!("colour range {range} is not offered for this format"),
                );
            }
        };
        Ok(Self { bt709, full_range })
    }

    /// Weights of red and blue in luma.
    fn weights(self) -> (f64, f64) {
        match self.bt709 {
            true => (0.2126, 0.0722),
            false => (0.299, 0.114),
        }
    }

    /// Least luma, and the spans of luma and chroma.
    fn spans(self) -> (f64, f64, f64) {
        match self.full_range {
            true => (0.0, 255.0, 255.0),
            false => (16.0, 219.0, 224.0),
        }
    }
}

/// Bits behind the point of the integers that pictures are computed with.
const POINT: u32 = 16;

fn fixed(value: f64) -> i32 {
    (value * f64::from(1 << POINT)).round() as i32
}

fn byte(value: i32) -> u8 {
    ((value + (1 << (POINT - 1))) >> POINT).clamp(0, 255) as u8
}

impl Pixels {
    /// A picture of `format` and `size`, from one whose colours are `from`, so that they become `to`.
    pub fn convert(self, from: Colour, to: Colour, format: Format, size: (u32, u32)) -> Self {
        let scaled = self.scale(size);
        let full = |colour: Colour| Colour {
            full_range: true,
            ..colour
        };
        match (scaled.format.rgb, format.rgb) {
            (None, None) if from == to => scaled,
            (None, None) => {
                let between = crate::format::ALL[1];
                let rgb = scaled.convert(from, full(to), between, size);
                rgb.convert(full(to), to, format, size)
            }
            (Some(before), None) => scaled
                .stretch_range(from, full(from))
                .to_planes(before, to, format),
            (None, Some(after)) => {
                let rgb = scaled.to_rgb(from, after, format);
                rgb.stretch_range(full(to), to)
            }
            (Some(before), Some(after)) => {
                let full_range = scaled.stretch_range(from, full(from));
                full_range
                    .reorder(before, after, format)
                    .stretch_range(full(to), to)
            }
        }
    }

    /// Red, green and blue between 0 to 255 and 16 to 235.
    fn stretch_range(mut self, from: Colour, to: Colour) -> Self {
        let Some(bytes) = self.format.rgb.filter(|_| from.full_range != to.full_range) else {
            return self;
        };
        let other = |value: u8| match to.full_range {
            true => byte((i32::from(value) - 16) * fixed(255.0 / 219.0)),
            false => byte(i32::from(value) * fixed(219.0 / 255.0) + fixed(16.0)),
        };
        for pixel in self.planes[0].chunks_exact_mut(4) {
            for place in &bytes.places[..3] {
                pixel[*place] = other(pixel[*place]);
            }
        }
        self
    }

    fn scale(self, size: (u32, u32)) -> Self {
        if size == self.size {
            return self;
        }
        let before = self.format.planes(self.size.0, self.size.1);
        let after = self.format.planes(size.0, size.1);
        let planes = self.planes.iter().enumerate().map(|(index, plane)| {
            let channels = match (self.format.rgb, index) {
                (Some(_), _) => 4,
                (None, 0) => 1,
                (None, _) => 2,
            };
            let side = |plane: (u32, u32)| (plane.0 as usize / channels, plane.1 as usize);
            stretch(plane, channels, side(before[index]), side(after[index]))
        });
        Self {
            planes: planes.collect(),
            format: self.format,
            size,
        }
    }

    fn reorder(mut self, before: Bytes, after: Bytes, format: Format) -> Self {
        for pixel in self.planes[0].chunks_exact_mut(4) {
            let mut other = [0; 4];
            for channel in 0..4 {
                other[after.places[channel]] = pixel[before.places[channel]];
            }
            if !before.alpha || !after.alpha {
                other[after.places[3]] = 255;
            }
            pixel.copy_from_slice(&other);
        }
        self.format = format;
        self
    }

    fn to_planes(&self, bytes: Bytes, colour: Colour, format: Format) -> Self {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let (kr, kb) = colour.weights();
        let kg = 1.0 - kr - kb;
        let (least, luma, chroma) = colour.spans();
        let y = [kr, kg, kb].map(|k| fixed(k * luma / 255.0));
        let u = [-kr, -kg, 1.0 - kb].map(|k| fixed(k * chroma / 255.0 / (2.0 * (1.0 - kb))));
        let v = [1.0 - kr, -kg, -kb].map(|k| fixed(k * chroma / 255.0 / (2.0 * (1.0 - kr))));
        let sum = |k: [i32; 3], rgb: [i32; 3]| k[0] * rgb[0] + k[1] * rgb[1] + k[2] * rgb[2];
        let [r, g, b, _] = bytes.places;
        let take = |pixel: &[u8]| [pixel[r], pixel[g], pixel[b]].map(i32::from);
        let source = &self.planes[0];
        let pixels = source.chunks_exact(4);
        let luma: Vec<u8> = pixels
            .map(|pixel| byte(sum(y, take(pixel)) + fixed(least)))
            .collect();
        let mut pairs = Vec::with_capacity(width.div_ceil(2) * height.div_ceil(2) * 2);
        for row in (0..height).step_by(2) {
            for column in (0..width).step_by(2) {
                let mut rgb = [0; 3];
                for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                    let (x, y) = ((column + dx).min(width - 1), (row + dy).min(height - 1));
                    let pixel = take(&source[(y * width + x) * 4..][..4]);
                    (0..3).for_each(|channel| rgb[channel] += pixel[channel]);
                }
                let middle = fixed(128.0);
                // Four pixels have been added up: a quarter of 2^9 does not overflow either.
                pairs.push(byte(sum(u, rgb) / 4 + middle));
                pairs.push(byte(sum(v, rgb) / 4 + middle));
            }
        }
        Self {
            format,
            size: self.size,
            planes: vec![luma, pairs],
        }
    }

    fn to_rgb(&self, colour: Colour, bytes: Bytes, format: Format) -> Self {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let (kr, kb) = colour.weights();
        let kg = 1.0 - kr - kb;
        let (least, luma, chroma) = colour.spans();
        let scale = fixed(255.0 / luma);
        let red = fixed(2.0 * (1.0 - kr) * 255.0 / chroma);
        let blue = fixed(2.0 * (1.0 - kb) * 255.0 / chroma);
        let green = [
            fixed(-2.0 * (1.0 - kb) * kb / kg * 255.0 / chroma),
            fixed(-2.0 * (1.0 - kr) * kr / kg * 255.0 / chroma),
        ];
        let least = least as i32;
        let pitch = width.next_multiple_of(2);
        let mut out = vec![255; width * height * 4];
        for (index, pixel) in out.chunks_exact_mut(4).enumerate() {
            let (x, y) = (index % width, index / width);
            let luma = (i32::from(self.planes[0][index]) - least) * scale;
            let pair = &self.planes[1][y / 2 * pitch + x / 2 * 2..][..2];
            let (u, v) = (i32::from(pair[0]) - 128, i32::from(pair[1]) - 128);
            pixel[bytes.places[0]] = byte(luma + red * v);
            pixel[bytes.places[1]] = byte(luma + green[0] * u + green[1] * v);
            pixel[bytes.places[2]] = byte(luma + blue * u);
        }
        Self {
            format,
            size: self.size,
            planes: vec![out],
        }
    }
}

/// Bilinear, with the middles of pixels where they belong.
fn stretch(
    from: &[u8],
    channels: usize,
    (width, height): (usize, usize),
    (to_width, to_height): (usize, usize),
) -> Vec<u8> {
    let places = |before: usize, after: usize| -> Vec<(usize, usize, u32)> {
        let place = |at: usize| {
            let middle = (2 * at + 1) as i64 * before as i64 * 128 / after as i64 - 128;
            let middle = middle.clamp(0, (before as i64 - 1) * 256);
            let first = (middle / 256) as usize;
            (first, (first + 1).min(before - 1), (middle % 256) as u32)
        };
        (0..after).map(place).collect()
    };
    let columns = places(width, to_width);
    let mut out = Vec::with_capacity(to_width * to_height * channels);
    for (top, bottom, down) in places(height, to_height) {
        for (left, right, across) in &columns {
            for channel in 0..channels {
                let at = |row: usize, column: usize| {
                    u32::from(from[(row * width + column) * channels + channel])
                };
                let row = |row: usize| at(row, *left) * (256 - across) + at(row, *right) * across;
                let value = row(top) * (256 - down) + row(bottom) * down;
                out.push(((value + (1 << 15)) >> 16) as u8);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::{ALL, NV12};

    fn uniform(pixel: [u8; 4], size: (u32, u32)) -> Pixels {
        Pixels {
            format: ALL[1],
            size,
            planes: vec![pixel.repeat((size.0 * size.1) as usize)],
        }
    }

    const COLOURS: [Colour; 4] = [
        Colour {
            bt709: false,
            full_range: false,
        },
        Colour {
            bt709: true,
            full_range: false,
        },
        Colour {
            bt709: false,
            full_range: true,
        },
        Colour {
            bt709: true,
            full_range: true,
        },
    ];

    #[test]
    fn white_black_and_red_are_the_numbers_of_the_standards() {
        let rgb = Colour {
            bt709: true,
            full_range: true,
        };
        for (pixel, colour, expected) in [
            ([255, 255, 255, 0], COLOURS[0], [235, 128, 128]),
            ([0, 0, 0, 0], COLOURS[1], [16, 128, 128]),
            ([255, 255, 255, 0], COLOURS[3], [255, 128, 128]),
            // Red: BT.601 limited 81, 90, 240; BT.709 limited 63, 102, 240.
            ([0, 0, 255, 0], COLOURS[0], [81, 90, 240]),
            ([0, 0, 255, 0], COLOURS[1], [63, 102, 240]),
        ] {
            let out = uniform(pixel, (4, 4)).convert(rgb, colour, NV12, (4, 4));
            let found = [out.planes[0][0], out.planes[1][0], out.planes[1][1]];
            assert_eq!(found, expected, "{pixel:?} {colour:?}");
        }
    }

    proptest! {
        #[test]
        fn colours_come_back_in_all_sizes(
            pixel in any::<[u8; 3]>(),
            colour in prop::sample::select(COLOURS.to_vec()),
            size in (1u32..20, 1u32..20),
            between in (1u32..20, 1u32..20),
        ) {
            let rgb = Colour { bt709: true, full_range: true };
            let before = uniform([pixel[0], pixel[1], pixel[2], 255], size);
            let yuv = before.convert(rgb, colour, NV12, between);
            let after = yuv.convert(colour, rgb, ALL[1], size);
            for found in after.planes[0].chunks_exact(4) {
                for (found, expected) in found.iter().zip(pixel) {
                    prop_assert!(found.abs_diff(expected) <= 4, "{} {}", found, expected);
                }
            }
        }
    }
}

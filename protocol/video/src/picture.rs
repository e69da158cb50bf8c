//! A picture in planes of luma and halved chroma.

use dcv_color_primitives::{ColorSpace, ErrorKind, ImageFormat, PixelFormat, convert_image};

use crate::Size;

const RGB: ImageFormat = ImageFormat {
    pixel_format: PixelFormat::Bgra,
    color_space: ColorSpace::Rgb,
    num_planes: 1,
};
const PLANES: ImageFormat = ImageFormat {
    pixel_format: PixelFormat::I420,
    color_space: ColorSpace::Bt709,
    num_planes: 3,
};
const INTERLEAVED: ImageFormat = ImageFormat {
    pixel_format: PixelFormat::Nv12,
    color_space: ColorSpace::Bt709,
    num_planes: 2,
};

/// A picture as the codec wants it: I420, BT.709, limited range, even sides, rows without gaps.
#[derive(Debug, Default)]
pub struct Picture {
    size: Option<Size>,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
    /// Pixels with their sides made even.
    padded: Vec<u32>,
}

/// Planes wherever they lie, with the distances of their rows in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planes<'a> {
    pub(crate) planes: [&'a [u8]; 3],
    pub(crate) strides: [usize; 3],
}

/// A picture as hardware has it: luma, then chroma interleaved, BT.709, limited range, even sides.
#[derive(Debug, Clone, Copy)]
pub struct Nv12<'a> {
    /// Rows of luma, and of chroma.
    pub planes: [&'a [u8]; 2],
    /// Distances of their rows in bytes.
    pub strides: [usize; 2],
}

impl Nv12<'_> {
    /// Writes the top-left `size` of a picture whose sides are those of `size` made even into
    /// `pixels`, whose rows are `stride` pixels apart; alpha becomes 255. False where there is not
    /// enough of either. `padded` is used where a side is odd, and left overwritten.
    pub fn draw(
        &self,
        size: Size,
        pixels: &mut [u32],
        stride: usize,
        padded: &mut Vec<u32>,
    ) -> bool {
        let drawn = draw(
            (&INTERLEAVED, &self.planes, &self.strides),
            size,
            (pixels, stride),
            padded,
        );
        padded.fill(0);
        drawn.is_ok()
    }
}

impl Picture {
    /// Takes `pixels` (0xAARRGGBB, rows without gaps), whose alpha does not count. False where
    /// they are not as many as `size` says.
    pub fn take(&mut self, size: Size, pixels: &[u32]) -> bool {
        pixels.len() == size.area() && self.take_rows(size, pixels, size.w as usize)
    }

    /// Takes `pixels` as [`Self::take`] does, whose rows are `stride` pixels apart. False where there
    /// are too few of them, or rows overlap.
    pub fn take_rows(&mut self, size: Size, pixels: &[u32], stride: usize) -> bool {
        let (w, h) = (size.w as usize, size.h as usize);
        let last = h.checked_sub(1).and_then(|rows| rows.checked_mul(stride));
        let end = last.and_then(|last| last.checked_add(w));
        let is_whole = end.is_some_and(|end| end <= pixels.len());
        if w == 0 || stride < w || !is_whole {
            return false;
        }
        let even = size.even();
        self.size = Some(even);
        self.y.resize(even.area(), 0);
        self.u.resize(even.area() / 4, 0);
        self.v.resize(even.area() / 4, 0);
        let (source, stride) = if even == size {
            (pixels, stride)
        } else {
            pad(size, pixels, stride, &mut self.padded);
            (&self.padded[..], even.w as usize)
        };
        let planes = &mut [&mut self.y[..], &mut self.u[..], &mut self.v[..]];
        let (source, strides) = (&[bytemuck::cast_slice(source)], &[stride * 4]);
        let (rgb, i420) = (&RGB, &PLANES);
        convert_image(
            even.w,
            even.h,
            rgb,
            Some(strides),
            source,
            i420,
            None,
            planes,
        )
        .is_ok()
    }

    /// Its even size; absent before anything was taken.
    pub fn size(&self) -> Option<Size> {
        self.size
    }

    pub(crate) fn planes(&self) -> Planes<'_> {
        let w = self.size.map_or(0, |size| size.w as usize);
        Planes {
            planes: [&self.y, &self.u, &self.v],
            strides: [w, w / 2, w / 2],
        }
    }
}

fn pad(size: Size, pixels: &[u32], stride: usize, padded: &mut Vec<u32>) {
    let even = size.even();
    padded.clear();
    padded.reserve(even.area());
    for row in pixels.chunks(stride).take(size.h as usize) {
        let row = &row[..size.w as usize];
        padded.extend_from_slice(row);
        padded.extend(row.last().filter(|_| even.w > size.w));
    }
    if even.h > size.h {
        padded.extend_from_within(padded.len() - even.w as usize..);
    }
}

impl Planes<'_> {
    /// Writes the top-left `size` of a picture of `even` sides into `pixels`, whose rows are
    /// `stride` pixels apart. Alpha becomes 255.
    pub(crate) fn draw(
        &self,
        size: Size,
        pixels: &mut [u32],
        stride: usize,
        padded: &mut Vec<u32>,
    ) -> Result<(), ErrorKind> {
        let source = (&PLANES, &self.planes[..], &self.strides[..]);
        draw(source, size, (pixels, stride), padded)
    }
}

/// A format, its planes, and the distances of their rows.
type Source<'a> = (&'a ImageFormat, &'a [&'a [u8]], &'a [usize]);

fn draw(
    source: Source<'_>,
    size: Size,
    (pixels, stride): (&mut [u32], usize),
    padded: &mut Vec<u32>,
) -> Result<(), ErrorKind> {
    let even = size.even();
    if even == size {
        return convert(source, even, pixels, stride);
    }
    if pixels.len() < stride * (size.h as usize - 1) + size.w as usize {
        return Err(ErrorKind::NotEnoughData);
    }
    padded.resize(even.area(), 0);
    convert(source, even, padded, even.w as usize)?;
    let w = size.w as usize;
    let rows = padded.chunks_exact(even.w as usize).take(size.h as usize);
    for (to, from) in pixels.chunks_mut(stride).zip(rows) {
        to.get_mut(..w)
            .ok_or(ErrorKind::NotEnoughData)?
            .copy_from_slice(&from[..w]);
    }
    Ok(())
}

fn convert(
    (format, planes, strides): Source<'_>,
    even: Size,
    pixels: &mut [u32],
    stride: usize,
) -> Result<(), ErrorKind> {
    convert_image(
        even.w,
        even.h,
        format,
        Some(strides),
        planes,
        &RGB,
        Some(&[stride * 4]),
        &mut [bytemuck::cast_slice_mut(pixels)],
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oracle;

    fn there_and_back(size: Size, pixels: &[u32], stride: usize) -> Vec<u32> {
        let mut picture = Picture::default();
        assert!(picture.take(size, pixels));
        let mut out = vec![7; stride * size.h as usize];
        let drawn = picture
            .planes()
            .draw(size, &mut out, stride, &mut Vec::new());
        drawn.unwrap();
        out
    }

    #[test]
    fn colours_come_back_and_nothing_is_written_beside_the_picture() {
        for size in [(16, 16), (17, 16), (16, 19), (33, 21)] {
            let size = Size {
                w: size.0,
                h: size.1,
            };
            for colour in [
                0xffff_ffff,
                0xff00_0000,
                0xffff_0000,
                0xff00_ff00,
                0xff80_8080,
            ] {
                let stride = size.w as usize + 5;
                let out = there_and_back(size, &vec![colour; size.area()], stride);
                for row in out.chunks(stride) {
                    let (picture, beside) = row.split_at(size.w as usize);
                    for pixel in picture {
                        assert!(
                            oracle::distance(*pixel, colour) <= 2,
                            "{pixel:x} {colour:x}"
                        );
                    }
                    assert_eq!(beside, [7; 5]);
                }
            }
        }
    }

    #[test]
    fn interleaved_chroma_is_drawn_as_it_was_meant() {
        let size = Size { w: 18, h: 16 };
        for colour in [0xffff_ffff, 0xffff_0000, 0xff00_ff00, 0xff12_34cd] {
            let [b, g, r, _] = u32::to_le_bytes(colour).map(u32::from);
            let [y, u, v] = oracle::bt709(r, g, b).map(|value| value.round() as u8);
            let (luma, chroma) = (vec![y; size.area()], [u, v].repeat(size.area() / 4));
            let mut pixels = vec![0; size.area()];
            let (w, mut padded) = (size.w as usize, Vec::new());
            let picture = |chroma| Nv12 {
                planes: [&luma, chroma],
                strides: [w, w],
            };
            assert!(picture(&chroma).draw(size, &mut pixels, w, &mut padded));
            for pixel in &pixels {
                assert!(
                    oracle::distance(*pixel, colour) <= 3,
                    "{pixel:x} {colour:x}"
                );
                assert_eq!(pixel >> 24, 0xff);
            }
            assert!(!picture(&chroma[2..]).draw(size, &mut pixels, w, &mut padded));
            assert!(!picture(&chroma).draw(size, &mut pixels[1..], w, &mut padded));
        }
    }

    #[test]
    fn picture_of_hardware_has_the_same_colours_as_that_of_the_codec() {
        for (w, h) in [(64, 48), (33, 21)] {
            let size = Size { w, h };
            let pixels: Vec<u32> = (0..w * h).map(|n| n.wrapping_mul(0x9e_3779)).collect();
            let mut picture = Picture::default();
            assert!(picture.take(size, &pixels));
            let Planes { planes, strides } = picture.planes();
            let pairs = planes[1].iter().zip(planes[2]);
            let chroma: Vec<u8> = pairs.flat_map(|(u, v)| [*u, *v]).collect();
            let hardware = Nv12 {
                planes: [planes[0], &chroma],
                strides: [strides[0], strides[1] * 2],
            };
            let stride = w as usize + 3;
            let (mut one, mut other) = (vec![7; stride * h as usize], vec![7; stride * h as usize]);
            let mut padded = Vec::new();
            picture
                .planes()
                .draw(size, &mut one, stride, &mut padded)
                .unwrap();
            assert!(hardware.draw(size, &mut other, stride, &mut padded));
            assert!(padded.iter().all(|pixel| *pixel == 0));
            let worst = one
                .iter()
                .zip(&other)
                .map(|(a, b)| oracle::distance(*a, *b));
            assert_eq!(worst.max(), Some(0));
            assert!(other.chunks(stride).all(|row| row[w as usize..] == [7; 3]));
            assert!(one.iter().zip(&other).all(|(a, b)| a >> 24 == b >> 24));
            let too_few = &mut one[..stride];
            assert!(!hardware.draw(size, too_few, stride, &mut padded));
        }
    }

    #[test]
    fn pixels_that_are_not_the_size_are_refused() {
        let mut picture = Picture::default();
        assert!(!picture.take(Size { w: 4, h: 4 }, &[0; 15]));
        assert!(!picture.take(Size { w: 0, h: 4 }, &[]));
        assert_eq!(picture.size(), None);
    }

    #[test]
    fn part_of_a_larger_picture_is_taken_as_it_would_be_by_itself() {
        let (stride, rows) = (70, 50);
        let all: Vec<u32> = (0..stride * rows)
            .map(|n: u32| n.wrapping_mul(0x9e_3779))
            .collect();
        // The last of them ends with the last pixel of the larger picture.
        for (x, y, w, h) in [
            (0, 0, 64, 48),
            (3, 5, 33, 21),
            (6, 2, 64, 48),
            (37, 29, 33, 21),
        ] {
            let row = |y: u32| &all[(y * stride + x) as usize..][..w as usize];
            let alone: Vec<u32> = (y..y + h).flat_map(row).copied().collect();
            let size = Size { w, h };
            let (mut one, mut other) = (Picture::default(), Picture::default());
            assert!(one.take(size, &alone));
            let part = &all[(y * stride + x) as usize..];
            assert!(other.take_rows(size, part, stride as usize));
            assert_eq!(one.planes().planes, other.planes().planes);
            assert_eq!(one.size(), other.size());
            let last = ((h - 1) * stride + w) as usize;
            assert!(!other.take_rows(size, &part[..last - 1], stride as usize));
            assert!(!other.take_rows(size, part, w as usize - 1));
            assert!(!other.take_rows(size, part, usize::MAX));
        }
    }

    proptest! {
        #[test]
        fn colour_is_bt709_in_limited_range(r in 0u32..256, g in 0u32..256, b in 0u32..256) {
            let size = Size { w: 16, h: 16 };
            let mut picture = Picture::default();
            prop_assert!(picture.take(size, &[r << 16 | g << 8 | b; 256]));
            let expected = oracle::bt709(r, g, b);
            for (plane, expected) in picture.planes().planes.iter().zip(expected) {
                prop_assert!((f64::from(plane[0]) - expected).abs() <= 1.5, "{} {expected}", plane[0]);
            }
        }
    }
}

//! Buffers with pictures that move, and what comes out of a decoder.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use heliostat_va::abi::fourcc;
use heliostat_va::dmabuf::{Dmabuf, LINEAR, Object, Plane, look};
use heliostat_video::oracle::{bt709, psnr};
use heliostat_video::{Decoder, Size};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

pub const XRGB: u32 = fourcc(b"XR24");
pub const NV12: u32 = fourcc(b"NV12");

/// Pixels of the picture of `time`, 0xAARRGGBB, without gaps.
pub fn pixels(size: Size, time: u32) -> Vec<u32> {
    let hill = |value: u32| {
        let value = value % 512;
        value.min(511 - value)
    };
    let pixel = |n: u32| {
        let (x, y) = (n % size.w + 3 * time, n / size.w + time);
        let [r, g, b] = [hill(x + y), hill(2 * y + x / 2), hill(x + 200)];
        0xff00_0000 | r << 16 | g << 8 | b
    };
    (0..size.w * size.h).map(pixel).collect()
}

/// A buffer in a memfd that cannot shrink, which the software driver takes for a DMA-BUF.
pub struct Buffer {
    pub file: File,
    pub format: u32,
    pub size: Size,
    pub pitch: u32,
}

impl Buffer {
    pub fn new(format: u32, size: Size) -> Self {
        let fd = memfd_create("test", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
        let file = File::from(fd);
        let row = if format == XRGB { size.w * 4 } else { size.w };
        let buffer = Self {
            file,
            format,
            size,
            pitch: row.next_multiple_of(64),
        };
        let rows = u64::from(size.h + size.h.div_ceil(2));
        buffer.file.set_len(u64::from(buffer.pitch) * rows).unwrap();
        fcntl_add_seals(&buffer.file, SealFlags::SHRINK).unwrap();
        buffer
    }

    /// Draws a picture of XRGB that is hard to guess from the one before.
    pub fn draw_noise(&self, time: u32) {
        let mut seed = time.wrapping_mul(0x9e37_79b9) | 1;
        for row in 0..self.size.h {
            let mut bytes = Vec::new();
            for _ in 0..self.size.w {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let grey = (96 + (seed >> 26)) as u8;
                bytes.extend([grey, grey, grey, 255]);
            }
            self.write(0, row as usize, &bytes);
        }
    }

    /// Draws the picture of `time`.
    pub fn draw(&self, time: u32) -> Vec<u32> {
        let pixels = pixels(self.size, time);
        self.show(&pixels);
        pixels
    }

    /// Takes pixels.
    pub fn show(&self, pixels: &[u32]) {
        let width = self.size.w as usize;
        if self.format == XRGB {
            for (row, pixels) in pixels.chunks(width).enumerate() {
                let bytes: Vec<u8> = pixels
                    .iter()
                    .flat_map(|pixel| pixel.to_le_bytes())
                    .collect();
                self.write(0, row, &bytes);
            }
            return;
        }
        let [y, u, v] = [0, 1, 2].map(|channel| {
            let of = |pixel: &u32| {
                let [b, g, r, _] = pixel.to_le_bytes().map(u32::from);
                bt709(r, g, b)[channel].round() as u8
            };
            pixels.iter().map(of).collect::<Vec<u8>>()
        });
        for (row, luma) in y.chunks(width).enumerate() {
            self.write(0, row, luma);
        }
        for (row, (u, v)) in u.chunks(width).zip(v.chunks(width)).step_by(2).enumerate() {
            let pairs = u.iter().zip(v).step_by(2);
            let bytes: Vec<u8> = pairs.flat_map(|(u, v)| [*u, *v]).collect();
            self.write(self.chroma(), row, &bytes);
        }
    }

    fn chroma(&self) -> u32 {
        self.pitch * self.size.h
    }

    fn write(&self, offset: u32, row: usize, bytes: &[u8]) {
        let at = u64::from(offset) + u64::from(self.pitch) * row as u64;
        self.file.write_all_at(bytes, at).unwrap();
    }

    fn planes(&self) -> [Plane<'_>; 2] {
        let plane = |offset| Plane {
            fd: self.file.as_fd(),
            offset,
            pitch: self.pitch,
        };
        [plane(0), plane(self.chroma())]
    }

    /// Lets somebody see it as a DMA-BUF.
    pub fn with<T>(&self, see: impl FnOnce(&Dmabuf<'_>) -> T) -> T {
        let planes = self.planes();
        let count = if self.format == XRGB { 1 } else { 2 };
        see(&Dmabuf {
            format: self.format,
            size: self.size,
            modifier: LINEAR,
            planes: &planes[..count],
        })
    }

    pub fn object(&self) -> Object {
        self.with(|buffer| look(buffer).unwrap()[0])
    }
}

/// A terminal.
pub struct Viewer {
    decoder: Decoder,
    shown: Vec<u32>,
}

impl Viewer {
    pub fn new(size: Size) -> Self {
        Self {
            decoder: Decoder::new(size).unwrap(),
            shown: vec![0; size.area()],
        }
    }

    /// How alike a decoded unit is to what was drawn, in dB.
    pub fn compare(&mut self, unit: &[u8], drawn: &[u32]) -> f64 {
        let width = self.decoder.size().w as usize;
        self.decoder.decode(unit, &mut self.shown, width).unwrap();
        psnr(drawn, &self.shown)
    }
}

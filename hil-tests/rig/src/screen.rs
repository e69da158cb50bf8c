//! Pictures of a screen, and finding things on them.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, bail};

/// A picture as rows of 0xRRGGBB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub w: u32,
    /// Height in pixels.
    pub h: u32,
    /// Rows without gaps.
    pub pixels: Vec<u32>,
}

/// A rectangle on a picture: left, top, width, height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

impl Picture {
    /// Reads a PNG file of eight bits a channel.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info()?;
        let size = reader.output_buffer_size().context("picture too large")?;
        let mut bytes = vec![0; size];
        let info = reader.next_frame(&mut bytes)?;
        let channels = match info.color_type {
            png::ColorType::Rgb => 3,
            png::ColorType::Rgba => 4,
            other => bail!("{} has an unexpected format {other:?}", path.display()),
        };
        let colour = |c: &[u8]| u32::from(c[0]) << 16 | u32::from(c[1]) << 8 | u32::from(c[2]);
        let pixels = bytes[..info.buffer_size()]
            .chunks_exact(channels)
            .map(colour)
            .collect();
        Ok(Self {
            w: info.width,
            h: info.height,
            pixels,
        })
    }

    /// The colour at a place.
    pub fn at(&self, x: u32, y: u32) -> u32 {
        self.pixels[(y * self.w + x) as usize]
    }

    /// The share of pixels of a colour (give or take two steps a channel), from 0 to 1.
    pub fn share(&self, rgb: u32) -> f64 {
        let count = self
            .pixels
            .iter()
            .filter(|pixel| is_near(**pixel, rgb))
            .count();
        count as f64 / self.pixels.len() as f64
    }

    /// The smallest rectangle that holds all pixels of a colour.
    pub fn bounds(&self, rgb: u32) -> Option<Area> {
        let hits = || {
            (0u32..)
                .zip(&self.pixels)
                .filter(|(_, pixel)| is_near(**pixel, rgb))
        };
        let places = || hits().map(|(i, _)| (i % self.w, i / self.w));
        let (left, right) = (places().map(|p| p.0).min()?, places().map(|p| p.0).max()?);
        let (top, bottom) = (places().map(|p| p.1).min()?, places().map(|p| p.1).max()?);
        Some(Area {
            x: left,
            y: top,
            w: right - left + 1,
            h: bottom - top + 1,
        })
    }

    /// The part of the picture inside `area`.
    pub fn crop(&self, area: Area) -> Self {
        let (w, h) = (area.w.min(self.w - area.x), area.h.min(self.h - area.y));
        let row = |y: u32| &self.pixels[((area.y + y) * self.w + area.x) as usize..][..w as usize];
        Self {
            w,
            h,
            pixels: (0..h).flat_map(row).copied().collect(),
        }
    }

    /// Whether this is the terminal's idle screen with a link to the broker: the card above its
    /// reader, and the green light.
    pub fn is_idle(&self) -> bool {
        self.share(CARD) > 0.003 && self.share(ONLINE) > 0.000_05 && self.share(READER) > 0.001
    }
}

/// Colours of the terminal's own screens.
const CARD: u32 = 0xf6_b7_3c;
const READER: u32 = 0x2a_44_5f;
const ONLINE: u32 = 0x5f_c9_8f;

fn is_near(a: u32, b: u32) -> bool {
    [0, 8, 16]
        .iter()
        .all(|shift| (a >> shift & 0xff).abs_diff(b >> shift & 0xff) <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_found_where_they_are() {
        let mut picture = Picture {
            w: 10,
            h: 10,
            pixels: vec![0; 100],
        };
        picture.pixels[23] = 0xff_00_01;
        picture.pixels[45] = 0xfe_00_00;
        assert_eq!(
            picture.bounds(0xff_00_00),
            Some(Area {
                x: 3,
                y: 2,
                w: 3,
                h: 3
            })
        );
        assert_eq!(picture.share(0xff_00_00), 0.02);
        assert_eq!(picture.bounds(0x00_ff_00), None);
        assert_eq!(
            picture
                .crop(Area {
                    x: 3,
                    y: 2,
                    w: 2,
                    h: 1
                })
                .pixels,
            [0xff_00_01, 0]
        );
    }
}

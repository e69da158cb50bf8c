//! Pages of real text: a monospaced font with grey edges, words of uneven length, some coloured.

use ab_glyph::{Font, FontVec, PxScale, ScaleFont, point};
use anyhow::Context;

use crate::canvas::{Canvas, Rect};

/// Width of a character cell.
pub const CELL_W: u32 = 9;
/// Height of a line.
pub const CELL_H: u32 = 18;
/// The paper.
pub const PAPER: u32 = 0xfa_fa_f6;
const INKS: [u32; 6] = [
    0x24_29_2e, 0x24_29_2e, 0x24_29_2e, 0x00_5c_c5, 0xb0_30_20, 0x6a_73_7d,
];
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf";
const FIRST: u8 = b'!';
const LAST: u8 = b'~';
const PX: f32 = 15.0;
const WORDS: [&str; 32] = [
    "the", "session", "of", "frame", "a", "let", "window", "fn", "return", "pixel", "and", "match",
    "self", "damage", "to", "terminal", "is", "broker", "in", "surface", "u32", "for", "scroll",
    "buffer", "with", "event", "card", "if", "tile", "else", "=>", "0x1f",
];

/// A number that looks random, the same each time.
pub fn mix(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// One font at one size, as coverages of its characters.
pub struct Text {
    coverages: Vec<[u8; (CELL_W * CELL_H) as usize]>,
}

impl Text {
    /// Draws all characters once.
    ///
    /// # Errors
    /// The font is not installed.
    pub fn load() -> anyhow::Result<Self> {
        let bytes =
            std::fs::read(FONT).with_context(|| format!("read {FONT} (fonts-dejavu-core)"))?;
        let font = FontVec::try_from_vec(bytes).context("the font is none")?;
        let scaled = font.as_scaled(PxScale::from(PX));
        let baseline = (CELL_H as f32 + scaled.ascent() + scaled.descent()) / 2.0;
        let coverages = (FIRST..=LAST).map(|character| {
            let mut coverage = [0; (CELL_W * CELL_H) as usize];
            let glyph = font
                .glyph_id(character.into())
                .with_scale_and_position(PxScale::from(PX), point(0.0, baseline.round()));
            if let Some(outline) = font.outline_glyph(glyph) {
                let bounds = outline.px_bounds();
                outline.draw(|x, y, share| {
                    let (x, y) = (
                        bounds.min.x as i32 + x as i32,
                        bounds.min.y as i32 + y as i32,
                    );
                    if (0..CELL_W as i32).contains(&x) && (0..CELL_H as i32).contains(&y) {
                        coverage[(y * CELL_W as i32 + x) as usize] = (share * 255.0) as u8;
                    }
                });
            }
            coverage
        });
        Ok(Self {
            coverages: coverages.collect(),
        })
    }

    /// Draws one character on paper.
    pub fn character(&self, canvas: &mut Canvas, (x, y): (u32, u32), character: u8, ink: u32) {
        let rect = Rect::new(x, y, CELL_W, CELL_H);
        let Some(coverage) = self
            .coverages
            .get(usize::from(character.wrapping_sub(FIRST)))
        else {
            canvas.fill(rect, PAPER);
            return;
        };
        for (row, shares) in coverage.chunks_exact(CELL_W as usize).enumerate() {
            let pixels = canvas.row_mut(x, y + row as u32, CELL_W);
            for (pixel, share) in pixels.iter_mut().zip(shares) {
                *pixel = blend(PAPER, ink, u32::from(*share));
            }
        }
    }

    /// Draws line `number` of the endless document `document` into a row of the page.
    pub fn line(&self, canvas: &mut Canvas, y: u32, document: u64, number: u64) {
        canvas.fill(Rect::new(0, y, canvas.w, CELL_H.min(canvas.h - y)), PAPER);
        if y + CELL_H > canvas.h {
            return;
        }
        let mut state = mix(document << 32 ^ number);
        if state.is_multiple_of(7) {
            return;
        }
        let columns = canvas.w / CELL_W;
        let indent = state >> 8 & 0x3;
        let length = (columns as u64 * (30 + (state >> 16) % 60) / 100) as u32;
        let mut column = (indent * 4 + 1) as u32;
        while column < length {
            state = mix(state);
            let word = WORDS[(state % 32) as usize];
            let ink = INKS[(state >> 8) as usize % INKS.len()];
            for character in word.bytes() {
                if column < columns {
                    self.character(canvas, (column * CELL_W, y), character, ink);
                }
                column += 1;
            }
            column += 1;
        }
    }

    /// Draws lines from `first` on, one below the other, from row `y` to the bottom.
    pub fn page(&self, canvas: &mut Canvas, y: u32, document: u64, first: u64) {
        for (number, y) in (first..).zip((y..canvas.h).step_by(CELL_H as usize)) {
            self.line(canvas, y, document, number);
        }
    }
}

fn blend(paper: u32, ink: u32, share: u32) -> u32 {
    let channel = |shift: u32| {
        let (paper, ink) = (paper >> shift & 0xff, ink >> shift & 0xff);
        ((paper * (255 - share) + ink * share + 127) / 255) << shift
    };
    channel(0) | channel(8) | channel(16) | 0xff00_0000
}

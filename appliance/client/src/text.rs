//! Text on the terminal's own screens.

use ab_glyph::{Font, FontVec, Glyph, PxScale, ScaleFont, point};

use crate::compose::Target;
use crate::geometry::Rect;

/// Where the image has its font; hosts have it in the same place.
const FONT_FOLDER: &str = "/usr/share/fonts/truetype/dejavu";

/// Weight of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// For reading.
    Regular,
    /// For headlines.
    Bold,
}

/// The fonts, as far as they were found.
pub struct Fonts {
    regular: Option<FontVec>,
    bold: Option<FontVec>,
}

impl Fonts {
    /// Loads the fonts. Without them the screens still show their symbols and codes.
    pub fn load() -> Self {
        let load = |name: &str| {
            let path = format!("{FONT_FOLDER}/{name}");
            let bytes = std::fs::read(&path)
                .inspect_err(|error| tracing::warn!(path, %error, "font missing"))
                .ok()?;
            FontVec::try_from_vec(bytes).ok()
        };
        Self {
            regular: load("DejaVuSans.ttf"),
            bold: load("DejaVuSans-Bold.ttf"),
        }
    }

    fn font(&self, weight: Weight) -> Option<&FontVec> {
        match weight {
            Weight::Bold => self.bold.as_ref().or(self.regular.as_ref()),
            Weight::Regular => self.regular.as_ref(),
        }
    }

    /// Width of one line in pixels.
    pub fn width(&self, text: &str, size: f32, weight: Weight) -> f32 {
        match self.font(weight) {
            Some(font) => layout(font, text, size).1,
            None => tiny::width(text, size),
        }
    }

    /// Draws one line, its top-left at `(x, y)`, over what is there.
    pub fn draw(
        &self,
        target: &mut Target<'_>,
        text: &str,
        (x, y): (f32, f32),
        (size, weight): (f32, Weight),
        rgb: u32,
    ) {
        let Some(font) = self.font(weight) else {
            return tiny::draw(target, text, (x, y), size, rgb);
        };
        let scaled = font.as_scaled(PxScale::from(size));
        for mut glyph in layout(font, text, size).0 {
            glyph.position.x += x.round();
            glyph.position.y += (y + scaled.ascent()).round();
            let Some(outline) = font.outline_glyph(glyph) else {
                continue;
            };
            let bounds = outline.px_bounds();
            outline.draw(|dx, dy, coverage| {
                let at = (
                    bounds.min.x as i32 + dx as i32,
                    bounds.min.y as i32 + dy as i32,
                );
                blend_pixel(target, at, rgb, coverage);
            });
        }
    }

    /// Breaks a text into lines of at most `width` pixels, at spaces.
    pub fn wrap(&self, text: &str, width: f32, size: f32, weight: Weight) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            let longer = lines.last().map(|line| format!("{line} {word}"));
            match longer.filter(|line| self.width(line, size, weight) <= width) {
                Some(longer) => *lines.last_mut().expect("a line was made longer") = longer,
                None => lines.push(word.to_owned()),
            }
        }
        lines
    }
}

fn layout(font: &FontVec, text: &str, size: f32) -> (Vec<Glyph>, f32) {
    let scaled = font.as_scaled(PxScale::from(size));
    let mut glyphs = Vec::new();
    let mut x = 0.0;
    let mut last = None;
    for c in text.chars() {
        let id = scaled.glyph_id(c);
        if let Some(last) = last {
            x += scaled.kern(last, id);
        }
        glyphs.push(id.with_scale_and_position(PxScale::from(size), point(x, 0.0)));
        x += scaled.h_advance(id);
        last = Some(id);
    }
    (glyphs, x)
}

/// Mixes a colour into one pixel.
pub fn blend_pixel(target: &mut Target<'_>, (x, y): (i32, i32), rgb: u32, coverage: f32) {
    let dot = Rect { x, y, w: 1, h: 1 };
    if dot.intersection(target.bounds).is_none() {
        return;
    }
    let share = (coverage.clamp(0.0, 1.0) * 256.0) as u32;
    let pixel = &mut target.row(x, y, 1)[0];
    let mix = |below: u32, above: u32| (below * (256 - share) + above * share) >> 8;
    let channel = |shift: u32| mix(*pixel >> shift & 0xff, rgb >> shift & 0xff) << shift;
    *pixel = channel(0) | channel(8) | channel(16);
}

/// Codes such as `E12` for a terminal whose font is missing: 3×5 dots a character.
mod tiny {
    use crate::compose::Target;
    use crate::geometry::Rect;

    const DIGITS: [u16; 10] = [
        0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71111, 0o75757, 0o75717,
    ];

    fn dots(c: char) -> u16 {
        match c {
            '0'..='9' => DIGITS[c as usize - '0' as usize],
            'E' => 0o74747,
            _ => 0,
        }
    }

    pub fn width(text: &str, size: f32) -> f32 {
        text.chars().count() as f32 * size * 0.6
    }

    pub fn draw(target: &mut Target<'_>, text: &str, (x, y): (f32, f32), size: f32, rgb: u32) {
        let dot = (size / 7.0).max(1.0) as i32;
        for (i, c) in text.chars().enumerate() {
            let left = (x + i as f32 * size * 0.6) as i32;
            for bit in 0..15 {
                if dots(c) >> (14 - bit) & 1 == 1 {
                    let (column, row) = (bit % 3, bit / 3);
                    let rect = Rect {
                        x: left + column * dot,
                        y: y as i32 + row * dot,
                        w: dot,
                        h: dot,
                    };
                    target.fill(rect, rgb);
                }
            }
        }
    }
}

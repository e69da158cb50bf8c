//! Text: shaped, laid out and drawn with whatever fonts the machine has.
//!
//! Looking at all fonts of a machine takes a second where there are many. So the first frame has
//! one font, and the others are looked at, on a thread, when a letter is wanted that it lacks.

use std::collections::HashMap;
use std::path::Path;

use cosmic_text::fontdb::Database;
use cosmic_text::{
    Align as CosmicAlign, Attrs, Buffer, Color, Family, FontSystem, Metrics, Shaping, SwashCache,
    Weight, Wrap,
};
use tracing::{info, warn};

use crate::scene::{Align, Style};

/// Where distributions keep the fonts that we would have first, regular and bold.
const FIRST: [(&str, &str, &str); 5] = [
    (
        "DejaVu Sans",
        "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
        "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf",
    ),
    (
        "Noto Sans",
        "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
        "/usr/share/fonts/truetype/noto/NotoSans-Bold.ttf",
    ),
    (
        "Liberation Sans",
        "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
        "/usr/share/fonts/truetype/liberation/LiberationSans-Bold.ttf",
    ),
    (
        "DejaVu Sans",
        "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
        "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans-Bold.ttf",
    ),
    (
        "DejaVu Sans",
        "/usr/share/fonts/TTF/DejaVuSans.ttf",
        "/usr/share/fonts/TTF/DejaVuSans-Bold.ttf",
    ),
];
/// Texts that are kept as laid out.
const MAX_KEPT: usize = 128;
/// Height of a line as a multiple of the text's size.
pub const LINE: f32 = 1.35;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kept {
    text: String,
    size: u32,
    bold: bool,
    align: Align,
    /// Width in which it wraps or is aligned.
    width: u32,
    wraps: bool,
}

/// The fonts of this machine.
pub struct Fonts {
    system: FontSystem,
    glyphs: SwashCache,
    kept: HashMap<Kept, Buffer>,
    /// Whether all fonts were looked at, or are being looked at.
    all_wanted: bool,
    lacking: bool,
}

impl Fonts {
    /// With the first font that is there.
    pub fn new() -> Self {
        let first = FIRST
            .iter()
            .find(|(_, regular, _)| Path::new(regular).exists());
        let mut fonts = match first {
            Some((family, regular, bold)) => {
                let mut database = Database::new();
                for file in [regular, bold] {
                    if let Err(problem) = database.load_font_file(file) {
                        warn!(file, %problem, "a font cannot be read");
                    }
                }
                database.set_sans_serif_family(*family);
                Self::with(database)
            }
            None => Self::with(Database::new()),
        };
        if fonts.system.db_mut().is_empty() {
            fonts = Self::with(all_fonts());
            fonts.all_wanted = true;
        }
        fonts
    }

    fn with(database: Database) -> Self {
        let locale = std::env::var("LANG").unwrap_or_default();
        let locale = locale.split(['.', '_']).next().unwrap_or_default();
        let locale = match locale {
            "" | "C" | "POSIX" => "en",
            locale => locale,
        };
        Self {
            system: FontSystem::new_with_locale_and_db(locale.to_owned(), database),
            glyphs: SwashCache::new(),
            kept: HashMap::new(),
            all_wanted: false,
            lacking: false,
        }
    }

    /// Whether a letter was wanted that the first font lacks. Says so once.
    pub fn wants_all(&mut self) -> bool {
        let wants = self.lacking && !self.all_wanted;
        self.all_wanted |= wants;
        wants
    }

    /// Goes on with all fonts; everything is to be drawn anew.
    pub fn use_all(&mut self, database: Database) {
        info!(faces = database.len(), "all fonts are there");
        *self = Self::with(database);
        self.all_wanted = true;
    }

    /// Width and height of a text, in pixels, where it may be this wide.
    pub fn measure(&mut self, text: &str, style: &Style, width: f32) -> (f32, f32) {
        let buffer = self.laid_out(text, style, width);
        let runs = buffer.layout_runs();
        runs.fold((0.0, 0.0), |(w, h): (f32, f32), run| {
            (w.max(run.line_w), h + run.line_height)
        })
    }

    /// How far from the left the caret is when it stands before byte `at` of a text of one line
    /// that is this wide.
    pub fn caret(&mut self, text: &str, at: usize, style: &Style, width: f32) -> f32 {
        let buffer = self.laid_out(text, style, width);
        let Some(run) = buffer.layout_runs().next() else {
            return 0.0;
        };
        let edge = |glyph: &cosmic_text::LayoutGlyph, leading: bool| match leading
            == glyph.level.is_ltr()
        {
            true => glyph.x,
            false => glyph.x + glyph.w,
        };
        let behind = run.glyphs.iter().find(|glyph| glyph.start >= at);
        let before = run.glyphs.iter().filter(|glyph| glyph.end <= at);
        match (behind, before.max_by_key(|glyph| glyph.end)) {
            (_, Some(before)) if before.end == at => edge(before, false),
            (Some(behind), _) => edge(behind, true),
            (None, Some(last)) => edge(last, false),
            (None, None) => 0.0,
        }
    }

    /// Draws a text that may be this wide: calls `pixel` with place, and alpha and RGB.
    pub fn draw(
        &mut self,
        text: &str,
        style: &Style,
        width: f32,
        mut pixel: impl FnMut(i32, i32, u8, u32),
    ) {
        let key = self.keep(text, style, width);
        let buffer = &self.kept[&key];
        let [_, r, g, b] = style.colour.to_be_bytes();
        let colour = Color::rgb(r, g, b);
        buffer.draw(
            &mut self.system,
            &mut self.glyphs,
            colour,
            |x, y, w, h, colour| {
                let [a, r, g, b] = colour.0.to_be_bytes();
                let rgb = u32::from_be_bytes([0, r, g, b]);
                for y in y..y + h as i32 {
                    for x in x..x + w as i32 {
                        pixel(x, y, a, rgb);
                    }
                }
            },
        );
    }

    fn laid_out(&mut self, text: &str, style: &Style, width: f32) -> &Buffer {
        let key = self.keep(text, style, width);
        &self.kept[&key]
    }

    fn keep(&mut self, text: &str, style: &Style, width: f32) -> Kept {
        let key = Kept {
            text: text.to_owned(),
            size: style.size.to_bits(),
            bold: style.bold,
            align: style.align,
            width: width.to_bits(),
            wraps: style.wraps,
        };
        if self.kept.contains_key(&key) {
            return key;
        }
        if self.kept.len() >= MAX_KEPT {
            self.kept.clear();
        }
        let buffer = self.lay_out(text, style, width);
        let mut glyphs = buffer.layout_runs().flat_map(|run| run.glyphs);
        self.lacking |= glyphs.any(|glyph| glyph.glyph_id == 0);
        self.kept.insert(key.clone(), buffer);
        key
    }

    fn lay_out(&mut self, text: &str, style: &Style, width: f32) -> Buffer {
        let size = style.size.max(1.0);
        let mut buffer = Buffer::new(&mut self.system, Metrics::new(size, size * LINE));
        let weight = match style.bold {
            true => Weight::BOLD,
            false => Weight::NORMAL,
        };
        let attributes = Attrs::new().family(Family::SansSerif).weight(weight);
        let align = match style.align {
            Align::Start => None,
            Align::Middle => Some(CosmicAlign::Center),
            Align::End => Some(CosmicAlign::End),
        };
        let wrap = match style.wraps {
            true => Wrap::WordOrGlyph,
            false => Wrap::None,
        };
        buffer.set_wrap(&mut self.system, wrap);
        buffer.set_size(&mut self.system, Some(width.max(1.0)), None);
        let one_line: String;
        let text = match style.wraps {
            true => text,
            false => {
                one_line = text.replace(char::is_control, " ");
                &one_line
            }
        };
        buffer.set_text(
            &mut self.system,
            text,
            &attributes,
            Shaping::Advanced,
            align,
        );
        buffer.shape_until_scroll(&mut self.system, false);
        buffer
    }
}

/// All fonts of this machine. Takes a while.
pub fn all_fonts() -> Database {
    let mut database = Database::new();
    database.load_system_fonts();
    let has = |name: &str| {
        database
            .faces()
            .any(|face| face.families.iter().any(|(family, _)| family == name))
    };
    let first = FIRST.iter().map(|(family, ..)| *family);
    if let Some(family) = first.into_iter().find(|family| has(family)) {
        database.set_sans_serif_family(family);
    }
    database
}

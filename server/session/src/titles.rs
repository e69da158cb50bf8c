//! Title bars that the session draws, where a client asks for them.
//!
//! They are drawn at the output's pixels, in plain shapes and a font of the system's.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use ab_glyph::{Font, FontVec, PxScale, ScaleFont, point};
use heliostat_tiles::Rect as TileRect;
use heliostat_wire::output::Size;
use heliostat_wire::scene::{Crop, Transform};
use smithay::utils::{Logical, Point};
use tracing::warn;

use crate::app::App;
use crate::content::Content;
use crate::surface::{Surface, View};
use crate::toplevel::Toplevel;
use crate::window::{TITLE_HEIGHT, WindowId};

/// Width of a button, in logical pixels.
const BUTTON: i32 = 34;
const TEXT: u32 = 0xffe8_eaed;
const TEXT_IDLE: u32 = 0xffa0_a6ad;
const BAR: u32 = 0xff2b_333c;
const BAR_IDLE: u32 = 0xff3a_424b;
/// Where fonts are found, best first.
const FONTS: [&str; 5] = [
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
];

/// All title bars.
#[derive(Debug, Default)]
pub struct Titles(BTreeMap<WindowId, Title>);

#[derive(Debug)]
struct Title {
    surface: Surface,
    drawn: Drawn,
}

/// What a title bar shows; drawn anew when it is another.
#[derive(Debug, Clone, PartialEq)]
struct Drawn {
    text: String,
    active: bool,
    width: i32,
    scale: f64,
}

/// What a click on a title bar means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The bar itself: drag it.
    Bar,
    /// The button that puts the window away.
    Minimise,
    /// The button that maximises it.
    Maximise,
    /// The button that closes it.
    Close,
}

impl Titles {
    /// A window's title bar, once drawn.
    pub fn get(&self, id: WindowId) -> Option<&Surface> {
        self.0.get(&id).map(|title| &title.surface)
    }

    /// All of them.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Surface> {
        self.0.values_mut().map(|title| &mut title.surface)
    }
}

/// Which part of a bar of `width` is at `x`.
pub fn part_at(x: i32, width: i32) -> Part {
    match (width - 1 - x) / BUTTON {
        0 => Part::Close,
        1 if width >= 3 * BUTTON => Part::Maximise,
        2 if width >= 4 * BUTTON => Part::Minimise,
        _ => Part::Bar,
    }
}

impl App {
    /// Draws the title bars that are not as they should be.
    pub(crate) fn draw_titles(&mut self) {
        let wanted: Vec<_> = self
            .windows
            .shown()
            .filter_map(|(id, window)| {
                let rect = window.title_rect()?;
                let centre = Point::<i32, Logical>::from((rect.x + rect.w / 2, rect.y));
                let scale = self
                    .desk
                    .screen_at(centre.to_f64())
                    .map_or(1.0, |screen| screen.scale);
                let drawn = Drawn {
                    text: self.title_of(id),
                    active: self.windows.focused() == Some(id),
                    width: rect.w.clamp(1, 8192),
                    scale,
                };
                Some((id, drawn))
            })
            .collect();
        let windows = &self.windows;
        self.titles
            .0
            .retain(|id, _| windows.get(*id).is_some_and(|window| window.titlebar));
        for (id, drawn) in wanted {
            if self
                .titles
                .0
                .get(&id)
                .is_none_or(|title| title.drawn != drawn)
            {
                self.draw_title(id, drawn);
            }
        }
    }

    fn draw_title(&mut self, id: WindowId, drawn: Drawn) {
        let canvas = drawn.draw();
        let size = canvas.size;
        let view = View {
            size: (drawn.width, TITLE_HEIGHT).into(),
            crop: Crop::whole(size),
            transform: Transform::Normal,
            opaque: Vec::new(),
            input: None,
        };
        let layer = self.surfaces.next_layer();
        let title = self.titles.0.entry(id).or_insert_with(|| Title {
            surface: Surface::new(None, Content::new(layer, size, false)),
            drawn: drawn.clone(),
        });
        title.surface.content.reshape(size, false);
        title.surface.view = view;
        title.drawn = drawn;
        let all = TileRect {
            x: 0,
            y: 0,
            w: size.w,
            h: size.h,
        };
        title.surface.content.update(all, |x, y, run| {
            let start = (y * size.w + x) as usize;
            run.copy_from_slice(&canvas.pixels[start..start + run.len()]);
            true
        });
    }

    fn title_of(&self, id: WindowId) -> String {
        self.toplevels
            .get(&id)
            .map(Toplevel::title)
            .unwrap_or_default()
    }
}

struct Canvas {
    size: Size,
    pixels: Vec<u32>,
}

impl Drawn {
    fn draw(&self) -> Canvas {
        let device = |logical: f64| (logical * self.scale).round().max(1.0) as u32;
        let size = Size {
            w: device(f64::from(self.width)),
            h: device(f64::from(TITLE_HEIGHT)),
        };
        let (bar, ink) = if self.active {
            (BAR, TEXT)
        } else {
            (BAR_IDLE, TEXT_IDLE)
        };
        let mut canvas = Canvas {
            size,
            pixels: vec![bar; (size.w * size.h) as usize],
        };
        for x in (0..size.w).step_by(1 + (size.w as usize - 1) / 4096) {
            let logical = (f64::from(x) / self.scale) as i32;
            if part_at(logical, self.width) == Part::Bar {
                continue;
            }
            canvas.button(x, logical, self, ink);
        }
        if let Some(font) = font() {
            let room = self.width - 3 * BUTTON - 20;
            canvas.text(
                font,
                &self.text,
                (10.0 * self.scale) as f32,
                (f64::from(room) * self.scale) as f32,
                ink,
                self.scale as f32,
            );
        }
        canvas
    }
}

impl Canvas {
    /// One column of a button: a cross, a square or a line of 10 logical pixels.
    fn button(&mut self, x: u32, logical: i32, drawn: &Drawn, ink: u32) {
        let part = part_at(logical, drawn.width);
        let index = match part {
            Part::Close => 1,
            Part::Maximise => 2,
            _ => 3,
        };
        let centre_x = f64::from(drawn.width - BUTTON * index + BUTTON / 2) * drawn.scale;
        let centre_y = f64::from(self.size.h) / 2.0;
        let (reach, line) = (5.0 * drawn.scale, 0.8 * drawn.scale);
        let dx = f64::from(x) + 0.5 - centre_x;
        for y in 0..self.size.h {
            let dy = f64::from(y) + 0.5 - centre_y;
            if dx.abs() > reach || dy.abs() > reach {
                continue;
            }
            let drawn_here = match part {
                Part::Close => (dx.abs() - dy.abs()).abs() <= line,
                Part::Maximise => dx.abs().max(dy.abs()) > reach - 1.5 * line,
                _ => (dy - reach + line).abs() <= line,
            };
            if drawn_here {
                self.pixels[(y * self.size.w + x) as usize] = ink;
            }
        }
    }

    fn text(&mut self, font: &FontVec, text: &str, left: f32, room: f32, ink: u32, scale: f32) {
        let font = font.as_scaled(PxScale::from(15.0 * scale));
        let baseline = (self.size.h as f32 + font.ascent() + font.descent()) / 2.0;
        let mut x = left;
        let mut last = None;
        for c in text.chars() {
            let id = font.glyph_id(c);
            x += last.map_or(0.0, |last| font.kern(last, id));
            last = Some(id);
            let end = x + font.h_advance(id);
            if end > left + room {
                break;
            }
            let glyph = id.with_scale_and_position(font.scale(), point(x, baseline));
            if let Some(outline) = font.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|dx, dy, cover| {
                    let (x, y) = (
                        corner.x as i64 + i64::from(dx),
                        corner.y as i64 + i64::from(dy),
                    );
                    self.blend(x, y, ink, cover);
                });
            }
            x = end;
        }
    }

    fn blend(&mut self, x: i64, y: i64, ink: u32, cover: f32) {
        if x < 0 || y < 0 || x >= i64::from(self.size.w) || y >= i64::from(self.size.h) {
            return;
        }
        let pixel = &mut self.pixels[y as usize * self.size.w as usize + x as usize];
        let cover = (cover.clamp(0.0, 1.0) * 256.0) as u32;
        let mix = |shift: u32| {
            let (a, b) = (*pixel >> shift & 255, ink >> shift & 255);
            ((a * (256 - cover) + b * cover) >> 8) << shift
        };
        *pixel = 0xff00_0000 | mix(16) | mix(8) | mix(0);
    }
}

/// A font of the system's; title bars have no text where there is none.
fn font() -> Option<&'static FontVec> {
    static FONT: OnceLock<Option<FontVec>> = OnceLock::new();
    FONT.get_or_init(|| {
        let read = |path: &&str| FontVec::try_from_vec(std::fs::read(path).ok()?).ok();
        let font = FONTS.iter().find_map(read);
        if font.is_none() {
            warn!("no font for title bars: install fonts-dejavu-core");
        }
        font
    })
    .as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buttons_are_at_the_right_end_and_leave_room_to_drag() {
        assert_eq!(part_at(399, 400), Part::Close);
        assert_eq!(part_at(400 - BUTTON - 1, 400), Part::Maximise);
        assert_eq!(part_at(400 - 2 * BUTTON - 1, 400), Part::Minimise);
        assert_eq!(part_at(10, 400), Part::Bar);
        assert_eq!(part_at(10, 80), Part::Bar);
        assert_eq!(part_at(79, 80), Part::Close);
    }

    #[test]
    fn title_is_legible_on_its_bar_and_other_titles_look_otherwise() {
        let drawn = |text: &str| Drawn {
            text: text.to_owned(),
            active: true,
            width: 300,
            scale: 1.5,
        };
        let (a, b) = (drawn("foot").draw(), drawn("boat").draw());
        assert_eq!(a.size, Size { w: 450, h: 42 });
        assert!(a.pixels.contains(&TEXT));
        assert_eq!(font().is_some(), a.pixels != b.pixels);
        assert!(a.pixels.iter().all(|pixel| pixel >> 24 == 0xff));
    }
}

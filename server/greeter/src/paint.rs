//! Paints a list of things, or the part of it that has changed.

use tiny_skia::{
    Color, FillRule, LineCap, Paint, Path, PathBuilder, Pixmap, PremultipliedColorU8, Rect, Stroke,
    Transform,
};

use crate::scene::{Area, Pixels, Thing};
use crate::text::Fonts;

/// The colours are those of the terminal's own screens.
pub const NIGHT: u32 = 0x10_1a_2b;
/// The lower end of the background.
pub const DUSK: u32 = 0x1d_33_4a;
/// Words.
pub const PALE: u32 = 0xee_f2_f6;
/// Words of less weight.
pub const SOFT: u32 = 0x9f_b2_c6;
/// What is meant to be seen first.
pub const SUN: u32 = 0xf6_b7_3c;
/// All is well.
pub const CALM: u32 = 0x5f_c9_8f;
/// Something is not.
pub const ALERT: u32 = 0xf0_7f_6a;
/// The panel.
pub const PANEL: u32 = 0x16_26_3a;
/// Lines around things.
pub const EDGE: u32 = 0x4a_64_80;
/// Fields.
pub const WELL: u32 = 0x0b_12_1e;
/// Buttons.
pub const BUTTON: u32 = 0x2a_44_5f;

/// Paints the part of a screen that these pixels are: row by row, as `0x00RRGGBB`.
pub fn paint(things: &[Thing], screen: (u32, u32), part: Pixels, fonts: &mut Fonts) -> Vec<u32> {
    let Some(mut canvas) = Pixmap::new(part.w(), part.h()) else {
        return Vec::new();
    };
    gradient(&mut canvas, screen.1, part.top);
    for thing in things {
        let pixels = thing.pixels(screen);
        if pixels.is_some_and(|pixels| pixels.meets(&part)) {
            draw(thing, &mut canvas, &part, fonts);
        }
    }
    let pixels = canvas.pixels().iter();
    pixels
        .map(|pixel| u32::from_be_bytes([0, pixel.red(), pixel.green(), pixel.blue()]))
        .collect()
}

fn gradient(canvas: &mut Pixmap, height: u32, top: u32) {
    let w = canvas.width() as usize;
    for (row, line) in canvas.pixels_mut().chunks_mut(w).enumerate() {
        let share = (row as u32 + top) * 256 / height.max(1);
        let mix = |shift: u32| {
            let (a, b) = (NIGHT >> shift & 0xff, DUSK >> shift & 0xff);
            ((a * (256 - share) + b * share) >> 8) as u8
        };
        line.fill(opaque(mix(16), mix(8), mix(0)));
    }
}

fn opaque(r: u8, g: u8, b: u8) -> PremultipliedColorU8 {
    PremultipliedColorU8::from_rgba(r, g, b, 255).expect("opaque colours are premultiplied")
}

fn draw(thing: &Thing, canvas: &mut Pixmap, part: &Pixels, fonts: &mut Fonts) {
    let place = Transform::from_translate(-(part.left as f32), -(part.top as f32));
    match thing {
        Thing::Box {
            area,
            radius,
            fill,
            edge,
        } => {
            if let Some((width, colour)) = edge {
                fill_path(canvas, rounded(area, *radius), *colour, place);
                let inside = area.inset(*width);
                fill_path(canvas, rounded(&inside, radius - width), *fill, place);
            } else {
                fill_path(canvas, rounded(area, *radius), *fill, place);
            }
        }
        Thing::Tick { area, colour } => {
            let mut path = PathBuilder::new();
            path.move_to(area.x + area.w * 0.22, area.y + area.h * 0.52);
            path.line_to(area.x + area.w * 0.43, area.y + area.h * 0.73);
            path.line_to(area.x + area.w * 0.79, area.y + area.h * 0.29);
            let stroke = Stroke {
                width: area.w * 0.13,
                line_cap: LineCap::Round,
                ..Stroke::default()
            };
            if let Some(path) = path.finish() {
                canvas.stroke_path(&path, &paint_of(*colour), &stroke, place, None);
            }
        }
        Thing::Sun { area } => sun(canvas, area, place),
        Thing::Text {
            area,
            text,
            style,
            shift,
        } => {
            let clip = (
                (area.x.floor() as i32, area.y.floor() as i32),
                (
                    (area.x + area.w).ceil() as i32,
                    (area.y + area.h).ceil() as i32,
                ),
            );
            let (x, y) = ((area.x - shift).round() as i32, area.y.round() as i32);
            let width = area.w;
            let (w, h) = (canvas.width() as i32, canvas.height() as i32);
            let pixels = canvas.pixels_mut();
            fonts.draw(text, style, width, |dx, dy, alpha, rgb| {
                let (x, y) = (x + dx, y + dy);
                let ((left, top), (right, bottom)) = clip;
                if x < left || y < top || x >= right || y >= bottom {
                    return;
                }
                let (x, y) = (x - part.left as i32, y - part.top as i32);
                if x >= 0 && y >= 0 && x < w && y < h {
                    blend(&mut pixels[(y * w + x) as usize], alpha, rgb);
                }
            });
        }
    }
}

fn blend(pixel: &mut PremultipliedColorU8, alpha: u8, rgb: u32) {
    let [_, r, g, b] = rgb.to_be_bytes();
    let mix = |over: u8, under: u8| {
        let (over, under, alpha) = (u32::from(over), u32::from(under), u32::from(alpha));
        ((over * alpha + under * (255 - alpha) + 127) / 255) as u8
    };
    *pixel = opaque(
        mix(r, pixel.red()),
        mix(g, pixel.green()),
        mix(b, pixel.blue()),
    );
}

fn paint_of(colour: u32) -> Paint<'static> {
    let [_, r, g, b] = colour.to_be_bytes();
    let mut paint = Paint::default();
    paint.set_color(Color::from_rgba8(r, g, b, 255));
    paint.anti_alias = true;
    paint
}

fn fill_path(canvas: &mut Pixmap, path: Option<Path>, colour: u32, place: Transform) {
    if let Some(path) = path {
        canvas.fill_path(&path, &paint_of(colour), FillRule::Winding, place, None);
    }
}

fn rounded(area: &Area, radius: f32) -> Option<Path> {
    let (l, t, r, b) = (area.x, area.y, area.x + area.w, area.y + area.h);
    let radius = radius.clamp(0.0, area.w.min(area.h).max(0.0) / 2.0);
    if radius < 0.5 {
        return Some(PathBuilder::from_rect(Rect::from_ltrb(l, t, r, b)?));
    }
    // How far the handles of a quarter circle are from its ends.
    let k = radius * 0.447_715;
    let mut path = PathBuilder::new();
    path.move_to(l + radius, t);
    path.line_to(r - radius, t);
    path.cubic_to(r - k, t, r, t + k, r, t + radius);
    path.line_to(r, b - radius);
    path.cubic_to(r, b - k, r - k, b, r - radius, b);
    path.line_to(l + radius, b);
    path.cubic_to(l + k, b, l, b - k, l, b - radius);
    path.line_to(l, t + radius);
    path.cubic_to(l, t + k, l + k, t, l + radius, t);
    path.close();
    path.finish()
}

fn sun(canvas: &mut Pixmap, area: &Area, place: Transform) {
    let (x, y, unit) = (
        area.x + area.w / 2.0,
        area.y + area.h / 2.0,
        area.w.min(area.h) / 14.0,
    );
    let disc = PathBuilder::from_circle(x, y, unit * 3.2);
    fill_path(canvas, disc, SUN, place);
    let stroke = Stroke {
        width: unit * 0.9,
        line_cap: LineCap::Round,
        ..Stroke::default()
    };
    for ray in 0..12 {
        let (sin, cos) = (ray as f32 * std::f32::consts::TAU / 12.0).sin_cos();
        let mut path = PathBuilder::new();
        path.move_to(x + cos * unit * 4.5, y + sin * unit * 4.5);
        path.line_to(x + cos * unit * 6.3, y + sin * unit * 6.3);
        if let Some(path) = path.finish() {
            canvas.stroke_path(&path, &paint_of(SUN), &stroke, place, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG's relative luminance.
    fn luminance(rgb: u32) -> f64 {
        let channel = |shift: u32| {
            let value = f64::from(rgb >> shift & 0xff) / 255.0;
            match value <= 0.04045 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            }
        };
        0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
    }

    fn contrast(a: u32, b: u32) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn words_stand_out_from_what_is_behind_them() {
        for (word, behind) in [
            (PALE, PANEL),
            (SOFT, PANEL),
            (ALERT, PANEL),
            (SUN, PANEL),
            (PALE, WELL),
            (SOFT, WELL),
            (NIGHT, SUN),
            (PALE, BUTTON),
            (PALE, DUSK),
            (SOFT, DUSK),
            (PALE, NIGHT),
        ] {
            let contrast = contrast(word, behind);
            assert!(contrast >= 4.5, "{word:06x} on {behind:06x}: {contrast:.2}");
        }
        // What shows the focus, and edges of controls, which are no words.
        for (line, behind) in [(SUN, PANEL), (SUN, WELL), (SUN, BUTTON)] {
            assert!(contrast(line, behind) >= 3.0);
        }
    }

    #[test]
    fn a_part_is_painted_as_it_is_in_the_whole() {
        let screen = (200, 100);
        let things = [
            Thing::Box {
                area: Area::new(20.0, 20.0, 100.5, 60.0),
                radius: 8.0,
                fill: BUTTON,
                edge: Some((2.0, SUN)),
            },
            Thing::Sun {
                area: Area::new(100.0, 10.0, 80.0, 80.0),
            },
        ];
        let mut fonts = Fonts::new();
        let whole = paint(&things, screen, Pixels::all(screen), &mut fonts);
        let part = Pixels {
            left: 50,
            top: 30,
            right: 150,
            bottom: 90,
        };
        let painted = paint(&things, screen, part, &mut fonts);
        // Smooth edges come out a little otherwise where they are cut; nobody sees it.
        let mut others = 0;
        for y in 0..60 {
            for x in 0..100 {
                let there = whole[(y + 30) * 200 + x + 50];
                let here = painted[y * 100 + x];
                for shift in [0, 8, 16] {
                    let (a, b) = (there >> shift & 0xff, here >> shift & 0xff);
                    assert!(a.abs_diff(b) <= 40, "{x},{y}: {there:x} {here:x}");
                }
                others += usize::from(there != here);
            }
        }
        assert!(others < 30, "{others} pixels");
    }
}

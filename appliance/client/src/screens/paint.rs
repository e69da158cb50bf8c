//! How the terminal's own screens look.

use super::{Picture, Screen};
use crate::compose::Target;
use crate::geometry::Rect;
use crate::text::{Fonts, Weight, blend_pixel};

const NIGHT: u32 = 0x10_1a_2b;
const DUSK: u32 = 0x1d_33_4a;
const PALE: u32 = 0xee_f2_f6;
const SOFT: u32 = 0x9f_b2_c6;
const DIM: u32 = 0x4a_60_7a;
const SUN: u32 = 0xf6_b7_3c;
const CALM: u32 = 0x5f_c9_8f;
const ALERT: u32 = 0xf0_7f_6a;

/// Digits that a PIN may have.
const MAX_DIGITS: usize = heliostat_piv::pin::LONGEST;

/// Paints a screen over all of `target`.
pub fn draw(screen: &Screen, fonts: &Fonts, target: &mut Target<'_>) {
    let (w, h) = (target.bounds.w, target.bounds.h);
    gradient(target);
    // Everything is measured in units of the shorter side, so that all resolutions look alike.
    let unit = (w.min(h * 16 / 10) as f32 / 100.0).max(4.0);
    let middle = w as f32 / 2.0;
    draw_picture(screen, target, (middle, h as f32 * 0.40), unit);
    let mut y = h as f32 * 0.56;
    y = centred(
        fonts,
        target,
        &screen.headline,
        (middle, y),
        (unit * 4.2, Weight::Bold),
        PALE,
    );
    y += unit * 1.2;
    if let Some(digits) = screen.digits {
        draw_digits(target, (middle, y + unit * 1.4), unit, digits);
        y += unit * 4.4;
    }
    let width = (w as f32 * 0.8).min(unit * 76.0);
    for line in fonts
        .wrap(&screen.detail, width, unit * 2.1, Weight::Regular)
        .iter()
        .take(4)
    {
        y = centred(
            fonts,
            target,
            line,
            (middle, y),
            (unit * 2.1, Weight::Regular),
            SOFT,
        );
    }
    if let Some(code) = screen.code {
        let style = (unit * 2.1, Weight::Bold);
        centred(
            fonts,
            target,
            code.as_str(),
            (middle, y + unit),
            style,
            ALERT,
        );
    }
    draw_hint(screen, fonts, target, unit);
    draw_foot(screen, fonts, target, unit);
}

fn gradient(target: &mut Target<'_>) {
    let (w, h) = (target.bounds.w, target.bounds.h.max(1));
    for y in 0..h {
        let share = (y * 256 / h) as u32;
        let mix = |shift: u32| {
            let (a, b) = (NIGHT >> shift & 0xff, DUSK >> shift & 0xff);
            (a * (256 - share) + b * share) >> 8 << shift
        };
        target.row(0, y, w).fill(mix(0) | mix(8) | mix(16));
    }
}

fn centred(
    fonts: &Fonts,
    target: &mut Target<'_>,
    text: &str,
    (middle, y): (f32, f32),
    style: (f32, Weight),
    rgb: u32,
) -> f32 {
    let width = fonts.width(text, style.0, style.1);
    fonts.draw(target, text, (middle - width / 2.0, y), style, rgb);
    y + style.0 * 1.35
}

/// A place for each digit that a PIN may have; those that were typed are lit.
fn draw_digits(target: &mut Target<'_>, (middle, y): (f32, f32), unit: f32, typed: usize) {
    for place in 0..MAX_DIGITS {
        let x = middle + (place as f32 - (MAX_DIGITS - 1) as f32 / 2.0) * unit * 3.6;
        match place < typed {
            true => disc(target, (x, y), unit * 1.0, SUN),
            false => disc(target, (x, y), unit * 0.5, DIM),
        }
    }
}

/// What keys do, in one line above the foot, or in two where it is narrow.
fn draw_hint(screen: &Screen, fonts: &Fonts, target: &mut Target<'_>, unit: f32) {
    let (w, h) = (target.bounds.w as f32, target.bounds.h as f32);
    let style = (unit * 1.9, Weight::Regular);
    let mut y = h - unit * 11.0;
    let parts: Vec<&str> = match fonts.width(&screen.hint, style.0, style.1) <= w * 0.9 {
        true => vec![&screen.hint],
        false => screen.hint.split("     ").collect(),
    };
    y -= (parts.len() - 1) as f32 * style.0 * 1.35;
    for part in parts {
        y = centred(fonts, target, part, (w / 2.0, y), style, SOFT);
    }
}

/// Name and link state at the bottom left, the site at the bottom right.
fn draw_foot(screen: &Screen, fonts: &Fonts, target: &mut Target<'_>, unit: f32) {
    let (w, h) = (target.bounds.w as f32, target.bounds.h as f32);
    let (left, y) = (unit * 3.0, h - unit * 5.0);
    let state = if screen.online { CALM } else { ALERT };
    disc(
        target,
        (left + unit * 0.6, y + unit * 1.05),
        unit * 0.6,
        state,
    );
    let style = (unit * 1.9, Weight::Regular);
    fonts.draw(target, &screen.name, (left + unit * 2.2, y), style, SOFT);
    let mut right = w - unit * 3.0 - fonts.width(&screen.site, style.0, style.1);
    fonts.draw(target, &screen.site, (right, y), style, SOFT);
    for code in &screen.also {
        right -= unit * 5.0;
        fonts.draw(target, code.as_str(), (right, y), style, ALERT);
    }
}

fn draw_picture(screen: &Screen, target: &mut Target<'_>, (x, y): (f32, f32), unit: f32) {
    let colour = if screen.picture == Picture::Trouble {
        ALERT
    } else {
        SUN
    };
    match screen.picture {
        Picture::InsertCard => draw_card(target, (x, y - unit * 3.0), unit, colour),
        Picture::CardIn => draw_card(target, (x, y), unit, colour),
        Picture::Waiting | Picture::Trouble => draw_sun(target, (x, y - unit * 1.5), unit, colour),
    }
    if matches!(screen.picture, Picture::InsertCard | Picture::CardIn) {
        // The reader is in front of the card.
        let slot = rect(x - unit * 9.0, y + unit * 2.0, unit * 18.0, unit * 5.0);
        rounded(target, slot, unit, 0x2a_44_5f);
        let mouth = rect(x - unit * 7.0, y + unit * 2.0, unit * 14.0, unit * 0.6);
        rounded(target, mouth, unit * 0.3, 0x0b_12_1e);
    }
}

fn draw_card(target: &mut Target<'_>, (x, y): (f32, f32), unit: f32, colour: u32) {
    rounded(
        target,
        rect(x - unit * 6.0, y - unit * 6.0, unit * 12.0, unit * 9.0),
        unit,
        colour,
    );
    let chip = rect(x - unit * 1.5, y - unit * 1.2, unit * 3.0, unit * 2.4);
    rounded(target, chip, unit * 0.5, 0xfb_e3_b0);
    let stripe = rect(x - unit * 4.6, y - unit * 4.6, unit * 5.0, unit * 0.7);
    rounded(target, stripe, unit * 0.3, 0xd8_97_20);
}

/// A sun and a mirror that throws its light aside: the heliostat.
fn draw_sun(target: &mut Target<'_>, (x, y): (f32, f32), unit: f32, colour: u32) {
    disc(target, (x, y), unit * 3.2, colour);
    for ray in 0..12 {
        let angle = ray as f32 * std::f32::consts::TAU / 12.0;
        for step in 0..5 {
            let distance = unit * (4.4 + step as f32 * 0.45);
            let at = (x + angle.cos() * distance, y + angle.sin() * distance);
            disc(target, at, unit * 0.42, colour);
        }
    }
}

fn rect(x: f32, y: f32, w: f32, h: f32) -> (f32, f32, f32, f32) {
    (x, y, w, h)
}

fn disc(target: &mut Target<'_>, (x, y): (f32, f32), radius: f32, rgb: u32) {
    rounded(
        target,
        (x - radius, y - radius, radius * 2.0, radius * 2.0),
        radius,
        rgb,
    );
}

/// A rectangle with round corners and smooth edges.
fn rounded(target: &mut Target<'_>, (x, y, w, h): (f32, f32, f32, f32), radius: f32, rgb: u32) {
    let (half_w, half_h) = (w / 2.0 - radius, h / 2.0 - radius);
    let (cx, cy) = (x + w / 2.0, y + h / 2.0);
    let area = Rect::from_edges(
        x.floor() as i64,
        y.floor() as i64,
        (x + w).ceil() as i64 + 1,
        (y + h).ceil() as i64 + 1,
    );
    let Some(area) = area.intersection(target.bounds) else {
        return;
    };
    for py in area.y..area.bottom() {
        for px in area.x..area.right() {
            let dx = ((px as f32 + 0.5 - cx).abs() - half_w).max(0.0);
            let dy = ((py as f32 + 0.5 - cy).abs() - half_h).max(0.0);
            let outside = (dx * dx + dy * dy).sqrt() - radius;
            blend_pixel(target, (px, py), rgb, 0.5 - outside);
        }
    }
}

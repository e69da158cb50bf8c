//! Lays the page out: what the login has to say becomes things in pixels and places to click.

mod controls;

use heliostat_control::greetd::{CardState, Enrol};

use crate::login::{Control, Login, Stage, Tone};
use crate::paint::{ALERT, BUTTON, CALM, PALE, PANEL, SOFT, SUN};
use crate::scene::{Align, Area, Style, Thing};
use crate::text::{Fonts, LINE};

/// Width of the panel, in logical pixels, as all lengths here.
const PANEL_W: f32 = 460.0;
/// Between the panel's edge and what is in it.
const MARGIN: f32 = 32.0;
/// Height of what can be clicked.
const TARGET: f32 = 44.0;
/// Between two things.
const GAP: f32 = 14.0;
/// What the page needs around the panel.
const AROUND: f32 = 180.0;

/// What the page shows besides the login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// Such as 17:45.
    pub time: String,
    /// Such as Saturday, 21 November.
    pub date: String,
    /// Moves on while something is waited for.
    pub step: usize,
}

/// A page, laid out.
#[derive(Debug, Default)]
pub struct Page {
    /// What is on it, from back to front.
    pub things: Vec<Thing>,
    /// What can be clicked, and where.
    pub targets: Vec<(Control, Area)>,
    /// What can be read, in order, for those who cannot see it.
    pub words: Vec<(String, Area)>,
}

/// Lays a page out on a screen of this many pixels, `scale` of them to a logical one.
pub fn lay_out(
    login: &Login,
    around: &Around,
    (w, h): (u32, u32),
    scale: f32,
    fonts: &mut Fonts,
) -> Page {
    let (w, h) = (w as f32, h as f32);
    // Never so large that the panel does not fit.
    let mut scale = scale.min(w / (PANEL_W + 2.0 * GAP)).max(0.1);
    for _ in 0..4 {
        let height = panel(login, around, (w, 0.0), scale, fonts).1;
        let fits = h / (height + AROUND * scale);
        if fits >= 1.0 {
            break;
        }
        scale = (scale * fits * 0.99).max(0.1);
    }
    let height = panel(login, around, (w, 0.0), scale, fonts).1;
    let head = 100.0 * scale;
    let top = ((h - height) * 0.46).max(head);
    let (mut page, _) = panel(login, around, (w, top), scale, fonts);
    let mut writer = Writer::new(&mut page, fonts, scale);
    writer.clock(around, (w, top));
    writer.foot(login, (w, h));
    page
}

/// The panel with its upper edge at `top`, and its height.
fn panel(
    login: &Login,
    around: &Around,
    (w, top): (f32, f32),
    scale: f32,
    fonts: &mut Fonts,
) -> (Page, f32) {
    let mut page = Page::default();
    let mut writer = Writer::new(&mut page, fonts, scale);
    let width = PANEL_W * scale;
    writer.x = (w - width) / 2.0 + MARGIN * scale;
    writer.w = width - 2.0 * MARGIN * scale;
    writer.y = top + MARGIN * scale;
    writer.body(login, around);
    let height = writer.y + (MARGIN - GAP) * scale - top;
    let area = Area::new((w - width) / 2.0, top, width, height);
    let back = Thing::Box {
        area,
        radius: 14.0 * scale,
        fill: PANEL,
        edge: Some((scale.max(1.0), BUTTON)),
    };
    page.things.insert(0, back);
    (page, height)
}

/// Writes from top to bottom.
struct Writer<'a> {
    page: &'a mut Page,
    fonts: &'a mut Fonts,
    scale: f32,
    x: f32,
    y: f32,
    w: f32,
}

impl<'a> Writer<'a> {
    fn new(page: &'a mut Page, fonts: &'a mut Fonts, scale: f32) -> Self {
        Self {
            page,
            fonts,
            scale,
            x: 0.0,
            y: 0.0,
            w: 0.0,
        }
    }

    fn style(&self, size: f32, colour: u32) -> Style {
        Style {
            size: size * self.scale,
            bold: false,
            colour,
            align: Align::Start,
            wraps: false,
        }
    }

    fn body(&mut self, login: &Login, around: &Around) {
        self.head(login);
        match &login.stage {
            // It has only just begun.
            Stage::Offline(why) if why.is_empty() => self.words("One moment", 18.0, SOFT),
            Stage::Offline(why) => {
                self.words("The server cannot be reached.", 18.0, PALE);
                self.words("This page tries again by itself.", 16.0, SOFT);
                self.words(why, 13.0, SOFT);
            }
            Stage::Name => {
                self.notices(login);
                match login.context.person {
                    None => self.field(login, Control::Name, "Name", &login.name, false),
                    Some(_) => self.y += GAP * self.scale,
                }
                self.choices(login);
                self.buttons(login, &[(Control::Go, "Continue")]);
            }
            Stage::Waiting => {
                self.notices(login);
                self.dots(around.step);
                self.buttons(login, &[(Control::Over, "Start over")]);
            }
            Stage::Asked { prompt, secret } => {
                self.notices(login);
                let hidden = *secret && !login.revealed;
                self.field(login, Control::Answer, prompt, &login.answer, hidden);
                if *secret && login.caps_lock {
                    self.words("Caps Lock is on.", 15.0, SUN);
                }
                self.choices(login);
                let buttons = [(Control::Go, "Continue"), (Control::Over, "Start over")];
                self.buttons(login, &buttons);
            }
            Stage::Welcome => {
                self.notices(login);
                self.words("Your desktop is coming.", 18.0, SOFT);
            }
        }
    }

    fn head(&mut self, login: &Login) {
        let title = match (&login.stage, login.person()) {
            (Stage::Welcome, person) => format!("Welcome, {person}"),
            (Stage::Name | Stage::Offline(_), _) if login.context.person.is_none() => {
                "Log in".to_owned()
            }
            (_, "") => "Log in".to_owned(),
            (_, person) => person.to_owned(),
        };
        let style = Style {
            bold: true,
            wraps: true,
            ..self.style(26.0, PALE)
        };
        let side = 40.0 * self.scale;
        self.page.things.push(Thing::Sun {
            area: Area::new(self.x + self.w - side, self.y - side * 0.06, side, side),
        });
        let whole = self.w;
        self.w -= side + GAP * self.scale;
        self.line(&title, style);
        self.w = whole;
        self.y += 12.0 * self.scale;
    }

    fn notices(&mut self, login: &Login) {
        if let Some(message) = &login.context.message {
            self.words(message, 16.0, PALE);
        }
        if matches!(login.stage, Stage::Name | Stage::Asked { .. }) {
            let card = match (login.context.card, login.context.enrol) {
                (CardState::Unknown, Enrol::No) => "This card is not known here.",
                (CardState::Unknown, Enrol::Offer) => {
                    "This card is not known here. It can be yours from now on."
                }
                (CardState::Unknown, Enrol::Approval) => {
                    "This card is not known here. You may ask for it; an administrator has to agree."
                }
                (CardState::None | CardState::Known, _) => "",
            };
            self.words(card, 15.0, SOFT);
        }
        for notice in &login.notices {
            let colour = match notice.tone {
                Tone::Plain => PALE,
                Tone::Bad => ALERT,
            };
            self.words(&notice.text, 16.0, colour);
        }
    }

    /// Words over as many lines as they take.
    fn words(&mut self, text: &str, size: f32, colour: u32) {
        if text.is_empty() {
            return;
        }
        let style = Style {
            wraps: true,
            ..self.style(size, colour)
        };
        self.line(text, style);
        self.y += (GAP - 4.0) * self.scale;
    }

    fn line(&mut self, text: &str, style: Style) {
        let height = self.fonts.measure(text, &style, self.w).1;
        // A line that is too long by a rounding is not cut.
        let area = Area::new(self.x, self.y, self.w, height);
        self.write(text, area, style);
        self.y += height;
    }

    fn write(&mut self, text: &str, area: Area, style: Style) {
        self.page.words.push((text.to_owned(), area));
        self.unread(text, area, style, 0.0);
    }

    /// Text that a control says already.
    fn unread(&mut self, text: &str, area: Area, style: Style, shift: f32) {
        let text = text.to_owned();
        self.page.things.push(Thing::Text {
            area,
            text,
            style,
            shift,
        });
    }

    /// Three dots, of which another one shines at each step.
    fn dots(&mut self, step: usize) {
        let s = self.scale;
        self.words("One moment", 18.0, SOFT);
        let side = 12.0 * s;
        for dot in 0..3 {
            let x = self.x + dot as f32 * side * 2.0;
            let fill = if step % 3 == dot { SUN } else { BUTTON };
            self.page.things.push(Thing::Box {
                area: Area::new(x, self.y, side, side),
                radius: side / 2.0,
                fill,
                edge: None,
            });
        }
        self.y += side + 2.0 * GAP * s;
    }

    fn clock(&mut self, around: &Around, (w, top): (f32, f32)) {
        let s = self.scale;
        // Above the panel, as large as there is room.
        let room = top / s;
        let (size, small) = if room > 190.0 {
            (64.0, 19.0)
        } else {
            (30.0, 15.0)
        };
        let style = Style {
            bold: true,
            align: Align::Middle,
            ..self.style(size, PALE)
        };
        let height = (size + small) * LINE * s;
        let y = ((top - height) / 2.0).max(6.0 * s);
        let area = Area::new(0.0, y, w, size * LINE * s);
        self.write(&around.time, area, style);
        let style = Style {
            align: Align::Middle,
            ..self.style(small, SOFT)
        };
        let area = Area::new(0.0, y + size * LINE * s, w, small * LINE * s);
        self.write(&around.date, area, style);
    }

    /// As on the terminal's own screens: its name and the link at the left, the site at the right.
    fn foot(&mut self, login: &Login, (w, h): (f32, f32)) {
        let s = self.scale;
        let style = self.style(15.0, SOFT);
        let height = style.size * LINE;
        let y = h - height - 14.0 * s;
        let side = 11.0 * s;
        let online = !matches!(login.stage, Stage::Offline(_));
        self.page.things.push(Thing::Box {
            area: Area::new(22.0 * s, y + (height - side) / 2.0, side, side),
            radius: side / 2.0,
            fill: if online { CALM } else { ALERT },
            edge: None,
        });
        let third = w / 2.0 - 46.0 * s;
        let name = Area::new(42.0 * s, y, third, height);
        self.write(&login.context.terminal, name, style);
        let style = Style {
            align: Align::End,
            ..style
        };
        let site = Area::new(w / 2.0, y, w / 2.0 - 22.0 * s, height);
        self.write(&login.context.site, site, style);
        let help = "Tab: next     Enter: go on     Escape: start over, or leave";
        let style = Style {
            align: Align::Middle,
            ..self.style(13.0, SOFT)
        };
        let area = Area::new(0.0, y - 28.0 * s, w, 13.0 * LINE * s);
        self.write(help, area, style);
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;

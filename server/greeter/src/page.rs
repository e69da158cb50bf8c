//! Lays the page out: what the login has to say becomes things in pixels and places to click.

use heliostat_control::greetd::{CardState, Enrol};

use crate::login::{Control, Login, Stage, Tone};
use crate::paint::{ALERT, BUTTON, CALM, EDGE, NIGHT, PALE, PANEL, SOFT, SUN, WELL};
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

    fn target(&mut self, login: &Login, control: Control, area: Area, fill: u32) {
        let s = self.scale;
        self.page.targets.push((control, area));
        let edge = match login.focus == control {
            true => Some(((2.5 * s).max(2.0), SUN)),
            false if fill == SUN => None,
            false => Some((s.max(1.0), EDGE)),
        };
        let (fill, edge) = match fill {
            // The sun does not show on itself.
            SUN if edge.is_some() => (SUN, Some(((2.5 * s).max(2.0), PALE))),
            fill => (fill, edge),
        };
        let radius = 8.0 * s;
        self.page.things.push(Thing::Box {
            area,
            radius,
            fill,
            edge,
        });
    }

    fn field(
        &mut self,
        login: &Login,
        control: Control,
        label: &str,
        field: &crate::field::Field,
        hidden: bool,
    ) {
        let s = self.scale;
        let style = Style {
            wraps: true,
            ..self.style(15.0, SOFT)
        };
        let height = self.fonts.measure(label, &style, self.w).1;
        self.unread(label, Area::new(self.x, self.y, self.w, height), style, 0.0);
        self.y += height + 4.0 * s;
        let area = Area::new(self.x, self.y, self.w, TARGET * s);
        self.target(login, control, area, WELL);
        let mut room = area.w - 24.0 * s;
        if login.controls().contains(&Control::Reveal) {
            let side = 64.0 * s;
            room -= side;
            let button = Area::new(
                area.x + area.w - side - 6.0 * s,
                area.y + 6.0 * s,
                side,
                area.h - 12.0 * s,
            );
            let label = if login.revealed { "Hide" } else { "Show" };
            self.button(login, Control::Reveal, label, button, WELL);
        }
        self.typed(login.focus == control, field.shown(hidden), room);
        self.y = area.y + area.h + GAP * s;
    }

    /// What was typed into the field at the present place, moved so that the caret is seen.
    fn typed(&mut self, has_focus: bool, (shown, caret): (String, usize), room: f32) {
        let s = self.scale;
        let style = self.style(19.0, PALE);
        let height = style.size * LINE;
        let top = self.y + (TARGET * s - height) / 2.0;
        let area = Area::new(self.x + 12.0 * s, top, room, height);
        let at = self.fonts.caret(&shown, caret, &style, room);
        // Text that goes to the left begins at the right, and overflows to the left.
        let shift = (at - room + 2.0 * s).max(0.0) + at.min(0.0);
        if !shown.is_empty() {
            self.unread(&shown, area, style, shift);
        }
        if has_focus {
            let width = (2.0 * s).max(1.0).round();
            let x = (area.x + at - shift).round();
            self.page.things.push(Thing::Box {
                area: Area::new(x, area.y, width, height),
                radius: 0.0,
                fill: SUN,
                edge: None,
            });
        }
    }

    fn choices(&mut self, login: &Login) {
        let controls = login.controls();
        if controls.contains(&Control::Enrol) {
            let label = match login.context.enrol {
                Enrol::Approval => "Ask for this card to be mine",
                Enrol::Offer | Enrol::No => "Use this card from now on",
            };
            self.check(login, Control::Enrol, label, login.enrol);
        }
        let offered = [
            (
                Control::Desktop,
                "Desktop",
                &login.context.desktops,
                login.desktop,
            ),
            (
                Control::Layout,
                "Keyboard",
                &login.context.layouts,
                login.layout,
            ),
        ];
        for (control, label, values, at) in offered {
            if controls.contains(&control) {
                let value = values.get(at).map_or("", String::as_str);
                self.choice(login, control, label, value);
            }
        }
    }

    fn check(&mut self, login: &Login, control: Control, label: &str, on: bool) {
        let s = self.scale;
        let row = Area::new(self.x, self.y, self.w, TARGET * s);
        self.target(login, control, row, PANEL);
        let side = 22.0 * s;
        let square = Area::new(row.x + 12.0 * s, row.y + (row.h - side) / 2.0, side, side);
        self.page.things.push(Thing::Box {
            area: square,
            radius: 5.0 * s,
            fill: if on { SUN } else { WELL },
            edge: Some(((1.5 * s).max(1.0), if on { SUN } else { SOFT })),
        });
        if on {
            let colour = NIGHT;
            self.page.things.push(Thing::Tick {
                area: square,
                colour,
            });
        }
        let text = Area::new(
            square.x + side + 12.0 * s,
            row.y,
            row.w - side - 36.0 * s,
            row.h,
        );
        self.in_the_middle(label, text, self.style(16.0, PALE));
        self.y += row.h + GAP * s;
    }

    fn choice(&mut self, login: &Login, control: Control, label: &str, value: &str) {
        let s = self.scale;
        let row = Area::new(self.x, self.y, self.w, TARGET * s);
        self.target(login, control, row, PANEL);
        let label_area = Area::new(row.x + 12.0 * s, row.y, row.w * 0.32, row.h);
        self.in_the_middle(label, label_area, self.style(15.0, SOFT));
        let rest = row.x + row.w * 0.36;
        let value_area = Area::new(rest, row.y, row.x + row.w - rest - 12.0 * s, row.h);
        let style = Style {
            align: Align::End,
            ..self.style(16.0, PALE)
        };
        self.in_the_middle(&format!("‹ {value} ›"), value_area, style);
        self.y += row.h + GAP * s;
    }

    fn buttons(&mut self, login: &Login, buttons: &[(Control, &str)]) {
        let s = self.scale;
        let gap = 12.0 * s;
        let width = (self.w - gap * (buttons.len() as f32 - 1.0)) / buttons.len() as f32;
        self.y += 4.0 * s;
        for (at, (control, label)) in buttons.iter().enumerate() {
            let x = self.x + at as f32 * (width + gap);
            let area = Area::new(x, self.y, width, TARGET * s);
            let fill = if *control == Control::Go { SUN } else { BUTTON };
            self.button(login, *control, label, area, fill);
        }
        self.y += (TARGET + GAP) * s;
    }

    fn button(&mut self, login: &Login, control: Control, label: &str, area: Area, fill: u32) {
        self.target(login, control, area, fill);
        let small = fill == WELL;
        let style = Style {
            bold: fill == SUN,
            align: Align::Middle,
            ..self.style(
                if small { 14.0 } else { 17.0 },
                if fill == SUN { NIGHT } else { PALE },
            )
        };
        self.in_the_middle(label, area, style);
    }

    /// One line, in the middle of the height.
    fn in_the_middle(&mut self, text: &str, area: Area, style: Style) {
        let height = style.size * LINE;
        let y = area.y + (area.h - height) / 2.0;
        self.unread(text, Area::new(area.x, y, area.w, height), style, 0.0);
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
        let help = "Tab: next     Enter: go on     Escape: start over";
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

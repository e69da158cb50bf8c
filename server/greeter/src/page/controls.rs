//! What of a page can have the focus.

use heliostat_control::greetd::Enrol;

use super::{GAP, TARGET, Writer};
use crate::field::Field;
use crate::login::{Control, Login};
use crate::paint::{BUTTON, EDGE, NIGHT, PALE, PANEL, SOFT, SUN, WELL};
use crate::scene::{Align, Area, Style, Thing};
use crate::text::LINE;

impl Writer<'_> {
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

    pub(super) fn field(
        &mut self,
        login: &Login,
        control: Control,
        label: &str,
        field: &Field,
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

    pub(super) fn choices(&mut self, login: &Login) {
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

    pub(super) fn buttons(&mut self, login: &Login, buttons: &[(Control, &str)]) {
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
}

//! The terminal under control: lines become events as if they came from devices.

use std::path::Path;

use heliostat_wire::control::DetachReason;
use heliostat_wire::input::{AxisSource, UNITS_PER_PIXEL};
use serde_json::json;

use crate::app::App;
use crate::card::{CardEvent, card_from_id};
use crate::clock::monotonic_us;
use crate::control_lines::{CardLine, ControlLine, parse_size};
use crate::display::Display;
use crate::seat::SeatEvent;

/// The name of the reader whose cards are inserted by a line of text.
const READER: &str = "control line";
/// Distance of one wheel notch, as libinput has it.
const NOTCH: i32 = 15 * UNITS_PER_PIXEL;

impl App {
    pub(super) fn handle_control(&mut self, line: ControlLine) {
        let time_us = monotonic_us();
        match line {
            ControlLine::Key { code, pressed } => {
                self.handle_seat(SeatEvent::Key {
                    time_us,
                    code,
                    pressed,
                });
            }
            ControlLine::Pointer { x, y } => self.point_at(x, y, time_us),
            ControlLine::Motion { dx, dy } => {
                let units = |pixels: i32| pixels.saturating_mul(UNITS_PER_PIXEL);
                let by = (units(dx), units(dy));
                self.handle_seat(SeatEvent::MotionBy {
                    time_us,
                    by,
                    raw: by,
                });
            }
            ControlLine::Button { code, pressed } => {
                self.handle_seat(SeatEvent::Button {
                    time_us,
                    code,
                    pressed,
                });
            }
            ControlLine::Wheel { x, y } => {
                let source = AxisSource::Wheel;
                let by = (x.saturating_mul(NOTCH / 120), y.saturating_mul(NOTCH / 120));
                self.handle_seat(SeatEvent::Axis {
                    time_us,
                    source,
                    by,
                    v120: (x, y),
                });
            }
            ControlLine::Card(card) => self.control_card(card, time_us),
            ControlLine::Resize(size) => self.resize(&size),
            ControlLine::Screenshot(path) => self.screenshot(&path),
            ControlLine::Quit => self.end(DetachReason::CardRemoved),
        }
    }

    fn control_card(&mut self, card: CardLine, at_us: u64) {
        match card {
            CardLine::Pull => self.handle_card(CardEvent::Gone),
            CardLine::Insert(id) => {
                self.handle_card(CardEvent::Edge {
                    reader: READER.to_owned(),
                    at_us,
                });
                self.handle_card(CardEvent::Read(card_from_id(&id)));
            }
        }
    }

    fn point_at(&mut self, x: i32, y: i32, time_us: u64) {
        let Some(size) = self.display.outputs().first().map(|output| output.size) else {
            return;
        };
        // The middle of the pixel, in 1/65536 of the side.
        let along = |at: i32, side: u32| {
            let at = u64::from(at.clamp(0, side.max(1) as i32 - 1) as u32);
            ((at * 2 + 1) * 32_768 / u64::from(side.max(1))) as u32
        };
        let at = (along(x, size.w), along(y, size.h));
        self.handle_seat(SeatEvent::MotionTo { time_us, at });
    }

    fn resize(&mut self, text: &str) {
        let result = match (parse_size(text), &mut self.display) {
            (Err(why), _) => Err(why),
            (Ok(size), Display::Headless(headless)) => {
                headless.resize(size).map_err(|error| format!("{error:#}"))
            }
            (Ok(_), _) => Err("only a headless terminal is resized by a line".to_owned()),
        };
        match result {
            Ok(()) => self.outputs_changed(),
            Err(why) => self.announce_error(&why),
        }
    }

    fn screenshot(&mut self, path: &str) {
        match self.display.screenshot(Path::new(path)) {
            Ok(()) => {
                let event = json!({"path": path, "at_us": monotonic_us()});
                self.announcer.say("screenshot", event);
            }
            Err(error) => self.announce_error(&format!("{error:#}")),
        }
    }

    pub(super) fn announce_error(&self, text: &str) {
        self.announcer
            .say("error", json!({"text": text, "at_us": monotonic_us()}));
    }
}

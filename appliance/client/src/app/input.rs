//! Keyboard, pointer and touch on their way to the session.

use heliostat_wire::id::OutputId;
use heliostat_wire::input::Leds;

use crate::app::App;
use crate::desk::{DeskEvent, Stage};
use crate::seat::SeatEvent;

/// Evdev codes of the two Enter keys.
const ENTER: [u16; 2] = [28, 96];

impl App {
    pub(super) fn handle_seat(&mut self, event: SeatEvent) {
        let before = self.cursor_area();
        let input = self.seat.handle(event);
        // The pointer moves here and now, whatever the session makes of it.
        self.cursor_changed(before);
        if let Some(attached) = &mut self.attached {
            if let Some((time_us, event)) = input {
                let message = attached.input(time_us, event);
                self.to_session(message);
            }
        } else if let SeatEvent::Key {
            code,
            pressed: true,
            ..
        } = event
            && ENTER.contains(&code)
            && matches!(
                self.desk.stage(),
                Stage::Refused { .. } | Stage::Parted { .. }
            )
        {
            self.desk(DeskEvent::Retry);
        }
    }

    pub(super) fn set_leds(&mut self, leds: Leds) {
        self.seat.set_leds(leds);
        if let Some(devices) = &mut self.devices {
            devices.set_leds(leds);
        }
    }

    pub(super) fn warp(&mut self, output: OutputId, x: i32, y: i32) {
        let before = self.cursor_area();
        self.seat.warp(output, x, y);
        self.cursor_changed(before);
    }
}

//! Keyboard, pointer and touch on their way to the session, and what of them is our own.

use heliostat_wire::control::LoginOffer;
use heliostat_wire::id::OutputId;
use heliostat_wire::input::{InputEvent, Leds};

use crate::app::App;
use crate::clock::monotonic_us;
use crate::desk::{DeskEvent, PinKey, Present, Stage};
use crate::seat::SeatEvent;

/// Evdev codes of the two Enter keys.
const ENTER: [u16; 2] = [28, 96];
const ESCAPE: u16 = 1;
const CTRL: [u16; 2] = [29, 97];
const ALT: [u16; 2] = [56, 100];
/// Pause; some keyboards say Break when Ctrl is down.
const PAUSE: [u16; 2] = [119, 411];

impl App {
    pub(super) fn handle_seat(&mut self, event: SeatEvent) {
        let own = self.own_use(&event);
        if let (
            Some(_),
            SeatEvent::Key {
                code,
                pressed: true,
                ..
            },
        ) = (&own, &event)
        {
            self.seat.withhold(*code);
        }
        let before = self.cursor_area();
        let input = self.seat.handle(event);
        // The pointer moves here and now, whatever the session makes of it.
        self.cursor_changed(before);
        match own {
            Some(Own::Ask(event)) => {
                if event == DeskEvent::Login {
                    self.timeline.begin(monotonic_us());
                }
                self.desk(event);
            }
            Some(Own::Nothing) => {}
            None => self.pass_on(input),
        }
    }

    fn pass_on(&mut self, input: Option<(u64, InputEvent)>) {
        let Some(attached) = &mut self.attached else {
            return;
        };
        if let Some((time_us, event)) = input {
            let message = attached.input(time_us, event);
            self.to_session(message);
        }
    }

    /// What the terminal itself makes of an event, if it is not for the session.
    fn own_use(&self, event: &SeatEvent) -> Option<Own> {
        if self.desk.proving().pin().is_some() {
            return own_use_for_a_pin(event);
        }
        let code = match *event {
            SeatEvent::Key {
                code,
                pressed: true,
                ..
            } => code,
            SeatEvent::Button { pressed: true, .. } | SeatEvent::Touch { down: true, .. } => {
                return self.offers_login().then_some(Own::Ask(DeskEvent::Login));
            }
            _ => return None,
        };
        if self.desk.attach().is_some()
            && PAUSE.contains(&code)
            && self.seat.is_any_down(&CTRL)
            && self.seat.is_any_down(&ALT)
        {
            return Some(Own::Ask(DeskEvent::LeaveSession));
        }
        match self.desk.stage() {
            Stage::Attached { .. } => None,
            Stage::Empty if ENTER.contains(&code) && self.offers_login() => {
                Some(Own::Ask(DeskEvent::Login))
            }
            Stage::Refused { .. } | Stage::Parted { .. } if ENTER.contains(&code) => {
                Some(Own::Ask(DeskEvent::Retry))
            }
            _ if code == ESCAPE && self.desk.present() == Some(&Present::Person) => {
                Some(Own::Ask(DeskEvent::GiveUp))
            }
            _ => None,
        }
    }

    fn offers_login(&self) -> bool {
        self.around.login == LoginOffer::Offered && self.may_log_in()
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

/// While a PIN is typed, a session hears only of keys and buttons that are let go.
fn own_use_for_a_pin(event: &SeatEvent) -> Option<Own> {
    match *event {
        SeatEvent::Key { pressed: false, .. }
        | SeatEvent::Button { pressed: false, .. }
        | SeatEvent::TouchUp { .. }
        | SeatEvent::TouchFrame { .. }
        | SeatEvent::TouchCancel { .. } => None,
        SeatEvent::Key { code: ESCAPE, .. } => Some(Own::Ask(DeskEvent::GiveUp)),
        SeatEvent::Key { code, .. } => {
            let key = PinKey::from_code(code).map(DeskEvent::PinKey);
            Some(key.map_or(Own::Nothing, Own::Ask))
        }
        _ => Some(Own::Nothing),
    }
}

/// What the terminal does with an event by itself.
enum Own {
    /// Its desk takes it.
    Ask(DeskEvent),
    /// Nobody does.
    Nothing,
}

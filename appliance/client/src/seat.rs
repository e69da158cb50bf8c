//! Keyboard, pointer and touch as the terminal holds them: what is down, where the pointer is.
//!
//! Pure: device events in, messages for the session out.

use std::collections::BTreeSet;

use heliostat_wire::List;
use heliostat_wire::id::OutputId;
use heliostat_wire::input::{AxisSource, InputEvent, KeyboardState, Leds, UNITS_PER_PIXEL};
use heliostat_wire::output::{Output, Outputs};

/// What a device did. Times are CLOCK_MONOTONIC in microseconds; distances are 1/256 pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SeatEvent {
    /// A key (evdev code).
    Key {
        /// When.
        time_us: u64,
        /// Which.
        code: u16,
        /// Down.
        pressed: bool,
    },
    /// The pointer moved by so much.
    MotionBy {
        /// When.
        time_us: u64,
        /// Accelerated.
        by: (i32, i32),
        /// As the device reported it.
        raw: (i32, i32),
    },
    /// The pointer is at this place of the first output, in 1/65536 of its size.
    MotionTo {
        /// When.
        time_us: u64,
        /// Where.
        at: (u32, u32),
    },
    /// A pointer button (evdev code).
    Button {
        /// When.
        time_us: u64,
        /// Which.
        code: u16,
        /// Down.
        pressed: bool,
    },
    /// Scrolling.
    Axis {
        /// When.
        time_us: u64,
        /// What moved.
        source: AxisSource,
        /// Distance.
        by: (i32, i32),
        /// Steps of 1/120 notch.
        v120: (i32, i32),
    },
    /// A finger came down or moved, at a place of the first output in 1/65536 of its size.
    Touch {
        /// When.
        time_us: u64,
        /// Which finger.
        slot: u8,
        /// Where.
        at: (u32, u32),
        /// It came down.
        down: bool,
    },
    /// A finger went up.
    TouchUp {
        /// When.
        time_us: u64,
        /// Which finger.
        slot: u8,
    },
    /// The touches so far belong together.
    TouchFrame {
        /// When.
        time_us: u64,
    },
    /// The touches are taken back.
    TouchCancel {
        /// When.
        time_us: u64,
    },
}

/// Everything fixed about the terminal's input.
#[derive(Debug, Default)]
pub struct Seat {
    pressed: BTreeSet<u16>,
    /// Keys that are down and no session's business.
    withheld: BTreeSet<u16>,
    leds: Leds,
    outputs: Vec<Output>,
    output: Option<OutputId>,
    /// Place on `output`, in 1/256 pixel.
    at: (i32, i32),
    locked: bool,
    /// Where a device that says places and not ways put it last, on the first output.
    device_at: Option<(i32, i32)>,
}

impl Seat {
    /// Screens came, went or changed; the pointer stays on one.
    pub fn set_outputs(&mut self, outputs: &Outputs) {
        self.outputs = outputs.to_vec();
        let stays = self
            .outputs
            .iter()
            .any(|output| Some(output.id) == self.output);
        if !stays {
            self.output = self.outputs.first().map(|output| output.id);
            self.at = self.current().map_or((0, 0), |output| {
                let half = |side: u32| (side as i32).saturating_mul(UNITS_PER_PIXEL / 2);
                (half(output.size.w), half(output.size.h))
            });
        }
        self.clamp();
    }

    /// A new attach begins: no session has locked the pointer.
    pub fn begin_attach(&mut self) {
        self.locked = false;
    }

    /// What is down now.
    pub fn keyboard(&self) -> KeyboardState {
        let pressed = List::truncated(self.pressed.iter().copied().collect());
        KeyboardState {
            pressed,
            leds: self.leds,
        }
    }

    /// Whether a key is down, so that the session wants heartbeats.
    pub fn is_key_down(&self) -> bool {
        !self.pressed.is_empty()
    }

    /// Whether one of these keys is down.
    pub fn is_any_down(&self, codes: &[u16]) -> bool {
        codes.iter().any(|code| self.pressed.contains(code))
    }

    /// Keeps a key to ourselves until it is up again: a PIN's digit that is still down when a session
    /// is attached would be told to it.
    pub fn withhold(&mut self, code: u16) {
        self.withheld.insert(code);
    }

    /// The lock lights are so.
    pub fn set_leds(&mut self, leds: Leds) {
        self.leds = leds;
    }

    /// The pointer stays where it is while this is set.
    pub fn set_locked(&mut self, locked: bool) {
        self.locked = locked;
    }

    /// The output the pointer is on and its place there, in whole pixels.
    pub fn pointer(&self) -> Option<(OutputId, i32, i32)> {
        let output = self.output?;
        Some((
            output,
            self.at.0 / UNITS_PER_PIXEL,
            self.at.1 / UNITS_PER_PIXEL,
        ))
    }

    /// Puts the pointer somewhere, in 1/256 pixel.
    pub fn warp(&mut self, output: OutputId, x: i32, y: i32) {
        if self.outputs.iter().any(|known| known.id == output) {
            self.output = Some(output);
            self.at = (x, y);
            self.clamp();
        }
    }

    /// Takes an event; gives what the session is to be told, and when it was made (CLOCK_MONOTONIC,
    /// microseconds). A key that was down already, or is up already, says nothing.
    pub fn handle(&mut self, event: SeatEvent) -> Option<(u64, InputEvent)> {
        Some(match event {
            SeatEvent::Key {
                time_us,
                code,
                pressed,
            } => {
                if self.withheld.contains(&code) {
                    if !pressed {
                        self.withheld.remove(&code);
                    }
                    return None;
                }
                let changed = match pressed {
                    true => self.pressed.insert(code),
                    false => self.pressed.remove(&code),
                };
                if !changed {
                    return None;
                }
                (time_us, InputEvent::Key { code, pressed })
            }
            SeatEvent::MotionBy { time_us, by, raw } => (time_us, self.move_by(by, raw)?),
            SeatEvent::MotionTo { time_us, at } => (time_us, self.move_to(at)?),
            SeatEvent::Button {
                time_us,
                code,
                pressed,
            } => (time_us, InputEvent::Button { code, pressed }),
            SeatEvent::Axis {
                time_us,
                source,
                by: (dx, dy),
                v120: (v120_x, v120_y),
            } => (
                time_us,
                InputEvent::Axis {
                    source,
                    dx,
                    dy,
                    v120_x,
                    v120_y,
                },
            ),
            SeatEvent::Touch {
                time_us,
                slot,
                at,
                down,
            } => {
                let output = self.outputs.first()?;
                let (id, (x, y)) = (output.id, place_on(output, at));
                let event = match down {
                    true => InputEvent::TouchDown {
                        slot,
                        output: id,
                        x,
                        y,
                    },
                    false => InputEvent::TouchMotion {
                        slot,
                        output: id,
                        x,
                        y,
                    },
                };
                (time_us, event)
            }
            SeatEvent::TouchUp { time_us, slot } => (time_us, InputEvent::TouchUp { slot }),
            SeatEvent::TouchFrame { time_us } => (time_us, InputEvent::TouchFrame),
            SeatEvent::TouchCancel { time_us } => (time_us, InputEvent::TouchCancel),
        })
    }

    fn current(&self) -> Option<&Output> {
        self.outputs
            .iter()
            .find(|output| Some(output.id) == self.output)
    }

    fn move_by(&mut self, by: (i32, i32), raw: (i32, i32)) -> Option<InputEvent> {
        let before = self.current()?.clone();
        if !self.locked {
            let x = self.at.0.saturating_add(by.0);
            let y = self.at.1.saturating_add(by.1);
            self.at = (x, y);
            self.cross(&before);
            self.clamp();
        }
        Some(self.motion(by, raw))
    }

    fn move_to(&mut self, at: (u32, u32)) -> Option<InputEvent> {
        let output = self.outputs.first()?.clone();
        let to = place_on(&output, at);
        // A locked pointer stays where it is, and one on another output is in the coordinates of that.
        let is_there = !self.locked && self.output == Some(output.id);
        let known = if is_there {
            Some(self.at)
        } else {
            self.device_at
        };
        let from = known.unwrap_or(to);
        let by = (to.0.saturating_sub(from.0), to.1.saturating_sub(from.1));
        self.device_at = Some(to);
        if !self.locked {
            (self.output, self.at) = (Some(output.id), to);
            self.clamp();
        }
        Some(self.motion(by, by))
    }

    fn motion(&self, by: (i32, i32), raw: (i32, i32)) -> InputEvent {
        let output = self.output.unwrap_or(OutputId(0));
        let ((x, y), (dx, dy)) = (self.at, by);
        InputEvent::Motion {
            output,
            x,
            y,
            dx,
            dy,
            raw: (raw != by).then_some(raw),
        }
    }

    /// Over the edge of one output onto its neighbour on the desk, if there is one.
    fn cross(&mut self, from: &Output) {
        let desk =
            |at: i32, origin: i32| i64::from(at.div_euclid(UNITS_PER_PIXEL)) + i64::from(origin);
        let (x, y) = (desk(self.at.0, from.x), desk(self.at.1, from.y));
        let holds = |output: &&Output| {
            let (left, top) = (i64::from(output.x), i64::from(output.y));
            (left..left + i64::from(output.size.w)).contains(&x)
                && (top..top + i64::from(output.size.h)).contains(&y)
        };
        if let Some(to) = self.outputs.iter().find(holds)
            && to.id != from.id
        {
            let shift =
                |from: i32, to: i32| from.saturating_sub(to).saturating_mul(UNITS_PER_PIXEL);
            self.output = Some(to.id);
            self.at.0 = self.at.0.saturating_add(shift(from.x, to.x));
            self.at.1 = self.at.1.saturating_add(shift(from.y, to.y));
        }
    }

    fn clamp(&mut self) {
        if let Some(output) = self.current() {
            let last = |side: u32| (side.max(1) as i32).saturating_mul(UNITS_PER_PIXEL) - 1;
            let size = output.size;
            self.at = (
                self.at.0.clamp(0, last(size.w)),
                self.at.1.clamp(0, last(size.h)),
            );
        }
    }
}

/// A place in 1/65536 of an output's size, in 1/256 pixel.
fn place_on(output: &Output, at: (u32, u32)) -> (i32, i32) {
    let along = |at: u32, side: u32| {
        (u64::from(at.min(65_535)) * u64::from(side) * UNITS_PER_PIXEL as u64 / 65_536) as i32
    };
    (along(at.0, output.size.w), along(at.1, output.size.h))
}

#[cfg(test)]
mod tests {
    use heliostat_wire::output::Size;
    use proptest::prelude::*;

    use super::*;

    fn output(id: u8, x: i32, w: u32, h: u32) -> Output {
        Output {
            id: OutputId(id),
            connector: "T".into(),
            make: "".into(),
            model: "".into(),
            size: Size { w, h },
            refresh_mhz: 60_000,
            physical_mm: Size { w: 0, h: 0 },
            x,
            y: 0,
        }
    }

    fn seat() -> Seat {
        let mut seat = Seat::default();
        seat.set_outputs(&List::truncated(vec![
            output(0, 0, 800, 600),
            output(1, 800, 1024, 768),
        ]));
        seat
    }

    fn by(dx: i32, dy: i32) -> SeatEvent {
        SeatEvent::MotionBy {
            time_us: 0,
            by: (dx * 256, dy * 256),
            raw: (0, 0),
        }
    }

    #[test]
    fn pointer_crosses_to_the_neighbour_and_stops_at_the_edge_of_the_desk() {
        let mut seat = seat();
        assert_eq!(seat.pointer(), Some((OutputId(0), 400, 300)));
        seat.handle(by(500, 0));
        assert_eq!(seat.pointer(), Some((OutputId(1), 100, 300)));
        seat.handle(by(-3000, -3000));
        assert_eq!(seat.pointer(), Some((OutputId(1), 0, 0)));
        seat.handle(by(-1, 10));
        assert_eq!(seat.pointer(), Some((OutputId(0), 799, 10)));
    }

    #[test]
    fn locked_pointer_reports_movement_and_stays() {
        let mut seat = seat();
        seat.set_locked(true);
        let (_, event) = seat.handle(by(5, 7)).unwrap();
        assert!(matches!(
            event,
            InputEvent::Motion {
                dx: 1280,
                dy: 1792,
                ..
            }
        ));
        assert_eq!(seat.pointer(), Some((OutputId(0), 400, 300)));
    }

    #[test]
    fn device_that_says_places_moves_a_locked_pointer_by_its_own_steps() {
        let mut seat = seat();
        let to = |seat: &mut Seat, x, y| {
            let at = (x, y);
            match seat
                .handle(SeatEvent::MotionTo { time_us: 1, at })
                .unwrap()
                .1
            {
                InputEvent::Motion { dx, dy, .. } => (dx, dy),
                other => panic!("{other:?}"),
            }
        };
        to(&mut seat, 10_000, 10_000);
        let (before, step) = (seat.at, to(&mut seat, 10_500, 10_000));
        assert_eq!(step, (seat.at.0 - before.0, 0));
        seat.set_locked(true);
        for x in [11_000, 11_500] {
            let (dx, dy) = to(&mut seat, x, 10_000);
            // Places are rounded, each by itself.
            assert!(dx.abs_diff(step.0) <= 1 && dy == 0, "{dx} {dy}");
        }
        assert_eq!(to(&mut seat, 11_500, 10_000), (0, 0));
    }

    #[test]
    fn key_that_is_down_already_says_nothing() {
        let mut seat = seat();
        let press = |pressed| SeatEvent::Key {
            time_us: 1,
            code: 30,
            pressed,
        };
        assert!(seat.handle(press(true)).is_some());
        assert_eq!(seat.handle(press(true)), None);
        assert_eq!(&seat.keyboard().pressed[..], [30]);
        assert!(seat.handle(press(false)).is_some());
        assert_eq!(seat.handle(press(false)), None);
        assert!(!seat.is_key_down());
    }

    #[test]
    fn withheld_key_is_nobodys_until_it_is_pressed_anew() {
        let mut seat = seat();
        let press = |pressed| SeatEvent::Key {
            time_us: 1,
            code: 5,
            pressed,
        };
        seat.withhold(5);
        assert_eq!(seat.handle(press(true)), None);
        assert!(seat.keyboard().pressed.is_empty() && !seat.is_key_down());
        assert_eq!(seat.handle(press(false)), None);
        assert!(seat.handle(press(true)).is_some());
    }

    #[test]
    fn unplugged_output_gives_the_pointer_back() {
        let mut seat = seat();
        seat.handle(by(500, 0));
        seat.set_outputs(&List::truncated(vec![output(0, 0, 640, 480)]));
        assert_eq!(seat.pointer(), Some((OutputId(0), 320, 240)));
        seat.set_outputs(&List::default());
        assert_eq!(seat.pointer(), None);
        assert_eq!(seat.handle(by(1, 1)), None);
    }

    proptest! {
        #[test]
        fn pointer_is_always_on_an_output(
            moves in prop::collection::vec((any::<i32>(), any::<i32>(), any::<bool>()), 0..50)
        ) {
            let mut seat = seat();
            for (x, y, absolute) in moves {
                let event = match absolute {
                    true => SeatEvent::MotionTo { time_us: 0, at: (x as u32, y as u32) },
                    false => SeatEvent::MotionBy { time_us: 0, by: (x, y), raw: (x, y) },
                };
                seat.handle(event);
                let (id, x, y) = seat.pointer().unwrap();
                let output = seat.outputs.iter().find(|output| output.id == id).unwrap();
                prop_assert!((0..output.size.w as i32).contains(&x));
                prop_assert!((0..output.size.h as i32).contains(&y));
            }
        }
    }
}

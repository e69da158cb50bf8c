//! Keyboards, mice and touch screens through libinput.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use heliostat_wire::input::{AxisSource, Leds, UNITS_PER_PIXEL};
use input::event::device::DeviceEvent;
use input::event::keyboard::{KeyState, KeyboardEvent, KeyboardEventTrait};
use input::event::pointer::{
    Axis, ButtonState, PointerEvent, PointerEventTrait, PointerScrollEvent,
};
use input::event::touch::{TouchEvent, TouchEventPosition, TouchEventSlot, TouchEventTrait};
use input::event::{Event, EventTrait};
use input::{Device, DeviceCapability, Led, Libinput, LibinputInterface};
use nix::libc;
use tracing::debug;

use crate::seat::SeatEvent;

/// Opens devices directly: a terminal has no logind, and its client is root.
struct Opener;

impl LibinputInterface for Opener {
    fn open_restricted(&mut self, path: &Path, flags: i32) -> Result<OwnedFd, i32> {
        let access = flags & libc::O_ACCMODE;
        OpenOptions::new()
            .custom_flags(flags)
            .read(access != libc::O_WRONLY)
            .write(access != libc::O_RDONLY)
            .open(path)
            .map(File::into)
            .map_err(|error| -error.raw_os_error().unwrap_or(libc::EIO))
    }

    fn close_restricted(&mut self, fd: OwnedFd) {
        drop(fd);
    }
}

/// All input devices of the terminal.
pub struct Devices {
    context: Libinput,
    keyboards: Vec<Device>,
    leds: Leds,
}

impl Devices {
    /// Opens every device of seat0, now and as they come.
    pub fn open() -> anyhow::Result<Self> {
        let mut context = Libinput::new_with_udev(Opener);
        context
            .udev_assign_seat("seat0")
            .map_err(|()| anyhow::anyhow!("udev has no input devices to offer"))?;
        Ok(Self {
            context,
            keyboards: Vec::new(),
            leds: Leds::default(),
        })
    }

    /// The descriptor that is readable when there are events.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.context.as_fd()
    }

    /// Reads what has happened.
    pub fn dispatch(&mut self, mut report: impl FnMut(SeatEvent)) -> anyhow::Result<()> {
        self.context.dispatch()?;
        while let Some(event) = self.context.next() {
            match event {
                Event::Device(event) => self.device(event),
                Event::Keyboard(event) => key(&event).into_iter().for_each(&mut report),
                Event::Pointer(event) => pointer(event).into_iter().for_each(&mut report),
                Event::Touch(event) => touch(event).into_iter().for_each(&mut report),
                _ => {}
            }
        }
        Ok(())
    }

    /// Lights the lock lights of every keyboard.
    pub fn set_leds(&mut self, leds: Leds) {
        self.leds = leds;
        self.keyboards
            .iter_mut()
            .for_each(|keyboard| light(keyboard, leds));
    }

    fn device(&mut self, event: DeviceEvent) {
        let mut device = event.device();
        debug!(name = %device.name(), ?event, "input device");
        match event {
            DeviceEvent::Added(_) if device.has_capability(DeviceCapability::Keyboard) => {
                light(&mut device, self.leds);
                self.keyboards.push(device);
            }
            // Tapping is what people expect of a touchpad.
            DeviceEvent::Added(_) if device.config_tap_finger_count() > 0 => {
                let _ = device.config_tap_set_enabled(true);
            }
            DeviceEvent::Removed(_) => self.keyboards.retain(|keyboard| *keyboard != device),
            _ => {}
        }
    }
}

fn light(keyboard: &mut Device, leds: Leds) {
    let mut lit = Led::empty();
    lit.set(Led::CAPSLOCK, leds.caps);
    lit.set(Led::NUMLOCK, leds.num);
    lit.set(Led::SCROLLLOCK, leds.scroll);
    keyboard.led_update(lit);
}

fn units(pixels: f64) -> i32 {
    (pixels * f64::from(UNITS_PER_PIXEL)) as i32
}

/// Whether a press or release is one of the seat, on whose devices the same key or button is down so
/// often after it: the first press and the last release are.
fn is_of_seat(pressed: bool, down: u32) -> bool {
    down == u32::from(pressed)
}

fn key(event: &KeyboardEvent) -> Option<SeatEvent> {
    let pressed = event.key_state() == KeyState::Pressed;
    let KeyboardEvent::Key(counted) = event else {
        return None;
    };
    is_of_seat(pressed, counted.seat_key_count()).then(|| SeatEvent::Key {
        time_us: event.time_usec(),
        code: event.key() as u16,
        pressed,
    })
}

fn pointer(event: PointerEvent) -> Option<SeatEvent> {
    let time_us = event.time_usec();
    Some(match event {
        PointerEvent::Motion(event) => SeatEvent::MotionBy {
            time_us,
            by: (units(event.dx()), units(event.dy())),
            raw: (
                units(event.dx_unaccelerated()),
                units(event.dy_unaccelerated()),
            ),
        },
        PointerEvent::MotionAbsolute(event) => {
            let at = (
                event.absolute_x_transformed(65_536),
                event.absolute_y_transformed(65_536),
            );
            SeatEvent::MotionTo {
                time_us,
                at: (at.0 as u32, at.1 as u32),
            }
        }
        PointerEvent::Button(event) => {
            let pressed = event.button_state() == ButtonState::Pressed;
            if !is_of_seat(pressed, event.seat_button_count()) {
                return None;
            }
            SeatEvent::Button {
                time_us,
                code: event.button() as u16,
                pressed,
            }
        }
        PointerEvent::ScrollWheel(event) => {
            let v120 = (
                along(&event, Axis::Horizontal, |axis| {
                    event.scroll_value_v120(axis)
                }) as i32,
                along(&event, Axis::Vertical, |axis| event.scroll_value_v120(axis)) as i32,
            );
            scroll(time_us, AxisSource::Wheel, &event, v120)
        }
        PointerEvent::ScrollFinger(event) => scroll(time_us, AxisSource::Finger, &event, (0, 0)),
        PointerEvent::ScrollContinuous(event) => {
            scroll(time_us, AxisSource::Continuous, &event, (0, 0))
        }
        _ => return None,
    })
}

fn along(event: &impl PointerScrollEvent, axis: Axis, value: impl Fn(Axis) -> f64) -> f64 {
    if event.has_axis(axis) {
        value(axis)
    } else {
        0.0
    }
}

fn scroll(
    time_us: u64,
    source: AxisSource,
    event: &impl PointerScrollEvent,
    v120: (i32, i32),
) -> SeatEvent {
    let by = |axis| units(along(event, axis, |axis| event.scroll_value(axis)));
    SeatEvent::Axis {
        time_us,
        source,
        by: (by(Axis::Horizontal), by(Axis::Vertical)),
        v120,
    }
}

fn touch(event: TouchEvent) -> Option<SeatEvent> {
    let time_us = event.time_usec();
    // Of the seat: two touch screens count their fingers from none each.
    let slot = |slot: u32| slot.min(255) as u8;
    Some(match event {
        TouchEvent::Down(event) => SeatEvent::Touch {
            time_us,
            slot: slot(event.seat_slot()),
            at: place(&event),
            down: true,
        },
        TouchEvent::Motion(event) => SeatEvent::Touch {
            time_us,
            slot: slot(event.seat_slot()),
            at: place(&event),
            down: false,
        },
        TouchEvent::Up(event) => SeatEvent::TouchUp {
            time_us,
            slot: slot(event.seat_slot()),
        },
        TouchEvent::Cancel(_) => SeatEvent::TouchCancel { time_us },
        TouchEvent::Frame(_) => SeatEvent::TouchFrame { time_us },
        _ => return None,
    })
}

fn place(event: &impl TouchEventPosition) -> (u32, u32) {
    (
        event.x_transformed(65_536) as u32,
        event.y_transformed(65_536) as u32,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_two_keyboards_is_down_until_both_let_go() {
        // Down at one, at the other, up at one, at the other.
        let told = [(true, 1), (true, 2), (false, 1), (false, 0)];
        let told = told.map(|(pressed, down)| is_of_seat(pressed, down));
        assert_eq!(told, [true, false, false, true]);
    }
}

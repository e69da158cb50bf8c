//! Fingers and buttons that are held while something else happens.

use std::sync::{Arc, Mutex};

use heliostat_wire::id::OutputId;
use heliostat_wire::input::InputEvent;
use wayland_client::protocol::wl_pointer::{self, ButtonState, WlPointer};
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::protocol::wl_touch::{self, WlTouch};
use wayland_client::{Connection, Dispatch, QueueHandle, WEnum};

use super::BTN_LEFT;
use super::client::{Painting, State};
use super::fixture::Fixture;

/// What a client is told of fingers and buttons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Down(i32),
    Up(i32),
    Cancel,
    Pressed,
    Released,
}

#[derive(Debug, Default)]
struct Heard {
    told: Vec<Told>,
    /// Of the last finger that came down.
    serial: u32,
}

type Log = Arc<Mutex<Heard>>;

impl Dispatch<WlTouch, Log> for State {
    fn event(
        _: &mut Self,
        _: &WlTouch,
        event: wl_touch::Event,
        log: &Log,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let mut log = log.lock().unwrap();
        let told = match event {
            wl_touch::Event::Down { id, serial, .. } => {
                log.serial = serial;
                Told::Down(id)
            }
            wl_touch::Event::Up { id, .. } => Told::Up(id),
            wl_touch::Event::Cancel => Told::Cancel,
            _ => return,
        };
        log.told.push(told);
    }
}

impl Dispatch<WlPointer, Log> for State {
    fn event(
        _: &mut Self,
        _: &WlPointer,
        event: wl_pointer::Event,
        log: &Log,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_pointer::Event::Button { state, .. } = event {
            let pressed = state == WEnum::Value(ButtonState::Pressed);
            let told = [Told::Released, Told::Pressed][usize::from(pressed)];
            log.lock().unwrap().told.push(told);
        }
    }
}

/// A window in the middle of a screen, and what its client is told.
fn held() -> (Fixture, (i32, i32), Log) {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(Painting {
        w: 200,
        h: 100,
        seed: 1,
    });
    fixture.settle();
    let (client, log) = (fixture.client(window), Log::default());
    let seat: WlSeat = client.bind(5);
    seat.get_pointer(&client.handle(), Arc::clone(&log));
    seat.get_touch(&client.handle(), Arc::clone(&log));
    fixture.settle();
    let corner = fixture.corner(window);
    (fixture, corner, log)
}

fn press(fixture: &mut Fixture, pressed: bool) {
    let code = BTN_LEFT;
    fixture.input(InputEvent::Button { code, pressed });
    fixture.settle();
}

fn slide(fixture: &mut Fixture, slot: u8, (x, y): (i32, i32)) {
    let output = OutputId(0);
    let [x, y] = [x, y].map(|along| along * 256);
    fixture.input(InputEvent::TouchMotion { slot, output, x, y });
    fixture.input(InputEvent::TouchFrame);
    fixture.settle();
}

fn take(log: &Log) -> Vec<Told> {
    std::mem::take(&mut log.lock().unwrap().told)
}

/// The same with a button and a finger down on the window, at this place.
fn both_held() -> (Fixture, (i32, i32), Log) {
    let (mut fixture, (x, y), log) = held();
    let inside = (x + 50, y + 50);
    fixture.motion(inside.0, inside.1);
    press(&mut fixture, true);
    fixture.touch(0, inside);
    assert_eq!(take(&log), [Told::Pressed, Told::Down(0)]);
    (fixture, inside, log)
}

#[test]
fn what_is_held_at_one_desk_is_let_go_when_another_takes_the_desktop() {
    let (mut fixture, inside, log) = both_held();
    // The first is still there.
    fixture.attach("b", (640, 480));
    fixture.settle();
    assert_eq!(take(&log), [Told::Released, Told::Cancel]);
    // Fingers and buttons of this one are its own.
    fixture.motion(inside.0, inside.1);
    fixture.touch(0, inside);
    fixture.input(InputEvent::TouchUp { slot: 0 });
    press(&mut fixture, true);
    press(&mut fixture, false);
    assert_eq!(
        take(&log),
        [Told::Down(0), Told::Up(0), Told::Pressed, Told::Released]
    );
}

#[test]
fn what_is_held_stays_held_while_its_terminal_goes_over_to_another_link() {
    let (mut fixture, _, log) = both_held();
    fixture.leave_link();
    fixture.attach("a", (640, 480));
    fixture.settle();
    assert_eq!(take(&log), []);
    press(&mut fixture, false);
    fixture.input(InputEvent::TouchUp { slot: 0 });
    fixture.settle();
    assert_eq!(take(&log), [Told::Released, Told::Up(0)]);
    // One that has begun anew, by the same name, holds nothing.
    press(&mut fixture, true);
    fixture.attach("a", (640, 480));
    fixture.settle();
    assert_eq!(take(&log), [Told::Pressed, Told::Released]);
    // Nor is it another one that was about to come.
    press(&mut fixture, true);
    fixture.leave_link();
    fixture.attach("b", (640, 480));
    fixture.settle();
    assert_eq!(take(&log), [Told::Pressed, Told::Released]);
}

#[test]
fn window_is_held_by_a_finger_that_comes_down_beside_another() {
    let (mut fixture, (x, y), log) = held();
    fixture.touch(0, (x + 20, y + 80));
    fixture.touch(1, (x + 50, y + 5));
    assert_eq!(take(&log), [Told::Down(0), Told::Down(1)]);
    let serial = log.lock().unwrap().serial;
    let client = fixture.client(0);
    let seat: WlSeat = client.bind(5);
    let toplevel = client.shell.as_ref().expect("opened").1.clone();
    toplevel._move(&seat, serial);
    fixture.settle();
    slide(&mut fixture, 0, (x, y));
    slide(&mut fixture, 1, (x + 60, y + 20));
    assert_eq!(fixture.corner(0), (x + 10, y + 15));
    // They are no client's any more.
    take(&log);
    toplevel._move(&seat, serial);
    fixture.settle();
    assert_eq!(take(&log), []);
}

#[test]
fn drag_goes_on_whatever_is_touched_or_pressed_beside_it() {
    let (mut fixture, ..) = held();
    fixture.draw_title(0);
    let (x, y) = fixture.corner(0);
    let title = y - 14;
    fixture.touch(0, (x + 20, title));
    slide(&mut fixture, 0, (x + 30, title + 10));
    assert_eq!(fixture.corner(0), (x + 10, y + 10));
    // The button that closes it, and its title.
    fixture.touch(1, (x + 205, title + 10));
    fixture.input(InputEvent::TouchUp { slot: 1 });
    fixture.motion(x + 60, title + 10);
    press(&mut fixture, true);
    press(&mut fixture, false);
    slide(&mut fixture, 0, (x + 40, title + 20));
    assert_eq!(fixture.corner(0), (x + 20, y + 20));
    fixture.input(InputEvent::TouchUp { slot: 0 });
    fixture.settle();
    slide(&mut fixture, 0, (x + 90, title));
    assert_eq!(fixture.corner(0), (x + 20, y + 20));
    // And a finger does not take away what the mouse has.
    let (mut fixture, ..) = held();
    fixture.draw_title(0);
    let (x, y) = fixture.corner(0);
    let title = y - 14;
    fixture.motion(x + 60, title);
    press(&mut fixture, true);
    fixture.touch(2, (x + 50, title));
    fixture.input(InputEvent::TouchUp { slot: 2 });
    fixture.motion(x + 65, title);
    fixture.settle();
    assert_eq!(fixture.corner(0), (x + 5, y));
}

#[test]
fn window_follows_the_finger_that_its_client_has_it_held_by() {
    let (mut fixture, (x, y), log) = held();
    fixture.touch(0, (x + 50, y + 5));
    assert_eq!(take(&log), [Told::Down(0)]);
    let serial = log.lock().unwrap().serial;
    let client = fixture.client(0);
    let seat: WlSeat = client.bind(5);
    let toplevel = client.shell.as_ref().expect("opened").1.clone();
    // By something that is no finger's.
    toplevel._move(&seat, serial + 1000);
    fixture.settle();
    slide(&mut fixture, 0, (x + 60, y + 20));
    assert_eq!(fixture.corner(0), (x, y));
    toplevel._move(&seat, serial);
    fixture.settle();
    assert_eq!(take(&log), [Told::Cancel]);
    // The others may do what they like.
    fixture.touch(1, (20, 20));
    slide(&mut fixture, 0, (x + 90, y + 35));
    slide(&mut fixture, 1, (300, 300));
    fixture.input(InputEvent::TouchUp { slot: 1 });
    assert_eq!(fixture.corner(0), (x + 30, y + 15));
    slide(&mut fixture, 0, (x + 100, y + 45));
    assert_eq!(fixture.corner(0), (x + 40, y + 25));
    fixture.input(InputEvent::TouchUp { slot: 0 });
    fixture.settle();
    // It stays there, whatever moves after that.
    fixture.motion(20, 20);
    fixture.touch(0, (600, 400));
    slide(&mut fixture, 0, (500, 300));
    assert_eq!(fixture.corner(0), (x + 40, y + 25));
    assert_eq!(take(&log), []);
}

#[test]
fn window_that_a_finger_holds_stays_where_it_is_when_the_touch_is_cancelled() {
    let (mut fixture, (x, y), log) = held();
    fixture.touch(0, (x + 50, y + 5));
    let serial = log.lock().unwrap().serial;
    let client = fixture.client(0);
    let seat: WlSeat = client.bind(5);
    let toplevel = client.shell.as_ref().expect("opened").1.clone();
    toplevel._move(&seat, serial);
    fixture.settle();
    slide(&mut fixture, 0, (x + 60, y + 25));
    fixture.input(InputEvent::TouchCancel);
    fixture.motion(20, 20);
    fixture.touch(1, (600, 400));
    slide(&mut fixture, 1, (500, 300));
    assert_eq!(fixture.corner(0), (x + 10, y + 20));
}

#[test]
fn fingers_that_lie_still_are_cancelled_too_and_come_down_again() {
    let (mut fixture, (x, y), log) = held();
    let places = [(x + 20, y + 20), (x + 90, y + 60)];
    fixture.touch(0, places[0]);
    fixture.touch(1, places[1]);
    assert_eq!(take(&log), [Told::Down(0), Told::Down(1)]);
    fixture.input(InputEvent::TouchCancel);
    fixture.settle();
    let told = take(&log);
    assert!(!told.is_empty() && told.iter().all(|told| *told == Told::Cancel));
    // Nothing is left that could come up.
    fixture.input(InputEvent::TouchUp { slot: 1 });
    fixture.touch(1, places[0]);
    assert_eq!(take(&log), [Told::Down(1)]);
}

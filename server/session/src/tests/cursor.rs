//! Cursors that clients draw, however often.

use std::time::{Duration, Instant};

use heliostat_tiles::{Decoder, Limits, Rect, TileSink};
use heliostat_wire::output::Size;
use heliostat_wire::session::{Cursor, ToTerminal};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_pointer::WlPointer;
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::protocol::wl_surface::WlSurface;

use super::client::Painting;
use super::fixture::{Fixture, within};

const WINDOW: Painting = Painting {
    w: 200,
    h: 100,
    seed: 1,
};

fn cursor(seed: u32) -> Painting {
    Painting { w: 48, h: 40, seed }
}

/// A client whose window has the pointer, on a screen of 60 Hz, and the surface of its cursor.
fn drawn_cursor() -> (Fixture, usize, WlSurface, WlPointer) {
    let mut fixture = Fixture::new();
    fixture.attach_at("a", (640, 480), 60_000);
    let window = fixture.open(WINDOW);
    fixture.settle();
    let client = fixture.client(window);
    let seat: WlSeat = client.bind(5);
    let pointer = seat.get_pointer(&client.handle(), ());
    let compositor: WlCompositor = client.bind(5);
    let surface = compositor.create_surface(&client.handle(), ());
    fixture.turn();
    let (x, y) = fixture.corner(window);
    fixture.motion(x + 50, y + 50);
    fixture.settle();
    let serial = fixture.client(window).state.pointer.serial;
    pointer.set_cursor(serial, Some(&surface), 3, 4);
    fixture.settle();
    (fixture, window, surface, pointer)
}

fn draw(fixture: &mut Fixture, window: usize, surface: &WlSurface, seed: u32) {
    let buffer = fixture.client(window).painted(cursor(seed));
    surface.attach(Some(&buffer), 0, 0);
    surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
    surface.commit();
    fixture.turn();
}

/// Images that the terminal was told of so far.
fn defined(fixture: &Fixture) -> usize {
    let is_image = |message: &&ToTerminal| matches!(message, ToTerminal::DefineCursor { .. });
    fixture.heard().iter().filter(is_image).count()
}

/// A cursor image at the terminal.
struct Image(Size, Vec<u32>);

impl TileSink for Image {
    fn layer_size(&self, layer: u32) -> Option<(u32, u32)> {
        (layer == 0).then_some((self.0.w, self.0.h))
    }

    fn pixels_mut(&mut self, _: u32, rect: Rect) -> Option<(&mut [u32], usize)> {
        let first = (rect.y * self.0.w + rect.x) as usize;
        Some((&mut self.1[first..], self.0.w as usize))
    }

    fn damaged(&mut self, _: u32, _: Rect) {}
}

fn decoded(size: Size, batch: &[u8]) -> Vec<u32> {
    let mut image = Image(size, vec![0; (size.w * size.h) as usize]);
    let done = Decoder::new().decode(batch, &Limits::default(), &mut image);
    assert_eq!(done, Ok(()));
    image.1
}

/// The pixels of the cursor that the terminal shows.
fn shown(fixture: &Fixture) -> Option<(Size, Vec<u32>)> {
    let Some(Cursor::Image(wanted)) = fixture.cursor() else {
        return None;
    };
    let image = |message: &ToTerminal| match message {
        ToTerminal::DefineCursor {
            id, size, image, ..
        } if *id == wanted => Some((*size, decoded(*size, image))),
        _ => None,
    };
    fixture.heard().iter().rev().find_map(image)
}

/// Turns until that image is shown.
fn see(fixture: &mut Fixture, seed: u32) {
    let Painting { w, h, .. } = cursor(seed);
    let wanted = Some((Size { w, h }, cursor(seed).pixels()));
    within("the newest cursor", || {
        fixture.turn();
        shown(fixture) == wanted
    });
}

#[test]
fn cursor_that_is_drawn_all_the_time_is_told_once_an_interval_and_the_newest_one_wins() {
    let (mut fixture, window, surface, _) = drawn_cursor();
    draw(&mut fixture, window, &surface, 1);
    see(&mut fixture, 1);
    let (before, start) = (defined(&fixture), Instant::now());
    let mut seed = 1;
    while start.elapsed() < Duration::from_millis(300) || seed < 200 {
        seed += 1;
        draw(&mut fixture, window, &surface, seed);
    }
    let most = start.elapsed().as_millis() as usize * 60 / 1000 + 2;
    let told = defined(&fixture) - before;
    assert!((1..=most).contains(&told), "{told} of {seed} images");
    see(&mut fixture, seed);
}

#[test]
fn terminal_whose_link_is_stuck_has_one_image_waiting_and_then_shows_the_newest() {
    let (mut fixture, window, surface, _) = drawn_cursor();
    draw(&mut fixture, window, &surface, 1);
    see(&mut fixture, 1);
    let before = defined(&fixture);
    fixture.get_stuck(true);
    let start = Instant::now();
    let mut seed = 1;
    while start.elapsed() < Duration::from_millis(200) || seed < 200 {
        seed += 1;
        draw(&mut fixture, window, &surface, seed);
    }
    fixture.get_stuck(false);
    fixture.turn();
    let told = defined(&fixture) - before;
    assert_eq!(told, 1, "of {seed} images");
    // While the next one waits, the pointer is neither hidden nor held.
    assert!(matches!(fixture.cursor(), Some(Cursor::Image(_))));
    see(&mut fixture, seed);
    assert_eq!(defined(&fixture) - before, 2);
}

#[test]
fn pointer_that_was_hidden_is_seen_before_an_image_that_has_to_wait() {
    let (mut fixture, window, surface, pointer) = drawn_cursor();
    draw(&mut fixture, window, &surface, 1);
    see(&mut fixture, 1);
    let serial = fixture.client(window).state.pointer.serial;
    pointer.set_cursor(serial, None, 0, 0);
    within("it is hidden", || {
        fixture.turn();
        fixture.cursor() == Some(Cursor::Hidden)
    });
    // The link has taken a message less than was said, as if it were slow.
    fixture.hold_a_message(true);
    let before = defined(&fixture);
    draw(&mut fixture, window, &surface, 2);
    pointer.set_cursor(serial, Some(&surface), 3, 4);
    within("some image is shown", || {
        fixture.turn();
        matches!(fixture.cursor(), Some(Cursor::Image(_)))
    });
    assert_eq!(defined(&fixture), before);
    fixture.hold_a_message(false);
    see(&mut fixture, 2);
}

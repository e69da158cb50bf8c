//! Pointers that clients hide or hold.

use heliostat_wire::session::{Cursor, ToTerminal};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::{wl_pointer, wl_seat};
use wayland_protocols::wp::pointer_constraints::zv1::client::zwp_locked_pointer_v1::ZwpLockedPointerV1;
use wayland_protocols::wp::pointer_constraints::zv1::client::zwp_pointer_constraints_v1::{
    Lifetime, ZwpPointerConstraintsV1,
};

use super::client::Painting;
use super::fixture::Fixture;
use crate::keys::Action;

const WINDOW: Painting = Painting {
    w: 200,
    h: 100,
    seed: 1,
};

/// A window with the pointer on it.
fn pointed_at() -> (Fixture, usize, wl_pointer::WlPointer) {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(WINDOW);
    fixture.settle();
    let client = fixture.client(window);
    let seat: wl_seat::WlSeat = client.bind(5);
    let pointer = seat.get_pointer(&client.handle(), ());
    fixture.turn();
    let (x, y) = fixture.corner(window);
    fixture.motion(x + 50, y + 50);
    fixture.settle();
    (fixture, window, pointer)
}

fn lock(
    fixture: &mut Fixture,
    window: usize,
    pointer: &wl_pointer::WlPointer,
) -> ZwpLockedPointerV1 {
    let client = fixture.client(window);
    let constraints: ZwpPointerConstraintsV1 = client.bind(1);
    let surface = client.surface.clone().unwrap();
    let lock = constraints.lock_pointer(
        &surface,
        pointer,
        None,
        Lifetime::Persistent,
        &client.handle(),
        (),
    );
    fixture.settle();
    lock
}

#[test]
fn pointer_that_its_client_hides_is_hidden_there_and_nowhere_else() {
    let (mut fixture, window, pointer) = pointed_at();
    assert!(matches!(fixture.cursor(), Some(Cursor::Image(_))));
    let serial = fixture.client(window).state.pointer.serial;
    pointer.set_cursor(serial, None, 0, 0);
    fixture.settle();
    assert_eq!(fixture.cursor(), Some(Cursor::Hidden));
    fixture.motion(1, 1);
    fixture.settle();
    assert!(matches!(fixture.cursor(), Some(Cursor::Image(_))));
}

#[test]
fn pointer_that_is_held_stays_and_appears_where_its_client_drew_it() {
    let (mut fixture, window, pointer) = pointed_at();
    let held = lock(&mut fixture, window, &pointer);
    assert!(fixture.client(window).state.pointer.locked);
    assert_eq!(fixture.cursor(), Some(Cursor::Locked));
    let (x, y) = fixture.corner(window);
    fixture.motion(x + 150, y + 90);
    fixture.settle();
    assert_eq!(fixture.cursor(), Some(Cursor::Locked));
    held.set_cursor_position_hint(20.0, 30.0);
    fixture.client(window).surface.as_ref().unwrap().commit();
    fixture.settle();
    held.destroy();
    fixture.settle();
    assert!(matches!(fixture.cursor(), Some(Cursor::Image(_))));
    let warp = fixture.heard().iter().rev().find_map(|told| match told {
        ToTerminal::WarpPointer { x, y, .. } => Some((x / 256, y / 256)),
        _ => None,
    });
    assert_eq!(warp, Some((x + 20, y + 30)));
}

#[test]
fn pointer_is_free_again_when_the_window_that_held_it_is_gone_or_hidden() {
    for minimise in [true, false] {
        let (mut fixture, window, pointer) = pointed_at();
        let _held = lock(&mut fixture, window, &pointer);
        assert_eq!(fixture.cursor(), Some(Cursor::Locked));
        match minimise {
            true => fixture.act(Action::Minimise),
            false => fixture.close(window),
        }
        fixture.settle();
        assert!(
            matches!(fixture.cursor(), Some(Cursor::Image(_))),
            "{minimise}"
        );
    }
}

#[test]
fn another_terminal_learns_that_the_pointer_is_held() {
    let (mut fixture, window, pointer) = pointed_at();
    let _held = lock(&mut fixture, window, &pointer);
    fixture.attach("b", (640, 480));
    fixture.settle();
    assert_eq!(fixture.cursor(), Some(Cursor::Locked));
}

#[test]
fn pointer_that_is_confined_stays_in_its_region_until_it_is_let_go() {
    let (mut fixture, window, pointer) = pointed_at();
    let client = fixture.client(window);
    let constraints: ZwpPointerConstraintsV1 = client.bind(1);
    let compositor: WlCompositor = client.bind(4);
    let region = compositor.create_region(&client.handle(), ());
    region.add(100, 20, 60, 40);
    let surface = client.surface.clone().unwrap();
    let (life, handle) = (Lifetime::Persistent, client.handle());
    let held = constraints.confine_pointer(&surface, &pointer, Some(&region), life, &handle, ());
    fixture.settle();
    let confined = |fixture: &mut Fixture| fixture.client(window).state.pointer.confined;
    assert!(!confined(&mut fixture), "the pointer is not there yet");
    let (x, y) = fixture.corner(window);
    let warp = |fixture: &Fixture| {
        let mut told = fixture.heard().iter().rev();
        told.find_map(|told| match told {
            ToTerminal::WarpPointer { x, y, .. } => Some((x / 256, y / 256)),
            _ => None,
        })
    };
    fixture.motion(x + 120, y + 30);
    fixture.settle();
    assert!(confined(&mut fixture));
    assert_eq!(warp(&fixture), None, "inside it moves as it likes");
    fixture.motion(x + 190, y - 300);
    fixture.settle();
    assert_eq!(warp(&fixture), Some((x + 159, y + 20)));
    assert!(confined(&mut fixture));
    held.destroy();
    fixture.settle();
    fixture.motion(x + 190, y + 90);
    fixture.settle();
    assert_eq!(warp(&fixture), Some((x + 159, y + 20)), "nobody holds it");
}

//! Clients that open pop-ups without end, or to take what is typed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use heliostat_wire::input::InputEvent;
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, QueueHandle};
use wayland_protocols::xdg::shell::client::xdg_popup::{self, XdgPopup};
use wayland_protocols::xdg::shell::client::xdg_surface::XdgSurface;
use wayland_protocols::xdg::shell::client::xdg_wm_base::XdgWmBase;

use super::BTN_LEFT;
use super::apart::{apart, grown_kib};
use super::client::State;
use super::fixture::{Fixture, within};
use super::hostile::{assert_only_the_bad_one_goes, show, with_bad_client};

/// What the whole process may grow by, client and terminal included.
const MOST_GROWN_KIB: u64 = 16 << 10;

/// Three thousand that come and go, every third with pixels.
fn storm(fixture: &mut Fixture, bad: usize) {
    let client = fixture.client(bad);
    let compositor: WlCompositor = client.bind(4);
    let base: XdgWmBase = client.bind(2);
    let parent = client.shell.as_ref().unwrap().0.clone();
    for n in 0..3000 {
        let queue = fixture.client(bad).handle();
        let positioner = base.create_positioner(&queue, ());
        positioner.set_size(80, 60);
        positioner.set_anchor_rect(0, 0, 1, 1);
        let surface = compositor.create_surface(&queue, ());
        let shell = base.get_xdg_surface(&surface, &queue, ());
        let popup = shell.get_popup(Some(&parent), &positioner, &queue, ());
        positioner.destroy();
        surface.commit();
        if n % 3 == 0 {
            fixture.turn();
            show(&surface, &fixture.client(bad).plain(8, 6, 0xff_0000));
        }
        if n % 7 == 0 {
            fixture.turn();
        }
        popup.destroy();
        shell.destroy();
        surface.destroy();
        if n % 50 == 0 {
            fixture.turn();
        }
    }
    fixture.settle();
}

#[test]
fn storm_of_popups_leaves_nothing_behind() {
    apart(
        "tests::popups::storm_of_popups_leaves_nothing_behind",
        || {
            let (mut fixture, good, bad) = with_bad_client();
            let grown = grown_kib(|| storm(&mut fixture, bad));
            println!("{grown} KiB more");
            assert!(grown <= MOST_GROWN_KIB, "{grown} KiB");
            fixture.assert_shows(&[good, bad]);
            // Two windows and their title bars, and the cursor.
            assert!(fixture.model().layers.len() <= 5);
        },
    );
}

/// Three thousand, each on the one before.
fn tower(fixture: &mut Fixture, bad: usize) {
    let client = fixture.client(bad);
    let compositor: WlCompositor = client.bind(4);
    let base: XdgWmBase = client.bind(2);
    let mut parent = client.shell.as_ref().unwrap().0.clone();
    for n in 0..3000 {
        let queue = fixture.client(bad).handle();
        let positioner = base.create_positioner(&queue, ());
        positioner.set_size(80, 60);
        positioner.set_anchor_rect(0, 0, 1, 1);
        let surface = compositor.create_surface(&queue, ());
        let shell = base.get_xdg_surface(&surface, &queue, ());
        shell.get_popup(Some(&parent), &positioner, &queue, ());
        positioner.destroy();
        surface.commit();
        parent = shell;
        if n % 20 == 0 {
            fixture.turn();
        }
    }
}

#[test]
fn popups_of_popups_without_end_end_their_client_before_they_fill_memory() {
    let name =
        "tests::popups::popups_of_popups_without_end_end_their_client_before_they_fill_memory";
    apart(name, || {
        let (mut fixture, good, bad) = with_bad_client();
        let grown = grown_kib(|| tower(&mut fixture, bad));
        println!("{grown} KiB more");
        assert!(grown <= MOST_GROWN_KIB, "{grown} KiB");
        assert_only_the_bad_one_goes(fixture, good, bad);
    });
}

#[test]
fn popup_that_stands_on_itself_ends_its_client_and_nothing_else() {
    for others in 0..2 {
        let (mut fixture, good, bad) = with_bad_client();
        let client = fixture.client(bad);
        let compositor: WlCompositor = client.bind(4);
        let base: XdgWmBase = client.bind(2);
        let queue = client.handle();
        let positioner = base.create_positioner(&queue, ());
        positioner.set_size(80, 60);
        positioner.set_anchor_rect(0, 0, 1, 1);
        let shell = || {
            let surface = compositor.create_surface(&queue, ());
            base.get_xdg_surface(&surface, &queue, ())
        };
        let first = shell();
        let mut last = first.clone();
        for _ in 0..others {
            let next = shell();
            last.get_popup(Some(&next), &positioner, &queue, ());
            last = next;
        }
        last.get_popup(Some(&first), &positioner, &queue, ());
        assert_only_the_bad_one_goes(fixture, good, bad);
    }
}

/// That a popup was told to go.
type Gone = Arc<AtomicBool>;

impl Dispatch<XdgPopup, Gone> for State {
    fn event(
        _: &mut Self,
        _: &XdgPopup,
        event: xdg_popup::Event,
        gone: &Gone,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_popup::Event::PopupDone = event {
            gone.store(true, Ordering::Relaxed);
        }
    }
}

/// A menu that a client has opened.
struct Open {
    popup: XdgPopup,
    shell: XdgSurface,
    surface: WlSurface,
    gone: Gone,
}

impl Open {
    fn has_to_go(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn close(self, fixture: &mut Fixture) {
        self.popup.destroy();
        self.shell.destroy();
        self.surface.destroy();
        fixture.settle();
    }
}

/// A client opens a menu that is to have all keys. Returns whether it has to go at once.
fn is_refused_a_grab(fixture: &mut Fixture, id: usize, serial: u32) -> bool {
    let menu = open_menu(fixture, id, serial);
    let gone = menu.has_to_go();
    menu.close(fixture);
    gone
}

fn open_menu(fixture: &mut Fixture, id: usize, serial: u32) -> Open {
    let (client, gone) = (fixture.client(id), Gone::default());
    let compositor: WlCompositor = client.bind(4);
    let base: XdgWmBase = client.bind(2);
    let seat: WlSeat = client.bind(5);
    let queue = client.handle();
    let positioner = base.create_positioner(&queue, ());
    positioner.set_size(80, 60);
    positioner.set_anchor_rect(0, 0, 1, 1);
    let surface = compositor.create_surface(&queue, ());
    let shell = base.get_xdg_surface(&surface, &queue, ());
    let parent = client.shell.as_ref().map(|shell| &shell.0);
    let popup = shell.get_popup(parent, &positioner, &queue, Arc::clone(&gone));
    popup.grab(&seat, serial);
    client.state.configured = false;
    surface.commit();
    within("the popup is configured", || {
        fixture.turn();
        fixture.client(id).is_configured()
    });
    show(&surface, &fixture.client(id).plain(80, 60, 0x00_ff00));
    fixture.settle();
    Open {
        popup,
        shell,
        surface,
        gone,
    }
}

#[test]
fn what_is_typed_after_a_menu_goes_to_whom_the_person_has_turned_to() {
    let (mut fixture, behind, front) = with_bad_client();
    fixture.drag(front, 500, 100);
    fixture.key(30);
    let [on_behind, on_front] = [behind, front].map(|id| {
        let corner = fixture.corner(id);
        (corner.0 + 1, corner.1 + 1)
    });
    let heard = |fixture: &mut Fixture| {
        let before = [behind, front].map(|id| fixture.client(id).keys().len());
        fixture.key(30);
        let after = [behind, front].map(|id| fixture.client(id).keys().len());
        [0, 1].map(|n| after[n] - before[n])
    };
    // The menu goes as an entry is chosen, and another window gets the focus with it.
    let serial = fixture.client(front).state.key_serial;
    let menu = open_menu(&mut fixture, front, serial);
    assert!(!menu.has_to_go());
    menu.close(&mut fixture);
    fixture.touch(0, on_behind);
    fixture.input(InputEvent::TouchUp { slot: 0 });
    assert_eq!(heard(&mut fixture), [2, 0]);
    // One that is touched or clicked beside has to go, and who keeps it all the same has no keys of it.
    for is_touched in [true, false] {
        for (of, other, at) in [(behind, front, on_front), (front, behind, on_behind)] {
            let serial = fixture.client(of).state.key_serial;
            let menu = open_menu(&mut fixture, of, serial);
            assert!(!menu.has_to_go());
            if is_touched {
                fixture.touch(0, at);
                fixture.input(InputEvent::TouchUp { slot: 0 });
            } else {
                fixture.motion(at.0, at.1);
                for pressed in [true, false] {
                    let code = BTN_LEFT;
                    fixture.input(InputEvent::Button { code, pressed });
                }
            }
            fixture.settle();
            assert!(menu.has_to_go());
            let expected = [behind, front].map(|id| if id == other { 2 } else { 0 });
            assert_eq!(heard(&mut fixture), expected, "touched: {is_touched}");
            menu.close(&mut fixture);
            assert_eq!(heard(&mut fixture), expected);
        }
    }
}

#[test]
fn menu_of_a_program_that_nobody_uses_does_not_take_what_is_typed() {
    let (mut fixture, behind, front) = with_bad_client();
    fixture.key(30);
    let serial = fixture.client(front).state.key_serial;
    assert_ne!(serial, 0, "the front one has the keyboard");
    for serial in [serial, serial + 1, serial + 1000] {
        assert!(is_refused_a_grab(&mut fixture, behind, serial));
    }
    assert!(!is_refused_a_grab(&mut fixture, front, serial));
    // That it was touched before, or that the pointer lies on it, does not make it used.
    fixture.drag(front, 500, 100);
    fixture.settle();
    let [on_behind, on_front] = [behind, front].map(|id| fixture.corner(id));
    for at in [on_behind, on_front] {
        fixture.touch(0, (at.0 + 1, at.1 + 1));
        fixture.input(InputEvent::TouchUp { slot: 0 });
    }
    fixture.motion(on_behind.0 + 1, on_behind.1 + 1);
    fixture.settle();
    let serial = fixture.client(front).state.key_serial;
    assert!(is_refused_a_grab(&mut fixture, behind, serial));
    fixture.touch(0, (on_behind.0 + 1, on_behind.1 + 1));
    assert!(!is_refused_a_grab(&mut fixture, behind, serial));
    fixture.input(InputEvent::TouchUp { slot: 0 });
    fixture.touch(0, (on_front.0 + 1, on_front.1 + 1));
    fixture.input(InputEvent::TouchUp { slot: 0 });
    // What is typed after all that goes where it went before.
    let before = fixture.client(front).keys().len();
    fixture.key(30);
    assert_eq!(fixture.client(front).keys().len(), before + 2);
}

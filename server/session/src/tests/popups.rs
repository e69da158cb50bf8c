//! Clients that open pop-ups without end.

use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_protocols::xdg::shell::client::xdg_wm_base::XdgWmBase;

use super::apart::{apart, grown_kib};
use super::fixture::Fixture;
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

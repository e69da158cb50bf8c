//! Screens that come and go, and clients that hear of it late.

use std::collections::BTreeSet;

use heliostat_wire::id::OutputId;
use wayland_client::delegate_noop;
use wayland_client::protocol::wl_output::WlOutput;

use super::client::{Painting, State};
use super::fixture::Fixture;
use crate::outputs::before_any_terminal;

#[test]
fn client_that_binds_a_screen_that_has_just_gone_stays() {
    let mut fixture = Fixture::new();
    let mut second = before_any_terminal();
    second.id = OutputId(1);
    second.x = second.size.w as i32;
    fixture.attach_to("two", vec![before_any_terminal(), second]);
    fixture.settle();
    let window = fixture.open(Painting {
        w: 100,
        h: 100,
        seed: 1,
    });
    let globals = fixture.client(window).state.globals.iter();
    let screens = globals.filter(|(_, interface, _)| interface == "wl_output");
    // Every registry that it has asked for says so once more.
    let screens: BTreeSet<_> = screens.map(|(number, ..)| *number).collect();
    assert_eq!(screens.len(), 2, "{screens:?}");
    fixture.attach("one", (640, 480));
    fixture.settle();
    for number in screens {
        let _: WlOutput = fixture.client(window).bind_number(number, 4);
    }
    fixture.settle();
    assert!(fixture.client(window).pump());
    fixture.assert_shows(&[window]);
}

delegate_noop!(State: ignore WlOutput);

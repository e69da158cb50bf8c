//! Programs that hand the focus on, and those that would take it.

use std::sync::{Arc, Mutex};

use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::{Connection, Dispatch, QueueHandle, delegate_noop};
use wayland_protocols::xdg::activation::v1::client::xdg_activation_token_v1::{
    self, XdgActivationTokenV1,
};
use wayland_protocols::xdg::activation::v1::client::xdg_activation_v1::XdgActivationV1;

use super::client::{Painting, State};
use super::fixture::{Fixture, within};

const KEY_A: u16 = 30;

/// What a token is called, as soon as it is.
type Name = Arc<Mutex<Option<String>>>;

delegate_noop!(State: XdgActivationV1);

impl Dispatch<XdgActivationTokenV1, Name> for State {
    fn event(
        _: &mut Self,
        _: &XdgActivationTokenV1,
        event: xdg_activation_token_v1::Event,
        name: &Name,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_activation_token_v1::Event::Done { token } = event {
            *name.lock().unwrap() = Some(token);
        }
    }
}

/// Two windows, of which the second one has the focus.
fn two() -> (Fixture, usize, usize) {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let [behind, front] = [1, 2].map(|seed| {
        fixture.open(Painting {
            w: 200,
            h: 100,
            seed,
        })
    });
    fixture.settle();
    assert_eq!(typed(&mut fixture, behind, front), [false, true]);
    (fixture, behind, front)
}

/// Who of two hears a key.
fn typed(fixture: &mut Fixture, one: usize, other: usize) -> [bool; 2] {
    let heard = |fixture: &mut Fixture| [one, other].map(|id| fixture.client(id).keys().len());
    let before = heard(fixture);
    fixture.key(KEY_A);
    let after = heard(fixture);
    [0, 1].map(|n| after[n] > before[n])
}

/// A client asks for a token, and is given one whatever that is worth.
fn ask(fixture: &mut Fixture, id: usize, serial: u32) -> String {
    let (client, name) = (fixture.client(id), Name::default());
    let activation: XdgActivationV1 = client.bind(1);
    let seat: WlSeat = client.bind(5);
    let token = activation.get_activation_token(&client.handle(), Arc::clone(&name));
    token.set_serial(serial, &seat);
    token.commit();
    within("it is told of its token", || {
        fixture.turn();
        name.lock().unwrap().is_some()
    });
    name.lock().unwrap().take().unwrap()
}

fn activate(fixture: &mut Fixture, id: usize, token: String) {
    let client = fixture.client(id);
    let activation: XdgActivationV1 = client.bind(1);
    activation.activate(token, client.surface.as_ref().expect("opened"));
    fixture.settle();
}

#[test]
fn who_is_used_hands_the_focus_on_once() {
    let (mut fixture, behind, front) = two();
    let serial = fixture.client(front).state.key_serial;
    let token = ask(&mut fixture, front, serial);
    activate(&mut fixture, behind, token.clone());
    assert_eq!(typed(&mut fixture, behind, front), [true, false]);
    activate(&mut fixture, front, token);
    assert_eq!(typed(&mut fixture, behind, front), [true, false]);
}

#[test]
fn who_is_not_used_takes_no_focus_whatever_serial_it_thinks_of() {
    let (mut fixture, behind, front) = two();
    let known = fixture.client(front).state.key_serial;
    for serial in [
        known,
        known + 1,
        known + 1000,
        known.wrapping_add(1 << 30),
        0,
    ] {
        let token = ask(&mut fixture, behind, serial);
        activate(&mut fixture, behind, token);
        assert_eq!(
            typed(&mut fixture, behind, front),
            [false, true],
            "{serial}"
        );
    }
    // Nor is a serial that was never told one of who is used.
    let token = ask(&mut fixture, front, known.wrapping_add(1 << 30));
    activate(&mut fixture, behind, token);
    assert_eq!(typed(&mut fixture, behind, front), [false, true]);
}

#[test]
fn tokens_that_nobody_uses_are_not_kept_without_end() {
    let (mut fixture, behind, front) = two();
    let serial = fixture.client(front).state.key_serial;
    for _ in 0..200 {
        ask(&mut fixture, front, serial);
    }
    assert_eq!(fixture.tokens(), 8);
    // The newest of them is good.
    let token = ask(&mut fixture, front, serial);
    activate(&mut fixture, behind, token);
    assert_eq!(typed(&mut fixture, behind, front), [true, false]);
}

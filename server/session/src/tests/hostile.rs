//! Clients that lie. Each loses its own connection at most; the others notice nothing.

use wayland_client::protocol::wl_compositor::WlCompositor;

use super::client::Painting;
use super::fixture::{Fixture, within};

const GOOD: Painting = Painting {
    w: 100,
    h: 100,
    seed: 5,
};

/// A session with a good client, and a bad one whose window is configured.
fn with_bad_client() -> (Fixture, usize, usize) {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let good = fixture.open(GOOD);
    let bad = fixture.open(Painting {
        w: 10,
        h: 10,
        seed: 0,
    });
    fixture.settle();
    (fixture, good, bad)
}

fn assert_only_the_bad_one_goes(mut fixture: Fixture, good: usize, bad: usize) {
    within("the bad client is sent away", || {
        fixture.turn();
        !fixture.client(bad).pump()
    });
    fixture.close(bad);
    fixture.settle();
    fixture.assert_shows(&[good]);
}

#[test]
fn pool_that_is_smaller_than_it_claims_kills_only_its_client() {
    let (mut fixture, good, bad) = with_bad_client();
    let client = fixture.client(bad);
    let buffer = client.buffer(&[0; 16], 400 * 400 * 4, 0, 400, 400, 1600);
    let surface = client.surface.clone().unwrap();
    surface.attach(Some(&buffer), 0, 0);
    surface.damage_buffer(0, 0, 400, 400);
    surface.commit();
    assert_only_the_bad_one_goes(fixture, good, bad);
}

#[test]
fn buffers_that_lie_about_their_place_kill_only_their_client() {
    for (len, offset, w, h, stride) in [
        (400, 0, 100, 100, 400),
        (40_000, 39_999, 100, 100, 400),
        (40_000, -400, 100, 100, 400),
        (40_000, 0, 100, 100, -400),
        (40_000, 0, 100, 100, 100),
        (40_000, 0, -100, -100, 400),
        (40_000, 0, i32::MAX, i32::MAX, i32::MAX),
    ] {
        let (mut fixture, good, bad) = with_bad_client();
        let client = fixture.client(bad);
        let buffer = client.buffer(&[0; 40_000], len, offset, w, h, stride);
        let surface = client.surface.clone().unwrap();
        surface.attach(Some(&buffer), 0, 0);
        surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
        surface.commit();
        assert_only_the_bad_one_goes(fixture, good, bad);
    }
}

#[test]
fn surface_larger_than_any_screen_is_refused_without_its_memory() {
    let (mut fixture, good, bad) = with_bad_client();
    let client = fixture.client(bad);
    let side = 16384;
    let buffer = client.buffer(&[], side * side * 4, 0, side, side, side * 4);
    let surface = client.surface.clone().unwrap();
    surface.attach(Some(&buffer), 0, 0);
    surface.damage_buffer(0, 0, side, side);
    surface.commit();
    assert_only_the_bad_one_goes(fixture, good, bad);
}

#[test]
fn client_that_makes_surfaces_without_end_is_sent_away() {
    let (mut fixture, good, bad) = with_bad_client();
    let compositor: WlCompositor = fixture.client(bad).bind(4);
    for n in 0..5000 {
        let queue = fixture.client(bad).handle();
        compositor.create_surface(&queue, ());
        if n % 100 == 0 {
            fixture.turn();
        }
    }
    assert_only_the_bad_one_goes(fixture, good, bad);
}

#[test]
fn storm_of_damage_is_borne() {
    let (mut fixture, good, bad) = with_bad_client();
    for n in 0..3000 {
        let client = fixture.client(bad);
        let surface = client.surface.clone().unwrap();
        surface.damage_buffer(n, -n, i32::MAX, i32::MAX);
        surface.damage(i32::MIN, i32::MIN, i32::MAX, n);
        if n % 100 == 0 {
            client.commit(Painting {
                w: 10,
                h: 10,
                seed: n as u32,
            });
            fixture.turn();
        }
    }
    fixture.settle();
    fixture.assert_shows(&[good, bad]);
}

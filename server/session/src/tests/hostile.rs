//! Clients and terminals that lie. Each loses its own connection at most; others notice nothing.

use std::time::{Duration, Instant};

use heliostat_wire::bounded::List;
use heliostat_wire::id::OutputId;
use heliostat_wire::input::{InputBatch, InputEvent};
use heliostat_wire::output::Size;
use heliostat_wire::session::{ToSession, ToTerminal};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_subcompositor::WlSubcompositor;

use super::apart::{apart, grown_kib};
use super::client::Painting;
use super::fixture::{Fixture, shown, within};
use crate::outputs::before_any_terminal;

const GOOD: Painting = Painting {
    w: 100,
    h: 100,
    seed: 5,
};

/// A session with a good client, and a bad one whose window is configured.
pub fn with_bad_client() -> (Fixture, usize, usize) {
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

pub fn assert_only_the_bad_one_goes(mut fixture: Fixture, good: usize, bad: usize) {
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
    let name = "tests::hostile::surface_larger_than_any_screen_is_refused_without_its_memory";
    apart(name, || {
        let (mut fixture, good, bad) = with_bad_client();
        let grown = grown_kib(|| {
            let client = fixture.client(bad);
            // All of its 1 GiB can be read.
            let side = 16384;
            let buffer = client.buffer_of_zeros(side, side);
            let surface = client.surface.clone().unwrap();
            surface.attach(Some(&buffer), 0, 0);
            surface.damage_buffer(0, 0, side, side);
            surface.commit();
            within("the bad client is sent away", || {
                fixture.turn();
                !fixture.client(bad).pump()
            });
        });
        // Not every client library hands the words on.
        let why = fixture.client(bad).error().expect("it is told why");
        assert_eq!((&*why.object_interface, why.code), ("wl_surface", 2));
        println!("{grown} KiB more");
        assert!(grown <= 8 << 10, "{grown} KiB");
        assert_only_the_bad_one_goes(fixture, good, bad);
    });
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

/// What the whole process may grow by, client and terminal included, while a window of 600×400 changes
/// wholly 1000 times: its pixels once or twice, what the terminal holds of them, and a few frames.
const MOST_GROWN_KIB: u64 = 32 << 10;

/// A window changes wholly a thousand times. Returns how many frames that were.
fn change_all(fixture: &mut Fixture, window: usize) -> u64 {
    let paintings = [6, 7].map(|seed| Painting {
        w: 600,
        h: 400,
        seed,
    });
    let client = fixture.client(window);
    let surface = client.surface.clone().unwrap();
    let buffers = paintings.map(|painting| client.painted(painting));
    let before = fixture.frames();
    for n in 0..1000 {
        surface.attach(Some(&buffers[n % 2]), 0, 0);
        surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
        surface.commit();
        fixture.turn();
    }
    let last = paintings[1];
    fixture.client(window).drew((last.w, last.h), last.pixels());
    fixture.frames() - before
}

#[test]
fn thousand_commits_of_everything_need_no_more_memory_than_a_few() {
    let name = "tests::hostile::thousand_commits_of_everything_need_no_more_memory_than_a_few";
    apart(name, || {
        let (mut fixture, good, bad) = with_bad_client();
        let grown = grown_kib(|| {
            change_all(&mut fixture, bad);
            fixture.settle();
        });
        println!("{grown} KiB more");
        assert!(grown <= MOST_GROWN_KIB, "{grown} KiB");
        fixture.assert_shows(&[good, bad]);
    });
}

#[test]
fn terminal_that_never_acknowledges_costs_no_memory_while_everything_changes() {
    let name =
        "tests::hostile::terminal_that_never_acknowledges_costs_no_memory_while_everything_changes";
    apart(name, || {
        let (mut fixture, good) = with_bad_terminal();
        fixture.acknowledge(false);
        let grown = grown_kib(|| {
            let frames = change_all(&mut fixture, good);
            assert!(frames <= 3, "{frames} frames");
        });
        println!("{grown} KiB more");
        assert!(grown <= MOST_GROWN_KIB, "{grown} KiB");
        fixture.acknowledge(true);
        fixture.settle();
        fixture.assert_shows(&[good]);
    });
}

#[test]
fn client_that_draws_a_thousand_times_a_second_gets_the_rate_of_the_output_and_others_theirs() {
    let mut fixture = Fixture::new();
    fixture.attach_at("a", (640, 480), 60_000);
    let good = fixture.open(GOOD);
    let bad = fixture.open(Painting {
        w: 400,
        h: 300,
        seed: 0,
    });
    fixture.drag(good, 500, 350);
    fixture.settle();
    let (before, start) = (fixture.frames(), Instant::now());
    let mut seed = 0;
    // More often than the rate, however long the machine takes for that.
    while start.elapsed() < Duration::from_secs(1) || seed < 100 {
        seed += 1;
        fixture.client(bad).commit(Painting {
            w: 400,
            h: 300,
            seed: seed % 7,
        });
        fixture.turn();
    }
    let frames = fixture.frames() - before;
    let most = start.elapsed().as_millis() as u64 * 60 / 1000 + 3;
    assert!(frames <= most, "{frames} frames for {seed} commits");
    let painting = Painting { seed: 3, ..GOOD };
    fixture.client(good).commit(painting);
    fixture.settle();
    fixture.assert_shows(&[good, bad]);
}

#[test]
fn client_that_hoards_pixels_goes_and_not_the_next_one_that_wants_a_few() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let good = fixture.open(GOOD);
    let bad = fixture.open(Painting {
        w: 10,
        h: 10,
        seed: 0,
    });
    fixture.settle();
    // Nearly as many pixels as all surfaces may have together, in surfaces that are each allowed.
    let client = fixture.client(bad);
    let compositor: WlCompositor = client.bind(4);
    for h in [8192, 8188] {
        let buffer = fixture.client(bad).buffer_of_zeros(8192, h);
        let surface = compositor.create_surface(&fixture.client(bad).handle(), ());
        surface.attach(Some(&buffer), 0, 0);
        surface.damage_buffer(0, 0, 1, 1);
        surface.commit();
        fixture.turn();
    }
    let painting = Painting {
        w: 300,
        h: 200,
        seed: 9,
    };
    fixture.client(good).commit(painting);
    assert_only_the_bad_one_goes(fixture, good, bad);
}

#[test]
fn client_goes_whose_own_commit_makes_it_the_one_with_the_most_pixels() {
    let (mut fixture, good, bad) = with_bad_client();
    // Before the last of them the good client has a few more than the bad one.
    for (client, h) in [(good, 4200), (bad, 4096), (bad, 8192)] {
        let client = fixture.client(client);
        let compositor: WlCompositor = client.bind(4);
        let buffer = client.buffer_of_zeros(8192, h);
        let surface = compositor.create_surface(&client.handle(), ());
        surface.attach(Some(&buffer), 0, 0);
        surface.damage_buffer(0, 0, 1, 1);
        surface.commit();
        fixture.turn();
    }
    assert!(fixture.client(good).pump());
    assert_only_the_bad_one_goes(fixture, good, bad);
}

#[test]
fn surfaces_on_surfaces_without_end_are_borne_or_end_their_client() {
    let (mut fixture, good, bad) = with_bad_client();
    let client = fixture.client(bad);
    let compositor: WlCompositor = client.bind(4);
    let subcompositor: WlSubcompositor = client.bind(1);
    let buffer = client.plain(1, 1, 0xff_0000);
    let root = client.surface.clone().unwrap();
    let mut parent = root.clone();
    for n in 0..4000 {
        let queue = fixture.client(bad).handle();
        let child = compositor.create_surface(&queue, ());
        subcompositor.get_subsurface(&child, &parent, &queue, ());
        show(&child, &buffer);
        parent = child;
        if n % 50 == 0 {
            root.commit();
            fixture.turn();
        }
    }
    root.commit();
    assert_only_the_bad_one_goes(fixture, good, bad);
}

#[test]
fn surface_that_is_to_stand_beside_itself_ends_its_client() {
    for is_above in [false, true] {
        let (mut fixture, good, bad) = with_bad_client();
        let client = fixture.client(bad);
        let compositor: WlCompositor = client.bind(4);
        let subcompositor: WlSubcompositor = client.bind(1);
        let parent = client.surface.clone().unwrap();
        let child = compositor.create_surface(&client.handle(), ());
        let role = subcompositor.get_subsurface(&child, &parent, &client.handle(), ());
        match is_above {
            true => role.place_above(&child),
            false => role.place_below(&child),
        }
        parent.commit();
        assert_only_the_bad_one_goes(fixture, good, bad);
    }
}

pub fn show(
    surface: &wayland_client::protocol::wl_surface::WlSurface,
    buffer: &wayland_client::protocol::wl_buffer::WlBuffer,
) {
    surface.attach(Some(buffer), 0, 0);
    surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
    surface.commit();
}

/// A session with one window on a terminal of 60 Hz.
fn with_bad_terminal() -> (Fixture, usize) {
    let mut fixture = Fixture::new();
    fixture.attach_at("a", (640, 480), 60_000);
    let good = fixture.open(GOOD);
    fixture.settle();
    (fixture, good)
}

#[test]
fn frame_that_is_acknowledged_again_and_again_is_counted_once() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let good = fixture.open(GOOD);
    fixture.settle();
    let serial = fixture.model().serial;
    let before = fixture.stats().frames_shown;
    for after_us in 0..1000 {
        fixture.say(shown(serial, after_us));
        let serial = 1;
        fixture.say(shown(serial, after_us));
    }
    fixture.settle();
    assert_eq!(fixture.stats().frames_shown, before);
    fixture.client(good).commit(Painting { seed: 3, ..GOOD });
    fixture.settle();
    fixture.assert_shows(&[good]);
}

#[test]
fn terminal_that_acknowledges_what_was_never_sent_is_sent_away_and_the_next_one_is_served() {
    for serial in [0, 1_000_000, u32::MAX] {
        let (mut fixture, good) = with_bad_terminal();
        let after_us = 1;
        fixture.say(shown(serial, after_us));
        fixture.turn_for(Duration::from_millis(5));
        assert!(matches!(fixture.heard().last(), Some(ToTerminal::Bye(_))));
        fixture.attach("b", (640, 480));
        fixture.settle();
        fixture.assert_shows(&[good]);
    }
}

#[test]
fn terminal_that_acknowledges_what_it_does_not_take_gets_no_more_than_so_much() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let good = fixture.open(GOOD);
    fixture.settle();
    fixture.lie(true);
    let (before, mut seed) = (fixture.frames(), 0);
    let start = Instant::now();
    // Answers to input are held up by nothing else.
    while fixture.frames() < before + 100 || seed < 2000 {
        assert!(start.elapsed() < Duration::from_secs(60), "{seed} commits");
        seed += 1;
        fixture.motion(10 + seed as i32 % 50, 10);
        fixture.client(good).commit(Painting {
            seed: seed % 9,
            ..GOOD
        });
        fixture.turn();
    }
    let frames = fixture.frames() - before;
    assert!(frames <= 160, "{frames} frames for {seed} commits");
    fixture.lie(false);
    fixture.client(good).commit(Painting { seed: 3, ..GOOD });
    let serial = fixture.model().serial;
    fixture.say(shown(serial, 1));
    fixture.settle();
    fixture.assert_shows(&[good]);
}

#[test]
fn terminal_that_never_acknowledges_makes_nothing_grow() {
    let (mut fixture, good) = with_bad_terminal();
    fixture.acknowledge(false);
    let before = fixture.frames();
    for seed in 0..500 {
        fixture.client(good).ask_when_shown(seed);
        fixture.client(good).ask_for_a_frame();
        fixture.client(good).commit(Painting {
            seed: seed % 9,
            ..GOOD
        });
        fixture.turn();
    }
    fixture.turn_for(Duration::from_millis(100));
    assert!(fixture.frames() - before <= 3);
    // What was superseded was answered, so that nothing of it is kept.
    assert!(fixture.client(good).told().len() >= 495);
    fixture.acknowledge(true);
    fixture.settle();
    fixture.assert_shows(&[good]);
}

#[test]
fn screens_that_change_all_the_time_change_now_and_then_and_end_as_the_last_ones() {
    let (mut fixture, good) = with_bad_terminal();
    let start = Instant::now();
    let mut seen = Vec::new();
    for n in 0..2000u32 {
        let outputs = (0..16).map(|id| {
            let mut output = before_any_terminal();
            output.id = OutputId((n + id) as u8);
            output.size = Size {
                w: 320 + n % 500,
                h: 240 + n % 300,
            };
            output
        });
        fixture.say(ToSession::Outputs(List::new(outputs.collect()).unwrap()));
        fixture.turn();
        let size = fixture.first_screen();
        if seen.last() != Some(&size) {
            seen.push(size);
        }
    }
    let most = 9 + 8 * (start.elapsed().as_secs() as usize / 8 + 1);
    assert!(seen.len() <= most, "{} changes", seen.len());
    within("the last screens are taken", || {
        fixture.turn();
        fixture.first_screen()
            == Size {
                w: 320 + 1999 % 500,
                h: 240 + 1999 % 300,
            }
    });
    assert!(fixture.client(good).pump());
}

#[test]
fn flood_of_input_ends_and_the_desktop_goes_on() {
    let (mut fixture, good) = with_bad_terminal();
    let (before, start) = (fixture.frames(), Instant::now());
    for n in 0..2000 {
        let output = OutputId(0);
        let at = |k: i32| (n * 64 + k) * 977 % (640 * 256);
        let events = (0..64).map(|k| match k % 4 {
            0 => InputEvent::Motion {
                output,
                x: at(k),
                y: at(k + 7),
                dx: i32::MAX,
                dy: i32::MIN,
                raw: None,
            },
            1 => InputEvent::Key {
                code: 30 + (n % 20) as u16,
                pressed: k % 8 == 1,
            },
            2 => InputEvent::TouchDown {
                slot: k as u8,
                output,
                x: at(k),
                y: at(k),
            },
            _ => InputEvent::TouchUp {
                slot: (k - 1) as u8,
            },
        });
        let events = List::new(events.collect()).unwrap();
        fixture.say(ToSession::Input(InputBatch {
            after_us: i64::from(n),
            events,
        }));
        if n % 4 == 0 {
            fixture.turn();
        }
    }
    fixture.settle();
    let most = 2000 + start.elapsed().as_millis() as u64 * 60 / 1000;
    assert!(fixture.frames() - before <= most);
    fixture.detach();
    fixture.turn();
    fixture.attach("b", (640, 480));
    fixture.client(good).commit(Painting { seed: 3, ..GOOD });
    fixture.settle();
    fixture.assert_shows(&[good]);
}

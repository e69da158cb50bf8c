//! Terminals that cannot hold all of a desktop get what they cannot hold as one layer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use heliostat_wire::bounded::List;
use heliostat_wire::id::OutputId;
use heliostat_wire::output::{Output, Size};
use heliostat_wire::scene::Placement;
use heliostat_wire::session::ToSession;
use wayland_client::delegate_noop;
use wayland_protocols::ext::session_lock::v1::client::ext_session_lock_manager_v1::ExtSessionLockManagerV1;
use wayland_protocols::ext::session_lock::v1::client::ext_session_lock_v1::ExtSessionLockV1;

use super::client::{Painting, State, Told};
use super::fixture::{Fixture, within};
use crate::config::Config;
use crate::flat::Force;
use crate::outputs::before_any_terminal;
use crate::scene::model::Model;

delegate_noop!(State: ignore ExtSessionLockManagerV1);
delegate_noop!(State: ignore ExtSessionLockV1);

const FIRST: OutputId = OutputId(0);
const SECOND: OutputId = OutputId(1);
const MANY_BYTES: u64 = 64 << 20;
const WINDOW: Painting = Painting {
    w: 200,
    h: 140,
    seed: 1,
};
const MS: Duration = Duration::from_millis(1);

fn flat_outputs(fixture: &mut Fixture) -> u32 {
    fixture.stats().flat_outputs
}

/// Windows over and beside each other.
fn open_windows(fixture: &mut Fixture, count: u32) -> Vec<usize> {
    let windows: Vec<_> = (0..count)
        .map(|n| fixture.open(Painting { seed: n, ..WINDOW }))
        .collect();
    for (n, window) in (0..).zip(&windows) {
        fixture.drag(*window, 20 + 37 * n, 15 + 23 * (n % 4));
    }
    fixture.settle();
    windows
}

/// A terminal of four layers that shows eight windows.
fn crowded() -> (Fixture, Vec<usize>) {
    let mut fixture = Fixture::new();
    fixture.offer_layers(4, MANY_BYTES);
    fixture.attach("small", (640, 480));
    let windows = open_windows(&mut fixture, 8);
    (fixture, windows)
}

/// The places of an output, lowest first.
fn stack_of(model: &Model, output: OutputId) -> &[Placement] {
    model.outputs.get(&output).map_or(&[], |(_, stack)| stack)
}

fn picture(model: &Model, output: OutputId, (w, h): (i32, i32)) -> Vec<u32> {
    let places = (0..h).flat_map(|y| (0..w).map(move |x| (x, y)));
    places.map(|(x, y)| model.pixel(output, x, y)).collect()
}

#[test]
fn terminal_of_four_layers_shows_eight_windows_as_one_of_many_layers_does() {
    let (mut small, windows) = crowded();
    assert_eq!(flat_outputs(&mut small), 1);
    assert_eq!(stack_of(small.model(), FIRST).len(), 1);
    small.assert_shows(&windows);
    let behind = small.stats().link.and_then(|link| link.behind);
    assert!(behind.is_some_and(|behind| behind.lossless_since_s.is_some()));

    let mut large = Fixture::new();
    large.attach("large", (640, 480));
    let same = open_windows(&mut large, 8);
    assert_eq!(flat_outputs(&mut large), 0);
    assert_eq!(stack_of(large.model(), FIRST).len(), 8);
    large.assert_shows(&same);
    let size = (640, 480);
    assert!(picture(small.model(), FIRST, size) == picture(large.model(), FIRST, size));
}

#[test]
fn what_shines_through_is_composed_as_the_terminal_would() {
    let pictures = [4, 64].map(|layers| {
        let mut fixture = Fixture::new();
        fixture.offer_layers(layers, MANY_BYTES);
        fixture.attach("a", (640, 480));
        let windows = open_windows(&mut fixture, 7);
        for (n, window) in windows.iter().enumerate() {
            fixture.client(*window).paints_alpha();
            fixture.client(*window).commit(Painting {
                seed: n as u32,
                ..WINDOW
            });
            for x in 0..60 {
                fixture.client(*window).pierce(x * 3, x * 2);
            }
        }
        fixture.settle();
        assert_eq!(flat_outputs(&mut fixture), u32::from(layers == 4));
        picture(fixture.model(), FIRST, (640, 480))
    });
    let [flat, layered] = &pictures;
    assert!(flat.iter().zip(layered).all(|(a, b)| {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        // The model does not round as terminals do.
        (0..3).all(|n| a[n].abs_diff(b[n]) <= 1)
    }));
}

#[test]
fn small_changes_of_a_flat_output_are_small_frames() {
    let (mut fixture, windows) = crowded();
    for _ in 0..4 {
        let before = fixture.frame_bytes();
        fixture.client(windows[7]).invert(100, 90, 9, 18);
        fixture.settle();
        let bytes = fixture.frame_bytes() - before;
        assert!((1..=400).contains(&bytes), "{bytes} bytes a blink");
    }
    let before = fixture.frames();
    fixture.client(windows[7]).invert(10, 10, 0, 0);
    fixture.settle();
    assert_eq!(fixture.frames(), before, "nothing has changed");
    fixture.drag(windows[0], 300, 200);
    fixture.settle();
    fixture.assert_shows(&windows);
}

#[test]
fn no_frame_shows_the_desk_through_a_window_while_outputs_become_flat_and_cease_to_be() {
    let mut fixture = Fixture::new();
    // What changes all the time would be a film, which is not exact.
    fixture.offer_videos(0);
    fixture.offer_layers(4, MANY_BYTES);
    fixture.attach("small", (1600, 1000));
    let animated = fixture.open(Painting { seed: 0, ..WINDOW });
    fixture.drag(animated, 1380, 840);
    fixture.settle();
    let (checked, stacks) = (
        Rc::new(Cell::new(0)),
        Rc::new(RefCell::new(BTreeSet::new())),
    );
    let (count, seen) = (checked.clone(), stacks.clone());
    fixture.watch_frames(move |model| {
        let places = [(0, 0), (3, 99), (64, 64), (100, 70), (199, 139), (130, 12)];
        let shows = |seed| {
            let painting = Painting { seed, ..WINDOW };
            places.iter().all(|(x, y)| {
                let shown = model.pixel(FIRST, 1380 + *x as i32, 840 + *y as i32);
                shown == painting.at(*x, *y)
            })
        };
        let stack = stack_of(model, FIRST);
        assert!(
            (0..8).any(shows),
            "it is not shown whole: {stack:?}, {} films",
            model.films.len()
        );
        seen.borrow_mut().insert(stack_of(model, FIRST).len());
        count.set(count.get() + 1);
    });
    let mut seed = 0;
    let mut animate = |fixture: &mut Fixture| {
        seed = (seed + 1) % 8;
        let painting = Painting { seed, ..WINDOW };
        fixture.client(animated).commit(painting);
        fixture.turn_for(3 * MS);
    };
    for _ in 0..2 {
        let others: Vec<_> = (0..5)
            .map(|n| {
                let window = fixture.open(Painting { seed: n, ..WINDOW });
                fixture.drag(window, 10 + 20 * n as i32, 10);
                animate(&mut fixture);
                window
            })
            .collect();
        within("the output is flat", || {
            animate(&mut fixture);
            flat_outputs(&mut fixture) == 1
        });
        others.into_iter().for_each(|window| fixture.close(window));
        within("the output is shown in layers again", || {
            animate(&mut fixture);
            flat_outputs(&mut fixture) == 0
        });
        fixture.settle();
        fixture.assert_shows(&[animated]);
        assert_eq!(fixture.model().layers.len(), 1, "the flat layer is gone");
    }
    assert!(checked.get() > 40, "{} frames", checked.get());
    let stacks = stacks.borrow();
    assert!(stacks.contains(&4) && stacks.contains(&1), "{stacks:?}");
}

#[test]
fn flat_layer_that_takes_several_frames_is_not_shown_before_it_is_whole() {
    // More pixels than a frame takes.
    let size = (4096, 2800);
    let mut fixture = Fixture::new();
    fixture.offer_layers(2, MANY_BYTES);
    fixture.attach("large", size);
    let plain = |fixture: &mut Fixture, at: (i32, i32), rgb| {
        let window = fixture.open(WINDOW);
        fixture.drag(window, at.0, at.1);
        let client = fixture.client(window);
        let buffer = client.plain(WINDOW.w as i32, WINDOW.h as i32, rgb);
        let surface = client.surface.as_ref().unwrap();
        surface.attach(Some(&buffer), 0, 0);
        surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
        surface.commit();
        window
    };
    plain(&mut fixture, (100, 100), 0xff0000);
    plain(&mut fixture, (3600, 2500), 0x00ff00);
    fixture.settle();
    let frames = Rc::new(Cell::new(0));
    let (count, background) = (frames.clone(), Config::default().background);
    fixture.watch_frames(move |model| {
        let corners = [(0, 0), (4095, 0), (0, 2799), (4095, 2799), (2000, 1400)];
        for (x, y) in corners {
            assert_eq!(model.pixel(FIRST, x, y), background, "at ({x}, {y})");
        }
        count.set(count.get() + 1);
    });
    plain(&mut fixture, (1000, 1000), 0x0000ff);
    within("the output is flat", || {
        fixture.turn();
        flat_outputs(&mut fixture) == 1
    });
    fixture.settle();
    assert!(frames.get() >= 2, "{} frames", frames.get());
    assert_eq!(fixture.shown(150, 150), 0xff0000);
    assert_eq!(fixture.shown(1100, 1100), 0x0000ff);
}

fn screen(id: u8, (w, h): (u32, u32), x: i32) -> Output {
    let mut output = before_any_terminal();
    (output.id, output.size, output.x) = (OutputId(id), Size { w, h }, x);
    output.refresh_mhz = 1_000_000;
    output
}

#[test]
fn one_of_two_outputs_is_flat_and_both_show_their_windows() {
    let mut fixture = Fixture::new();
    fixture.offer_layers(4, MANY_BYTES);
    let outputs = vec![screen(0, (640, 480), 0), screen(1, (320, 240), 640)];
    fixture.attach_to("two", outputs);
    let mut windows = open_windows(&mut fixture, 5);
    let other = fixture.open(Painting { seed: 6, ..WINDOW });
    fixture.drag(other, 700, 50);
    windows.push(other);
    fixture.settle();
    assert_eq!(flat_outputs(&mut fixture), 1);
    assert_eq!(stack_of(fixture.model(), FIRST).len(), 1);
    let second = stack_of(fixture.model(), SECOND).to_vec();
    assert_eq!(second.len(), 1);
    assert_eq!((second[0].dst.w, second[0].dst.h), (WINDOW.w, WINDOW.h));
    fixture.assert_shows(&windows);
    let drawn = fixture.client(other).at(30, 40);
    assert_eq!(fixture.model().pixel(SECOND, 60 + 30, 50 + 40), drawn);
    // What is on both is in the flat layer of the one and a layer of the other.
    fixture.drag(other, 600, 50);
    fixture.settle();
    assert_eq!(flat_outputs(&mut fixture), 1);
    fixture.assert_shows(&windows);
    let drawn = fixture.client(other).at(50, 40);
    assert_eq!(fixture.model().pixel(SECOND, 10, 50 + 40), drawn);

    // The flat one is unplugged, and comes back larger.
    let outputs = |outputs: Vec<Output>| ToSession::Outputs(List::new(outputs).unwrap());
    fixture.say(outputs(vec![screen(1, (640, 480), 0)]));
    within("one output is left", || {
        fixture.turn();
        fixture.first_screen() == Size { w: 640, h: 480 } && flat_outputs(&mut fixture) == 1
    });
    fixture.settle();
    fixture.say(outputs(vec![screen(0, (800, 500), 0)]));
    within("it is another one", || {
        fixture.turn();
        fixture.first_screen() == Size { w: 800, h: 500 }
    });
    fixture.settle();
    assert_eq!(flat_outputs(&mut fixture), 1);
    fixture.assert_shows(&windows);
}

#[test]
fn flat_output_takes_another_mode() {
    let (mut fixture, windows) = crowded();
    for size in [(800, 600), (500, 300), (640, 480)] {
        let outputs = List::new(vec![screen(0, size, 0)]).unwrap();
        fixture.say(ToSession::Outputs(outputs));
        within("the output has another size", || {
            fixture.turn();
            let Size { w, h } = fixture.first_screen();
            (w, h) == size
        });
        fixture.settle();
        assert_eq!(flat_outputs(&mut fixture), 1);
        fixture.assert_shows(&windows);
    }
}

#[test]
fn locking_hides_a_flat_output_in_the_next_frame() {
    let (mut fixture, windows) = crowded();
    let background = Config::default().background;
    fixture.watch_frames(move |model| {
        let shown = picture(model, FIRST, (640, 480));
        assert!(shown.iter().all(|pixel| *pixel == background));
        assert!(stack_of(model, FIRST).is_empty());
    });
    let frames = fixture.frames();
    let locker = fixture.connect();
    let client = fixture.client(locker);
    let manager: ExtSessionLockManagerV1 = client.bind(1);
    let lock = manager.lock(&client.handle(), ());
    fixture.settle();
    assert_eq!(fixture.frames(), frames + 1);
    assert_eq!(flat_outputs(&mut fixture), 0);
    fixture.watch_frames(|_| {});
    lock.unlock_and_destroy();
    fixture.settle();
    fixture.close(locker);
    fixture.settle();
    fixture.assert_shows(&windows);
    assert_eq!(flat_outputs(&mut fixture), 1);
}

#[test]
fn only_who_holds_the_lock_opens_it() {
    let (mut fixture, windows) = crowded();
    let locker = fixture.connect();
    let client = fixture.client(locker);
    let manager: ExtSessionLockManagerV1 = client.bind(1);
    let lock = manager.lock(&client.handle(), ());
    fixture.settle();
    assert!(stack_of(fixture.model(), FIRST).is_empty());
    let other = fixture.connect();
    let client = fixture.client(other);
    let manager: ExtSessionLockManagerV1 = client.bind(1);
    let refused = manager.lock(&client.handle(), ());
    fixture.turn();
    refused.unlock_and_destroy();
    within("the other is sent away", || {
        fixture.turn();
        !fixture.client(other).pump()
    });
    fixture.close(other);
    fixture.settle();
    assert!(stack_of(fixture.model(), FIRST).is_empty(), "still locked");
    lock.unlock_and_destroy();
    fixture.settle();
    fixture.close(locker);
    fixture.settle();
    fixture.assert_shows(&windows);
}

#[test]
fn flat_output_outlives_a_detach_and_is_layers_on_a_larger_terminal() {
    let (mut fixture, windows) = crowded();
    fixture.let_keep(Duration::from_secs(60));
    fixture.attach("small", (640, 480));
    fixture.settle();
    fixture.detach();
    fixture.settle();
    fixture.client(windows[7]).invert(20, 20, 30, 30);
    fixture.turn();
    let before = fixture.frame_bytes();
    fixture.come_back((640, 480));
    fixture.settle();
    let bytes = fixture.frame_bytes() - before;
    assert!(bytes < 2000, "what it held was the base: {bytes} bytes");
    assert_eq!(flat_outputs(&mut fixture), 1);
    fixture.assert_shows(&windows);

    fixture.offer_layers(64, MANY_BYTES);
    fixture.attach("large", (640, 480));
    fixture.settle();
    assert_eq!(flat_outputs(&mut fixture), 0);
    assert_eq!(stack_of(fixture.model(), FIRST).len(), 8);
    fixture.assert_shows(&windows);

    fixture.offer_layers(4, MANY_BYTES);
    fixture.attach("small", (640, 480));
    fixture.refresh();
    fixture.settle();
    assert_eq!(flat_outputs(&mut fixture), 1);
    fixture.assert_shows(&windows);
}

#[test]
fn terminal_that_cannot_hold_a_flat_layer_either_shows_the_highest_windows() {
    let mut fixture = Fixture::new();
    let window_bytes = u64::from(WINDOW.w * WINDOW.h * 4);
    fixture.offer_layers(64, 3 * window_bytes);
    fixture.attach("tiny", (640, 480));
    open_windows(&mut fixture, 5);
    assert_eq!(flat_outputs(&mut fixture), 0);
    assert_eq!(stack_of(fixture.model(), FIRST).len(), 3);
}

#[test]
fn configuration_decides_where_it_says_so() {
    for (force, flat) in [(Force::Always, 1), (Force::Never, 0)] {
        let mut fixture = Fixture::with(Config {
            flat: force,
            ..Config::default()
        });
        let layers = if force == Force::Always { 64 } else { 2 };
        fixture.offer_layers(layers, MANY_BYTES);
        fixture.attach("a", (640, 480));
        let windows = open_windows(&mut fixture, 3);
        assert_eq!(flat_outputs(&mut fixture), flat);
        let placed = stack_of(fixture.model(), FIRST).len();
        assert_eq!(placed, if flat == 1 { 1 } else { 2 });
        if flat == 1 {
            fixture.assert_shows(&windows);
        }
    }
}

#[test]
fn client_on_a_flat_output_draws_on_and_learns_when_it_was_shown() {
    let (mut fixture, windows) = crowded();
    let window = windows[7];
    let done = fixture.client(window).frames_done();
    fixture.client(window).ask_for_a_frame();
    fixture.settle();
    assert_eq!(fixture.client(window).frames_done(), done + 1);

    fixture.acknowledge(false);
    fixture.client(window).ask_when_shown(5);
    fixture
        .client(window)
        .commit(Painting { seed: 9, ..WINDOW });
    fixture.turn_for(5 * MS);
    assert!(
        fixture.client(window).told().is_empty(),
        "nothing is shown yet"
    );
    fixture.shown_after(1000);
    fixture.turn_for(5 * MS);
    let told = fixture.client(window).told().to_vec();
    assert!(
        matches!(told[..], [(5, Told::Presented { .. })]),
        "{told:?}"
    );
}

#[test]
fn film_in_a_flat_output_goes_as_a_video_and_settles_to_the_exact_pixels() {
    const FILM: (u32, u32, u32, u32) = (101, 37, 321, 203);
    let mut fixture = Fixture::new();
    fixture.offer_layers(2, MANY_BYTES);
    fixture.attach("small", (640, 480));
    let mut windows = open_windows(&mut fixture, 3);
    let film = fixture.open(Painting {
        w: 500,
        h: 300,
        seed: 3,
    });
    fixture.drag(film, 70, 90);
    windows.push(film);
    fixture.settle();
    assert_eq!(flat_outputs(&mut fixture), 1);
    let mut time = 0;
    within("the film is found", || {
        time += 1;
        fixture.client(film).picture(FILM, time);
        fixture.turn_for(33 * MS);
        fixture.films() == 1
    });
    assert_eq!(stack_of(fixture.model(), FIRST).len(), 1);
    within("the film is over", || {
        fixture.turn();
        fixture.films() == 0
    });
    fixture.settle();
    fixture.assert_shows(&windows);
}

#[cfg(feature = "gpu")]
#[test]
fn windows_on_an_output_that_gles_composes_are_shown_exactly() {
    use super::hardware::stage::Lack;
    use crate::flat::composer::Composer;
    use crate::flat::gles::Gles;

    let gles = match Gles::any() {
        Ok(gles) => gles,
        Err(error) => return Lack::Part(format!("no GLES here: {error:#}")).skip(),
    };
    let mut fixture = Fixture::new();
    fixture.flat().compose_with(Composer::Gles(Box::new(gles)));
    fixture.offer_layers(4, MANY_BYTES);
    fixture.attach("small", (640, 480));
    let mut windows = open_windows(&mut fixture, 8);
    fixture.assert_shows(&windows);
    for n in 0..8 {
        fixture.client(windows[n]).invert(60, 50, 70, 40);
        fixture.drag(windows[7 - n], 300 - 40 * n as i32, 250);
        fixture.turn();
    }
    fixture.settle();
    fixture.assert_shows(&windows);
    let outputs = List::new(vec![screen(0, (800, 500), 0)]).unwrap();
    fixture.say(ToSession::Outputs(outputs));
    within("the output has another size", || {
        fixture.turn();
        fixture.first_screen() == Size { w: 800, h: 500 }
    });
    let last = windows.pop().expect("there are eight");
    fixture.close(last);
    fixture.client(windows[0]).commit(Painting {
        w: 260,
        h: 90,
        seed: 4,
    });
    fixture.settle();
    assert_eq!(flat_outputs(&mut fixture), 1);
    fixture.assert_shows(&windows);
    let composer = fixture.flat().composer();
    assert!(matches!(composer, Some(Composer::Gles(_))));
}

//! Films in real clients' windows: they go as videos while they play, and settle to the exact pixels.

use std::time::Duration;

use heliostat_control::stats::LayerKind;
use heliostat_wire::id::VideoId;
use heliostat_wire::session::ToSession;
use wayland_client::delegate_noop;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_protocols::wp::content_type::v1::client::wp_content_type_manager_v1::WpContentTypeManagerV1;
use wayland_protocols::wp::content_type::v1::client::wp_content_type_v1::{Type, WpContentTypeV1};

use super::client::{Painting, State};
use super::fixture::way::WIDE;
use super::fixture::{Fixture, within};
use crate::keys::Action;

delegate_noop!(State: ignore WpContentTypeManagerV1);
delegate_noop!(State: ignore WpContentTypeV1);

const WINDOW: Painting = Painting {
    w: 500,
    h: 300,
    seed: 3,
};
/// Odd, and not on the grid of cells.
pub const FILM: (u32, u32, u32, u32) = (101, 37, 321, 203);
const PICTURE: Duration = Duration::from_millis(33);

fn with_window() -> (Fixture, usize) {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(WINDOW);
    fixture.settle();
    (fixture, window)
}

/// A terminal of this size behind a way that may become narrow, and the same window.
pub fn on_a_way(size: (u32, u32)) -> (Fixture, usize) {
    let mut fixture = Fixture::new();
    // So many that frames under way are bounded by what the way carries.
    fixture.offer_frames(32);
    fixture.attach("a", size);
    fixture.carry(WIDE);
    let window = fixture.open(WINDOW);
    fixture.settle();
    (fixture, window)
}

/// Plays pictures until as many videos are open.
pub fn play_until(fixture: &mut Fixture, window: usize, films: usize) {
    let mut time = 0;
    within("the film is found, or is over", || {
        time += 1;
        fixture.client(window).picture(FILM, time);
        fixture.turn_for(PICTURE);
        fixture.films() == films
    });
}

/// The largest mean difference of a pixel's channels, inside the film and outside.
pub fn difference(fixture: &mut Fixture, window: usize) -> (f64, f64) {
    let (left, top) = fixture.corner(window);
    let (mut inside, mut outside) = ((0.0, 0), (0.0, 0));
    for y in 0..WINDOW.h {
        for x in 0..WINDOW.w {
            let drawn = fixture.client(window).at(x, y);
            let shown = fixture.shown(left + x as i32, top + y as i32);
            let channel =
                |n: usize| f64::from(drawn.to_le_bytes()[n].abs_diff(shown.to_le_bytes()[n]));
            let (fx, fy, fw, fh) = FILM;
            let in_film = (fx..fx + fw).contains(&x) && (fy..fy + fh).contains(&y);
            let sum = if in_film { &mut inside } else { &mut outside };
            sum.0 += (channel(0) + channel(1) + channel(2)) / 3.0;
            sum.1 += 1;
        }
    }
    (
        inside.0 / f64::from(inside.1),
        outside.0 / f64::from(outside.1),
    )
}

#[test]
fn film_goes_as_a_video_and_settles_to_the_exact_pixels_when_it_stops() {
    let (mut fixture, window) = with_window();
    play_until(&mut fixture, window, 1);
    for time in 100..104 {
        fixture.client(window).picture(FILM, time);
        fixture.turn_for(PICTURE);
        // What is beside the film stays exact, in the cells that it shares with it too.
        fixture.client(window).invert(95, 30, 8, 220);
        fixture.client(window).picture(FILM, time);
        fixture.turn_for(PICTURE);
    }
    let before = fixture.frame_bytes();
    fixture.client(window).picture(FILM, 105);
    fixture.turn_for(PICTURE);
    let bytes = fixture.frame_bytes() - before;
    assert!((1..12_000).contains(&bytes), "{bytes} bytes for a picture");
    let (inside, outside) = difference(&mut fixture, window);
    assert!(inside > 0.0, "a film is not exact while it plays");
    assert!(inside < 6.0, "a film looks like itself: {inside}");
    assert_eq!(outside, 0.0, "what is beside it is exact");
    let behind = fixture.stats().link.and_then(|link| link.behind);
    assert_eq!(behind.and_then(|behind| behind.lossless_since_s), None);

    within("the film is over", || {
        fixture.turn();
        fixture.films() == 0
    });
    fixture.settle();
    fixture.assert_shows(&[window]);
    let behind = fixture.stats().link.and_then(|link| link.behind);
    assert!(behind.is_some_and(|behind| behind.lossless_since_s.is_some()));
}

#[test]
fn layer_beside_one_with_a_film_is_known_to_be_lossless_while_it_plays() {
    let (mut fixture, window) = with_window();
    fixture.open(Painting { w: 200, ..WINDOW });
    fixture.settle();
    let states = |fixture: &mut Fixture| -> Vec<(u32, LayerKind, bool)> {
        let link = fixture.stats().link.expect("attached");
        let layers = link.layers.expect("this session says it").largest;
        let state =
            |l: heliostat_control::stats::LayerStats| (l.w, l.kind, l.lossless_since_s.is_some());
        layers.into_iter().map(state).collect()
    };
    let at_rest = [(500, LayerKind::Tiles, true), (200, LayerKind::Tiles, true)];
    assert_eq!(states(&mut fixture), at_rest);
    play_until(&mut fixture, window, 1);
    let playing = [(500, LayerKind::Film, false), at_rest[1]];
    assert_eq!(states(&mut fixture), playing);
    within("the film is over", || {
        fixture.turn();
        fixture.films() == 0
    });
    fixture.settle();
    assert_eq!(states(&mut fixture), at_rest);
}

#[test]
fn film_ends_with_its_window_s_shape_its_attach_and_a_damaged_terminal() {
    let (mut fixture, window) = with_window();
    play_until(&mut fixture, window, 1);
    fixture.client(window).commit(Painting { w: 480, ..WINDOW });
    fixture.settle();
    assert_eq!(fixture.films(), 0);
    fixture.assert_shows(&[window]);

    fixture.client(window).commit(WINDOW);
    play_until(&mut fixture, window, 1);
    fixture.refresh();
    fixture.settle();
    assert_eq!(fixture.films(), 0);
    fixture.assert_shows(&[window]);

    play_until(&mut fixture, window, 1);
    fixture.attach("b", (640, 480));
    fixture.settle();
    assert_eq!(fixture.films(), 0);
    fixture.assert_shows(&[window]);

    play_until(&mut fixture, window, 1);
    fixture.detach();
    for time in 0..5 {
        fixture.client(window).picture(FILM, time);
        fixture.turn_for(PICTURE);
    }
    fixture.attach("c", (640, 480));
    fixture.settle();
    fixture.assert_shows(&[window]);
}

#[test]
fn film_of_few_pictures_a_second_stops_once_and_then_goes_on() {
    let (mut fixture, window) = with_window();
    play_until(&mut fixture, window, 1);
    // One picture would be a photograph.
    for time in 50..54 {
        fixture.client(window).picture(FILM, time);
        fixture.turn_for(PICTURE);
    }
    within("the film is over", || {
        fixture.turn();
        fixture.films() == 0
    });
    play_until(&mut fixture, window, 1);
    for time in 100..104 {
        fixture.client(window).picture(FILM, time);
        fixture.turn_for(Duration::from_millis(330));
        assert_eq!(fixture.films(), 1, "picture {time}");
    }
    fixture.settle();
    fixture.assert_shows(&[window]);
}

#[test]
fn film_whose_decoder_fails_goes_on_and_as_tiles_where_it_fails_again_at_once() {
    let (mut fixture, window) = with_window();
    play_until(&mut fixture, window, 1);
    let mut time = 100;
    let mut play = |fixture: &mut Fixture| {
        time += 1;
        fixture.client(window).picture(FILM, time);
        fixture.turn_for(PICTURE);
    };
    fixture.lose_decoders();
    within("a picture comes that builds on none", || {
        play(&mut fixture);
        !fixture.has_lost_decoders()
    });
    assert_eq!(fixture.films(), 1);
    fixture.lose_decoders();
    within("the film ends", || {
        play(&mut fixture);
        fixture.films() == 0
    });
    // Words about videos that are over, or never were, change nothing.
    fixture.say(ToSession::VideoFailed { video: VideoId(1) });
    fixture.say(ToSession::VideoFailed {
        video: VideoId(u32::MAX),
    });
    fixture.settle();
    fixture.assert_shows(&[window]);
}

#[test]
fn film_in_a_hidden_window_is_none() {
    let (mut fixture, window) = with_window();
    play_until(&mut fixture, window, 1);
    fixture.client(window).picture(FILM, 7);
    fixture.act(Action::Minimise);
    fixture.settle();
    assert_eq!(fixture.films(), 0);
    fixture.act(Action::NextWindow);
    fixture.settle();
    fixture.assert_shows(&[window]);
}

/// Plays a film, of which nothing goes as one.
fn assert_only_exact(mut fixture: Fixture) {
    fixture.attach("a", (640, 480));
    let window = fixture.open(WINDOW);
    for time in 0..50 {
        fixture.client(window).picture(FILM, time);
        fixture.turn_for(PICTURE);
        assert_eq!(fixture.films(), 0);
    }
    fixture.settle();
    fixture.assert_shows(&[window]);
}

#[test]
fn terminal_without_a_decoder_gets_exact_pixels() {
    let mut fixture = Fixture::new();
    fixture.offer_videos(0);
    assert_only_exact(fixture);
}

#[test]
fn session_that_is_to_be_exact_shows_nothing_else() {
    let mut fixture = Fixture::new();
    fixture.be_always_exact();
    assert_only_exact(fixture);
}

#[test]
fn client_that_says_what_it_shows_is_believed() {
    for (kind, films) in [(Type::Video, 1), (Type::Photo, 0)] {
        let (mut fixture, window) = with_window();
        let client = fixture.client(window);
        let manager: WpContentTypeManagerV1 = client.bind(1);
        let surface: WlSurface = client.surface.clone().expect("opened");
        let content = manager.get_surface_content_type(&surface, &client.handle(), ());
        content.set_content_type(kind);
        // A word alone makes no film: only what changes is one.
        let pictures = if films == 1 { 12 } else { 50 };
        for time in 0..pictures {
            fixture.client(window).picture(FILM, time);
            fixture.turn_for(PICTURE);
        }
        assert_eq!(fixture.films(), films, "{kind:?}");
    }
}

#[test]
fn film_at_a_terminal_that_shows_nothing_any_more_keeps_nobody_busy() {
    let (mut fixture, window) = with_window();
    play_until(&mut fixture, window, 1);
    fixture.acknowledge(false);
    for time in 200..220 {
        fixture.client(window).picture(FILM, time);
        fixture.turn_for(PICTURE);
    }
    fixture.turn_for(Duration::from_millis(400));
    let due = fixture.next_deadline();
    assert!(due.is_none_or(|wait| wait > Duration::ZERO), "{due:?}");
    fixture.acknowledge(true);
    fixture.settle();
    fixture.assert_shows(&[window]);
}

#[test]
fn film_that_comes_to_be_translucent_is_none_and_is_sent_as_it_is() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.connect();
    fixture.client(window).paints_alpha();
    fixture.client(window).make_window();
    within("the window is configured", || {
        fixture.turn();
        fixture.client(window).is_configured()
    });
    fixture.client(window).commit(WINDOW);
    fixture.settle();
    play_until(&mut fixture, window, 1);
    fixture.client(window).picture(FILM, 300);
    fixture.client(window).pierce(FILM.0 + 50, FILM.1 + 50);
    fixture.settle();
    assert_eq!(fixture.films(), 0);
    fixture.assert_shows(&[window]);
}

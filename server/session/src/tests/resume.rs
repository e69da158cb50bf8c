//! Terminals that go and come back with what they hold.

use std::time::Duration;

use super::client::Painting;
use super::fixture::{Fixture, within};

const SCREEN: (u32, u32) = (640, 480);
const WINDOW: Painting = Painting {
    w: 500,
    h: 300,
    seed: 3,
};
const FILM: (u32, u32, u32, u32) = (101, 37, 321, 203);
const PICTURE: Duration = Duration::from_millis(33);

/// A terminal that may keep what it holds, and shows a window. Also the bytes that this took.
fn open() -> (Fixture, usize, u64) {
    let mut fixture = Fixture::new();
    fixture.let_keep(Duration::from_secs(60));
    fixture.attach("a", SCREEN);
    let window = fixture.open(WINDOW);
    fixture.settle();
    fixture.assert_shows(&[window]);
    let bytes = fixture.frame_bytes();
    (fixture, window, bytes)
}

/// Bytes of what `then` makes the session send.
fn bytes_of(fixture: &mut Fixture, then: impl FnOnce(&mut Fixture)) -> u64 {
    let before = fixture.frame_bytes();
    then(fixture);
    fixture.settle();
    fixture.frame_bytes() - before
}

#[test]
fn terminal_that_comes_back_is_told_of_places_and_sent_no_pixels() {
    let (mut fixture, window, all) = open();
    let tiles = fixture.stats().tiles;
    fixture.detach();
    fixture.settle();
    let again = bytes_of(&mut fixture, |fixture| fixture.come_back(SCREEN));
    fixture.assert_shows(&[window]);
    assert_eq!(fixture.stats().tiles, tiles);
    assert!(again * 50 < all, "{again} bytes of {all}");
}

#[test]
fn terminal_that_comes_back_is_behind_with_no_layer_once_it_shows_what_it_holds() {
    let (mut fixture, window, _) = open();
    for at in 0..8 {
        fixture.client(window).invert(at * 20, 70, 9, 18);
        fixture.settle();
    }
    fixture.come_back(SCREEN);
    fixture.settle();
    fixture.assert_shows(&[window]);
    let link = fixture.stats().link.unwrap();
    assert_eq!(link.behind.unwrap().layers_behind, 0);
    let layers = link.layers.unwrap();
    let mut each = layers.largest.iter();
    assert!(!layers.largest.is_empty() && each.all(|layer| layer.lossless_since_s.is_some()));
}

#[test]
fn what_has_changed_meanwhile_is_sent_as_a_difference() {
    let (mut fixture, window, all) = open();
    let tiles = fixture.stats().tiles;
    fixture.detach();
    fixture.settle();
    fixture.client(window).invert(70, 70, 9, 18);
    fixture.settle();
    let again = bytes_of(&mut fixture, |fixture| fixture.come_back(SCREEN));
    fixture.assert_shows(&[window]);
    assert_eq!(fixture.stats().tiles, tiles + 1);
    assert!(again * 20 < all, "{again} bytes of {all}");
}

#[test]
fn frames_that_were_lost_at_the_detach_are_made_up_for_alone() {
    let (mut fixture, window, all) = open();
    fixture.cut_off();
    let tiles = fixture.stats().tiles;
    fixture.client(window).invert(70, 70, 9, 18);
    fixture.settle();
    assert_eq!(fixture.stats().tiles, tiles + 1, "it is sent, and lost");
    fixture.detach();
    fixture.settle();
    // Back to what the terminal holds, by chance: nobody may rely on that.
    fixture.client(window).invert(70, 70, 9, 18);
    fixture.client(window).invert(300, 200, 9, 18);
    fixture.settle();
    let again = bytes_of(&mut fixture, |fixture| fixture.come_back(SCREEN));
    fixture.assert_shows(&[window]);
    assert_eq!(fixture.stats().tiles, tiles + 3);
    assert!(again * 4 < all, "{again} bytes of {all}");
}

#[test]
fn windows_whose_beginning_or_end_was_lost_are_put_right() {
    let (mut fixture, window, _) = open();
    fixture.cut_off();
    let second = fixture.open(Painting {
        w: 200,
        h: 100,
        seed: 5,
    });
    fixture.client(window).commit(Painting { w: 480, ..WINDOW });
    fixture.settle();
    fixture.come_back(SCREEN);
    fixture.settle();
    fixture.assert_shows(&[window, second]);
    fixture.cut_off();
    fixture.close(second);
    fixture.settle();
    fixture.come_back(SCREEN);
    fixture.settle();
    fixture.assert_shows(&[window]);
}

#[test]
fn window_that_took_another_size_after_a_lost_frame_is_sent_anew() {
    let (mut fixture, window, _) = open();
    fixture.cut_off();
    fixture.client(window).invert(70, 70, 9, 18);
    fixture.settle();
    fixture.detach();
    fixture.settle();
    fixture.client(window).commit(Painting { w: 520, ..WINDOW });
    fixture.settle();
    fixture.come_back(SCREEN);
    fixture.settle();
    fixture.assert_shows(&[window]);
}

#[test]
fn other_screens_at_the_next_attach_cost_places() {
    let (mut fixture, window, all) = open();
    fixture.detach();
    fixture.settle();
    let again = bytes_of(&mut fixture, |fixture| fixture.come_back((900, 700)));
    fixture.assert_shows(&[window]);
    assert!(again * 50 < all, "{again} bytes of {all}");
}

#[test]
fn after_another_terminal_everything_is_sent() {
    let (mut fixture, window, all) = open();
    fixture.detach();
    fixture.settle();
    let first = fixture.take_left();
    fixture.attach("b", SCREEN);
    fixture.settle();
    fixture.client(window).invert(70, 70, 9, 18);
    fixture.settle();
    fixture.detach();
    fixture.put_left(first);
    let again = bytes_of(&mut fixture, |fixture| fixture.come_back(SCREEN));
    fixture.assert_shows(&[window]);
    assert!(again * 2 > all, "{again} bytes of {all}");
}

#[test]
fn film_settles_before_anything_is_kept_of_it() {
    let (mut fixture, window, _) = open();
    let mut time = 0;
    within("the film is found", || {
        time += 1;
        fixture.client(window).picture(FILM, time);
        fixture.turn_for(PICTURE);
        fixture.films() == 1
    });
    fixture.detach();
    fixture.settle();
    fixture.come_back(SCREEN);
    fixture.settle();
    assert_eq!(fixture.films(), 0);
    fixture.assert_shows(&[window]);
    let behind = fixture.stats().link.and_then(|link| link.behind);
    assert!(behind.is_some_and(|behind| behind.lossless_since_s.is_some()));
}

#[test]
fn kept_cells_are_recalled_after_a_detach_and_forgotten_with_a_lost_frame() {
    let (mut fixture, window, all) = open();
    let other = Painting { seed: 8, ..WINDOW };
    let draw = |fixture: &mut Fixture, painting| {
        fixture.turn_for(Duration::from_millis(450));
        fixture.client(window).commit(painting);
    };
    draw(&mut fixture, other);
    fixture.settle();
    fixture.come_back(SCREEN);
    fixture.settle();
    let recalled = bytes_of(&mut fixture, |fixture| draw(fixture, WINDOW));
    fixture.assert_shows(&[window]);
    assert!(recalled * 8 < all, "{recalled} bytes of {all}");
    fixture.cut_off();
    fixture.client(window).invert(70, 70, 9, 18);
    fixture.settle();
    fixture.come_back(SCREEN);
    fixture.settle();
    let sent = bytes_of(&mut fixture, |fixture| draw(fixture, other));
    fixture.assert_shows(&[window]);
    assert!(sent > recalled * 2, "{sent} bytes after {recalled}");
}

#[test]
fn terminal_whose_time_is_over_is_sent_everything() {
    let mut fixture = Fixture::new();
    fixture.let_keep(Duration::from_millis(20));
    fixture.attach("a", SCREEN);
    let window = fixture.open(WINDOW);
    fixture.settle();
    let all = fixture.frame_bytes();
    fixture.detach();
    within("the terminal is forgotten", || {
        fixture.turn();
        fixture.next_deadline().is_none()
    });
    let again = bytes_of(&mut fixture, |fixture| fixture.come_back(SCREEN));
    fixture.assert_shows(&[window]);
    assert!(again * 2 > all, "{again} bytes of {all}");
}

#[test]
fn terminal_that_lies_about_what_it_holds_harms_nobody() {
    use heliostat_wire::bounded::List;
    use heliostat_wire::id::LayerId;
    use heliostat_wire::output::Size;
    use heliostat_wire::session::KeptLayer;
    let (mut fixture, window, _) = open();
    let huge = |id| KeptLayer {
        layer: LayerId(id),
        size: Size {
            w: u32::MAX,
            h: u32::MAX,
        },
        alpha: false,
    };
    let (all, none) = ((0..1024).map(huge).collect(), Vec::new());
    for (serial, layers) in [(1, all), (u32::MAX, none)] {
        fixture.come_back_with(SCREEN, |kept| {
            (kept.serial, kept.layers) = (serial, List::new(layers).unwrap());
        });
        fixture.settle();
        fixture.assert_shows(&[window]);
    }
    // Layers that it says it lacks are made anew; those that it never had are taken away.
    fixture.come_back_with(SCREEN, |kept| kept.attach_id.0 += 1);
    fixture.settle();
    fixture.assert_shows(&[window]);
}

#[test]
fn terminal_is_parted_from_also_by_the_attach_that_it_asked_for_and_never_took_up() {
    let (mut fixture, ..) = open();
    // One that is over says nothing of the present one.
    fixture.part_from(-1);
    assert!(fixture.is_attached());
    fixture.part_from(1);
    assert!(!fixture.is_attached());
    fixture.attach("a", SCREEN);
    fixture.part_from(0);
    assert!(!fixture.is_attached());
}

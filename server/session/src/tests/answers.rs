//! Answers to input that go ahead of what is under way.

use super::client::Painting;
use super::films::play_until;
use super::fixture::{Fixture, within};

const WINDOW: Painting = Painting {
    w: 500,
    h: 300,
    seed: 9,
};
const KEY: u16 = 30;

/// A window whose picture is on its way to a terminal and has been lost there; then a key.
fn with_a_lost_picture() -> (Fixture, usize) {
    let mut fixture = Fixture::new();
    fixture.offer_frames(16);
    fixture.attach("a", (640, 480));
    let window = fixture.open(WINDOW);
    fixture.settle();
    fixture.lose_a_frame(true);
    fixture.client(window).picture((0, 100, 500, 200), 1);
    fixture.settle();
    assert_eq!(fixture.waiting_frames(), 1, "the picture is under way");
    fixture.key(KEY);
    (fixture, window)
}

fn shown_in(fixture: &mut Fixture, window: usize, (x, y): (u32, u32)) -> (u32, u32) {
    let (left, top) = fixture.corner(window);
    let shown = fixture.shown(left + x as i32, top + y as i32);
    (shown, fixture.client(window).at(x, y))
}

#[test]
fn answer_is_seen_before_a_picture_of_the_same_window_that_was_lost_on_the_way() {
    let (mut fixture, window) = with_a_lost_picture();
    fixture.client(window).invert(10, 10, 9, 18);
    fixture.settle();
    let (shown, drawn) = shown_in(&mut fixture, window, (12, 12));
    assert_eq!(shown, drawn);
    let (shown, drawn) = shown_in(&mut fixture, window, (250, 250));
    assert_ne!(shown, drawn, "the picture has not come");
    assert_eq!(fixture.waiting_frames(), 1);
    // One more, in the same cell.
    fixture.key(KEY);
    fixture.client(window).invert(20, 10, 9, 18);
    fixture.settle();
    let (shown, drawn) = shown_in(&mut fixture, window, (22, 12));
    assert_eq!(shown, drawn);
    fixture.lose_a_frame(false);
    fixture.settle();
    fixture.assert_shows(&[window]);
    let stats = fixture.stats();
    assert!(
        stats
            .link
            .unwrap()
            .behind
            .unwrap()
            .lossless_since_s
            .is_some()
    );
}

#[test]
fn answer_over_a_picture_that_is_under_way_comes_after_it() {
    let (mut fixture, window) = with_a_lost_picture();
    fixture.client(window).invert(250, 250, 9, 18);
    fixture.settle();
    let (shown, drawn) = shown_in(&mut fixture, window, (252, 252));
    assert_ne!(shown, drawn);
    assert_eq!(fixture.waiting_frames(), 2);
    fixture.lose_a_frame(false);
    fixture.settle();
    fixture.assert_shows(&[window]);
}

#[test]
fn answer_is_seen_before_the_end_of_a_film_in_another_window_that_was_lost_on_the_way() {
    let mut fixture = Fixture::new();
    fixture.offer_frames(16);
    fixture.attach("a", (1200, 480));
    let film = fixture.open(WINDOW);
    let window = fixture.open(Painting { seed: 4, ..WINDOW });
    fixture.drag(window, 600, 50);
    fixture.settle();
    play_until(&mut fixture, film, 1);
    within("nothing is under way", || {
        fixture.turn();
        !fixture.has_unshown()
    });
    fixture.lose_a_frame(true);
    within("the film's end is under way", || {
        fixture.turn();
        fixture.waiting_frames() > 0
    });
    assert_eq!(fixture.films(), 1);
    fixture.motion(1150, 460);
    fixture.client(window).invert(10, 10, 9, 18);
    within("the answer is seen", || {
        fixture.turn();
        fixture.has_overtaken()
    });
    assert_eq!(fixture.films(), 1);
    assert!(fixture.waiting_frames() > 0);
    fixture.lose_a_frame(false);
    fixture.settle();
    fixture.assert_shows(&[film, window]);
}

#[test]
fn what_is_no_answer_waits_for_its_turn() {
    let (mut fixture, window) = with_a_lost_picture();
    // Many cells are a picture as well.
    fixture.client(window).invert(0, 0, 500, 90);
    fixture.settle();
    let (shown, drawn) = shown_in(&mut fixture, window, (250, 50));
    assert_ne!(shown, drawn);
    fixture.lose_a_frame(false);
    fixture.settle();
    fixture.assert_shows(&[window]);
}

#[test]
fn terminal_may_say_what_it_holds_while_frames_have_overtaken_others() {
    let (mut fixture, window) = with_a_lost_picture();
    fixture.say_all_cells();
    for x in 0..8 {
        fixture.key(KEY);
        fixture.client(window).invert(10 * x, 10, 9, 18);
        fixture.settle();
        fixture.say_all_cells();
        fixture.settle();
    }
    fixture.lose_a_frame(false);
    fixture.settle();
    fixture.say_all_cells();
    fixture.settle();
    assert_eq!(fixture.stats().cells_wrong, 0);
    fixture.assert_shows(&[window]);
}

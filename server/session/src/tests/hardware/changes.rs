//! Films of whose pictures little changes: the driver is told what, and compares it with what it sees.

use super::flat::{fake, is_flat};
use super::stage::alone_with;
use super::*;
use crate::keys::Action;

/// Where the picture changes, one after the other, each for a picture.
const PLACES: [Place; 4] = [
    (40, 40, 96, 64),
    (260, 40, 96, 64),
    (40, 170, 96, 64),
    (260, 170, 96, 64),
];

/// The same on a flat output, where a film of which little changes for a second is over, however long a
/// machine takes for its pictures: two of them are two thirds of it.
const LARGE_PLACES: [Place; 4] = [
    (20, 20, 380, 250),
    (240, 20, 380, 250),
    (20, 200, 380, 250),
    (240, 200, 380, 250),
];

impl Player {
    /// A client that says that it shows a film, and has drawn all of it until its buffers are lent.
    fn of_little_that_changes(size: (u32, u32), prepare: impl FnOnce(&mut Self)) -> Self {
        let places = match size == super::flat::SCREEN {
            true => LARGE_PLACES,
            false => PLACES,
        };
        let mut player = Self::in_a_part(size, places[0]);
        player.say_film();
        prepare(&mut player);
        within("all of it is a film", || {
            player.show_all();
            player.fixture.turn_for(PICTURE);
            player.by_hardware() > 0 && player.fixture.films() == 1
        });
        player
    }

    /// Moves what changes to another place, and commits both.
    fn move_on(&mut self) {
        let (place, _) = self.part.as_mut().expect("a part");
        let places = match place.2 == LARGE_PLACES[0].2 {
            true => LARGE_PLACES,
            false => PLACES,
        };
        let next = places[self.time as usize % places.len()];
        let before = std::mem::replace(place, next);
        let both = [before, next].map(|(x, y, w, h)| [x, y, w, h].map(|side| side as i32));
        self.show_with(&both.map(|[x, y, w, h]| (x, y, w, h)));
        self.fixture.turn_for(PICTURE);
    }

    /// Goes on so until one film has had so many pictures by hardware.
    fn moves_on_by_hardware(&mut self, pictures: u64) {
        within("a film goes on of which little changes", || {
            let (film, until) = (self.fixture.newest_film(), self.by_hardware() + pictures);
            within("the hardware encodes", || {
                self.move_on();
                // Where a machine is too busy, all of it is to be a film again first.
                if self.fixture.films() == 0 {
                    self.show_all();
                    self.fixture.turn_for(PICTURE);
                }
                self.by_hardware() >= until
            });
            film.is_some() && self.fixture.newest_film() == film
        });
    }

    fn is_seen(&mut self) {
        within("the newest picture is shown", || {
            self.move_on();
            self.likeness() > 28.0
        });
    }
}

/// Of how many pictures the driver was told what has changed, what is of interest, and that others were
/// left out.
fn told(log: &str) -> [u32; 3] {
    let lines = log
        .lines()
        .filter(|line| line.contains("pictures encoded: "));
    let mut all = [0; 3];
    for line in lines {
        let (_, told) = line.split_once("encoded: ").expect("it is in the line");
        for (all, part) in all.iter_mut().zip(told.split(", ")) {
            let number = part.split(' ').next().expect("a number");
            *all += number.parse::<u32>().expect("a number");
        }
    }
    all
}

fn plays(name: &str, lacks: &str) -> Option<[u32; 3]> {
    let name = format!("tests::hardware::changes::{name}");
    let ran = alone_with(&name, &[("HELIOSTAT_VA_LACKS", lacks)], || {
        let mut player = Player::of_little_that_changes(WINDOW, |_| {});
        player.moves_on_by_hardware(40);
        player.is_seen();
        assert_eq!(player.fixture.stats().films.failures, 0);
        player.settle();
        player.end();
    })?;
    assert!(!ran.log.contains("left behind"), "{}", ran.log);
    assert_told_rightly(&ran.log);
    Some(told(&ran.log))
}

#[test]
fn driver_is_told_what_of_a_film_has_changed() {
    let Some([rectangles, regions, after_others]) =
        plays("driver_is_told_what_of_a_film_has_changed", "")
    else {
        return;
    };
    // Thirty pictures a second leave out each second one.
    assert!(
        rectangles >= 15 && after_others >= 15,
        "{rectangles}, {after_others}"
    );
    assert_eq!(regions, 0);
}

#[test]
fn driver_without_rectangles_is_told_what_is_of_interest() {
    let Some([rectangles, regions, after_others]) = plays(
        "driver_without_rectangles_is_told_what_is_of_interest",
        "dirty-rectangles,skipped-pictures",
    ) else {
        return;
    };
    assert!(regions >= 25, "{regions}");
    assert_eq!((rectangles, after_others), (0, 0));
}

#[test]
fn driver_that_hears_nothing_is_told_nothing() {
    let told = plays(
        "driver_that_hears_nothing_is_told_nothing",
        "dirty-rectangles,regions,skipped-pictures",
    );
    assert!(told.is_none_or(|told| told == [0; 3]), "{told:?}");
}

#[test]
fn flat_output_of_which_little_changes_is_right_whoever_draws_it() {
    let name = "changes::flat_output_of_which_little_changes_is_right_whoever_draws_it";
    let ran = alone(name, "", || {
        let mut player = Player::of_little_that_changes(super::flat::SCREEN, |player| {
            player.fixture.flat().compose_with(fake());
            player.fixture.act(Action::Fullscreen);
            player.fixture.force_flat(Force::Always);
            is_flat(player);
        });
        player.moves_on_by_hardware(40);
        player.is_seen();
        // Composed now, in buffers of the session's.
        let note = player.opens_a_note();
        within("the note is over the film", || {
            player.move_on();
            player.shows_note()
        });
        player.moves_on_by_hardware(40);
        assert!(player.shows_note());
        player.fixture.close(note);
        within("the note is gone", || {
            player.move_on();
            !player.shows_note()
        });
        player.moves_on_by_hardware(40);
        player.is_seen();
        assert_eq!(player.fixture.stats().films.failures, 0);
        player.settle();
        player.end();
    });
    let Some(ran) = ran else { return };
    let [rectangles, ..] = told(&ran.log);
    assert!(rectangles >= 40, "{rectangles}");
}

//! Films on flat outputs: what is composed goes into the encoder as it is, and a client that alone fills
//! the output in its own buffers.
//!
//! Who composes is the stand-in for GLES, whose buffers are memory files as the clients' are.

use std::cell::Cell;
use std::rc::Rc;

use heliostat_video::oracle::psnr;
use heliostat_wire::id::OutputId;

use super::*;
use crate::flat::composer::Composer;
use crate::keys::Action;
use crate::tests::client::Painting;

pub(super) const SCREEN: (u32, u32) = (640, 480);
const NOTE: Painting = Painting {
    w: 200,
    h: 100,
    seed: 3,
};
/// Where the note is, and a part of the screen where it is not.
const NOTE_AT: (i32, i32) = (400, 340);
const BESIDE: (u32, u32) = (380, 300);

pub(super) fn fake() -> Composer {
    Composer::Fake(Box::default())
}

fn fake_of(player: &mut Player) -> &mut crate::flat::fake::Fake {
    match player.fixture.flat().composer() {
        Some(Composer::Fake(fake)) => fake,
        other => panic!("{other:?} composes"),
    }
}

impl Player {
    /// One that fills a flat output.
    fn on_a_flat_output(format: u32, composer: Composer) -> Self {
        let mut player = Self::new(format, SCREEN);
        player.say_film();
        player.play();
        player.fixture.flat().compose_with(composer);
        player.fixture.act(Action::Fullscreen);
        player.fixture.force_flat(Force::Always);
        is_flat(&mut player);
        player
    }

    /// One whose film is in a part of a window that fills a flat output, and of which only that is damaged.
    fn in_a_part_of_a_flat_output(film: Place) -> Self {
        let mut player = Self::in_a_part(SCREEN, film);
        player.say_film();
        player.fixture.flat().compose_with(fake());
        player.fixture.act(Action::Fullscreen);
        player.fixture.force_flat(Force::Always);
        is_flat(&mut player);
        player
    }

    /// How alike what is beside the note is to what was drawn, in dB.
    fn likeness_beside(&self) -> f64 {
        let places = (0..BESIDE.1).flat_map(|y| (0..BESIDE.0).map(move |x| (x, y)));
        let (drawn, shown): (Vec<_>, Vec<_>) = places
            .map(|(x, y)| {
                let drawn = self.drawn[(y * SCREEN.0 + x) as usize];
                (drawn, self.fixture.shown(x as i32, y as i32))
            })
            .unzip();
        psnr(&drawn, &shown)
    }

    pub(super) fn opens_a_note(&mut self) -> usize {
        let note = self.fixture.open(NOTE);
        self.fixture.drag(note, NOTE_AT.0, NOTE_AT.1);
        note
    }

    /// Whether the note is seen, as a film shows it.
    pub(super) fn shows_note(&self) -> bool {
        let places = [(20, 20), (100, 50), (180, 80)];
        places.iter().all(|(x, y)| {
            let (left, top) = (NOTE_AT.0 + *x as i32, NOTE_AT.1 + *y as i32);
            let around = (-2..=2).flat_map(|dy| (-2..=2).map(move |dx| (dx, dy)));
            let mut near = around.map(|(dx, dy)| self.fixture.shown(left + dx, top + dy));
            let drawn = NOTE.at(*x, *y);
            near.any(|shown| heliostat_video::oracle::distance(shown, drawn) < 64)
        })
    }

    /// Plays so many pictures, all by hardware, of which no pixel is read.
    fn plays_without_reading(&mut self, pictures: u64) {
        within("a film plays for a while", || {
            self.play_by_hardware(2);
            let (film, before) = (self.fixture.newest_film(), self.fixture.stats().films);
            self.play_by_hardware(pictures);
            let after = self.fixture.stats().films;
            // A machine that is too busy makes a film of this stop, and begin anew.
            let is_same = film.is_some() && self.fixture.newest_film() == film;
            let is_read = after.read_bytes != before.read_bytes;
            assert!(!is_same || !is_read, "{before:?}, then {after:?}");
            assert!(!is_same || after.by_processor == before.by_processor);
            is_same
        });
    }
}

/// Plays until the output is flat.
pub(super) fn is_flat(player: &mut Player) {
    within("the output is flat", || {
        player.play();
        player.fixture.stats().flat_outputs == 1
    });
}

fn said(ran: &Ran, what: &str) -> BTreeSet<u64> {
    let lines = ran.said.lines().filter_map(|line| line.strip_prefix(what));
    let numbers = lines.flat_map(|line| line.split_whitespace());
    numbers.map(|number| number.parse().unwrap()).collect()
}

#[test]
fn client_that_fills_a_flat_output_is_lent_itself_and_composed_when_something_is_over_it() {
    let name = "flat::client_that_fills_a_flat_output_is_lent_itself_and_composed_when_something_is_over_it";
    let ran = alone(name, "", || {
        let mut player = Player::on_a_flat_output(XRGB, fake());
        // No frame shows the desk through the film.
        let (frames, background) = (Rc::new(Cell::new(0)), crate::config::Config::default());
        let count = frames.clone();
        player.fixture.watch_frames(move |model| {
            let corners = [(0, 0), (639, 0), (0, 479), (639, 479), (320, 240)];
            for (x, y) in corners {
                let shown = model.pixel(OutputId(0), x, y);
                assert_ne!(shown, background.background, "at ({x}, {y})");
                assert_ne!(shown & 0xff_ffff, 0, "at ({x}, {y})");
            }
            count.set(count.get() + 1);
        });
        player.plays_without_reading(12);
        let stack = &player.fixture.model().outputs[&OutputId(0)].1;
        assert_eq!(stack.len(), 1, "it is flat");

        let note = player.opens_a_note();
        within("the note is over the film", || {
            player.play();
            player.shows_note() && player.likeness_beside() > 28.0
        });
        player.plays_without_reading(12);
        assert!(player.shows_note());
        let lent = player.fixture.buffers();
        assert!(lent.1 <= 2, "{lent:?}");

        player.fixture.close(note);
        within("the note is gone", || {
            player.play();
            !player.shows_note() && player.likeness() > 28.0
        });
        player.plays_without_reading(12);
        player.settle();
        assert!(frames.get() > 40, "{} frames", frames.get());
        assert_eq!(player.fixture.stats().films.failures, 0);
        for canvas in &player.canvases {
            println!("inode {}", canvas.file.metadata().unwrap().ino());
        }
        player.end();
    });
    let Some(ran) = ran else { return };
    let drawn = said(&ran, "inode ");
    let imported = imported(&ran.counters);
    let inodes: BTreeSet<_> = imported.iter().map(|(inode, _)| *inode).collect();
    assert!(drawn.is_subset(&inodes), "{}", ran.counters);
    assert!(
        inodes.len() > drawn.len(),
        "nothing composed was encoded: {}",
        ran.counters
    );
    for (_, line) in imported {
        assert!(line.contains("lent=0 copied=0"), "{line}");
        assert!(!line.contains(" processed-from=0"), "{line}");
    }
}

#[test]
fn film_that_grows_in_the_cells_that_it_shares_with_a_flat_output_is_not_read_any_more() {
    let name =
        "flat::film_that_grows_in_the_cells_that_it_shares_with_a_flat_output_is_not_read_any_more";
    alone(name, "", || {
        let mut player = Player::in_a_part_of_a_flat_output((110, 110, 380, 230));
        player.plays_without_reading(12);
        let before = player.fixture.newest_film();
        if let Some((film, _)) = &mut player.part {
            *film = (100, 101, 400, 256);
        }
        within("the film that has grown is another one", || {
            player.play_by_hardware(1);
            player.fixture.newest_film() > before && player.fixture.films() == 1
        });
        player.plays_without_reading(12);
        within("what is shown is the newest picture", || {
            player.play();
            let (film, wrong) = player.likeness_of_part();
            film >= 28.0 && wrong == 0
        });
        player.settle();
        player.end();
    });
}

#[test]
fn composer_that_fails_in_the_middle_of_a_film_is_not_seen() {
    let name = "flat::composer_that_fails_in_the_middle_of_a_film_is_not_seen";
    alone(name, "", || {
        let mut player = Player::on_a_flat_output(XRGB, fake());
        let note = player.opens_a_note();
        player.plays_without_reading(6);
        fake_of(&mut player).fails = true;
        within("the processor composes", || {
            player.play();
            let composer = player.fixture.flat().composer();
            matches!(composer, Some(Composer::Software))
        });
        within("the film goes on", || {
            player.play();
            player.shows_note() && player.likeness_beside() > 28.0
        });
        assert_eq!(player.fixture.stats().flat_outputs, 1);
        player.fixture.settle();
        player.fixture.assert_shows(&[player.window, note]);
        player.end();
    });
}

#[test]
fn client_that_fills_a_flat_output_is_lent_where_the_processor_composes() {
    let name = "flat::client_that_fills_a_flat_output_is_lent_where_the_processor_composes";
    alone(name, "", || {
        let mut player = Player::on_a_flat_output(XRGB, Composer::Software);
        player.plays_without_reading(12);
        let note = player.opens_a_note();
        within("the note is over the film", || {
            player.play();
            player.shows_note() && player.likeness_beside() > 28.0
        });
        player.fixture.close(note);
        player.plays_without_reading(6);
        player.settle();
        player.end();
    });
}

#[test]
fn film_of_luma_and_chroma_on_a_flat_output_goes_as_it_is_and_is_read_when_something_is_over_it() {
    let name = "flat::film_of_luma_and_chroma_on_a_flat_output_goes_as_it_is_and_is_read_when_something_is_over_it";
    alone(name, "", || {
        let mut player = Player::on_a_flat_output(NV12, fake());
        player.plays_without_reading(12);
        let note = player.opens_a_note();
        within("the note is over the film", || {
            player.play();
            player.shows_note() && player.likeness_beside() > 28.0
        });
        let before = player.by_hardware();
        player.play_by_hardware(6);
        assert!(player.by_hardware() > before, "what is composed is encoded");
        player.fixture.close(note);
        player.plays_without_reading(6);
        player.fixture.settle();
        assert!(player.likeness() >= 36.0);
        player.end();
    });
}

#[test]
fn film_in_a_window_of_a_flat_output_is_composed_without_being_read() {
    let name = "flat::film_in_a_window_of_a_flat_output_is_composed_without_being_read";
    let ran = alone(name, "", || {
        let mut player = Player::new(XRGB, SIZE);
        player.fixture.flat().compose_with(fake());
        player.play();
        player.fixture.force_flat(Force::Always);
        is_flat(&mut player);
        player.plays_without_reading(12);
        assert!(player.likeness() > 28.0);
        // The output is another one while its picture is with the encoder.
        player.show();
        player.fixture.turn();
        let mut output = crate::outputs::before_any_terminal();
        output.size = heliostat_wire::output::Size { w: 800, h: 600 };
        output.refresh_mhz = 1_000_000;
        let outputs = heliostat_wire::bounded::List::new(vec![output]).unwrap();
        player
            .fixture
            .say(heliostat_wire::session::ToSession::Outputs(outputs));
        player.plays_without_reading(6);
        player.settle();
        // And in layers again.
        player.fixture.force_flat(Force::Never);
        player.play_by_hardware(3);
        player.settle();
        assert_eq!(player.fixture.stats().flat_outputs, 0);
        assert_eq!(player.fixture.buffers(), (3, 0));
        player.end();
    });
    let Some(ran) = ran else { return };
    for (_, line) in imported(&ran.counters) {
        assert!(line.contains("lent=0 copied=0"), "{line}");
    }
}

#[test]
fn hardware_that_fails_on_a_flat_output_costs_no_picture() {
    let name = "flat::hardware_that_fails_on_a_flat_output_costs_no_picture";
    // Those before are of the probe.
    let faults = [
        ("vaEndPicture", 12),
        ("vaCreateSurfaces2", 13),
        ("vaMapBuffer", 9),
    ];
    for (call, number) in faults {
        let ran = alone(name, &format!("{call}:{number}"), || {
            let mut player = Player::on_a_flat_output(XRGB, fake());
            let note = player.opens_a_note();
            for _ in 0..30 {
                player.play();
            }
            within("the film is shown", || {
                player.play();
                player.shows_note() && player.likeness_beside() > 28.0
            });
            player.fixture.settle();
            player.fixture.assert_shows(&[player.window, note]);
            player.end();
        });
        let Some(ran) = ran else { return };
        assert_failed(&ran, call, number);
    }
}

#[test]
fn terminal_that_goes_while_its_flat_output_is_lent_leaves_nothing_behind() {
    let name = "flat::terminal_that_goes_while_its_flat_output_is_lent_leaves_nothing_behind";
    alone(name, "", || {
        let mut player = Player::on_a_flat_output(XRGB, fake());
        let note = player.opens_a_note();
        player.plays_without_reading(3);
        let before = open_files();
        for _ in 0..3 {
            player.show();
            player.fixture.turn();
            player.fixture.detach();
            player.fixture.turn_for(PICTURE);
            player.fixture.attach("again", SCREEN);
            player.plays_without_reading(3);
        }
        player.fixture.settle();
        player.fixture.assert_shows(&[player.window, note]);
        assert!(open_files() <= before + 20, "{} {before}", open_files());
        player.fixture.close(player.window);
        within("nothing is left of it", || {
            player.fixture.turn();
            player.fixture.buffers() == (0, 0) && player.fixture.films() == 0
        });
        player.end();
    });
}

#[test]
fn buffer_of_a_flat_output_is_given_back_in_time_also_when_nobody_is_attached() {
    let name = "flat::buffer_of_a_flat_output_is_given_back_in_time_also_when_nobody_is_attached";
    alone(name, "", || {
        let mut player = Player::new(XRGB, SCREEN);
        player.play();
        player.fixture.flat().compose_with(fake());
        player.fixture.act(Action::Fullscreen);
        player.fixture.force_flat(Force::Always);
        player.opens_a_note();
        let is_kept = |player: &mut Player| {
            let mut flat = player.fixture.flat().all_mut();
            flat.any(|surface| surface.let_go_at().is_some())
        };
        within("a film may begin", || {
            player.play();
            is_kept(&mut player)
        });
        player.fixture.detach();
        assert!(is_kept(&mut player), "it is the detach that is looked at");
        within("it is given back", || {
            player.fixture.turn_for(Duration::from_millis(20));
            !is_kept(&mut player)
        });
        assert_ne!(player.fixture.next_deadline(), Some(Duration::ZERO));
    });
}

//! An output that is flat when the terminal cannot hold what is on it, and not otherwise, while a client
//! plays a film on all of it: whoever looks sees the film all the time.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use heliostat_wire::id::OutputId;

use super::flat::{SCREEN, fake};
use super::*;
use crate::config::Config;
use crate::tests::client::Painting;

/// What the terminal holds: the film, and one window or the flat layer.
const LAYERS: u32 = 2;
const NOTE: Painting = Painting {
    w: 120,
    h: 60,
    seed: 3,
};
/// Where notes are opened.
const NOTES: [(i32, i32); 3] = [(400, 340), (200, 380), (380, 60)];
/// Where none is, and the film is also while it is in a window.
const PLACES: [(i32, i32); 5] = [(100, 100), (320, 240), (330, 60), (590, 250), (150, 330)];

/// One that plays a film in a window as large as the screen, at a terminal of few layers.
fn player() -> Player {
    let mut player = Player::new(XRGB, SCREEN);
    player.say_film();
    player.fixture.flat().compose_with(fake());
    player.fixture.offer_layers(LAYERS, 64 << 20);
    player.fixture.attach("small", SCREEN);
    player
}

impl Player {
    /// Plays until so many outputs are flat, by the session's own choice.
    fn plays_until_flat(&mut self, outputs: u32) {
        within("the output is shown otherwise", || {
            self.play();
            self.fixture.stats().flat_outputs == outputs
        });
    }

    fn fills_the_screen(&mut self, fills: bool) {
        let client = self.fixture.client(self.window);
        let (_, toplevel) = client.shell.as_ref().expect("opened");
        match fills {
            true => toplevel.set_fullscreen(None),
            false => toplevel.unset_fullscreen(),
        }
        within("the window fills the screen or ceases to", || {
            self.play();
            self.fixture.is_fullscreen(self.window) == fills
        });
    }

    fn opens_notes(&mut self) -> Vec<usize> {
        let open = |(x, y): &(i32, i32)| {
            let note = self.fixture.open(NOTE);
            self.fixture.drag(note, *x, *y);
            self.play();
            note
        };
        NOTES.iter().map(open).collect()
    }

    fn closes(&mut self, notes: Vec<usize>) {
        notes.into_iter().for_each(|note| self.fixture.close(note));
    }

    fn attach_id(&mut self) -> Option<heliostat_wire::id::AttachId> {
        self.fixture.stats().link.and_then(|link| link.attach_id)
    }

    /// Lets the hardware encode so many pictures, without one by the processor between them, and what is
    /// shown is the film.
    fn plays_for_a_while(&mut self, what: &str) {
        within(what, || {
            let before = self.fixture.stats().films;
            self.play_by_hardware(6);
            let after = self.fixture.stats().films;
            assert_eq!(after.failures, 0, "{what}: {after:?}");
            after.by_processor == before.by_processor
        });
    }
}

/// Looks at each frame: what is of the film is neither the desk nor black. Returns how many there were.
fn watch(player: &mut Player) -> Rc<Cell<u32>> {
    let (frames, desk) = (Rc::new(Cell::new(0)), Config::default().background);
    let count = frames.clone();
    player.fixture.watch_frames(move |model| {
        for (x, y) in PLACES {
            let shown = model.pixel(OutputId(0), x, y) & 0xff_ffff;
            assert_ne!(shown, desk & 0xff_ffff, "the desk at ({x}, {y})");
            assert_ne!(shown, 0, "black at ({x}, {y})");
        }
        count.set(count.get() + 1);
    });
    frames
}

#[test]
fn film_on_the_whole_screen_is_seen_in_each_frame_while_its_output_becomes_flat_and_ceases_to_be() {
    let name = "switched::film_on_the_whole_screen_is_seen_in_each_frame_while_its_output_becomes_flat_and_ceases_to_be";
    let ran = alone(name, "", || {
        let mut player = player();
        player.play_by_hardware(3);
        let attach = player.attach_id();
        assert!(attach.is_some());
        let frames = watch(&mut player);
        // It fills the screen first, and then windows come.
        player.fills_the_screen(true);
        player.plays_for_a_while("before");
        assert_eq!(player.fixture.stats().flat_outputs, 0);
        let notes = player.opens_notes();
        player.plays_until_flat(1);
        player.plays_for_a_while("while the output is flat");
        player.closes(notes);
        player.plays_until_flat(0);
        player.plays_for_a_while("after");
        player.fills_the_screen(false);
        player.plays_for_a_while("in a window again");

        // The windows come first, so that it fills an output that is flat.
        let notes = player.opens_notes();
        player.plays_until_flat(1);
        player.fills_the_screen(true);
        player.plays_for_a_while("over the windows");
        player.closes(notes);
        player.plays_until_flat(0);
        player.plays_for_a_while("after the second time");

        assert_eq!(player.attach_id(), attach, "it is the same attach");
        let words = player.fixture.heard();
        let is_bye = |word: &_| matches!(word, heliostat_wire::session::ToTerminal::Bye(_));
        assert!(!words.iter().any(is_bye), "{words:?}");
        assert!(frames.get() > 60, "{} frames", frames.get());
        player.settle();
        for canvas in &player.canvases {
            println!("inode {}", canvas.file.metadata().unwrap().ino());
        }
        player.end();
    });
    let Some(ran) = ran else { return };
    let lines = ran
        .said
        .lines()
        .filter_map(|line| line.strip_prefix("inode "));
    let drawn: BTreeSet<u64> = lines.map(|inode| inode.parse().unwrap()).collect();
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
    }
}

//! Terminals whose copy of the scene is damaged, or who say so.

use std::time::{Duration, Instant};

use heliostat_wire::bounded::List;
use heliostat_wire::id::LayerId;
use heliostat_wire::session::{CellHash, ToSession, ToTerminal};

use super::client::Painting;
use super::fixture::Fixture;

const WINDOW: Painting = Painting {
    w: 300,
    h: 200,
    seed: 1,
};

/// A terminal that shows a window, and all of whose cells have been compared once.
fn open() -> (Fixture, usize) {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(WINDOW);
    fixture.settle();
    fixture.say_all_cells();
    fixture.settle();
    let stats = fixture.stats();
    // 5 by 4 tiles, and a title bar.
    assert!(stats.cells_checked >= 20, "{}", stats.cells_checked);
    assert_eq!(stats.cells_wrong, 0);
    (fixture, window)
}

#[test]
fn pixel_that_the_terminal_has_lost_is_sent_again_with_its_cell_alone() {
    let (mut fixture, window) = open();
    let before = fixture.stats();
    let layers = fixture.model().layers.values_mut();
    let largest = layers.max_by_key(|layer| layer.pixels.len()).unwrap();
    largest.pixels[150 * 300 + 100] ^= 0x40;
    fixture.say_all_cells();
    fixture.settle();
    let after = fixture.stats();
    assert_eq!(after.cells_wrong, 1);
    assert_eq!(after.tiles, before.tiles + 1);
    assert_eq!(after.frames, before.frames + 1);
    fixture.assert_shows(&[window]);
    fixture.say_all_cells();
    fixture.settle();
    assert_eq!(fixture.stats().cells_wrong, 1);
}

#[test]
fn picture_that_is_damaged_all_over_is_mended_piece_by_piece() {
    let (mut fixture, window) = open();
    let layers = fixture.model().layers.values_mut();
    layers.for_each(|layer| layer.pixels.fill(0xff12_3456));
    for _ in 0..8 {
        fixture.say_all_cells();
        fixture.settle();
        fixture.turn_for(Duration::from_millis(300));
    }
    fixture.assert_shows(&[window]);
}

#[test]
fn terminal_that_says_all_is_wrong_is_sent_little_again() {
    let (mut fixture, window) = open();
    let (before, start) = (fixture.stats(), Instant::now());
    let layers: Vec<LayerId> = fixture.model().layers.keys().copied().collect();
    let serial = fixture.model().serial;
    for n in 0..2000u32 {
        let lie = |cell| CellHash {
            layer: layers[(n + cell) as usize % layers.len()],
            cell,
            hash: n.to_le_bytes(),
        };
        let cells = List::new((0..16).map(lie).collect()).unwrap();
        fixture.say(ToSession::Cells { serial, cells });
        if n % 16 == 0 {
            fixture.turn();
        }
    }
    fixture.settle();
    let seconds = start.elapsed().as_secs() + 2;
    let after = fixture.stats();
    assert!(after.tiles - before.tiles <= 16 * seconds);
    assert!(after.cells_checked - before.cells_checked <= 512 * seconds);
    fixture.assert_shows(&[window]);
}

#[test]
fn cells_that_do_not_exist_are_nobodys_business() {
    let (mut fixture, window) = open();
    let serial = fixture.model().serial;
    let layers: Vec<LayerId> = fixture.model().layers.keys().copied().collect();
    for layer in layers.into_iter().chain([LayerId(u32::MAX)]) {
        for cell in [20, 21, 1 << 20, u32::MAX] {
            let hash = [0; 4];
            let cells = List::new(vec![CellHash { layer, cell, hash }]).unwrap();
            fixture.say(ToSession::Cells { serial, cells });
        }
    }
    fixture.settle();
    assert_eq!(fixture.stats().cells_wrong, 0);
    fixture.assert_shows(&[window]);
}

#[test]
fn terminal_that_has_applied_what_was_never_sent_is_sent_away() {
    let (mut fixture, _) = open();
    let serial = fixture.model().serial + 1;
    let cells = List::default();
    fixture.say(ToSession::Cells { serial, cells });
    fixture.turn_for(Duration::from_millis(5));
    assert!(matches!(fixture.heard().last(), Some(ToTerminal::Bye(_))));
    assert_eq!(fixture.stats().link, None);
}

//! Cells that both ends keep, and that come back.

use heliostat_tiles::oracle::{self, Layer, Layers};
use heliostat_tiles::{DecodeError, Decoder, Encoder, Limits};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{OPAQUE, drawn, encode, noise};

/// What a terminal and a session that keep `capacity` cells make of pictures, one after the other;
/// bytes of each batch.
fn sequence(capacity: u32, pictures: &[Layer]) -> Vec<usize> {
    let mut encoder = Encoder::new(1);
    encoder.start_keeping(capacity, 99);
    let mut decoder = Decoder::keeping(capacity);
    let mut terminal = Layers(vec![Layer::new(pictures[0].w, pictures[0].h)]);
    let mut sizes = Vec::new();
    for new in pictures {
        let old = terminal.0[0].clone();
        for cell in heliostat_tiles::cells(new.area()) {
            let (before, after) = (old.view().sub(cell).unwrap(), new.view().sub(cell).unwrap());
            if let Some(changed) = heliostat_tiles::diff::changed(before, after) {
                let before = before.sub(changed);
                encoder.push_cell(0, (cell, changed), after, before, true);
            }
        }
        let mut batch = Vec::new();
        encoder.finish(&mut batch);
        decoder
            .decode(&batch, &Limits::default(), &mut terminal)
            .unwrap();
        assert_eq!(&terminal.0[0], new);
        sizes.push(batch.len());
    }
    sizes
}

#[test]
fn picture_that_comes_back_is_recalled_for_a_few_bytes_a_cell() {
    let [a, b] = [0, 1000].map(|by| drawn(640, 320, |x, y| OPAQUE | noise(x + by, y) & 0xff_ff_ff));
    let sizes = sequence(256, &[a.clone(), b.clone(), a.clone(), b, a]);
    assert!(sizes[0] > 100_000 && sizes[1] > 100_000, "{sizes:?}");
    // The topmost cell of the first picture was over zeros, and is as good as any other.
    assert!(sizes[2..].iter().all(|size| *size < 50 * 5), "{sizes:?}");
}

#[test]
fn cells_that_an_edge_cuts_are_recalled_as_well() {
    let [a, b] = [0, 1000].map(|by| drawn(240, 400, |x, y| OPAQUE | noise(x + by, y) & 0xff_ff_ff));
    let sizes = sequence(256, &[a.clone(), b.clone(), a, b]);
    assert!(sizes[..2].iter().all(|size| *size > 100_000), "{sizes:?}");
    assert!(sizes[2..].iter().all(|size| *size < 28 * 5), "{sizes:?}");
}

#[test]
fn oldest_cells_make_room_and_none_are_kept_where_none_are_offered() {
    let pictures: Vec<_> = (0..6)
        .map(|by| {
            drawn(256, 64, move |x, y| {
                OPAQUE | noise(x + by * 1000, y) & 0xff_ff_ff
            })
        })
        .collect();
    let twice: Vec<_> = pictures.iter().chain(&pictures).cloned().collect();
    let few = sequence(4, &twice);
    assert!(few.iter().all(|size| *size > 20_000), "{few:?}");
    let many = sequence(24, &twice);
    assert!(many[6..].iter().all(|size| *size < 100), "{many:?}");
    assert_eq!(sequence(0, &twice), few_without_keeping(&twice));
}

fn few_without_keeping(pictures: &[Layer]) -> Vec<usize> {
    let mut before = Layer::new(pictures[0].w, pictures[0].h);
    let sizes = pictures.iter().map(|new| {
        let batch = encode(Some(&before), new);
        before = new.clone();
        batch.len()
    });
    sizes.collect()
}

#[test]
fn cell_that_was_never_kept_is_refused() {
    let picture = drawn(64, 64, noise);
    let mut encoder = Encoder::new(1);
    encoder.start_keeping(4, 1);
    let mut batches = [Vec::new(), Vec::new()];
    for batch in &mut batches {
        encoder.push_cell(
            0,
            (picture.area(), picture.area()),
            picture.view(),
            None,
            true,
        );
        encoder.finish(batch);
    }
    let layers = || Layers(vec![Layer::new(64, 64)]);
    let mut keeps = Decoder::keeping(4);
    let recalled = keeps.decode(&batches[1], &Limits::default(), &mut layers());
    assert_eq!(recalled, Err(DecodeError::NotKept));
    let kept = Decoder::new().decode(&batches[0], &Limits::default(), &mut layers());
    assert_eq!(kept, Err(DecodeError::NotKept));
    let smaller = || Layers(vec![Layer::new(63, 64)]);
    let small = keeps.decode(&batches[0], &Limits::default(), &mut smaller());
    assert!(small.is_err());
    let mut keeps = Decoder::keeping(4);
    let filled = keeps.decode(&batches[0], &Limits::default(), &mut layers());
    assert_eq!(filled, Ok(()));
    let recalled = keeps.decode(&batches[1], &Limits::default(), &mut smaller());
    assert_eq!(recalled, Err(DecodeError::NotKept));
    let recalled = keeps.decode(&batches[1], &Limits::default(), &mut layers());
    assert_eq!(recalled, Ok(()));
}

proptest! {
    #[test]
    fn cells_are_kept_alike_at_both_ends_and_lies_about_them_are_decoded_or_refused(
        bytes in vec(any::<u8>(), 2..200),
    ) {
        oracle::kept(&bytes);
    }
}

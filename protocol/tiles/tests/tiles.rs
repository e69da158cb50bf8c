//! The codec gives back what it got, refuses what is wrong, and costs what the figures assume.

use heliostat_tiles::oracle::{self, Layer, Layers};
use heliostat_tiles::{
    Copy, DecodeError, Decoder, Encoder, Ending, Limits, Opener, PixelsRef, Rect, Squeezer, pieces,
    sealed_parts,
};
use proptest::collection::vec;
use proptest::prelude::*;

const OPAQUE: u32 = 0xff00_0000;

fn encode(old: Option<&Layer>, new: &Layer) -> Vec<u8> {
    let mut encoder = Encoder::new(1);
    match old {
        Some(old) => oracle::push_changes(&mut encoder, 0, old, new),
        None => {
            for cell in heliostat_tiles::cells(new.area()) {
                encoder.push(0, cell, new.view().sub(cell).unwrap(), None);
            }
        }
    }
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    batch
}

fn decode(batch: &[u8], layer: Layer) -> Result<Layer, DecodeError> {
    let mut layers = Layers(vec![layer]);
    Decoder::new().decode(batch, &Limits::default(), &mut layers)?;
    Ok(layers.0.remove(0))
}

/// A layer whose pixels are `colour(x, y)`.
fn drawn(w: u32, h: u32, colour: impl Fn(u32, u32) -> u32) -> Layer {
    let mut layer = Layer::new(w, h);
    for (i, pixel) in layer.pixels.iter_mut().enumerate() {
        *pixel = colour(i as u32 % w, i as u32 / w);
    }
    layer
}

fn noise(x: u32, y: u32) -> u32 {
    let mut v = x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b);
    v ^= v >> 15;
    v = v.wrapping_mul(0xc2b2_ae35);
    v ^ v >> 13
}

/// Every kind of picture a cell can hold, so that every encoding is met.
fn pictures() -> Vec<Layer> {
    vec![
        drawn(130, 70, |_, _| OPAQUE | 0x20_40_60),
        drawn(130, 70, |x, _| {
            OPAQUE | if x % 7 < 3 { 0xff_ff_ff } else { 0 }
        }),
        drawn(130, 70, |x, y| {
            OPAQUE | ((noise(x / 8, y / 16) % 5) * 0x11_22_33)
        }),
        drawn(130, 70, |x, y| OPAQUE | ((noise(x, y) % 200) * 0x01_01_01)),
        drawn(130, 70, |x, y| OPAQUE | x << 17 | y << 9 | (x + y)),
        drawn(130, 70, |x, y| OPAQUE | noise(x, y) & 0xff_ff_ff),
        drawn(130, 70, |x, y| OPAQUE | noise(x / 9, y / 9) & 0xff_ff_ff),
        drawn(130, 70, noise),
        drawn(130, 70, |x, y| (x + y) << 24),
    ]
}

#[test]
fn every_picture_over_every_other_comes_back_exactly() {
    for new in pictures() {
        assert_eq!(
            decode(&encode(None, &new), Layer::new(130, 70)).unwrap(),
            new
        );
        for old in pictures() {
            assert_eq!(decode(&encode(Some(&old), &new), old.clone()).unwrap(), new);
        }
    }
}

#[test]
fn equal_pixels_cost_nothing() {
    for picture in pictures() {
        assert_eq!(encode(Some(&picture), &picture).len(), 3);
    }
}

#[test]
fn blinking_cursor_costs_less_than_32_bytes() {
    let old = drawn(640, 480, |x, y| OPAQUE | ((noise(x, y) & 1) * 0xcc_cc_cc));
    let mut new = old.clone();
    for y in 100..118 {
        new.pixels[y * 640 + 200..][..9].fill(OPAQUE | 0xdd_dd_dd);
    }
    let batch = encode(Some(&old), &new);
    assert!(batch.len() < 32, "{} bytes", batch.len());
}

#[test]
fn one_changed_character_costs_less_than_120_bytes() {
    let old = drawn(640, 480, |_, _| OPAQUE | 0x10_10_10);
    let mut new = old.clone();
    for (i, pixel) in new.pixels.iter_mut().enumerate() {
        let (x, y) = (i as u32 % 640, i as u32 / 640);
        if (200..209).contains(&x) && (101..118).contains(&y) {
            // Antialiased strokes: a few shades of grey.
            *pixel = OPAQUE | ((noise(x / 3, y / 3) % 6) * 0x28_28_28);
        }
    }
    let batch = encode(Some(&old), &new);
    assert!(batch.len() < 120, "{} bytes", batch.len());
}

#[test]
fn encoder_starts_anew_after_each_batch() {
    let picture = &pictures()[4];
    let mut encoder = Encoder::new(1);
    let mut batches = [Vec::new(), Vec::new()];
    for batch in &mut batches {
        oracle::push_changes(&mut encoder, 0, &Layer::new(130, 70), picture);
        encoder.finish(batch);
        assert!(encoder.is_empty());
    }
    assert_eq!(batches[0], batches[1]);
}

#[test]
fn tile_for_an_unknown_layer_is_refused() {
    let mut encoder = Encoder::new(1);
    let pixel = [OPAQUE];
    let view = PixelsRef::new(&pixel, 1, 1, 1).unwrap();
    encoder.push(
        7,
        Rect {
            x: 0,
            y: 0,
            w: 1,
            h: 1,
        },
        view,
        None,
    );
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    assert_eq!(
        decode(&batch, Layer::new(9, 9)),
        Err(DecodeError::UnknownLayer(7))
    );
}

#[test]
fn tile_outside_its_layer_is_refused() {
    let batch = encode(None, &drawn(128, 64, |_, _| OPAQUE));
    assert_eq!(
        decode(&batch, Layer::new(64, 64)),
        Err(DecodeError::OutsideLayer(0))
    );
    let part = encode(None, &drawn(30, 30, |_, _| OPAQUE));
    assert_eq!(
        decode(&part, Layer::new(29, 30)),
        Err(DecodeError::OutsideLayer(0))
    );
}

#[test]
fn limits_are_kept() {
    let batch = encode(None, &drawn(640, 480, noise));
    let mut layers = Layers(vec![Layer::new(640, 480)]);
    let mut with = |limits: Limits| Decoder::new().decode(&batch, &limits, &mut layers);
    let all = Limits::default();
    assert_eq!(with(all), Ok(()));
    assert!(matches!(
        with(Limits {
            max_body: 1000,
            ..all
        }),
        Err(DecodeError::TooLarge { .. })
    ));
    assert_eq!(
        with(Limits {
            max_records: 79,
            ..all
        }),
        Err(DecodeError::TooManyRecords { got: 80, max: 79 })
    );
    let few = Limits {
        max_pixels: 640 * 480 - 1,
        ..all
    };
    assert_eq!(with(few), Err(DecodeError::TooManyPixels(640 * 480 - 1)));
}

#[test]
fn every_truncation_is_refused() {
    let new = &pictures()[2];
    let batch = encode(None, new);
    for end in 0..batch.len() {
        assert!(
            decode(&batch[..end], Layer::new(130, 70)).is_err(),
            "cut at {end}"
        );
    }
    // A batch that is stored, not compressed.
    let small = encode(None, &drawn(9, 9, |x, _| OPAQUE | x & 1));
    assert_eq!(small[0], 0);
    for end in 0..small.len() {
        assert_eq!(
            decode(&small[..end], Layer::new(9, 9)),
            Err(DecodeError::Truncated)
        );
    }
    let longer = [small, vec![0]].concat();
    assert_eq!(
        decode(&longer, Layer::new(9, 9)),
        Err(DecodeError::TrailingBytes(1))
    );
}

#[test]
fn golden_batches_decode_to_what_they_always_did() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (number, picture) in pictures().iter().enumerate() {
        let path = folder.join(format!("{number}.bin"));
        if !path.exists() && std::env::var_os("BLESS_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, encode(Some(&pictures()[(number + 1) % 9]), picture)).unwrap();
        }
        let batch = std::fs::read(&path).unwrap();
        let old = pictures().swap_remove((number + 1) % 9);
        assert_eq!(&decode(&batch, old).unwrap(), picture, "{number}");
    }
}

proptest! {
    #[test]
    fn random_pictures_come_back_exactly(bytes in vec(any::<u8>(), 3..600)) {
        oracle::round_trip(&bytes);
    }

    #[test]
    fn cells_are_kept_alike_at_both_ends_and_lies_about_them_are_decoded_or_refused(
        bytes in vec(any::<u8>(), 2..200),
    ) {
        oracle::kept(&bytes);
    }

    #[test]
    fn random_bytes_are_decoded_or_refused(mut bytes in vec(any::<u8>(), 0..400)) {
        oracle::decode(&bytes);
        if let Some(first) = bytes.first_mut() {
            // Random first bytes are mostly no batch at all; a stored body goes deeper.
            *first = 0;
        }
        oracle::decode(&bytes);
        // Two parts, cut anywhere.
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        let mut parts = vec![4, 2];
        for part in [head, tail] {
            parts.push(part.len().min(127) as u8);
            parts.extend(&part[..part.len().min(127)]);
        }
        oracle::decode(&parts);
    }

    #[test]
    fn damaged_batches_are_decoded_or_refused(
        which in 0usize..9,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut batch = encode(None, &pictures()[which]);
        for (at, value) in damage {
            let at = at.index(batch.len());
            batch[at] ^= value;
        }
        oracle::decode(&batch);
        let _ = decode(&batch, Layer::new(130, 70));
    }
}

fn copied(layer: &Layer, copies: &[(u32, Copy)]) -> Result<Layer, DecodeError> {
    let mut encoder = Encoder::new(1);
    for (id, copy) in copies {
        assert!(encoder.copy(*id, copy));
    }
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    decode(&batch, layer.clone())
}

fn copy(x: u32, y: u32, w: u32, h: u32, to: (u32, u32)) -> Copy {
    Copy {
        from: Rect { x, y, w, h },
        to,
    }
}

#[test]
fn copies_that_overlap_themselves_are_of_the_picture_before() {
    let old = drawn(130, 70, noise);
    for (dx, dy) in [(1, 0), (0, 1), (7, 3), (0, 0)] {
        for (from, to) in [((0, 0), (dx, dy)), ((dx, dy), (0, 0))] {
            let moved = copied(&old, &[(0, copy(from.0, from.1, 120, 60, to))]).unwrap();
            for y in 0..60 {
                let row = |layer: &Layer, x: u32, y: u32| {
                    layer.pixels[(y * 130 + x) as usize..][..120].to_vec()
                };
                assert_eq!(row(&moved, to.0, to.1 + y), row(&old, from.0, from.1 + y));
            }
        }
    }
}

#[test]
fn copies_that_exchange_two_places_do_not_disturb_each_other() {
    let old = drawn(130, 70, noise);
    let halves = [
        (0, copy(0, 0, 65, 70, (65, 0))),
        (0, copy(65, 0, 65, 70, (0, 0))),
    ];
    let new = copied(&old, &halves).unwrap();
    assert_eq!(new, drawn(130, 70, |x, y| noise((x + 65) % 130, y)));
}

#[test]
fn copy_that_leaves_its_layer_is_refused() {
    let layer = Layer::new(130, 70);
    for wrong in [
        copy(0, 0, 131, 1, (0, 0)),
        copy(1, 0, 130, 1, (0, 0)),
        copy(0, 0, 10, 10, (121, 0)),
        copy(0, 0, 10, 10, (0, 61)),
        copy(0, 0, 0, 10, (0, 0)),
        copy(u32::MAX, 0, 2, 2, (0, 0)),
        copy(0, 0, 2, 2, (0, u32::MAX)),
    ] {
        let refused = copied(&layer, &[(0, wrong)]);
        assert_eq!(refused, Err(DecodeError::OutsideLayer(0)), "{wrong:?}");
    }
    let unknown = copied(&layer, &[(3, copy(0, 0, 1, 1, (1, 1)))]);
    assert_eq!(unknown, Err(DecodeError::UnknownLayer(3)));
}

#[test]
fn copies_have_limits_that_both_ends_keep() {
    for (side, most) in [(1000, 20), (100, 256)] {
        let mut encoder = Encoder::new(1);
        let all = copy(0, 0, side, side, (0, 0));
        let taken = (0..1000).filter(|_| encoder.copy(0, &all)).count();
        assert_eq!(taken, most);
        let mut batch = Vec::new();
        encoder.finish(&mut batch);
        assert!(decode(&batch, Layer::new(1000, 1000)).is_ok());
        let few = Limits {
            max_pixels: (side * side) as usize * most - 1,
            ..Limits::default()
        };
        let mut layers = Layers(vec![Layer::new(1000, 1000)]);
        let refused = Decoder::new().decode(&batch, &few, &mut layers);
        assert_eq!(refused, Err(DecodeError::TooManyPixels(few.max_pixels)));
    }
}

/// A picture whose batch has several parts.
fn large() -> Layer {
    drawn(1000, 700, |x, y| OPAQUE | noise(x, y) & 0xff_ff_ff)
}

#[test]
fn large_batch_comes_in_parts_that_may_be_squeezed_elsewhere() {
    let picture = large();
    let here = encode(None, &picture);
    assert_eq!(here[..2], [4, 8]);
    assert_eq!(decode(&here, Layer::new(1000, 700)).unwrap(), picture);
    let (outlet, parts) = std::sync::mpsc::channel();
    let mut encoder = Encoder::new(1);
    encoder.set_outlet(Box::new(move |part| {
        outlet.send(part).unwrap();
        None
    }));
    oracle::push_changes(&mut encoder, 0, &Layer::new(1000, 700), &picture);
    let Ending { first, last } = encoder.end();
    assert!(encoder.is_empty() && first.is_none());
    let mut squeezer = Squeezer::new();
    let parts: Vec<_> = parts
        .try_iter()
        .chain([last])
        .map(|mut part| squeezer.squeeze(&mut part))
        .collect();
    let elsewhere = pieces(parts.into_iter()).collect::<Vec<_>>().concat();
    assert_eq!(here, elsewhere);
}

#[test]
fn parts_with_more_records_than_the_limit_are_refused_opened_or_not() {
    let new = large();
    let batch = encode(None, &new);
    let limits = Limits {
        max_records: 3,
        ..Limits::default()
    };
    let sealed = sealed_parts(&batch, &limits).unwrap();
    let size = |_| Some((new.w, new.h));
    let mut opener = Opener::new();
    let opened: Vec<_> = sealed
        .iter()
        .map(|part| opener.open(part, &limits, size))
        .collect();
    let blank = || Layers(vec![Layer::new(new.w, new.h)]);
    let apart = Decoder::new().decode_opened(opened.into_iter(), &limits, &mut blank());
    let whole = Decoder::new().decode(&batch, &limits, &mut blank());
    assert!(
        matches!(whole, Err(DecodeError::TooManyRecords { .. })),
        "{whole:?}"
    );
    assert_eq!(apart, whole);
}

#[test]
fn copies_go_before_parts_that_were_full_already() {
    let (old, new) = (drawn(1000, 700, noise), large());
    let mut encoder = Encoder::new(1);
    for cell in heliostat_tiles::cells(new.area()).filter(|cell| cell.y < 640) {
        encoder.push(0, cell, new.view().sub(cell).unwrap(), None);
    }
    // A line that no record writes to.
    assert!(encoder.copy(0, &copy(0, 0, 1000, 1, (0, 699))));
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    let decoded = decode(&batch, old.clone()).unwrap();
    assert_eq!(decoded.pixels[..640_000], new.pixels[..640_000]);
    assert_eq!(decoded.pixels[699_000..], old.pixels[..1000]);
}

#[test]
fn parts_have_limits_in_all_and_none_too_many_or_too_few() {
    let batch = encode(None, &large());
    let mut layers = Layers(vec![Layer::new(1000, 700)]);
    let mut with =
        |batch: &[u8], limits: Limits| Decoder::new().decode(batch, &limits, &mut layers);
    let all = Limits::default();
    // Each part is within these, all of them are not.
    let body = Limits {
        max_body: 2 << 20,
        ..all
    };
    assert!(matches!(
        with(&batch, body),
        Err(DecodeError::TooLarge { .. })
    ));
    let records = Limits {
        max_records: 175,
        ..all
    };
    assert_eq!(
        with(&batch, records),
        Err(DecodeError::TooManyRecords { got: 176, max: 175 })
    );
    let pixels = Limits {
        max_pixels: 699_999,
        ..all
    };
    assert_eq!(
        with(&batch, pixels),
        Err(DecodeError::TooManyPixels(699_999))
    );
    for (count, rest) in [(&[0u8][..], &[][..]), (&[0x81, 0x02], &[3, 0, 0, 0])] {
        let wrong = [&[4], count, rest].concat();
        assert!(matches!(
            with(&wrong, all),
            Err(DecodeError::BadPartCount(_))
        ));
    }
    assert_eq!(
        with(&[batch, vec![0]].concat(), all),
        Err(DecodeError::TrailingBytes(1))
    );
    // An empty part, a part of parts, copies behind the first part.
    assert_eq!(with(&[4, 1, 0], all), Err(DecodeError::Truncated));
    assert_eq!(
        with(&[4, 1, 2, 4, 0], all),
        Err(DecodeError::UnknownEncoding)
    );
    let copies = [4, 2, 3, 0, 0, 0, 4, 2, 0, 0, 0];
    assert_eq!(with(&copies, all), Err(DecodeError::UnknownEncoding));
    assert_eq!(with(&[4, 2, 3, 0, 0, 0, 3, 0, 0, 0], all), Ok(()));
}

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
    fn parts_that_are_opened_elsewhere_are_decoded_alike_whole_or_broken(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        rows in 1u32..4,
    ) {
        // Every part has cells of its own, and xors and copies need what was there before.
        let (old, new) = (drawn(200, 64 * rows, noise), drawn(200, 64 * rows, |x, y| noise(x / 2, y)));
        let mut squeezer = Squeezer::new();
        let parts: Vec<_> = (0..rows)
            .map(|row| {
                let mut encoder = Encoder::new(1);
                if row == 0 {
                    assert!(encoder.copy(0, &copy(0, 0, 50, 20, (60, 30))));
                }
                let cells = heliostat_tiles::cells(new.area());
                for (n, cell) in cells.filter(|cell| cell.y / 64 == row).enumerate() {
                    let before = old.view().sub(cell).filter(|_| n % 2 == 1 && row > 0);
                    encoder.push(0, cell, new.view().sub(cell).unwrap(), before);
                }
                squeezer.squeeze(&mut encoder.end().last)
            })
            .collect();
        let mut batch = pieces(parts.into_iter()).collect::<Vec<_>>().concat();
        for (at, byte) in &flips {
            *at.get_mut(&mut batch) = *byte;
        }
        let limits = Limits::default();
        if let Some(sealed) = sealed_parts(&batch, &limits) {
            let (mut whole, mut opened) = (Layers(vec![old.clone()]), Layers(vec![old.clone()]));
            let expected = Decoder::new().decode(&batch, &limits, &mut whole);
            let size = |layer| (layer == 0).then_some((200, 64 * rows));
            let mut opener = Opener::new();
            let parts = sealed.iter().map(|part| opener.open(part, &limits, size));
            let result = Decoder::new().decode_opened(parts, &limits, &mut opened);
            prop_assert_eq!(result, expected);
            prop_assert!(whole.0 == opened.0);
        } else {
            // One part, or nothing that can be told apart.
            prop_assert!(rows == 1 || !flips.is_empty());
        }
    }
}

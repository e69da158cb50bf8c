//! The codec gives back what it got, refuses what is wrong, and costs what the figures assume.

mod copies;
mod kept;
mod parts;

use heliostat_tiles::oracle::{self, Layer, Layers};
use heliostat_tiles::{DecodeError, Decoder, Encoder, Limits, PixelsRef, Rect};
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

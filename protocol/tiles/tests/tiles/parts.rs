//! Large batches, in parts that are compressed and opened elsewhere.

use heliostat_tiles::oracle::{self, Layer, Layers};
use heliostat_tiles::{
    DecodeError, Decoder, Encoder, Ending, Limits, Opener, Squeezer, pieces, sealed_parts,
};
use proptest::prelude::*;

use super::copies::copy;
use super::{OPAQUE, decode, drawn, encode, noise};

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

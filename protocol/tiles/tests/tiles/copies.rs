//! Copies inside a layer.

use heliostat_tiles::oracle::{Layer, Layers};
use heliostat_tiles::{Copy, DecodeError, Decoder, Encoder, Limits, Rect};

use super::{decode, drawn, noise};

fn copied(layer: &Layer, copies: &[(u32, Copy)]) -> Result<Layer, DecodeError> {
    let mut encoder = Encoder::new(1);
    for (id, copy) in copies {
        assert!(encoder.copy(*id, copy));
    }
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    decode(&batch, layer.clone())
}

pub fn copy(x: u32, y: u32, w: u32, h: u32, to: (u32, u32)) -> Copy {
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

//! What a client tells of a picture besides: taken where it is right, refused where it is not.

use heliostat_drv_video::h264::told::{MAX_RECTANGLES, MAX_REGIONS};
use heliostat_drv_video::sys::plain::{Plain, to_bytes, zeroed};
use heliostat_drv_video::va::{
    self, EncMisc, EncRoi, Rectangle, config_attrib, entrypoint, misc, profile,
};

use crate::alone::alone;
use crate::client::{Encoder, Picture, SIZE, draw, look, paint};
use crate::sys::{Answer, Va, set_environment};

const ENCODER: (i32, i32) = (profile::H264_MAIN, entrypoint::ENC_SLICE);

fn area(x: i16, y: i16, width: u16, height: u16) -> Rectangle {
    Rectangle {
        x,
        y,
        width,
        height,
    }
}

fn bytes<T>(kind: u32, value: T) -> Vec<u8>
where
    T: Copy,
    EncMisc<T>: Plain,
{
    to_bytes(&EncMisc { kind, value })
}

fn dirty(rectangles: &[Rectangle]) -> Vec<u8> {
    let mut value: va::EncMiscDirtyRect = zeroed();
    value.num_roi_rectangle = rectangles.len() as u32;
    value.roi_rectangle = rectangles.as_ptr();
    bytes(misc::DIRTY_RECT, value)
}

fn regions(all: &[EncRoi]) -> va::EncMiscRoi {
    let mut value: va::EncMiscRoi = zeroed();
    value.num_roi = all.len() as u32;
    (value.min_delta_qp, value.max_delta_qp) = (-4, 0);
    value.roi = all.as_ptr();
    value.roi_flags = va::ROI_VALUE_IS_QP_DELTA;
    value
}

fn skipped(flag: u8, count: u8) -> Vec<u8> {
    let mut value: va::EncMiscSkipFrame = zeroed();
    (value.skip_frame_flag, value.num_skip_frames) = (flag, count);
    bytes(misc::SKIP_FRAME, value)
}

fn region(rectangle: Rectangle, value: i8) -> EncRoi {
    EncRoi {
        roi_rectangle: rectangle,
        roi_value: value,
    }
}

/// Draws the picture of time 0 with a part of that of time 9.
fn draw_part(va: &Va, encoder: &Encoder, part: Rectangle) -> Answer {
    let image = va.create_image(va::fourcc(b"NV12"), SIZE)?;
    va.with_image(&image, |bytes| {
        let mut other = bytes.to_vec();
        paint(&image, bytes, 0);
        paint(&image, &mut other, 9);
        for plane in 0..2 {
            let rows = part.y as u32 >> plane..(part.y as u32 + u32::from(part.height)) >> plane;
            for row in rows {
                let at = image.offsets[plane as usize] + row * image.pitches[plane as usize];
                let from = at as usize + part.x as usize;
                let to = from + usize::from(part.width);
                bytes[from..to].copy_from_slice(&other[from..to]);
            }
        }
    })?;
    va.put_image(encoder.input, &image, SIZE, SIZE)?;
    va.destroy_image(&image)
}

#[test]
fn what_is_told_of_a_picture_is_taken_where_it_is_right_and_else_refused() {
    let name = "told::what_is_told_of_a_picture_is_taken_where_it_is_right_and_else_refused";
    alone(name, |alone| {
        let va = &alone.va;
        let part = area(32, 16, 48, 32);
        let outside = [
            area(112, 64, 64, 32),
            area(0, 96, 16, 16),
            area(-16, 0, 32, 16),
            area(16, 16, 0, 16),
        ];
        let many = [part; MAX_RECTANGLES as usize + 1];
        let interest = [region(part, -3)];
        let far = [region(part, -9)];
        let beyond = [region(part, 1)];
        let elsewhere = [region(outside[0], -3)];
        let lots = [region(part, -3); MAX_REGIONS as usize + 1];
        let with = |change: fn(&mut va::EncMiscRoi)| {
            let mut value = regions(&interest);
            change(&mut value);
            bytes(misc::ROI, value)
        };
        let of = |all: &[EncRoi]| bytes(misc::ROI, regions(all));
        let cut = |mut bytes: Vec<u8>| {
            bytes.truncate(bytes.len() - 4);
            bytes
        };
        let nowhere = bytes(misc::DIRTY_RECT, {
            let mut value: va::EncMiscDirtyRect = zeroed();
            value.num_roi_rectangle = 1;
            value
        });
        let refused: Vec<(&str, Vec<Vec<u8>>)> = vec![
            ("5 dirty rectangles, and 1 to 4", vec![dirty(&many)]),
            ("0 dirty rectangles", vec![dirty(&many[..0])]),
            ("at null", vec![nowhere]),
            ("miscellaneous parameters of", vec![cut(dirty(&many[..1]))]),
            (
                "twice for one picture",
                vec![dirty(&many[..1]), dirty(&many[..1])],
            ),
            ("is not in a picture", vec![dirty(&outside[..1])]),
            ("is not in a picture", vec![dirty(&outside[1..2])]),
            ("is not in a picture", vec![dirty(&outside[2..3])]),
            ("is not in a picture", vec![dirty(&outside[3..])]),
            // It moves elsewhere too.
            (
                "outside of all dirty rectangles",
                vec![dirty(&[area(32, 16, 32, 32)])],
            ),
            ("9 regions of interest, and 1 to 8", vec![of(&lots)]),
            ("is not in a picture", vec![of(&elsewhere)]),
            ("a region -9 from", vec![of(&far)]),
            ("a region 1 from", vec![of(&beyond)]),
            ("by priority", vec![with(|value| value.roi_flags = 0)]),
            ("reserved bits", vec![with(|value| value.roi_flags = 3)]),
            (
                "within -9 and 0",
                vec![with(|value| value.min_delta_qp = -9)],
            ),
            ("at null", vec![with(|value| value.roi = std::ptr::null())]),
            ("miscellaneous parameters of", vec![cut(of(&interest))]),
            ("and none of them", vec![skipped(1, 0)]),
            ("with flag 2", vec![skipped(2, 0)]),
            ("with flag 0 and number 1", vec![skipped(0, 1)]),
            ("miscellaneous parameters of", vec![cut(skipped(1, 1))]),
        ];
        for (why, told) in refused {
            let encoder = Encoder::new(va, true, va::RC_VBR).unwrap();
            draw(va, encoder.input, 0).unwrap();
            encoder.submit(va, &encoder.picture(0)).unwrap();
            draw_part(va, &encoder, part).unwrap();
            let picture = Picture {
                told,
                ..encoder.picture(1)
            };
            assert!(encoder.give(va, &picture).is_err(), "{why}");
            let log = alone.log();
            let mut last = log.lines().rev().take(2);
            assert!(last.any(|said| said.contains(why)), "{why}: {log}");
            // What is right is still taken, all of it at once.
            let picture = Picture {
                told: vec![dirty(&[part]), of(&interest), skipped(1, 2)],
                ..encoder.picture(1)
            };
            encoder.submit(va, &picture).unwrap();
            // And nothing but that picture is relied upon.
            draw(va, encoder.input, 9).unwrap();
            let next = Picture {
                told: vec![dirty(&[part])],
                ..encoder.picture(2)
            };
            assert!(encoder.give(va, &next).is_err());
            encoder.submit(va, &encoder.picture(2)).unwrap();
            encoder.destroy(va).unwrap();
        }
        let said =
            "3 pictures encoded: 1 with dirty rectangles, 1 with regions of interest, 1 after";
        assert_eq!(alone.log().matches(said).count(), 23);

        let key = Encoder::new(va, true, va::RC_VBR).unwrap();
        let picture = Picture {
            told: vec![dirty(&[part])],
            ..key.picture(0)
        };
        assert!(key.give(va, &picture).is_err());
        assert!(alone.log().contains("dirty rectangles in an intra picture"));
        let early = Picture {
            misc: vec![dirty(&[part])],
            ..key.picture(0)
        };
        assert!(key.give(va, &early).is_err());
        assert!(alone.log().contains("of a picture before its parameters"));
        key.destroy(va).unwrap();
        let constant = Encoder::new(va, true, va::RC_CQP).unwrap();
        constant.submit(va, &constant.picture(0)).unwrap();
        let picture = Picture {
            told: vec![skipped(1, 1)],
            ..constant.picture(1)
        };
        assert!(constant.give(va, &picture).is_err());
        assert!(alone.log().contains("of constant quantizers"));
        constant.destroy(va).unwrap();
    });
}

#[test]
fn picture_after_others_that_were_skipped_has_their_bits_as_well() {
    let name = "told::picture_after_others_that_were_skipped_has_their_bits_as_well";
    alone(name, |alone| {
        let va = &alone.va;
        let bytes_of = |told: Option<Vec<u8>>| {
            let encoder = Encoder::new(va, true, va::RC_VBR).unwrap();
            let mut bytes = 0;
            for number in 0..40 {
                draw(va, encoder.input, number * 5).unwrap();
                let mut picture = encoder.picture(number);
                if let Some(sequence) = &mut picture.sequence {
                    sequence.bits_per_second = 200_000;
                }
                if number > 0 {
                    picture.told.extend(told.clone());
                }
                let coded = encoder.submit(va, &picture).unwrap();
                bytes += if number > 20 { coded.len() } else { 0 };
            }
            encoder.destroy(va).unwrap();
            bytes
        };
        let (all, some) = (bytes_of(None), bytes_of(Some(skipped(1, 3))));
        println!("{all} bytes, and {some} where three of four were skipped");
        assert!(some * 2 > all * 3, "{some} and {all}");
    });
}

#[test]
fn what_is_lacking_is_neither_offered_nor_taken() {
    let name = "told::what_is_lacking_is_neither_offered_nor_taken";
    alone(name, |alone| {
        let kinds = [
            (config_attrib::ENC_ROI, "regions", 8 | 1 << 9),
            (config_attrib::ENC_DIRTY_RECT, "dirty-rectangles", 4),
            (config_attrib::ENC_SKIP_FRAME, "skipped-pictures", 1),
        ];
        let part = [area(0, 0, 16, 16)];
        let interest = [region(part[0], -3)];
        let told = [
            bytes(misc::ROI, regions(&interest)),
            dirty(&part),
            skipped(1, 1),
        ];
        for (index, (kind, lacking, offered)) in kinds.into_iter().enumerate() {
            let value = |va: &Va| va.get_attribute(ENCODER.0, ENCODER.1, kind);
            assert_eq!(value(&alone.va), Ok(offered));
            set_environment("HELIOSTAT_VA_LACKS", lacking);
            let va = Va::open(&crate::alone::Alone::node()).unwrap();
            assert_eq!(value(&va), Ok(config_attrib::NOT_SUPPORTED));
            let encoder = Encoder::new(&va, true, va::RC_VBR).unwrap();
            encoder.submit(&va, &encoder.picture(0)).unwrap();
            for (other, told) in told.iter().enumerate() {
                let picture = Picture {
                    told: vec![told.clone()],
                    ..encoder.picture(1)
                };
                assert_eq!(encoder.give(&va, &picture).is_err(), other == index);
                if other != index {
                    va.sync_buffer(encoder.coded).unwrap();
                    let seen = look(&va, encoder.input).unwrap();
                    assert!(!seen.is_empty());
                }
                let key = encoder.picture(0);
                encoder.submit(&va, &key).unwrap();
            }
            encoder.destroy(&va).unwrap();
        }
        set_environment("HELIOSTAT_VA_LACKS", "anything");
        assert!(Va::open(&crate::alone::Alone::node()).is_err());
    });
}

#[test]
fn entry_point_for_low_power_is_offered_where_the_environment_has_it() {
    let name = "told::entry_point_for_low_power_is_offered_where_the_environment_has_it";
    alone(name, |alone| {
        let low = (ENCODER.0, entrypoint::ENC_SLICE_LP);
        let rates = |va: &Va| va.get_attribute(low.0, low.1, config_attrib::RATE_CONTROL);
        let is_listed = |va: &Va| va.query_entrypoints(low.0).unwrap().contains(&low.1);
        assert!(!is_listed(&alone.va) && rates(&alone.va).is_err());
        for (has, expected) in [
            ("low-power", va::RC_CQP | va::RC_CBR | va::RC_VBR),
            ("low-power-constant", va::RC_CQP),
        ] {
            set_environment("HELIOSTAT_VA_HAS", has);
            let va = Va::open(&crate::alone::Alone::node()).unwrap();
            assert!(is_listed(&va));
            assert_eq!(rates(&va), Ok(expected), "{has}");
        }
        set_environment("HELIOSTAT_VA_HAS", "anything");
        assert!(Va::open(&crate::alone::Alone::node()).is_err());
    });
}

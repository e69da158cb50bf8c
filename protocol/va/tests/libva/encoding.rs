//! Pictures through the encoder and back.

use heliostat_va::abi::PACKED_SLICE;
use heliostat_va::encoder::{About, Area, EncodeError, Encoder, Rate, Settings};
use heliostat_va::probe::{Probe, RateControl};
use heliostat_video::syntax::{Colour, Kind, Order, SequenceParameters, units};
use heliostat_video::{Encoded, Size, inspect};

use crate::alone::{alone, display};
use crate::changes::BOUNDED;
use crate::scene::{Buffer, NV12, Viewer, XRGB};
use crate::sys::allocations;

pub const CONSTANT: Rate = Rate::Constant { quantizer: 20 };

pub fn settings(size: Size, rate: Rate) -> Settings {
    Settings {
        size,
        pictures_per_second: 30,
        rate,
    }
}

pub fn encoder(size: Size, rate: Rate) -> Encoder {
    let display = display().unwrap();
    let probe = Probe::new(&display).unwrap();
    Encoder::new(&display, &probe, settings(size, rate)).unwrap()
}

pub fn nothing_is_left(log: &str) {
    assert!(!log.contains("left behind"), "{log}");
    assert!(!log.contains("refused"), "{log}");
}

#[test]
fn each_picture_comes_out_as_it_went_in_whatever_its_size_and_format() {
    let name = "encoding::each_picture_comes_out_as_it_went_in_whatever_its_size_and_format";
    let ran = alone(name, "", || {
        for (w, h) in [(640, 360), (641, 361), (98, 64), (17, 99)] {
            let size = Size { w, h };
            for format in [XRGB, NV12] {
                let mut encoder = encoder(size, CONSTANT);
                let buffers = [0; 3].map(|_| Buffer::new(format, size));
                let (mut viewer, mut unit) = (Viewer::new(size), Vec::new());
                for time in 0..9 {
                    let buffer = &buffers[time as usize % 3];
                    let drawn = buffer.draw(time);
                    let wanted = time == 5;
                    let encoded = buffer
                        .with(|b| encoder.encode(b, wanted, &mut unit))
                        .unwrap();
                    let key = wanted || time == 0;
                    let expected = if key {
                        Encoded::Key
                    } else {
                        Encoded::Difference
                    };
                    assert_eq!(encoded, expected, "{w}×{h}, {time}");
                    assert_eq!(inspect(&unit, size).map(|unit| unit.key), Ok(key));
                    let quality = viewer.compare(&unit, &drawn);
                    assert!(quality >= 35.0, "{w}×{h}, {time}: {quality} dB");
                }
            }
        }
    });
    if let Some(ran) = ran {
        nothing_is_left(&ran.log);
    }
}

#[test]
fn part_of_a_buffer_is_cut_out_by_the_device_and_nothing_beside_it_is_seen() {
    let name = "encoding::part_of_a_buffer_is_cut_out_by_the_device_and_nothing_beside_it_is_seen";
    let ran = alone(name, "", || {
        let all = Size { w: 640, h: 362 };
        let display = display().unwrap();
        let probe = Probe::new(&display).unwrap();
        for (format, corner, (w, h)) in [
            (XRGB, (101, 37), (321, 203)),
            (XRGB, (0, 0), (320, 200)),
            (XRGB, (319, 159), (321, 203)),
            (NV12, (100, 38), (321, 203)),
        ] {
            let size = Size { w, h };
            let mut encoder = Encoder::new(&display, &probe, settings(size, CONSTANT)).unwrap();
            let buffers = [0; 3].map(|_| Buffer::new(format, all));
            let (mut viewer, mut unit) = (Viewer::new(size), Vec::new());
            for time in 0..9 {
                let buffer = &buffers[time as usize % 3];
                let drawn = buffer.draw(time);
                let rows = drawn.chunks(all.w as usize).skip(corner.1 as usize);
                let part = rows
                    .take(h as usize)
                    .flat_map(|row| &row[corner.0 as usize..][..w as usize]);
                let part: Vec<u32> = part.copied().collect();
                buffer
                    .with(|b| encoder.encode_part(b, corner, About::default(), &mut unit))
                    .unwrap();
                let quality = viewer.compare(&unit, &part);
                assert!(
                    quality >= 35.0,
                    "{w}×{h} at {corner:?}, {time}: {quality} dB"
                );
            }
        }
    });
    let Some(ran) = ran else { return };
    nothing_is_left(&ran.log);
    let counters = ran.counters.lines();
    let imported: Vec<_> = counters.filter(|l| l.contains("role=imported")).collect();
    assert_eq!(imported.len(), 12, "{imported:?}");
    for line in imported {
        assert!(line.contains("lent=0 copied=0 encoded=0"), "{line}");
        assert!(line.contains("processed-from=3"), "{line}");
    }
}

#[test]
fn part_that_is_not_in_its_buffer_is_refused_and_the_video_goes_on() {
    let name = "encoding::part_that_is_not_in_its_buffer_is_refused_and_the_video_goes_on";
    let ran = alone(name, "", || {
        let all = Size { w: 200, h: 100 };
        let size = Size { w: 64, h: 48 };
        let mut encoder = encoder(size, CONSTANT);
        let [rgb, nv12] = [XRGB, NV12].map(|format| Buffer::new(format, all));
        let mut unit = Vec::new();
        let lies = [
            (&rgb, (137, 0)),
            (&rgb, (0, 53)),
            (&rgb, (u32::MAX, u32::MAX)),
            (&nv12, (1, 0)),
            (&nv12, (0, 1)),
        ];
        for (round, (buffer, corner)) in lies.into_iter().enumerate() {
            let refused =
                buffer.with(|b| encoder.encode_part(b, corner, About::default(), &mut unit));
            let refused = refused.unwrap_err();
            assert!(matches!(refused, EncodeError::Buffer(_)), "{refused:?}");
            assert!(unit.is_empty());
            let whole = buffer.with(|b| encoder.encode(b, false, &mut unit));
            assert!(matches!(whole, Err(EncodeError::Buffer(_))), "{whole:?}");
            let drawn =
                buffer.with(|b| encoder.encode_part(b, (136, 52), About::default(), &mut unit));
            let expected = match round {
                0 => Encoded::Key,
                _ => Encoded::Difference,
            };
            assert_eq!(drawn.unwrap(), expected);
        }
    });
    if let Some(ran) = ran {
        nothing_is_left(&ran.log);
    }
}

#[test]
fn key_says_what_colours_mean_and_that_nothing_is_held_back() {
    let name = "encoding::key_says_what_colours_mean_and_that_nothing_is_held_back";
    alone(name, "", || {
        let size = Size { w: 150, h: 100 };
        let (buffer, mut unit) = (Buffer::new(XRGB, size), Vec::new());
        let encoded = buffer.with(|b| encoder(size, CONSTANT).encode(b, false, &mut unit));
        assert_eq!(encoded.unwrap(), Encoded::Key);
        let kinds: Vec<_> = units(&unit).unwrap().map(|nal| Kind::of(nal[0])).collect();
        assert_eq!(kinds, [Kind::Sequence, Kind::Picture, Kind::Idr].map(Ok));
        let sequence = SequenceParameters::read(units(&unit).unwrap().next().unwrap()).unwrap();
        assert_eq!(sequence.colour, Some(Colour::BT709));
        assert_eq!((sequence.references, sequence.held_back), (1, Some(0)));
        // Pictures are shown as they are decoded: picture order count type 2.
        assert_eq!(sequence.order, Order::Decoding);
    });
}

#[test]
fn key_never_comes_by_itself() {
    let name = "encoding::key_never_comes_by_itself";
    alone(name, "", || {
        let size = Size { w: 64, h: 48 };
        for rate in [CONSTANT, BOUNDED] {
            let (mut encoder, mut unit) = (encoder(size, rate), Vec::new());
            let buffer = Buffer::new(XRGB, size);
            // More than drivers' usual distance between keys, and than a frame's number counts to.
            for time in 0..1200 {
                buffer.draw(time);
                let encoded = buffer.with(|b| encoder.encode(b, false, &mut unit));
                let kinds = units(&unit).unwrap().map(|nal| Kind::of(nal[0]));
                let is_idr = kinds.into_iter().any(|kind| kind == Ok(Kind::Idr));
                let expected = (Encoded::Difference, false);
                let seen = (encoded.unwrap(), is_idr);
                assert_eq!(seen == expected, time > 0, "{time}: {seen:?}");
            }
        }
    });
}

#[test]
fn rate_that_is_bounded_stays_in_bounds_and_can_be_changed() {
    let name = "encoding::rate_that_is_bounded_stays_in_bounds_and_can_be_changed";
    let ran = alone(name, "", || {
        let size = Size { w: 320, h: 240 };
        let bounded = |bits_per_second| Rate::Bounded {
            bits_per_second,
            finest: 10,
            coarsest: 51,
        };
        let mut encoder = encoder(size, bounded(4_000_000));
        assert_eq!(encoder.path().rate_control, RateControl::Variable);
        let (buffer, mut viewer) = (Buffer::new(XRGB, size), Viewer::new(size));
        let (mut unit, mut bytes) = (Vec::new(), [0, 0]);
        for (index, rate) in [4_000_000, 400_000].into_iter().enumerate() {
            encoder.set_rate(bounded(rate));
            for time in 0..60 {
                buffer.draw_noise(time);
                buffer
                    .with(|b| encoder.encode(b, false, &mut unit))
                    .unwrap();
                // The first second is the driver's to find its quantizer in.
                bytes[index] += if time < 30 { 0 } else { unit.len() };
                viewer.compare(&unit, &[]);
            }
        }
        assert!(bytes[0] * 8 <= 6_000_000, "{bytes:?}");
        assert!(bytes[1] * 8 <= 600_000, "{bytes:?}");
        assert!(bytes[1] * 3 < bytes[0], "{bytes:?}");
    });
    if let Some(ran) = ran {
        nothing_is_left(&ran.log);
    }
}

#[test]
fn buffer_is_imported_once_and_again_when_it_was_forgotten_and_never_copied() {
    let name = "encoding::buffer_is_imported_once_and_again_when_it_was_forgotten_and_never_copied";
    let ran = alone(name, "", || {
        let size = Size { w: 64, h: 48 };
        let mut encoder = encoder(size, CONSTANT);
        let buffers = [XRGB, NV12].map(|format| Buffer::new(format, size));
        let mut unit = Vec::new();
        for round in 0..12 {
            let buffer = &buffers[round % 2];
            buffer
                .with(|b| encoder.encode(b, false, &mut unit))
                .unwrap();
        }
        encoder.forget(buffers[0].object().identity);
        buffers[0]
            .with(|b| encoder.encode(b, false, &mut unit))
            .unwrap();
    });
    let Some(ran) = ran else { return };
    nothing_is_left(&ran.log);
    assert_eq!(
        ran.log.matches("imported a memfd").count(),
        3,
        "{}",
        ran.log
    );
    let imported = ran
        .counters
        .lines()
        .filter(|line| line.contains("role=imported"));
    let lines: Vec<_> = imported.collect();
    assert_eq!(lines.len(), 2, "{}", ran.counters);
    assert!(
        lines.iter().all(|line| line.contains("lent=0 copied=0")),
        "{lines:?}"
    );
    assert!(
        lines[0].contains("encoded=0 decoded=0 processed-from=7"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("encoded=6 decoded=0 processed-from=0"),
        "{lines:?}"
    );
}

#[test]
fn steady_stream_allocates_nothing() {
    alone("encoding::steady_stream_allocates_nothing", "", || {
        let size = Size { w: 320, h: 240 };
        let larger = Size { w: 400, h: 300 };
        let part = |n: u32| Area {
            x: n * 9,
            y: n * 7,
            w: 230,
            h: 70,
        };
        let mut changed: Vec<Area> = (0..30).map(part).collect();
        let (Size { w, h }, [x, y]) = (size, [0; 2]);
        changed.push(Area { x, y, w, h });
        for (all, corner) in [(size, (0, 0)), (larger, (33, 21))] {
            let mut encoder = encoder(size, CONSTANT);
            let buffers = [0; 3].map(|_| Buffer::new(XRGB, all));
            let mut unit = Vec::with_capacity(1 << 20);
            for time in 0..40 {
                let buffer = &buffers[time as usize % 3];
                buffer.draw(time);
                let about = About {
                    changed: Some(&changed),
                    ..About::default()
                };
                let before = allocations();
                buffer
                    .with(|b| encoder.encode_part(b, corner, about, &mut unit))
                    .unwrap();
                let made = allocations() - before;
                // The first one shows that it is counted at all.
                assert!(time > 0 || made > 0);
                assert!(time < 3 || made == 0, "picture {time}: {made} allocations");
            }
        }
    });
}

#[test]
fn device_without_conversions_encodes_nv12_and_says_so_of_the_rest() {
    let name = "encoding::device_without_conversions_encodes_nv12_and_says_so_of_the_rest";
    alone(name, "", || {
        let display = display().unwrap();
        let mut probe = Probe::new(&display).unwrap();
        probe.converter = None;
        let size = Size { w: 64, h: 48 };
        let mut encoder = Encoder::new(&display, &probe, settings(size, CONSTANT)).unwrap();
        let [rgb, nv12] = [XRGB, NV12].map(|format| Buffer::new(format, size));
        let (mut viewer, mut unit) = (Viewer::new(size), Vec::new());
        for time in 0..3 {
            let drawn = nv12.draw(time);
            nv12.with(|b| encoder.encode(b, false, &mut unit)).unwrap();
            assert!(viewer.compare(&unit, &drawn) >= 35.0);
            let refused = rgb.with(|b| encoder.encode(b, false, &mut unit));
            assert!(
                matches!(refused, Err(EncodeError::NoConversion(XRGB))),
                "{refused:?}"
            );
        }
    });
}

#[test]
fn driver_that_misses_headers_is_an_error_each_time_and_not_a_black_screen() {
    let name = "encoding::driver_that_misses_headers_is_an_error_each_time_and_not_a_black_screen";
    let ran = alone(name, "", || {
        let display = display().unwrap();
        let mut probe = Probe::new(&display).unwrap();
        for codec in &mut probe.codecs {
            codec.packed_headers &= !PACKED_SLICE;
        }
        let size = Size { w: 64, h: 48 };
        let mut encoder = Encoder::new(&display, &probe, settings(size, CONSTANT)).unwrap();
        let (buffer, mut unit) = (Buffer::new(XRGB, size), Vec::new());
        for _ in 0..3 {
            let refused = buffer.with(|b| encoder.encode(b, false, &mut unit));
            assert!(matches!(refused, Err(EncodeError::Va(_))), "{refused:?}");
            assert!(unit.is_empty());
        }
    });
    if let Some(ran) = ran {
        let said = "one slice needs one packed slice header";
        assert_eq!(ran.log.matches(said).count(), 3, "{}", ran.log);
        assert!(!ran.log.contains("left behind"), "{}", ran.log);
    }
}

#[test]
fn video_of_no_possible_size_is_refused() {
    alone("encoding::video_of_no_possible_size_is_refused", "", || {
        let display = display().unwrap();
        let probe = Probe::new(&display).unwrap();
        for (w, h) in [(0, 0), (8, 64), (16384, 16384)] {
            let size = Size { w, h };
            let refused = Encoder::new(&display, &probe, settings(size, CONSTANT));
            assert!(
                matches!(refused.err(), Some(EncodeError::Size(_))),
                "{w}×{h}"
            );
        }
    });
}

#[test]
fn probe_reads_as_what_the_driver_offers() {
    alone(
        "encoding::probe_reads_as_what_the_driver_offers",
        "",
        || {
            let probe = Probe::new(&display().unwrap()).unwrap();
            let said = probe.to_string();
            for words in [
                "H.264 Main, EncSlice, up to 4096×4096",
                "H.264 High, VLD",
                "rate control: constant quantizer, bounded rate, constant rate",
                "packed headers: sequence, picture, slice, other, raw",
                "offered besides: intra refresh by none, 8 regions of interest, 4 dirty rectangles",
                "surfaces: NV12 (linear)",
            ] {
                assert!(said.contains(words), "{words} not in:\n{said}");
            }
            let size = Size { w: 1920, h: 1080 };
            let path = probe.plan_encoding(size, true).unwrap().to_string();
            assert_eq!(
                path,
                "H.264 Main by EncSlice (EncSliceLP is not offered), bounded rate, all headers ours; RGB by \
                 VideoProc, which is told the colours, NV12 as it is; the driver is told what has changed, \
                 what was left out"
            );
            let path = probe.plan_decoding(size).unwrap().to_string();
            assert_eq!(path, "H.264 up to High by VLD into NV12, linear");
        },
    );
}

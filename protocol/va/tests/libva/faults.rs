//! A driver that fails at every call in turn.

use heliostat_va::Error;
use heliostat_va::decoder::converter::Converter;
use heliostat_va::decoder::{DecodeError, Decoder};
use heliostat_va::encoder::{About, Encoder};
use heliostat_va::image::Reader;
use heliostat_va::probe::Probe;
use heliostat_video::{Encoded, Size};

use crate::alone::{alone, display};
use crate::changes::{self, BOUNDED, Desktop};
use crate::decoding::{film, likeness, likeness_of_rgb};
use crate::encoding::{CONSTANT, settings};
use crate::scene::{Buffer, Viewer, XRGB};
use crate::stage::Ran;
use crate::sys::set_environment;

const SIZE: Size = Size { w: 64, h: 48 };

/// Entry points that a codec reaches, and whether their failure is one of the codec's, or only
/// makes it ask again or do without.
const ALL: [(&str, bool); 21] = [
    ("vaQueryConfigProfiles", true),
    ("vaQueryConfigEntrypoints", true),
    ("vaGetConfigAttributes", true),
    ("vaCreateConfig", true),
    ("vaQuerySurfaceAttributes", true),
    ("vaQueryVideoProcPipelineCaps", true),
    ("vaCreateContext", true),
    ("vaCreateBuffer", true),
    ("vaMapBuffer", true),
    ("vaUnmapBuffer", true),
    ("vaBeginPicture", true),
    ("vaRenderPicture", true),
    ("vaEndPicture", true),
    ("vaSyncBuffer", true),
    ("vaSyncSurface", true),
    ("vaCreateSurfaces2", false),
    ("vaExportSurfaceHandle", false),
    ("vaDestroySurfaces", false),
    ("vaDestroyContext", false),
    ("vaDestroyConfig", false),
    ("vaDestroyBuffer", false),
];
/// Which of their calls fail.
const CALLS: [u32; 9] = [1, 2, 3, 5, 8, 13, 21, 34, 55];

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Does something until it is done; writes down why it was not.
fn insist<T, E: ToString>(errors: &mut Vec<String>, act: impl Fn() -> Result<T, E>) -> T {
    loop {
        match act() {
            Ok(done) => return done,
            Err(error) => errors.push(error.to_string()),
        }
        assert!(errors.len() < 3, "{errors:?}");
    }
}

/// Encodes until ten pictures have come out well, a key after each error; returns the errors.
fn encode_all() -> Vec<String> {
    let mut errors = Vec::new();
    let display = display().unwrap();
    let probe = insist(&mut errors, || Probe::new(&display));
    let mut encoder = Encoder::new(&display, &probe, settings(SIZE, CONSTANT)).unwrap();
    let buffers = [0; 3].map(|_| Buffer::new(XRGB, SIZE));
    let (mut viewer, mut unit, mut good) = (Viewer::new(SIZE), Vec::new(), 0);
    while good < 10 {
        let buffer = &buffers[good as usize % 3];
        let drawn = buffer.draw(good);
        match buffer.with(|b| encoder.encode(b, good == 6, &mut unit)) {
            Ok(encoded) => {
                // What was left out was maybe a key: the terminal then takes none but a key.
                let is_key = encoded == Encoded::Key;
                assert!(is_key || good > 0);
                assert!(viewer.compare(&unit, &drawn) >= 35.0);
                good += 1;
            }
            Err(error) => errors.push(error.to_string()),
        }
        assert!(errors.len() < 3, "{errors:?}");
    }
    errors
}

/// Decodes until ten pictures have come out well, from a key on after each error; returns the errors.
fn decode_all() -> Vec<String> {
    let mut errors = Vec::new();
    let display = display().unwrap();
    let probe = insist(&mut errors, || Probe::new(&display));
    let mut decoder = Decoder::new(&display, &probe, SIZE).unwrap();
    let film = film(SIZE, 10);
    let (mut good, mut at, mut reader) = (0, 0, Reader::default());
    while good < 10 {
        let (drawn, unit) = &film[at];
        match decoder.decode(unit) {
            Ok(frame) => {
                assert!(likeness(&frame, SIZE, drawn) >= 33.0);
                at = (at + 1) % film.len();
                match reader.read(&frame, |picture| picture.planes[0][0]) {
                    Ok(_) => good += 1,
                    Err(error) => errors.push(error.to_string()),
                }
            }
            Err(error) => {
                errors.push(error.to_string());
                assert!(at == 0 || matches!(decoder.decode(unit), Err(DecodeError::NoKey)));
                at = 0;
            }
        }
        assert!(errors.len() < 3, "{errors:?}");
    }
    errors
}

/// Decodes and makes RGB until ten pictures have come out well. A decoder goes on from a key after each
/// error of its own; a converter with the same picture.
fn convert_all() -> Vec<String> {
    let mut errors = Vec::new();
    let display = display().unwrap();
    let probe = insist(&mut errors, || Probe::new(&display));
    let mut decoder = Decoder::new(&display, &probe, SIZE).unwrap();
    let mut converter = insist(&mut errors, || Converter::new(&display, &probe, SIZE));
    let film = film(SIZE, 10);
    let (mut good, mut at) = (0, 0);
    while good < 10 {
        let (drawn, unit) = &film[at];
        match decoder.decode(unit) {
            Ok(frame) => {
                let rgb = loop {
                    match converter.convert(&frame) {
                        Ok(rgb) => break rgb,
                        Err(error) => errors.push(error.to_string()),
                    }
                    assert!(errors.len() < 3, "{errors:?}");
                };
                assert!(likeness_of_rgb(&rgb, SIZE, drawn) >= 28.0);
                at = (at + 1) % film.len();
                good += 1;
            }
            Err(error) => {
                errors.push(error.to_string());
                at = 0;
            }
        }
        assert!(errors.len() < 3, "{errors:?}");
    }
    errors
}

/// Runs `act` where a call fails; returns what the driver has logged, and the errors.
fn fails_at(name: &str, fault: &str, act: fn() -> Vec<String>) -> Option<Ran> {
    let ran = alone(name, fault, || {
        // The first time, libva is loaded.
        drop(display().unwrap());
        let before = open_files();
        let errors = act();
        assert_eq!(open_files(), before, "{errors:?}");
        let fault = std::env::var("HELIOSTAT_VA_FAULTS").unwrap();
        let call = fault.split(':').next().unwrap();
        let said = call.replace("Surfaces2", "Surfaces");
        assert!(
            errors.iter().all(|error| error.contains(&said)),
            "{errors:?}"
        );
        let file = std::env::var("HELIOSTAT_VA_LOG").unwrap() + "-errors";
        std::fs::write(file, errors.join("\n")).unwrap();
    })?;
    assert!(!ran.log.contains("left behind"), "{fault}: {}", ran.log);
    Some(ran)
}

fn has_failed(ran: &Ran, call: &str, number: u32) -> bool {
    let said = format!("{call} with OPERATION_FAILED: call {number} fails");
    ran.log.contains(&said)
}

fn fails_in_turn(name: &str, calls: &[(&str, bool)], act: fn() -> Vec<String>) {
    for (call, is_error) in calls {
        for number in CALLS {
            let fault = format!("{call}:{number}");
            let Some(ran) = fails_at(name, &fault, act) else {
                return;
            };
            if !has_failed(&ran, call, number) {
                // It is not called that often.
                assert!(number > 1, "{fault} never happens");
                break;
            }
            if *is_error {
                assert!(!ran.errors.is_empty(), "{fault}");
            }
        }
    }
}

#[test]
fn each_call_that_fails_an_encoder_is_an_error_and_leaves_nothing_behind() {
    let name = "faults::each_call_that_fails_an_encoder_is_an_error_and_leaves_nothing_behind";
    fails_in_turn(name, &ALL, encode_all);
}

#[test]
fn each_call_that_fails_a_decoder_is_an_error_and_leaves_nothing_behind() {
    let name = "faults::each_call_that_fails_a_decoder_is_an_error_and_leaves_nothing_behind";
    let images = [
        ("vaCreateImage", true),
        ("vaGetImage", true),
        ("vaDestroyImage", false),
    ];
    let calls: Vec<_> = ALL
        .into_iter()
        .filter(|(call, _)| !["vaSyncBuffer", "vaSyncSurface"].contains(call))
        .chain(images)
        .chain([("vaSyncSurface2", true)])
        .collect();
    fails_in_turn(name, &calls, decode_all);
}

#[test]
fn each_call_that_fails_what_makes_rgb_is_an_error_and_leaves_nothing_behind() {
    let name = "faults::each_call_that_fails_what_makes_rgb_is_an_error_and_leaves_nothing_behind";
    // No coded picture is read.
    let unused = [
        "vaSyncBuffer",
        "vaSyncSurface",
        "vaMapBuffer",
        "vaUnmapBuffer",
    ];
    let calls: Vec<_> = ALL
        .into_iter()
        .filter(|(call, _)| !unused.contains(call))
        .chain([("vaSyncSurface2", true)])
        .collect();
    fails_in_turn(name, &calls, convert_all);
}

/// Encodes a desktop of which little changes, and tells the driver so. An error names its picture.
fn tell_all() -> Vec<String> {
    let mut errors = Vec::new();
    let display = display().unwrap();
    let probe = Probe::new(&display).unwrap();
    let settings = settings(changes::SIZE, BOUNDED);
    let mut encoder = Encoder::new(&display, &probe, settings).unwrap();
    let mut desktop = Desktop::new(XRGB, changes::SIZE);
    let (mut viewer, mut unit) = (Viewer::new(changes::SIZE), Vec::new());
    let mut is_key = true;
    for number in 0..TOLD + 4 {
        let drawn = desktop.draw();
        let about = About {
            changed: Some(&[drawn]),
            left_out: 1,
            ..About::default()
        };
        let encoded = desktop
            .buffer()
            .with(|b| encoder.encode_part(b, (0, 0), about, &mut unit));
        match encoded {
            Ok(encoded) => {
                assert_eq!(encoded == Encoded::Key, is_key, "{number}: {errors:?}");
                assert!(viewer.compare(&unit, &desktop.shown) >= 28.0, "{number}");
                is_key = false;
            }
            Err(error) => {
                errors.push(format!("picture {number}: {error}"));
                is_key = true;
            }
        }
    }
    assert!(errors.len() < 2, "{errors:?}");
    errors
}

/// The first picture after which all is told that can be.
const TOLD: u32 = 17;

fn tell_all_of_interest() -> Vec<String> {
    set_environment("HELIOSTAT_VA_LACKS", "dirty-rectangles");
    tell_all()
}

/// Has each call fail that is made for the picture of which the driver is told most, from one before it
/// to one behind.
fn fails_where_told(name: &str, call: &str, from: u32, act: fn() -> Vec<String>) {
    let mut failed = Vec::new();
    for number in from.. {
        let fault = format!("{call}:{number}");
        let Some(ran) = fails_at(name, &fault, act) else {
            return;
        };
        assert!(has_failed(&ran, call, number), "{fault} never happens");
        let picture = ran.errors.strip_prefix("picture ");
        let picture = picture.and_then(|said| said.split_once(':'));
        let picture = picture.map(|(picture, _)| picture.parse::<u32>().unwrap());
        let picture = picture.unwrap_or_else(|| panic!("{fault} is no error"));
        failed.push(picture);
        if picture > TOLD {
            break;
        }
    }
    assert!(failed[0] < TOLD, "{failed:?}");
    let of_it = failed.iter().filter(|picture| **picture == TOLD).count();
    // What is converted, the picture, its slice with a header in two, and twice what is told.
    assert_eq!(of_it, 7, "{failed:?}");
}

#[test]
fn each_buffer_that_tells_what_has_changed_may_fail() {
    let name = "faults::each_buffer_that_tells_what_has_changed_may_fail";
    fails_where_told(name, "vaCreateBuffer", 90, tell_all);
}

#[test]
fn each_buffer_that_tells_what_is_of_interest_may_fail() {
    let name = "faults::each_buffer_that_tells_what_is_of_interest_may_fail";
    fails_where_told(name, "vaCreateBuffer", 90, tell_all_of_interest);
}

#[test]
fn display_that_cannot_be_opened_or_closed_leaves_no_files() {
    let name = "faults::display_that_cannot_be_opened_or_closed_leaves_no_files";
    for fault in ["vaInitialize:2", "vaTerminate:1"] {
        let ran = alone(name, fault, || {
            let _ = display();
            let before = open_files();
            let opened = display();
            let fails_first = std::env::var("HELIOSTAT_VA_FAULTS")
                .unwrap()
                .contains("Init");
            assert_eq!(opened.is_err(), fails_first);
            drop(opened);
            assert_eq!(open_files(), before);
        });
        if ran.is_none() {
            return;
        }
    }
}

#[test]
fn decoder_waits_for_surfaces_where_a_driver_knows_no_limit() {
    let name = "faults::decoder_waits_for_surfaces_where_a_driver_knows_no_limit";
    let missing = (1..100).map(|n| format!("vaSyncSurface2:{n}=missing"));
    let missing: Vec<String> = missing.collect();
    let ran = alone(name, &missing.join(","), || {
        assert_eq!(decode_all(), [""; 0]);
    });
    if let Some(ran) = ran {
        assert!(!ran.log.contains("left behind"), "{}", ran.log);
    }
}

#[test]
fn driver_that_hangs_is_waited_for_once() {
    let name = "faults::driver_that_hangs_is_waited_for_once";
    let ran = alone(name, "vaSyncSurface2:11=hang", || {
        let display = display().unwrap();
        let probe = Probe::new(&display).unwrap();
        let mut decoder = Decoder::new(&display, &probe, SIZE).unwrap();
        let film = film(SIZE, 4);
        let mut frames = Vec::new();
        for (_, unit) in &film[..2] {
            frames.push(decoder.decode(unit).unwrap());
        }
        for unit in [&film[2].1, &film[0].1] {
            let error = decoder.decode(unit).unwrap_err();
            assert!(matches!(error, DecodeError::Va(Error::Lost)), "{error}");
        }
        assert!(likeness(&frames[1], SIZE, &film[1].0) >= 33.0);
    });
    let Some(ran) = ran else { return };
    let last = ran.log.lines().last().unwrap_or_default();
    assert!(last.contains("vaSyncSurface2 with TIMEDOUT"), "{}", ran.log);
}

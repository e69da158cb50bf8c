//! Films that hardware decodes, through the scene, beside the same films by the processor. The
//! hardware is the software driver of `hil-tests/va-driver`.

mod hanging;

use std::path::PathBuf;
use std::sync::Arc;

use heliostat_tiles::{Encoder as TileEncoder, PixelsRef};
use heliostat_video::syntax::{PictureParameters, Profile, SequenceParameters, Slice};
use heliostat_video::{Encoder, Picture, Quality};
use heliostat_wire::List;
use heliostat_wire::id::{LayerId, OutputId, VideoId};
use heliostat_wire::output::{Output, Outputs, Size};
use heliostat_wire::scene::{Crop, FrameHeader, Placement, Rect as WireRect, SceneOp, Transform};

use super::{Budget, Scene, SceneError};
use crate::alone::alone;
use crate::geometry::Rect;
use crate::planes::{Arrangement, Cover, Way, Why};
use crate::stage::NODE;
use crate::video::VideoError;
use crate::video::hardware::Device;

const A: LayerId = LayerId(1);
const OUT: OutputId = OutputId(0);
const FILM: VideoId = VideoId(5);
const LAYER: Size = Size { w: 150, h: 130 };
/// Odd, so that what pads it counts as well.
const RECT: WireRect = WireRect {
    x: 7,
    y: 9,
    w: 97,
    h: 65,
};

fn outputs() -> Outputs {
    List::truncated(vec![Output {
        id: OUT,
        connector: "T-1".into(),
        make: "".into(),
        model: "".into(),
        size: Size { w: 200, h: 180 },
        refresh_mhz: 60_000,
        physical_mm: Size { w: 0, h: 0 },
        x: 0,
        y: 0,
    }])
}

fn device() -> Arc<Device> {
    let node = PathBuf::from(std::env::var_os(NODE).unwrap());
    Arc::new(Device::open(&node).unwrap_or_else(|error| panic!("{error}")))
}

fn scene(device: Option<Arc<Device>>) -> Scene {
    let mut scene = Scene::new(&outputs(), Budget::default());
    scene.use_device(device);
    let create = SceneOp::CreateLayer {
        layer: A,
        size: LAYER,
        alpha: false,
    };
    let place = SceneOp::Place(Placement {
        layer: A,
        output: OUT,
        dst: WireRect {
            x: 10,
            y: 20,
            w: LAYER.w,
            h: LAYER.h,
        },
        src: Crop::whole(LAYER),
        transform: Transform::Normal,
        opacity: 255,
    });
    apply(&mut scene, vec![create, place, start()], &[0, 0, 0]).unwrap();
    scene.take_damage(OUT);
    scene
}

fn start() -> SceneOp {
    SceneOp::StartVideo {
        video: FILM,
        layer: A,
        rect: RECT,
    }
}

fn end() -> SceneOp {
    SceneOp::EndVideo { video: FILM }
}

fn apply(scene: &mut Scene, ops: Vec<SceneOp>, content: &[u8]) -> Result<(), SceneError> {
    let header = FrameHeader {
        serial: 1,
        last_input: 0,
        overtakes: 0,
        ops: List::truncated(ops),
    };
    scene.apply(&header, content)
}

/// Gives a unit, then a batch of tiles.
fn give(scene: &mut Scene, unit: &[u8], tiles: &[u8]) -> Result<(), SceneError> {
    let part = SceneOp::VideoPart {
        video: FILM,
        bytes: unit.len() as u32,
        last: true,
    };
    apply(scene, vec![part], &[unit, tiles].concat())
}

/// A session's film.
struct Film {
    encoder: Encoder,
    time: u32,
}

impl Film {
    fn new() -> Self {
        let size = heliostat_video::Size {
            w: RECT.w,
            h: RECT.h,
        };
        let encoder = Encoder::new(size, Quality::default()).unwrap();
        Self { encoder, time: 0 }
    }

    fn next(&mut self, key: bool) -> Vec<u8> {
        let (size, time) = (
            heliostat_video::Size {
                w: RECT.w,
                h: RECT.h,
            },
            self.time,
        );
        self.time += 1;
        let pixel = |n: u32| {
            let (x, y) = (n % RECT.w + 3 * time, n / RECT.w + time);
            let hill = |value: u32| (value % 512).min(511 - value % 512);
            0xff00_0000 | hill(3 * x + y) << 16 | hill(2 * y + x) << 8 | hill(x + 200)
        };
        let pixels: Vec<u32> = (0..RECT.w * RECT.h).map(pixel).collect();
        let mut picture = Picture::default();
        assert!(picture.take(size, &pixels));
        let mut unit = Vec::new();
        self.encoder.encode(&picture, key, &mut unit).unwrap();
        unit
    }
}

fn tiles(push: impl FnOnce(&mut TileEncoder)) -> Vec<u8> {
    let mut encoder = TileEncoder::new(1);
    push(&mut encoder);
    let mut batch = Vec::new();
    encoder.finish(&mut batch);
    batch
}

fn pixels(scene: &Scene) -> &[u32] {
    &scene.layer(A).unwrap().pixels
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn film_of_hardware_is_in_a_surface_until_somebody_wants_its_pixels() {
    let name =
        "scene::film_tests::film_of_hardware_is_in_a_surface_until_somebody_wants_its_pixels";
    let ran = alone(name, "", || {
        let mut scene = scene(Some(device()));
        let before = pixels(&scene).to_vec();
        let mut film = Film::new();
        let mut last = 0;
        for _ in 0..30 {
            give(&mut scene, &film.next(false), &[0, 0, 0]).unwrap();
            assert!(scene.take_damage(OUT).is_empty());
            assert!(scene.take_new_surface(OUT) && !scene.take_new_surface(OUT));
            let wanted = scene.wanted(OUT, None);
            let fit = wanted[0].fit.unwrap();
            let at = Rect {
                x: 17,
                y: 29,
                w: 97,
                h: 65,
            };
            assert_eq!((fit.dst, wanted[0].area), (at, at));
            assert_eq!(fit.source, [0, 0, 97 << 16, 65 << 16]);
            assert_eq!(wanted[0].cover, Cover::None);
            let (_, number) = scene.film(FILM).unwrap();
            assert!(number > last);
            last = number;
        }
        // What is drawn over all layers may be over a video as well.
        let top = Rect {
            x: 20,
            y: 30,
            w: 5,
            h: 5,
        };
        assert_eq!(scene.wanted(OUT, Some(top))[0].cover, Cover::Part);
        assert_eq!((pixels(&scene), scene.copied_pixels()), (&before[..], 0));
    });
    let Some(ran) = ran else { return };
    let exported: Vec<&str> = ran
        .counters
        .lines()
        .filter(|line| line.contains("role=exported"))
        .collect();
    assert!(!exported.is_empty());
    for line in exported {
        assert!(line.contains("lent=0 copied=0"), "{line}");
    }
    assert!(!ran.log.contains("left behind"), "{}", ran.log);
    assert!(!ran.log.contains("refused"), "{}", ran.log);
}

#[test]
fn pixels_are_those_of_the_processor_whoever_wants_them() {
    let name = "scene::film_tests::pixels_are_those_of_the_processor_whoever_wants_them";
    let ran = alone(name, "", || {
        let device = device();
        let resize = || SceneOp::ResizeLayer {
            layer: A,
            size: Size { w: 180, h: 90 },
            alpha: false,
        };
        let solid = tiles(|encoder| {
            let cell = heliostat_tiles::Rect {
                x: 64,
                y: 0,
                w: 64,
                h: 64,
            };
            let pixels = [0xff12_3456; 64 * 64];
            let view = PixelsRef::new(&pixels, 64, 64, 64).unwrap();
            encoder.push(1, cell, view, None);
        });
        type Act = Box<dyn Fn(&mut Scene)>;
        let acts: [(&str, Act); 6] = [
            ("copied", Box::new(|scene| scene.copy_film(FILM))),
            (
                "ended",
                Box::new(|scene| apply(scene, vec![end()], &[0, 0, 0]).unwrap()),
            ),
            (
                "resized",
                Box::new(move |scene| apply(scene, vec![resize()], &[0, 0, 0]).unwrap()),
            ),
            (
                "written into",
                Box::new(move |scene| apply(scene, vec![], &solid).unwrap()),
            ),
            ("at rest", Box::new(Scene::rest)),
            (
                "unplaced and ended",
                Box::new(|scene| {
                    let away = SceneOp::Unplace {
                        layer: A,
                        output: OUT,
                    };
                    apply(scene, vec![away, end()], &[0, 0, 0]).unwrap();
                }),
            ),
        ];
        for (what, act) in acts {
            let (mut hard, mut soft) = (scene(Some(Arc::clone(&device))), scene(None));
            let mut film = Film::new();
            for _ in 0..5 {
                let unit = film.next(false);
                give(&mut hard, &unit, &[0, 0, 0]).unwrap();
                give(&mut soft, &unit, &[0, 0, 0]).unwrap();
            }
            assert_ne!(pixels(&hard), pixels(&soft));
            soft.take_damage(OUT);
            act(&mut hard);
            act(&mut soft);
            assert!(pixels(&hard) == pixels(&soft), "{what}");
            assert_eq!(hard.copied_pixels(), 97 * 65, "{what}");
            if what == "written into" {
                // A plane would show what was there before.
                assert!(hard.wanted(OUT, None).is_empty());
                assert!(!hard.take_damage(OUT).is_empty());
            }
        }
        let mut twice = scene(Some(device));
        give(&mut twice, &Film::new().next(false), &[0, 0, 0]).unwrap();
        twice.copy_film(FILM);
        twice.copy_film(FILM);
        assert_eq!(twice.copied_pixels(), 97 * 65);
        assert_eq!(twice.wanted(OUT, None).len(), 1);
    });
    let Some(ran) = ran else { return };
    assert!(!ran.log.contains("left behind"), "{}", ran.log);
    assert!(!ran.log.contains("refused"), "{}", ran.log);
}

/// Calls that a terminal makes, and whether one that fails costs a picture.
const CALLS: [(&str, bool); 14] = [
    ("vaCreateConfig", false),
    ("vaCreateSurfaces2", false),
    ("vaExportSurfaceHandle", false),
    ("vaCreateContext", false),
    ("vaCreateBuffer", true),
    ("vaBeginPicture", true),
    ("vaRenderPicture", true),
    ("vaEndPicture", true),
    ("vaSyncSurface2", true),
    ("vaCreateImage", true),
    ("vaGetImage", true),
    ("vaMapBuffer", true),
    ("vaUnmapBuffer", true),
    ("vaDestroyBuffer", false),
];

/// Plays a film as a session does that hears of failures, every picture copied; returns how often the
/// session was told of a failure.
fn play(hard: &mut Scene, pictures: u32) -> usize {
    let (mut soft, mut film, mut told) = (scene(None), Film::new(), 0);
    let mut key = true;
    for number in 0..pictures {
        let unit = film.next(std::mem::take(&mut key));
        give(&mut soft, &unit, &[0, 0, 0]).unwrap();
        give(hard, &unit, &[0, 0, 0]).unwrap();
        let wanted = hard.wanted(OUT, None);
        for wanted in &wanted {
            let ways = Arrangement::copied(std::slice::from_ref(wanted), Why::NoPlanes);
            assert_eq!(ways.way(FILM), Some(Way::Copied(Why::NoPlanes)));
            hard.copy_film(wanted.video);
        }
        let failed = hard.take_failed_videos();
        assert!(failed.iter().all(|video| *video == FILM) && failed.len() <= 1);
        told += failed.len();
        match failed.is_empty() {
            true => assert!(pixels(hard) == pixels(&soft), "picture {number}"),
            false => {
                // The answer comes some pictures later.
                let late = film.next(false);
                give(&mut soft, &late, &[0, 0, 0]).unwrap();
                give(hard, &late, &[0, 0, 0]).unwrap();
                assert!(hard.take_failed_videos().is_empty());
                key = true;
            }
        }
    }
    told
}

#[test]
fn film_goes_on_by_the_processor_after_whatever_fails_and_nothing_is_left_behind() {
    let name = "scene::film_tests::\
        film_goes_on_by_the_processor_after_whatever_fails_and_nothing_is_left_behind";
    for (call, is_picture) in CALLS {
        // The first pictures of a decoder make its surfaces grey.
        let late = if call == "vaCreateBuffer" { 60 } else { 20 };
        for number in [1, 3, late] {
            let fault = format!("{call}:{number}");
            let ran = alone(name, &fault, || {
                let fault = std::env::var("HELIOSTAT_VA_FAULTS").unwrap();
                let node = PathBuf::from(std::env::var_os(NODE).unwrap());
                // The first time, libva is loaded.
                drop(Device::open(&node));
                let before = open_files();
                // Where the probe fails there is no device.
                if let Ok(device) = Device::open(&node) {
                    let mut scene = scene(Some(Arc::new(device)));
                    let told = play(&mut scene, 12);
                    assert!(told <= 1, "{told}");
                    let file = std::env::var("HELIOSTAT_VA_LOG").unwrap() + "-errors";
                    std::fs::write(file, told.to_string()).unwrap();
                }
                assert_eq!(open_files(), before, "{fault}");
            });
            let Some(ran) = ran else { return };
            assert!(!ran.log.contains("left behind"), "{fault}: {}", ran.log);
            let happened = ran.log.contains(&format!("call {number} fails"));
            // A key is decoded by the processor at once; any other picture is asked for anew.
            assert!(
                happened || !is_picture || number > 1,
                "{fault} never happens"
            );
            if happened && is_picture && number == late {
                assert_eq!(ran.errors, "1", "{fault}");
            }
        }
    }
}

#[test]
fn device_that_fails_again_and_again_is_given_up() {
    let name = "scene::film_tests::device_that_fails_again_and_again_is_given_up";
    // Each video makes its surfaces grey first, and its second picture fails, which is ended twice.
    let calls = (0..90).map(|n| format!("vaEndPicture:{}", 10 + 11 * n));
    let faults: Vec<String> = calls.collect();
    let ran = alone(name, &faults.join(","), || {
        let device = device();
        let without = Budget::default();
        assert!(device.budget(without).videos > without.videos);
        let mut attaches = 0;
        while device.is_trusted() {
            let mut scene = scene(Some(Arc::clone(&device)));
            let mut told = 0;
            for _ in 0..8 {
                told += play(&mut scene, 6);
                apply(&mut scene, vec![end(), start()], &[0, 0, 0]).unwrap();
            }
            // Each video is told of once, and not where it was a key that failed.
            assert!((1..=4).contains(&told), "{told}");
            // By now the processor decodes.
            give(&mut scene, &Film::new().next(true), &[0, 0, 0]).unwrap();
            assert!(scene.film(FILM).is_none());
            attaches += 1;
            assert!(attaches <= 4);
        }
        assert_eq!(attaches, 4);
        assert_eq!(device.budget(without), without);
    });
    if let Some(ran) = ran {
        assert!(!ran.log.contains("left behind"), "{}", ran.log);
    }
}

/// A key that the processor decodes and a device does not: its picture is cut at the left.
fn cut_key() -> Vec<u8> {
    let size = heliostat_video::Size {
        w: RECT.w,
        h: RECT.h,
    };
    let mut sequence = SequenceParameters::new(size, Profile::Baseline, 40);
    sequence.cut = (2, 0);
    let parameters = PictureParameters::default();
    let blocks = u32::from(sequence.blocks.0) * u32::from(sequence.blocks.1);
    let mut unit = Vec::new();
    sequence.write(&mut unit);
    parameters.write(&mut unit);
    unit.extend([0, 0, 1]);
    unit.extend(Slice::of_key().grey(&sequence, &parameters, blocks));
    unit
}

#[test]
fn bad_films_of_one_attach_take_the_hardware_from_no_other() {
    let name = "scene::film_tests::bad_films_of_one_attach_take_the_hardware_from_no_other";
    alone(name, "", || {
        let device = device();
        let in_surface = |scene: &mut Scene, unit: &[u8]| {
            give(scene, unit, &[0, 0, 0]).unwrap();
            let found = scene.film(FILM).is_some();
            apply(scene, vec![end(), start()], &[0, 0, 0]).unwrap();
            found
        };
        for _ in 0..6 {
            let mut bad = scene(Some(Arc::clone(&device)));
            assert!(in_surface(&mut bad, &Film::new().next(true)));
            for _ in 0..6 {
                assert!(!in_surface(&mut bad, &cut_key()));
            }
            // It has cost this attach its hardware.
            assert!(!in_surface(&mut bad, &Film::new().next(true)));
        }
        assert!(device.is_trusted());
        let mut good = scene(Some(device));
        assert!(in_surface(&mut good, &Film::new().next(true)));
    });
}

#[test]
fn surfaces_that_are_all_shown_are_nobodys_fault() {
    let name = "scene::film_tests::surfaces_that_are_all_shown_are_nobodys_fault";
    alone(name, "", || {
        let device = device();
        let mut scene = scene(Some(Arc::clone(&device)));
        for _ in 0..6 {
            let (mut film, mut shown) = (Film::new(), Vec::new());
            loop {
                give(&mut scene, &film.next(false), &[0, 0, 0]).unwrap();
                let is_whole = scene.take_failed_videos().is_empty();
                match scene.film(FILM) {
                    Some((frame, _)) if is_whole => shown.push(frame.clone()),
                    _ => break,
                }
            }
            assert!((4..=8).contains(&shown.len()), "{}", shown.len());
            apply(&mut scene, vec![end(), start()], &[0, 0, 0]).unwrap();
        }
        assert!(device.is_trusted());
        give(&mut scene, &Film::new().next(true), &[0, 0, 0]).unwrap();
        assert!(scene.film(FILM).is_some());
    });
}

/// A unit whose slice says that it builds on pictures before and after it.
fn between(unit: &[u8]) -> Vec<u8> {
    let at = unit.windows(3).rposition(|w| w == [0, 0, 1]).unwrap() + 4;
    let bits = |bytes: &[u8]| -> Vec<bool> {
        let all = bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
        all.collect()
    };
    let slice = bits(&unit[at..]);
    assert_eq!(
        slice[..2],
        [true; 2],
        "the first block is not 0, or it is no P slice"
    );
    let mut changed = vec![true, false, true, false];
    changed.extend(&slice[2..]);
    changed.resize(changed.len().next_multiple_of(8), false);
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    let mut made = unit[..at].to_vec();
    made.extend(changed.chunks(8).map(byte));
    made
}

#[test]
fn hostile_film_breaks_the_protocol_or_is_shown_and_no_more() {
    let name = "scene::film_tests::hostile_film_breaks_the_protocol_or_is_shown_and_no_more";
    let ran = alone(name, "", || {
        let device = device();
        let before = open_files();
        let refuse = |units: &[&[u8]]| {
            let mut scene = scene(Some(Arc::clone(&device)));
            let given: Result<Vec<()>, SceneError> = units
                .iter()
                .map(|unit| give(&mut scene, unit, &[0, 0, 0]))
                .collect();
            given.map(|_| ())
        };
        let mut film = Film::new();
        let (key, next) = (film.next(true), film.next(false));
        let decoding = |given| match given {
            Err(SceneError::Video(FILM, VideoError::Decode(error))) => error.to_string(),
            other => panic!("{other:?}"),
        };
        // Cut in the header; nothing before it; of another size, and one of 16384².
        assert!(decoding(refuse(&[&key, &next[..3]])).contains("start code"));
        assert!(decoding(refuse(&[&next])).contains("never came"));
        let size = heliostat_video::Size { w: 128, h: 96 };
        let mut other = Encoder::new(size, Quality::default()).unwrap();
        let (mut picture, mut larger) = (Picture::default(), Vec::new());
        assert!(picture.take(size, &vec![0; size.area()]));
        other.encode(&picture, true, &mut larger).unwrap();
        assert!(decoding(refuse(&[&key, &larger])).contains("128×96"));
        let size = heliostat_video::Size { w: 16384, h: 16384 };
        let mut huge = Vec::new();
        SequenceParameters::new(size, Profile::Main, 52).write(&mut huge);
        let huge = [&huge[..], &key[..]].concat();
        assert!(decoding(refuse(&[&key, &huge])).contains("16384×16384"));
        // B slices, and slices that end too early: the device is not given the first and fails with the
        // second, and the film goes on from the next key.
        for bad in [between(&next), next[..next.len() / 2].to_vec()] {
            let mut scene = scene(Some(Arc::clone(&device)));
            give(&mut scene, &key, &[0, 0, 0]).unwrap();
            assert!(scene.film(FILM).is_some());
            give(&mut scene, &bad, &[0, 0, 0]).unwrap();
            assert_eq!(scene.take_failed_videos(), [FILM]);
            give(&mut scene, &next, &[0, 0, 0]).unwrap();
            assert!(scene.take_failed_videos().is_empty());
            give(&mut scene, &key, &[0, 0, 0]).unwrap();
            assert!(scene.film(FILM).is_none() && pixels(&scene).iter().any(|pixel| *pixel != 0));
        }
        let mut seed = 7u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize
        };
        for _ in 0..200 {
            let mut damaged = next.clone();
            let at = random() % damaged.len().min(40);
            damaged[at] ^= 1 << (random() % 8);
            damaged.truncate(1 + random() % damaged.len());
            let _ = refuse(&[&key, &damaged, &key, &next]);
        }
        assert_eq!(open_files(), before);
    });
    if let Some(ran) = ran {
        assert!(!ran.log.contains("left behind"), "{}", ran.log);
    }
}

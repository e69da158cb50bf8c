//! GLES as who composes, what stands in for it, and what becomes of it when it fails.

use std::rc::Rc;

use super::super::composer::{Job, Wish};
use super::super::fake::Fake;
use super::super::gles::Gles;
use super::*;
use crate::gpu::{Away, DeviceId, Ended, Gpu, Lease, Reading, RenderNode, Trial, Wake};
use crate::tests::hardware::stage::Lack;

/// Where there is no driver at all, the reason is printed, and there is nothing to compare.
fn gles() -> Option<Composer> {
    match Gles::any() {
        Ok(gles) => Some(Composer::Gles(Box::new(gles))),
        Err(error) => {
            Lack::Part(format!("no GLES here: {error:#}")).skip();
            None
        }
    }
}

/// The pictures that a back end composes, one after the other.
fn pictures(looks: &[Look], steps: &[Step], composer: Composer) -> Vec<Vec<u32>> {
    let mut pictures = Vec::new();
    play(looks, steps, composer, |_, pixels| {
        pictures.push(pixels.to_vec())
    });
    pictures
}

fn largest(looks: &[Look], steps: &[Step], composer: Composer) -> u8 {
    let by_gles = pictures(looks, steps, composer);
    let by_processor = pictures(looks, steps, Composer::Software);
    let pixels = by_gles.iter().flatten().zip(by_processor.iter().flatten());
    pixels.map(|(a, b)| apart(*a, *b)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn gles_composes_unscaled_layers_as_the_processor_does(
        looks in prop::collection::vec(look(true), 0..5),
        steps in prop::collection::vec(step(true), 0..12),
    ) {
        let Some(gles) = gles() else { return Ok(()) };
        let alpha = looks.iter().any(|look| look.alpha)
            || steps.iter().any(|step| matches!(step, Step::Add(look) if look.alpha));
        let largest = largest(&looks, &steps, gles);
        prop_assert!(largest <= u8::from(alpha), "off by {largest}");
    }

    #[test]
    fn gles_turns_and_scales_as_the_processor_does(
        looks in prop::collection::vec(look(false), 0..4),
        steps in prop::collection::vec(step(false), 0..8),
    ) {
        let Some(gles) = gles() else { return Ok(()) };
        let largest = largest(&looks, &steps, gles);
        prop_assert!(largest <= 2, "off by {largest}");
    }
}

/// A desk with nothing on it, and an output of which everything has been composed.
fn composed(composer: &mut Composer) -> (Desk, Output) {
    let (mut desk, mut output) = (Desk::new(), Output::default());
    output.take_size(SIZE, || LayerId(1000));
    desk.compose(&mut output, composer, &mut Vec::new());
    (desk, output)
}

fn assert_shows(desk: &Desk, output: &Output) {
    let content = &output.surface.as_ref().expect("it has a size").content;
    let model = desk.model();
    for (at, pixel) in (0..).zip(content.pixels()) {
        let (x, y) = (at % SIZE.w as i32, at / SIZE.w as i32);
        assert_eq!(pixel & 0xff_ffff, model.pixel(OUT, x, y), "at ({x}, {y})");
    }
}

fn plain(size: Size) -> Look {
    Look {
        size,
        alpha: false,
        opaque: false,
        seed: 5,
        at: (3, -20),
        scaled: None,
        transform: Transform::Normal,
    }
}

#[test]
fn what_is_too_long_for_gles_is_the_processors_until_it_is_gone() {
    let mut gles = match Gles::any() {
        Ok(gles) => gles,
        Err(error) => return Lack::Part(format!("no GLES here: {error:#}")).skip(),
    };
    // The output fits, and the layer that comes later does not.
    gles.limit(SIZE.w);
    let mut composer = Composer::Gles(Box::new(gles));
    let (mut desk, mut output) = composed(&mut composer);
    let composes = |composer: &Composer| match composer {
        Composer::Gles(gles) => gles.composes(OUT),
        other => panic!("{other:?} composes"),
    };
    desk.add(&plain(Size { w: 60, h: 80 }));
    desk.add(&plain(Size { w: 1, h: 200 }));
    for (count, by_gles) in [(2, false), (1, true)] {
        desk.step(&Step::Draw(0, 77, (5, 5, 20, 30)));
        desk.compose(&mut output, &mut composer, &mut Vec::new());
        assert_eq!(composes(&composer), by_gles, "{count} layers");
        assert_shows(&desk, &output);
        desk.step(&Step::Drop(count - 1));
    }
    assert_eq!(desk.buffers.gles_ends(), 0);
}

#[test]
fn processor_goes_on_where_gles_ends_and_what_hangs_is_left_behind() {
    let endings = [
        (Ended::Hung, false, true),
        (Ended::Guilty, false, false),
        (Ended::Lost("in a test"), true, false),
        (Ended::Broken(anyhow::anyhow!("in a test")), false, false),
    ];
    for (ended, may_return, is_left) in endings {
        let said = ended.to_string();
        let mut fake = Fake::default();
        let (held, lease) = (Rc::downgrade(&fake.held), fake.lease.clone());
        let is_gone = ended.is_of_device();
        fake.ends = Some(ended);
        let mut composer = Composer::Fake(Box::new(fake));
        let (mut desk, mut output) = composed(&mut composer);
        match &composer {
            Composer::Software => assert!(!may_return, "{said}"),
            Composer::Away(_) => assert!(may_return, "{said}"),
            other => panic!("{other:?} composes: {said}"),
        }
        assert_eq!(held.upgrade().is_some(), is_left, "{said}");
        assert_eq!(desk.buffers.gles_ends(), 1);
        assert_eq!(lease.check().is_err(), is_gone, "{said}");
        desk.add(&plain(Size { w: 60, h: 80 }));
        desk.compose(&mut output, &mut composer, &mut Vec::new());
        assert_shows(&desk, &output);
    }
}

#[test]
fn device_that_somebody_else_has_found_hanging_is_not_asked() {
    let Some(mut composer) = gles() else { return };
    let (mut desk, mut output) = composed(&mut composer);
    match &composer {
        Composer::Gles(gles) => gles.lease().has_ended(&Ended::Hung),
        other => panic!("{other:?} composes"),
    }
    composer.forget(OUT);
    desk.add(&plain(Size { w: 60, h: 80 }));
    desk.compose(&mut output, &mut composer, &mut Vec::new());
    assert!(matches!(composer, Composer::Software));
    assert_shows(&desk, &output);
}

#[test]
fn device_that_is_gone_is_asked_about_no_buffer_and_for_no_pixel() {
    for ended in [Ended::Hung, Ended::Lost("in a test")] {
        let fake = Fake::default();
        let lease = fake.lease.clone();
        let (mut composer, buffers) = (Composer::Fake(Box::new(fake)), Buffers::default());
        let mut room = Vec::new();
        let mut lent = None;
        plain_job(0, |job| {
            let composed = composer.compose(job, (&mut room, &buffers), |_, _| ());
            lent = composed.expect("nothing has failed");
        });
        let lent = lent.expect("a buffer is free");
        assert!(composer.takes(OUT, &lent));
        lease.has_ended(&ended);
        assert!(!composer.takes(OUT, &lent));
        match &composer {
            Composer::Fake(fake) => assert_eq!(fake.asked, 1),
            other => panic!("{other:?} composes"),
        }
        let whole = Rect::of_size(SIZE.w, SIZE.h);
        let tools = (&mut room, &buffers);
        assert!(!composer.read_back(&lent, whole, tools, |_, _| panic!("it is read")));
        assert!(!matches!(composer, Composer::Fake(_)), "it has ended");
        assert_eq!(buffers.gles_ends(), 1);
    }
}

#[test]
fn device_that_has_hung_is_not_opened_again_and_one_that_was_reset_is_waited_for() {
    let node = std::path::PathBuf::from("/dev/null");
    let wish = Wish {
        render_node: RenderNode::Off,
        flat_node: Some(node.clone()),
        encoder: None,
    };
    for (ended, is_waited_for) in [(Ended::Hung, false), (Ended::Lost("in a test"), true)] {
        let gpu = Gpu::open(&RenderNode::Off, Reading::Auto);
        let lease = gpu.devices().lease(DeviceId::of_node(&node));
        lease.has_ended(&ended);
        let (composer, said) = Composer::open(&wish, &gpu);
        assert!(said.contains("the device"), "{said}");
        let is_away = matches!(composer, Composer::Away(_));
        assert_eq!(is_away, is_waited_for, "{composer:?}");
        assert_eq!(composer.deadline().is_some(), is_waited_for);
    }
}

/// A trial of a device that does what is wanted; tells when it is done.
fn trial(done: &std::sync::mpsc::Sender<()>) -> anyhow::Result<Trial> {
    let done = done.clone();
    let wake = move || done.send(()).expect("it is waited for");
    Trial::start(Box::new(wake), || Ok(Vec::new()))
}

fn no_trial(_: &DeviceId) -> anyhow::Result<Trial> {
    panic!("it is not time for a trial")
}

fn not_opened(_: Lease) -> anyhow::Result<Composer> {
    panic!("nothing says that it works")
}

#[test]
fn gles_comes_back_when_its_device_was_tried_out_and_opened() {
    let mut fake = Fake::default();
    let lease = fake.lease.clone();
    fake.ends = Some(Ended::Lost("in a test"));
    let mut composer = Composer::Fake(Box::new(fake));
    let (mut desk, mut output) = composed(&mut composer);
    assert!(!composer.tend(Instant::now(), no_trial, not_opened));
    let (done, waits) = std::sync::mpsc::channel();
    for is_opened in [false, true] {
        lease.wake();
        let due = composer.deadline().expect("it is waited for");
        assert!(!composer.tend(due.max(Instant::now()), |_| trial(&done), not_opened));
        waits.recv().expect("it is tried");
        let is_back = composer.tend(Instant::now(), no_trial, |lease| {
            anyhow::ensure!(is_opened, "no memory");
            // What is opened now draws everything anew.
            let mut fake = Fake::default();
            fake.lease = lease;
            Ok(Composer::Fake(Box::new(fake)))
        });
        assert_eq!(is_back, is_opened);
        // What could not be opened is waited for again.
        assert_eq!(composer.deadline().is_some(), !is_opened, "{composer:?}");
        desk.add(&plain(Size { w: 60, h: 80 }));
        desk.compose(&mut output, &mut composer, &mut Vec::new());
        assert_shows(&desk, &output);
    }
    assert!(matches!(composer, Composer::Fake(_)));
    assert!(lease.check().is_err(), "what was open is gone");
}

#[test]
fn no_other_device_takes_the_place_of_one_that_comes_back() {
    let wish = Wish {
        render_node: RenderNode::Auto,
        flat_node: Some("/dev/null".into()),
        encoder: None,
    };
    let reopened = |node: &str| {
        let id = DeviceId::of_node(std::path::Path::new(node));
        let gpu = Gpu::open(&RenderNode::Off, Reading::Auto);
        let reopened = Composer::reopen(&wish, gpu.devices().lease(id.clone()));
        let of_it = |composer| matches!(composer, Composer::Gles(gles) if *gles.lease().id() == id);
        reopened.map(of_it).map_err(|error| format!("{error:#}"))
    };
    let said = reopened("/dev/zero").expect_err("it is not what is wished for");
    assert!(said.contains("another device"), "{said}");
    // Mesa may have software for it.
    match reopened("/dev/null") {
        Ok(is_same) => assert!(is_same),
        Err(said) => assert!(!said.contains("another device"), "{said}"),
    }
}

#[test]
fn gles_says_that_its_device_was_reset_and_goes_while_another_works() {
    let Some(Composer::Gles(hung)) = gles() else {
        return;
    };
    assert!(!hung.describe().contains("would not say"), "{hung:?}");
    for ended in [Some(Ended::Hung), Some(Ended::Lost("in a test")), None] {
        let mut composer = gles().expect("there was one");
        let (mut desk, mut output) = composed(&mut composer);
        desk.add(&plain(Size { w: 60, h: 80 }));
        desk.compose(&mut output, &mut composer, &mut Vec::new());
        assert_shows(&desk, &output);
        match (composer, ended) {
            (Composer::Gles(gles), Some(ended)) => drop(gles.end(&ended)),
            (Composer::Gles(gles), None) => drop(gles),
            (other, _) => panic!("{other:?} composes"),
        }
    }
}

/// A picture of nothing but a background, all of which is read.
fn plain_job(background: u32, job: impl FnOnce(&Job<'_>)) {
    let whole = Rect::of_size(SIZE.w, SIZE.h);
    let mut damage = Damage::new();
    damage.add(whole);
    job(&Job {
        output: OUT,
        size: SIZE,
        shown: heliostat_compose::Shown {
            background,
            stack: &[],
        },
        layers: &[],
        damage: &damage,
        read: &[whole],
    });
}

#[test]
fn picture_is_read_where_the_encoder_has_all_buffers_and_gles_goes_on() {
    let (mut composer, buffers) = (Composer::Fake(Box::default()), Buffers::default());
    let mut room = Vec::new();
    let mut compose = |composer: &mut Composer, background: u32| {
        let (mut lent, mut pixels) = (None, Vec::new());
        plain_job(background, |job| {
            let composed = composer.compose(job, (&mut room, &buffers), |_, part| {
                pixels.extend_from_slice(part)
            });
            lent = composed.expect("nothing has failed");
        });
        assert!(pixels.iter().all(|pixel| pixel & 0xff_ffff == background));
        assert_eq!(pixels.len(), (SIZE.w * SIZE.h) as usize);
        lent
    };
    let mut with_encoder = Vec::new();
    let mut background = 0;
    while let Some(lent) = compose(&mut composer, background) {
        with_encoder.push(lent);
        background += 1;
    }
    assert!(with_encoder.len() >= 3, "{with_encoder:?}");
    assert!(compose(&mut composer, 0x11).is_none());
    with_encoder.pop();
    let lent = compose(&mut composer, 0x22);
    assert!(lent.is_some(), "one is free again");
    assert!(matches!(composer, Composer::Fake(_)));
    assert_eq!(buffers.gles_ends(), 0);
}

#[test]
fn gles_that_refuses_picture_after_picture_is_at_fault() {
    let Some(mut composer) = gles() else { return };
    let (mut desk, mut output) = composed(&mut composer);
    desk.add(&plain(Size { w: 60, h: 80 }));
    let mut refused = 0;
    while let Composer::Gles(gles) = &mut composer {
        assert!(refused < 10, "it goes on for ever");
        gles.refuse_next();
        refused += 1;
        desk.step(&Step::Draw(0, 77 + refused, (5, 5, 20, 30)));
        desk.compose(&mut output, &mut composer, &mut Vec::new());
        assert_shows(&desk, &output);
    }
    assert_eq!((refused, desk.buffers.gles_ends()), (4, 1));
}

#[test]
fn gles_goes_on_after_a_picture_that_it_has_refused() {
    let Some(mut composer) = gles() else { return };
    let (mut desk, mut output) = composed(&mut composer);
    desk.add(&plain(Size { w: 60, h: 80 }));
    for seed in 0..12 {
        let Composer::Gles(gles) = &mut composer else {
            panic!("{composer:?} composes");
        };
        if seed % 2 == 0 {
            gles.refuse_next();
        }
        desk.step(&Step::Draw(0, 77 + seed, (5, 5, 20, 30)));
        desk.compose(&mut output, &mut composer, &mut Vec::new());
        assert_shows(&desk, &output);
        let Composer::Gles(gles) = &composer else {
            panic!("{composer:?} composes");
        };
        assert_eq!(gles.composes(OUT), seed % 2 == 1, "at {seed}");
    }
    assert_eq!(desk.buffers.gles_ends(), 0);
}

#[test]
fn gles_that_was_lost_is_opened_again_only_where_an_output_is_flat() {
    let lost = || {
        let lease = Lease::default();
        lease.has_ended(&Ended::Lost("in a test"));
        lease.wake();
        Composer::Away(Box::new(Away::from(lease)))
    };
    let asked = std::cell::Cell::new(0);
    let wish = || {
        asked.set(asked.get() + 1);
        Wish {
            render_node: RenderNode::Off,
            flat_node: Some("/nowhere".into()),
            encoder: None,
        }
    };
    let mut flat = super::super::Flat::default();
    flat.compose_with(lost());
    flat.return_gles(Instant::now(), wish, || panic!("nothing is tried"));
    assert!(flat.composer().is_none() && flat.return_deadline().is_none());
    assert_eq!(asked.get(), 0);

    flat.outputs.insert(OUT, Output::default());
    flat.compose_with(lost());
    let (woken, waits) = std::sync::mpsc::channel();
    let wake = || -> Wake { Box::new(move || woken.send(()).expect("it is waited for")) };
    flat.return_gles(Instant::now(), wish, wake);
    assert!(matches!(flat.composer(), Some(Composer::Away(_))));
    assert_eq!(asked.get(), 1);
    // What comes of a trial that has begun is heard, whatever the output is by now.
    flat.outputs.clear();
    waits.recv().unwrap();
    flat.return_gles(Instant::now(), wish, || panic!("nothing is tried"));
    assert_eq!(asked.get(), 1);
    assert!(flat.composer().is_some() && flat.return_deadline().is_some());
    flat.return_gles(Instant::now(), wish, || panic!("nothing is tried"));
    assert!(flat.composer().is_none());
}

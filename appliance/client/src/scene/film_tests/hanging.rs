//! A driver that hangs: it is waited for once, whatever it was asked.

use super::*;

#[test]
fn driver_that_hangs_is_left_alone_and_the_film_goes_on_by_the_processor() {
    let name = "scene::film_tests::hanging::\
        driver_that_hangs_is_left_alone_and_the_film_goes_on_by_the_processor";
    let ran = alone(name, "vaSyncSurface2:12=hang", || {
        let device = device();
        let mut scene = scene(Some(Arc::clone(&device)));
        let began = std::time::Instant::now();
        assert_eq!(play(&mut scene, 12), 1);
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(20), "{took:?}");
        assert!(!device.is_trusted());
        // Neither this attach nor the next one asks anything of it.
        for scene in [&mut scene, &mut super::scene(Some(device))] {
            apply(scene, vec![end(), start()], &[0, 0, 0]).unwrap();
            give(scene, &Film::new().next(true), &[0, 0, 0]).unwrap();
            assert!(scene.film(FILM).is_none());
        }
    });
    let Some(ran) = ran else { return };
    let last = ran.log.lines().last().unwrap_or_default();
    assert!(last.contains("vaSyncSurface2 with TIMEDOUT"), "{}", ran.log);
}

/// Calls that have no limit of their own, each with one that comes while a film is played that is
/// copied, or with its end: what the device offers is known by then, which takes ten surfaces.
const ENDLESS: [&str; 13] = [
    "vaCreateSurfaces2:14",
    "vaExportSurfaceHandle:14",
    "vaCreateContext:2",
    "vaCreateBuffer:50",
    "vaBeginPicture:11",
    "vaRenderPicture:11",
    "vaEndPicture:11",
    "vaGetImage:3",
    "vaMapBuffer:3",
    "vaDestroyBuffer:40",
    "vaDestroyContext:2",
    "vaDestroyConfig:7",
    "vaDestroyImage:1",
];

#[test]
fn call_that_never_ends_keeps_the_terminal_waiting_once() {
    let name = "scene::film_tests::hanging::call_that_never_ends_keeps_the_terminal_waiting_once";
    for call in ENDLESS {
        let ran = alone(name, &format!("{call}=hang"), || {
            let device = device();
            let mut scene = scene(Some(Arc::clone(&device)));
            // A key that is not decoded is by the processor at once, and no session told.
            let told = play(&mut scene, 12);
            assert!(told <= 1, "{told}");
            apply(&mut scene, vec![end()], &[0, 0, 0]).unwrap();
            assert!(!device.is_trusted());
            assert_eq!(device.budget(Budget::default()), Budget::default());
            // Nothing is asked of it any more, not even to let go of what it holds.
            apply(&mut scene, vec![start()], &[0, 0, 0]).unwrap();
            for scene in [&mut scene, &mut super::scene(Some(device))] {
                give(scene, &Film::new().next(true), &[0, 0, 0]).unwrap();
                assert!(scene.film(FILM).is_none());
            }
        });
        let Some(ran) = ran else { return };
        let call = call
            .split(':')
            .next()
            .unwrap()
            .replace("Surfaces2", "Surfaces");
        let last = ran.log.lines().last().unwrap_or_default();
        assert!(
            last.contains(&call) && last.contains("TIMEDOUT"),
            "{}",
            ran.log
        );
    }
}

#[test]
fn surfaces_that_are_let_go_are_destroyed_by_whoever_may_wait() {
    let name =
        "scene::film_tests::hanging::surfaces_that_are_let_go_are_destroyed_by_whoever_may_wait";
    let ran = alone(name, "vaDestroySurfaces:14=hang", || {
        let device = device();
        let mut scene = scene(Some(Arc::clone(&device)));
        let mut film = Film::new();
        give(&mut scene, &film.next(true), &[0, 0, 0]).unwrap();
        let (frame, _) = scene.film(FILM).unwrap();
        let frame = frame.clone();
        // Whoever asked for what hangs would never come back.
        apply(&mut scene, vec![end()], &[0, 0, 0]).unwrap();
        // As a plane that shows it does with its flip.
        drop(frame);
        drop(scene);
        // Nobody has waited for an answer, and yet it is offered to nobody else.
        assert!(!device.is_trusted());
        let mut next = super::scene(Some(device));
        give(&mut next, &Film::new().next(true), &[0, 0, 0]).unwrap();
        assert!(next.film(FILM).is_none());
    });
    let Some(ran) = ran else { return };
    let last = ran.log.lines().last().unwrap_or_default();
    assert!(last.contains("vaDestroySurfaces"), "{}", ran.log);
}

#[test]
fn time_that_a_driver_is_waited_for_is_not_the_decoders() {
    let name = "scene::film_tests::hanging::time_that_a_driver_is_waited_for_is_not_the_decoders";
    // Surfaces are made grey by eight, so that this is the first picture.
    alone(name, "vaEndPicture:9=hang", || {
        let device = device();
        let mut scene = scene(Some(Arc::clone(&device)));
        let began = std::time::Instant::now();
        give(&mut scene, &Film::new().next(true), &[0, 0, 0]).unwrap();
        let took_ns = began.elapsed().as_nanos() as u64;
        // The processor has decoded it after all.
        assert!(!device.is_trusted() && scene.film(FILM).is_none());
        let waited_ns = took_ns.saturating_sub(scene.decoding_ns());
        assert!(
            scene.decoding_ns() > 0 && waited_ns >= 2_000_000_000,
            "{waited_ns}"
        );
    });
}

#[test]
fn driver_that_hangs_when_it_is_opened_is_done_without() {
    let name = "scene::film_tests::hanging::driver_that_hangs_when_it_is_opened_is_done_without";
    for call in ["vaInitialize:1=hang", "vaCreateConfig:1=hang"] {
        let ran = alone(name, call, || {
            let node = PathBuf::from(std::env::var_os(NODE).unwrap());
            let opened = Device::open(&node);
            assert!(opened.is_err(), "{opened:?}");
        });
        if ran.is_none() {
            return;
        }
    }
}

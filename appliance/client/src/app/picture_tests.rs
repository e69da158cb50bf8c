//! Pictures that cannot be shown, on a screen that fails as often as it is told to.

use heliostat_link::Frame;
use heliostat_va::decoder::converter::RGB;
use heliostat_wire::List;
use heliostat_wire::control::Attach;
use heliostat_wire::id::{AttachId, KeyPin, LayerId, Ticket, VideoId};
use heliostat_wire::scene::{Crop, FrameHeader, Placement, Rect as WireRect, SceneOp, Transform};
use heliostat_wire::session::ToSession;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::alone::alone;
use crate::app::Parts;
use crate::control_lines::Announcer;
use crate::counting::allocations;
use crate::display::Display;
use crate::display::headless::Headless;
use crate::display::stuck::Stuck;
use crate::events::{AppEvent, NetEvent};
use crate::net::{Net, NetCommand};
use crate::planes::{Fit, Format, LINEAR, NV12, PlaneId};
use crate::scene::Budget;
use crate::screens::Surroundings;
use crate::stage::NODE;
use crate::video::hardware::Device;

const ATTACH: AttachId = AttachId(7);
const SIZE: Size = Size { w: 64, h: 48 };
const RED: u32 = 0x00ff_0000;
const POINTER: u32 = 0xff00_ff00;

fn app() -> (App, UnboundedReceiver<NetCommand>) {
    let (net, commands) = Net::detached();
    let mut app = App::new(Parts {
        display: Display::Headless(Headless::new(None, (SIZE.w, SIZE.h)).unwrap()),
        devices: None,
        net,
        init: None,
        around: Surroundings::default(),
        announcer: Announcer { enabled: false },
        layout: String::new(),
        prover: None,
    });
    let outputs = app.display.outputs();
    app.attached = Some(Attached::new(ATTACH, &outputs, Budget::default()));
    (app, commands)
}

fn screen(app: &mut App) -> &mut Headless {
    match &mut app.display {
        Display::Headless(headless) => headless,
        _ => unreachable!(),
    }
}

/// A frame that makes the screen red, or changes nothing.
fn frame(serial: u32) -> AppEvent {
    let background = SceneOp::Background {
        output: OutputId(0),
        rgb: RED,
    };
    let ops = List::truncated((serial == 1).then_some(background).into_iter().collect());
    let header = FrameHeader {
        serial,
        last_input: 0,
        overtakes: 0,
        ops,
    };
    let content = vec![0, 0, 0].into();
    AppEvent::Net(NetEvent::Frame(ATTACH, Frame { header, content }, 0))
}

/// Serials that the session has been told to be on the screen.
fn told(commands: &mut UnboundedReceiver<NetCommand>) -> Vec<u32> {
    let mut told = Vec::new();
    while let Ok(command) = commands.try_recv() {
        if let NetCommand::ToSession(ATTACH, ToSession::FrameShown { serial, .. }) = command {
            told.push(serial);
        }
    }
    told
}

/// Lets the time come for which the app has asked, and no other event.
fn wait(app: &mut App) {
    let left = app.next_tick().expect("nothing would ever be tried again");
    assert!(left < Duration::from_secs(3), "{left:?}");
    app.retries.hurry();
    app.handle(AppEvent::Tick);
}

#[test]
fn picture_that_failed_is_told_of_only_when_it_was_shown_and_that_without_another_event() {
    let (mut app, mut commands) = app();
    screen(&mut app).failing = 2;
    app.handle(frame(1));
    assert_eq!(told(&mut commands), [0; 0]);
    // What changes nothing does not tell of it either.
    app.retries.hurry();
    app.handle(frame(2));
    assert_eq!(told(&mut commands), [0; 0]);
    assert!(screen(&mut app).pixels().iter().all(|pixel| *pixel != RED));
    wait(&mut app);
    assert_eq!(told(&mut commands), [2]);
    assert!(screen(&mut app).pixels().iter().all(|pixel| *pixel == RED));
    assert!(app.retries.left(App::now_ns(), |_| true).is_none());
}

#[test]
fn pointer_is_a_part_of_the_picture_where_the_hardware_has_no_room_for_all_of_it() {
    let (mut app, _commands) = app();
    screen(&mut app).cursor_side = 64;
    let outputs = app.display.outputs();
    app.seat.set_outputs(&outputs);
    app.handle(frame(1));
    let show = |app: &mut App, side: u32| {
        let before = app.cursor_area();
        app.attached.as_mut().unwrap().cursors.show(CursorImage {
            size: Size { w: side, h: side },
            hotspot: (0, 0),
            pixels: vec![POINTER; (side * side) as usize],
        });
        app.cursor_changed(before);
        let pixels = screen(app).pixels();
        pixels.iter().filter(|pixel| **pixel == POINTER).count()
    };
    assert_eq!(show(&mut app, 64), 0, "its plane shows it");
    // It points at the middle of the screen.
    assert_eq!(show(&mut app, 65), 32 * 24);
    assert_eq!(show(&mut app, 64), 0);
}

#[test]
fn screen_that_cannot_be_lit_keeps_nobody_waiting_at_another() {
    let (mut app, mut commands) = app();
    let mut outputs = app.display.outputs().into_vec();
    let mut other = outputs[0].clone();
    other.id = OutputId(1);
    outputs.push(other);
    app.attached = Some(Attached::new(
        ATTACH,
        &List::truncated(outputs),
        Budget::default(),
    ));
    app.handle(frame(1));
    assert_eq!(told(&mut commands), [0; 0], "the other may yet show it");
    while !app.retries.is_dark(OutputId(1)) {
        app.retries.failed(OutputId(1), App::now_ns());
    }
    app.settle();
    assert_eq!(told(&mut commands), [1]);
}

#[test]
fn screen_is_dark_rather_than_of_somebody_who_has_gone_and_comes_back() {
    let (mut app, mut commands) = app();
    app.handle(frame(1));
    assert_eq!(told(&mut commands), [1]);
    screen(&mut app).failing = 9;
    app.leave(heliostat_wire::control::DetachReason::CardRemoved);
    let mut tries = 1;
    while screen(&mut app).pixels().contains(&RED) {
        wait(&mut app);
        tries += 1;
        assert!(tries < 9, "a person's pixels stay");
    }
    assert!(screen(&mut app).failing > 0);
    assert!(screen(&mut app).pixels().iter().all(|pixel| *pixel == 0));
    while screen(&mut app).failing > 0 {
        wait(&mut app);
    }
    wait(&mut app);
    assert!(screen(&mut app).pixels().iter().any(|pixel| *pixel != 0));
    assert!(app.retries.left(App::now_ns(), |_| true).is_none());
}

#[test]
fn screen_that_is_unplugged_and_plugged_in_again_shows_the_scene_without_another_frame() {
    let (mut app, mut commands) = app();
    app.handle(frame(1));
    assert_eq!(told(&mut commands), [1]);
    screen(&mut app).is_unplugged = true;
    app.handle(AppEvent::OutputsChanged);
    assert!(app.outputs.is_empty());
    screen(&mut app).darken();
    screen(&mut app).is_unplugged = false;
    app.handle(AppEvent::OutputsChanged);
    assert!(screen(&mut app).pixels().iter().all(|pixel| *pixel == RED));
    app.handle(frame(2));
    assert_eq!(told(&mut commands), [2]);
}

/// A screen that shows a picture of our attach and has refused others as often as is said.
fn stuck(refused: u32, has_told: bool) -> Stuck {
    Stuck {
        output: OutputId(0),
        refused,
        has_told,
        attaches: [0, ATTACH.0],
    }
}

#[test]
fn client_ends_rather_than_leave_what_a_stuck_screen_shows_of_somebody_who_has_gone() {
    let reason = || heliostat_wire::control::DetachReason::CardRemoved;
    let (mut well, _commands) = app();
    well.handle(frame(1));
    well.leave(reason());
    assert!(!well.has_ended());
    for has_told in [false, true] {
        let (mut app, _commands) = app();
        app.handle(frame(1));
        screen(&mut app).stuck = vec![stuck(1, has_told)];
        app.handle(AppEvent::Tick);
        assert!(!app.has_ended());
        app.leave(reason());
        assert!(app.has_ended());
    }
}

#[test]
fn client_ends_when_a_screen_that_has_told_of_pictures_is_stuck() {
    let (mut app, mut commands) = app();
    screen(&mut app).stuck = vec![stuck(2, true)];
    app.handle(AppEvent::Tick);
    assert!(!app.has_ended() && app.attached.is_some());
    // One that has never told would not the next time either. Nobody is told that it shows something.
    screen(&mut app).stuck = vec![stuck(9, false)];
    app.handle(frame(1));
    app.handle(AppEvent::Tick);
    assert!(!app.has_ended() && told(&mut commands).is_empty());
    screen(&mut app).stuck = vec![stuck(3, true)];
    app.handle(AppEvent::Tick);
    assert!(app.has_ended() && app.attached.is_none());
    let mut left = std::iter::from_fn(|| commands.try_recv().ok());
    assert!(left.any(|command| matches!(command, NetCommand::Leave(ATTACH, _))));
}

#[test]
fn what_is_due_after_a_detach_waits_for_no_turn() {
    let (mut app, _commands) = app();
    app.handle(frame(1));
    screen(&mut app).failing = 3;
    app.attached.as_mut().unwrap().damage_all();
    for _ in 0..3 {
        app.retries.hurry();
        app.redraw();
    }
    app.attached.as_mut().unwrap().damage_all();
    app.redraw();
    assert!(app.retries.left(App::now_ns(), |_| true).is_some());
    app.leave(heliostat_wire::control::DetachReason::CardRemoved);
    assert!(!screen(&mut app).pixels().contains(&RED));
    assert!(app.retries.left(App::now_ns(), |_| true).is_none());
}

/// An attach of the session with this key.
fn attach(id: AttachId, key: u8) -> Attach {
    Attach {
        seq: 1,
        attach_id: id,
        addresses: List::default(),
        pin: KeyPin([key; 32]),
        ticket: Ticket([0; 32]),
        person: "alice".into(),
        keep_pixels_s: 60,
    }
}

/// A red screen of an attach that gives way to another one of the session with this key.
fn changed(key: u8) -> (App, UnboundedReceiver<NetCommand>) {
    let (mut app, mut commands) = app();
    app.attached = None;
    app.join(attach(ATTACH, 1));
    app.handle(frame(1));
    assert!(screen(&mut app).pixels().iter().all(|pixel| *pixel == RED));
    while commands.try_recv().is_ok() {}
    app.change(attach(NEXT, key));
    app.redraw();
    (app, commands)
}

const NEXT: AttachId = AttachId(8);

#[test]
fn picture_stays_until_the_attach_that_takes_over_has_one_and_what_it_holds_is_told() {
    let (mut app, mut commands) = changed(1);
    let all_red = |app: &mut App| screen(app).pixels().iter().all(|pixel| *pixel == RED);
    assert!(all_red(&mut app));
    let Ok(NetCommand::Change { first, .. }) = commands.try_recv() else {
        panic!("another link is opened, and the first is not left before");
    };
    let ToSession::Attach { kept, .. } = *first else {
        panic!("{first:?}");
    };
    assert_eq!(
        kept.map(|kept| (kept.attach_id, kept.serial)),
        Some((ATTACH, 1))
    );
    // The former attach has nothing to say any more.
    app.handle(frame(2));
    assert!(all_red(&mut app));
    let background = SceneOp::Background {
        output: OutputId(0),
        rgb: 0x00ff,
    };
    let header = FrameHeader {
        serial: 1,
        last_input: 0,
        overtakes: 0,
        ops: List::truncated(vec![background]),
    };
    let content = vec![0, 0, 0].into();
    app.handle(AppEvent::Net(NetEvent::Frame(
        NEXT,
        Frame { header, content },
        0,
    )));
    assert!(
        screen(&mut app)
            .pixels()
            .iter()
            .all(|pixel| *pixel == 0x00ff)
    );
    assert!(app.held_until_ns.is_none());
}

#[test]
fn picture_does_not_stay_for_long_nor_without_an_attach_nor_for_another_session() {
    let is_red = |app: &mut App| screen(app).pixels().contains(&RED);
    let (mut app, _commands) = changed(1);
    assert!(app.next_tick().is_some_and(|left| left <= HELD));
    app.held_until_ns = Some(App::now_ns());
    app.handle(AppEvent::Tick);
    assert!(!is_red(&mut app) && app.held_until_ns.is_none());

    let (mut app, _commands) = changed(1);
    app.leave(heliostat_wire::control::DetachReason::CardRemoved);
    assert!(!is_red(&mut app));

    let (mut app, mut commands) = changed(2);
    assert!(!is_red(&mut app));
    assert!(matches!(
        commands.try_recv(),
        Ok(NetCommand::Leave(ATTACH, _))
    ));
    assert!(matches!(commands.try_recv(), Ok(NetCommand::Join { .. })));
}

#[test]
fn what_is_given_back_is_out_of_date_as_before() {
    let (mut app, _commands) = app();
    app.handle(frame(1));
    let attached = app.attached.as_mut().unwrap();
    attached.damage_all();
    let (damage, new) = attached.take_damage(OutputId(0));
    assert!(!damage.is_empty() && !new);
    attached.give_back(OutputId(0), &damage, true);
    let (again, new) = attached.take_damage(OutputId(0));
    assert!(new);
    assert_eq!(again.rects(), damage.rects());
}

/// A film of many pictures on a layer that is as large as the screen, beginning with frame 1.
fn film(pictures: u32) -> Vec<Frame> {
    let (video, layer) = (VideoId(5), LayerId(1));
    let at = WireRect {
        x: 0,
        y: 0,
        w: SIZE.w,
        h: SIZE.h,
    };
    let size = heliostat_video::Size {
        w: SIZE.w,
        h: SIZE.h,
    };
    let quality = heliostat_video::Quality::default();
    let mut encoder = heliostat_video::Encoder::new(size, quality).unwrap();
    let mut picture = heliostat_video::Picture::default();
    let make = |serial: u32| {
        let pixels: Vec<u32> = (0..SIZE.w * SIZE.h)
            .map(|n| n * 977 + serial * 31)
            .collect();
        assert!(picture.take(size, &pixels));
        let mut content = Vec::new();
        encoder.encode(&picture, false, &mut content).unwrap();
        let part = SceneOp::VideoPart {
            video,
            bytes: content.len() as u32,
            last: true,
        };
        let begin = [
            SceneOp::CreateLayer {
                layer,
                size: SIZE,
                alpha: false,
            },
            SceneOp::Place(Placement {
                layer,
                output: OutputId(0),
                dst: at,
                src: Crop::whole(SIZE),
                transform: Transform::Normal,
                opacity: 255,
            }),
            SceneOp::StartVideo {
                video,
                layer,
                rect: at,
            },
        ];
        let begin = begin.into_iter().filter(|_| serial == 1);
        content.extend([0, 0, 0]);
        Frame {
            header: FrameHeader {
                serial,
                last_input: 0,
                overtakes: 0,
                ops: List::truncated(begin.chain([part]).collect()),
            },
            content: content.into(),
        }
    };
    (1..=pictures).map(make).collect()
}

#[test]
fn steady_film_on_a_plane_allocates_nothing() {
    let name = "app::picture::tests::steady_film_on_a_plane_allocates_nothing";
    let ran = alone(name, "", || {
        let (mut app, mut commands) = app();
        let plain = std::mem::replace(screen(&mut app), Headless::new(None, (1, 1)).unwrap());
        app.display = Display::Headless(plain.with_plane(NV12));
        let node = std::path::PathBuf::from(std::env::var_os(NODE).unwrap());
        let device = Device::open(&node).unwrap_or_else(|error| panic!("{error}"));
        let attached = app.attached.as_mut().unwrap();
        attached.scene.use_device(Some(std::sync::Arc::new(device)));
        const PICTURES: u32 = 80;
        let mut made = Vec::new();
        for frame in film(PICTURES) {
            let event = AppEvent::Net(NetEvent::Frame(ATTACH, frame, App::now_ns()));
            // What the event holds is given back, which counts for nothing.
            let before = allocations();
            app.handle(event);
            made.push(allocations() - before);
            assert_eq!(screen(&mut app).on_planes().len(), 1);
        }
        let attached = app.attached.as_ref().unwrap();
        assert_eq!(attached.scene.copied_pixels(), 0);
        assert_eq!(told(&mut commands), (1..=PICTURES).collect::<Vec<_>>());
        assert!(made[0] > 0, "nothing is counted");
        // Every sixteenth acknowledgement says something of cells, and the way to the links' thread has
        // room for 32 messages at a time.
        let steady = &made[10..];
        let busy = steady.iter().filter(|made| **made > 0).count();
        assert!(busy <= 70 / 16 + 70 * 2 / 32 + 2, "{made:?}");
        assert!(steady.iter().all(|made| *made <= 6), "{made:?}");
    });
    if let Some(ran) = ran {
        assert!(!ran.log.contains("refused"), "{}", ran.log);
    }
}

/// Plays a film of some pictures on a screen whose plane takes XRGB and no NV12, and says for each
/// whether it was on the plane. `see` is called after each.
fn play_converted(pictures: u32, mut see: impl FnMut(&App)) -> (Vec<bool>, App) {
    let (mut app, mut commands) = app();
    let plain = std::mem::replace(screen(&mut app), Headless::new(None, (1, 1)).unwrap());
    app.display = Display::Headless(plain.with_plane(RGB.drm));
    let node = std::path::PathBuf::from(std::env::var_os(NODE).unwrap());
    let device = Device::open(&node).unwrap_or_else(|error| panic!("{error}"));
    let attached = app.attached.as_mut().unwrap();
    attached.scene.use_device(Some(std::sync::Arc::new(device)));
    let shown = film(pictures).into_iter().map(|frame| {
        app.handle(AppEvent::Net(NetEvent::Frame(ATTACH, frame, App::now_ns())));
        see(&app);
        screen(&mut app).on_planes().len() == 1
    });
    let shown = shown.collect();
    assert_eq!(told(&mut commands), (1..=pictures).collect::<Vec<_>>());
    (shown, app)
}

#[test]
fn film_is_made_rgb_by_the_device_where_no_plane_takes_nv12() {
    let name = "app::picture::tests::film_is_made_rgb_by_the_device_where_no_plane_takes_nv12";
    let ran = alone(name, "", || {
        let (shown, app) = play_converted(12, |_| {});
        assert!(shown.iter().all(|shown| *shown), "{shown:?}");
        assert_eq!(app.attached.as_ref().unwrap().scene.copied_pixels(), 0);
    });
    let Some(ran) = ran else { return };
    let of_rgb = |line: &&str| line.contains("role=exported") && line.contains("fourcc=BGRX");
    let made = ran.counters.lines().filter(of_rgb);
    let made = made.filter(|line| !line.contains("processed-into=0"));
    assert!(made.count() >= 2, "{}", ran.counters);
    for line in ran.counters.lines() {
        assert!(line.contains("lent=0 copied=0"), "{line}");
    }
    assert!(!ran.log.contains("refused"), "{}", ran.log);
    assert!(!ran.log.contains("left behind"), "{}", ran.log);
}

#[test]
fn film_whose_converted_surfaces_are_all_shown_is_copied_until_one_is_free() {
    let name = "app::picture::tests::film_whose_converted_surfaces_are_all_shown_is_copied_until_one_is_free";
    let ran = alone(name, "", || {
        let rgb = Use {
            plane: PlaneId(2),
            video: VideoId(5),
            format: Format {
                code: RGB.drm,
                modifier: LINEAR,
            },
            fit: Fit {
                source: [0; 4],
                dst: Rect::of_size(SIZE.w, SIZE.h),
            },
        };
        // As if other screens went on showing them.
        let (mut held, mut seen) = (Vec::new(), 0);
        let (shown, app) = play_converted(16, |app| {
            seen += 1;
            let scene = &app.attached.as_ref().unwrap().scene;
            match seen {
                1..=8 => held.extend(scene.film_for(&rgb)),
                _ => held.clear(),
            }
        });
        let copied = shown.iter().position(|shown| !shown).unwrap();
        assert!((2..8).contains(&copied), "{shown:?}");
        let expected: Vec<bool> = (0..16).map(|at| at < copied || at > 8).collect();
        assert_eq!(shown, expected);
        assert!(app.attached.as_ref().unwrap().scene.copied_pixels() > 0);
    });
    if let Some(ran) = ran {
        assert!(!ran.log.contains("left behind"), "{}", ran.log);
    }
}

#[test]
fn film_that_the_device_stops_converting_is_copied() {
    let name = "app::picture::tests::film_that_the_device_stops_converting_is_copied";
    // Surfaces are made grey by eight, then each picture is decoded and converted.
    let ran = alone(name, "vaEndPicture:14", || {
        let (shown, mut app) = play_converted(8, |_| {});
        assert_eq!(
            shown,
            [true, true, false, false, false, false, false, false]
        );
        let attached = app.attached.as_ref().unwrap();
        assert!(attached.scene.copied_pixels() > 0);
        assert!(screen(&mut app).pixels().iter().any(|pixel| *pixel != 0));
    });
    if let Some(ran) = ran {
        assert!(!ran.log.contains("left behind"), "{}", ran.log);
    }
}

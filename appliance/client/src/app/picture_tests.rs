//! Pictures that cannot be shown, on a screen that fails as often as it is told to.

use heliostat_link::Frame;
use heliostat_wire::List;
use heliostat_wire::id::AttachId;
use heliostat_wire::scene::{FrameHeader, SceneOp};
use heliostat_wire::session::ToSession;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::app::Parts;
use crate::attached::Attached;
use crate::control_lines::Announcer;
use crate::display::Display;
use crate::display::headless::Headless;
use crate::events::{AppEvent, NetEvent};
use crate::net::{Net, NetCommand};
use crate::scene::Budget;
use crate::screens::Surroundings;

const ATTACH: AttachId = AttachId(7);
const SIZE: Size = Size { w: 64, h: 48 };
const RED: u32 = 0x00ff_0000;

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
    let content = vec![0, 0, 0];
    AppEvent::Net(NetEvent::Frame(ATTACH, Frame { header, content }))
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

//! Real clients and a terminal's model around the compositor, all in one thread.

mod activation;
mod adaptation;
mod answers;
mod apart;
mod client;
mod costly;
mod cursor;
#[cfg(feature = "gpu")]
mod explicit;
mod films;
mod fixture;
mod flat;
#[cfg(feature = "gpu")]
mod fuse;
#[cfg(feature = "gpu")]
pub(crate) mod hardware;
mod healing;
#[cfg(feature = "gpu")]
mod held;
mod hostile;
#[path = "../../../hil-tests/rig/src/lack.rs"]
#[allow(dead_code, reason = "it has more than tests without a GPU need")]
pub(crate) mod lack;
#[cfg(feature = "gpu")]
mod layouts;
#[cfg(feature = "gpu")]
mod lent;
mod moved;
mod narrow;
mod pointer;
mod popups;
mod presentation;
mod progress;
mod resume;
mod screens;
mod shares;
mod shells;
mod steady;
mod touch;

use heliostat_wire::input::InputEvent;
use proptest::prelude::*;
use tokio::sync::mpsc::unbounded_channel;

use crate::app::Session;
use crate::config::Config;
use crate::gpu::RenderNode;
use crate::keys::Action;
use crate::threads::Threads;
use client::Painting;
use fixture::{Fixture, within};

const BTN_LEFT: u16 = 0x110;
const KEY_LEFTALT: u16 = 56;

#[test]
fn what_a_client_draws_is_what_the_terminal_shows() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(Painting {
        w: 200,
        h: 100,
        seed: 1,
    });
    fixture.settle();
    fixture.assert_shows(&[window]);
}

#[test]
fn frame_that_changes_nothing_is_not_sent() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(Painting {
        w: 200,
        h: 100,
        seed: 1,
    });
    fixture.settle();
    let frames = fixture.frames();
    fixture.client(window).commit(Painting {
        w: 200,
        h: 100,
        seed: 1,
    });
    fixture.settle();
    assert_eq!(fixture.frames(), frames);
}

#[test]
fn dragging_a_window_sends_places_and_no_pixels() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (1280, 720));
    let window = fixture.open(Painting {
        w: 800,
        h: 600,
        seed: 7,
    });
    fixture.settle();
    let corner = fixture.corner(window);
    fixture.motion(corner.0 + 50, corner.1 + 50);
    fixture.input(InputEvent::Key {
        code: KEY_LEFTALT,
        pressed: true,
    });
    fixture.input(InputEvent::Button {
        code: BTN_LEFT,
        pressed: true,
    });
    fixture.settle();
    for step in 1..=10 {
        let before = fixture.frame_bytes();
        fixture.motion(corner.0 + 50 + step * 7, corner.1 + 50 + step * 3);
        fixture.settle();
        let bytes = fixture.frame_bytes() - before;
        assert!(bytes <= 200, "{bytes} bytes a frame");
    }
    fixture.input(InputEvent::Button {
        code: BTN_LEFT,
        pressed: false,
    });
    fixture.settle();
    assert_eq!(fixture.corner(window), (corner.0 + 70, corner.1 + 30));
    fixture.assert_shows(&[window]);
}

#[test]
fn blinking_cell_costs_few_bytes() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (1280, 720));
    let painting = Painting {
        w: 700,
        h: 500,
        seed: 3,
    };
    let window = fixture.open(painting);
    fixture.settle();
    for _ in 0..6 {
        let before = fixture.frame_bytes();
        fixture.client(window).invert(100, 120, 9, 18);
        fixture.settle();
        let bytes = fixture.frame_bytes() - before;
        assert!((1..=250).contains(&bytes), "{bytes} bytes a blink");
    }
}

#[test]
fn nothing_is_encoded_and_no_client_is_asked_to_draw_while_nobody_watches() {
    let mut fixture = Fixture::new();
    let window = fixture.open(Painting {
        w: 200,
        h: 100,
        seed: 1,
    });
    fixture.client(window).ask_for_a_frame();
    fixture.settle();
    assert_eq!(fixture.client(window).frames_done(), 0);
    assert_eq!(fixture.frames(), 0);
    fixture.attach("a", (640, 480));
    fixture.settle();
    assert_eq!(fixture.client(window).frames_done(), 1);
    fixture.assert_shows(&[window]);
}

#[test]
fn client_that_waited_while_hidden_may_draw_when_it_is_seen_again() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(Painting {
        w: 200,
        h: 100,
        seed: 1,
    });
    fixture.settle();
    fixture.act(Action::Minimise);
    fixture.settle();
    fixture.client(window).ask_for_a_frame();
    fixture.settle();
    assert_eq!(fixture.client(window).frames_done(), 0);
    let before = fixture.frame_bytes();
    fixture.act(Action::NextWindow);
    fixture.settle();
    assert_eq!(fixture.client(window).frames_done(), 1);
    let bytes = fixture.frame_bytes() - before;
    assert!(bytes < 200, "its pixels were still there: {bytes} bytes");
    fixture.assert_shows(&[window]);
}

#[test]
fn minimised_window_that_goes_on_drawing_sends_nothing_and_is_asked_for_nothing() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(Painting {
        w: 200,
        h: 100,
        seed: 1,
    });
    fixture.settle();
    fixture.act(Action::Minimise);
    fixture.settle();
    let before = (fixture.frames(), fixture.stats().tiles);
    for seed in 2..12 {
        fixture.client(window).ask_for_a_frame();
        fixture.client(window).commit(Painting {
            w: 200,
            h: 100,
            seed,
        });
        fixture.settle();
    }
    assert_eq!(fixture.client(window).frames_done(), 0);
    assert_eq!((fixture.frames(), fixture.stats().tiles), before);
    fixture.act(Action::NextWindow);
    fixture.settle();
    assert_eq!(fixture.client(window).frames_done(), 10);
    fixture.assert_shows(&[window]);
}

#[test]
fn keys_held_at_a_silent_terminal_go_up() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(Painting {
        w: 200,
        h: 100,
        seed: 1,
    });
    fixture.settle();
    fixture.input(InputEvent::Key {
        code: 30,
        pressed: true,
    });
    fixture.settle();
    assert_eq!(fixture.client(window).keys(), [(30, true)]);
    within("the key goes up", || {
        fixture.turn_for(std::time::Duration::from_millis(50));
        fixture.client(window).keys() == [(30, true), (30, false)]
    });
}

#[test]
fn keyboard_is_given_after_the_first_buffer_and_follows_the_focus() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let first = fixture.open(Painting {
        w: 200,
        h: 100,
        seed: 1,
    });
    let second = fixture.open(Painting {
        w: 200,
        h: 100,
        seed: 2,
    });
    fixture.settle();
    fixture.key(30);
    assert_eq!(fixture.client(first).keys(), []);
    assert_eq!(fixture.client(second).keys(), [(30, true), (30, false)]);
    fixture.close(second);
    fixture.settle();
    fixture.key(31);
    assert_eq!(fixture.client(first).keys(), [(31, true), (31, false)]);
}

#[test]
fn what_is_typed_before_the_one_program_is_there_reaches_it_and_in_a_desktop_nobody() {
    let painting = Painting {
        w: 200,
        h: 100,
        seed: 1,
    };
    for (vital, expected) in [
        (Some("program".to_owned()), vec![30, 48, 46]),
        (None, vec![46]),
    ] {
        let mut fixture = Fixture::with(Config {
            vital,
            ..Config::default()
        });
        fixture.attach("a", (640, 480));
        fixture.key(30);
        fixture.key(48);
        let window = fixture.open(painting);
        fixture.settle();
        fixture.key(46);
        let both = |code| [(code, true), (code, false)];
        let expected: Vec<_> = expected.into_iter().flat_map(both).collect();
        assert_eq!(fixture.client(window).keys(), expected);
    }
}

#[test]
fn session_whose_one_program_cannot_be_started_ends_and_says_why() {
    let config = Config {
        vital: Some("program".to_owned()),
        parts: [("program".to_owned(), "true".to_owned())].into(),
        autostart: Vec::new(),
        xdg_autostart: false,
        render_node: RenderNode::Off,
        ..Config::default()
    };
    let (broker, _) = unbounded_channel();
    let mut session = Session::without_socket(config, broker, "wayland-test").unwrap();
    session.app().children.take_threads_of(Threads::few(0));
    let error = session.run().unwrap_err().to_string();
    assert!(
        error.contains("it could not be started the last time: true"),
        "{error}"
    );
}

#[test]
fn link_without_acknowledgements_gets_few_frames_and_then_only_the_newest_pixels() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(Painting {
        w: 300,
        h: 200,
        seed: 0,
    });
    fixture.settle();
    fixture.acknowledge(false);
    let before = fixture.frames();
    for seed in 1..40 {
        fixture.client(window).commit(Painting {
            w: 300,
            h: 200,
            seed,
        });
        fixture.turn_for(std::time::Duration::from_millis(20));
    }
    let sent = fixture.frames() - before;
    assert!((1..=4).contains(&sent), "{sent} frames");
    fixture.acknowledge(true);
    fixture.settle();
    assert_eq!(
        fixture.frames() - before,
        sent + 1,
        "what was missed goes at once"
    );
    fixture.assert_shows(&[window]);
}

#[derive(Debug, Clone)]
enum Op {
    Open(u32, u32, u32),
    Draw(usize, u32),
    Resize(usize, u32, u32, u32),
    Invert(usize, u32, u32),
    Close(usize),
    Move(usize, i32, i32),
    Attach(u32, u32),
    ComeBack(u32, u32),
    CutOff,
    Refresh,
    Detach,
}

fn op() -> impl Strategy<Value = Op> {
    let side = || 1u32..260;
    prop_oneof![
        2 => (side(), side(), 0u32..9).prop_map(|(w, h, seed)| Op::Open(w, h, seed)),
        3 => (any::<usize>(), 0u32..9).prop_map(|(n, seed)| Op::Draw(n, seed)),
        2 => (any::<usize>(), side(), side(), 0u32..9).prop_map(|(n, w, h, s)| Op::Resize(n, w, h, s)),
        3 => (any::<usize>(), 0u32..200, 0u32..200).prop_map(|(n, x, y)| Op::Invert(n, x, y)),
        1 => any::<usize>().prop_map(Op::Close),
        3 => (any::<usize>(), -200i32..700, -200i32..500).prop_map(|(n, x, y)| Op::Move(n, x, y)),
        1 => (320u32..900, 240u32..700).prop_map(|(w, h)| Op::Attach(w, h)),
        3 => (320u32..900, 240u32..700).prop_map(|(w, h)| Op::ComeBack(w, h)),
        2 => Just(Op::CutOff),
        1 => Just(Op::Refresh),
        1 => Just(Op::Detach),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn terminal_shows_what_clients_draw_whatever_happens(
        ops in prop::collection::vec(op(), 1..30),
        late in 0usize..40,
        layers in prop_oneof![Just(64u32), 1u32..4],
    ) {
        let mut fixture = Fixture::new();
        // Those that hold few get what they cannot hold as one layer.
        fixture.offer_layers(layers, 64 << 20);
        fixture.say_cells(late);
        fixture.let_keep(std::time::Duration::from_secs(60));
        let mut windows = Vec::new();
        fixture.attach("a", (640, 480));
        for op in ops {
            let pick = |n: usize| (!windows.is_empty()).then(|| windows[n % windows.len()]);
            match op {
                Op::Open(w, h, seed) if windows.len() < 4 => windows.push(fixture.open(Painting { w, h, seed })),
                Op::Open(..) => {}
                Op::Draw(n, seed) => if let Some(window) = pick(n) {
                    let (w, h) = fixture.client(window).size();
                    fixture.client(window).commit(Painting { w, h, seed });
                },
                Op::Resize(n, w, h, seed) => if let Some(window) = pick(n) {
                    fixture.client(window).commit(Painting { w, h, seed });
                },
                Op::Invert(n, x, y) => if let Some(window) = pick(n) {
                    fixture.client(window).invert(x, y, 9, 18);
                },
                Op::Close(n) => if let Some(window) = pick(n) {
                    fixture.close(window);
                    windows.retain(|other| *other != window);
                },
                Op::Move(n, x, y) => if let Some(window) = pick(n) {
                    fixture.drag(window, x, y);
                },
                Op::Attach(w, h) => fixture.attach("b", (w, h)),
                Op::ComeBack(w, h) => fixture.come_back((w, h)),
                Op::CutOff => fixture.cut_off(),
                Op::Refresh => fixture.refresh(),
                Op::Detach => fixture.detach(),
            }
            fixture.turn();
        }
        // Frames that are lost come again at the next attach only.
        fixture.come_back((640, 480));
        fixture.settle();
        fixture.assert_shows(&windows);
        prop_assert_eq!(fixture.stats().cells_wrong, 0);
    }
}

//! Who is told what of when it was shown, and who may draw.

use std::time::{Duration, Instant};

use heliostat_wire::id::OutputId;
use heliostat_wire::output::Size;
use smithay::utils::{Clock, Monotonic};

use super::client::{Painting, Told};
use super::fixture::{Fixture, within};
use crate::keys::Action;
use crate::outputs::before_any_terminal;

const WINDOW: Painting = Painting {
    w: 200,
    h: 100,
    seed: 1,
};
const MS: Duration = Duration::from_millis(1);

fn monotonic() -> Duration {
    Clock::<Monotonic>::new().now().into()
}

/// A terminal that has shown a window, and shows nothing more by itself.
fn open() -> (Fixture, usize) {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let window = fixture.open(WINDOW);
    fixture.settle();
    fixture.acknowledge(false);
    (fixture, window)
}

/// Commits something new, and asks under its seed when it is shown.
fn draw(fixture: &mut Fixture, window: usize, seed: u32) {
    fixture.client(window).ask_when_shown(seed);
    fixture.client(window).commit(Painting { seed, ..WINDOW });
    fixture.turn_for(5 * MS);
}

fn presented(told: &[(u32, Told)], name: u32) -> Option<(Duration, Duration, u64)> {
    told.iter().find_map(|(asked, told)| match told {
        Told::Presented {
            at,
            refresh,
            sequence,
            ..
        } if *asked == name => Some((*at, *refresh, *sequence)),
        _ => None,
    })
}

fn told(fixture: &mut Fixture, window: usize) -> Vec<(u32, Told)> {
    fixture.turn_for(5 * MS);
    fixture.client(window).told().to_vec()
}

/// Whether what was shown is said to have been shown at a retrace.
fn is_at_retrace(told: &[(u32, Told)], name: u32) -> Option<bool> {
    told.iter().find_map(|(asked, told)| match told {
        Told::Presented { vsync, .. } if *asked == name => Some(*vsync),
        _ => None,
    })
}

#[test]
fn client_learns_when_the_terminal_scanned_out_what_it_drew() {
    let (mut fixture, window) = open();
    draw(&mut fixture, window, 2);
    // The terminal has been up for an hour, and says at once that it has shown the frame.
    let then = Instant::now();
    fixture.shown_after(3_600_000_000);
    let first = told(&mut fixture, window);
    let late = then.elapsed();
    let (_, refresh, before) = presented(&first, 2).expect("shown");
    assert_eq!(refresh, MS);
    assert_eq!(is_at_retrace(&first, 2), Some(false), "nobody knows of any");

    draw(&mut fixture, window, 3);
    fixture.turn_for(30 * MS);
    // This one it says 20 ms after it was shown.
    let since = then.elapsed() - 20 * MS;
    let shown_at = monotonic() - 20 * MS;
    fixture.shown_after(since.as_micros() as i64);
    let second = told(&mut fixture, window);
    let (at, _, sequence) = presented(&second, 3).expect("shown");
    assert!(at + MS >= shown_at, "{at:?} before {shown_at:?}");
    assert!(at <= shown_at + late + MS, "{at:?} after {shown_at:?}");
    let passed = sequence - before;
    assert!((5..10_000).contains(&passed), "{passed} retraces");
}

#[test]
fn terminal_that_lies_about_time_makes_no_time_before_the_frame_or_in_the_future() {
    for after_us in [i64::MIN, -5_000_000, 0, 40_000_000, i64::MAX] {
        let (mut fixture, window) = open();
        let before = monotonic();
        draw(&mut fixture, window, 2);
        fixture.shown_after(1_000_000);
        draw(&mut fixture, window, 3);
        fixture.turn_for(5 * MS);
        fixture.shown_after(after_us);
        let all = told(&mut fixture, window);
        let (first, _, _) = presented(&all, 2).expect("shown");
        let (second, _, _) = presented(&all, 3).expect("shown");
        assert!(before <= first && first <= second && second <= monotonic());
    }
}

#[test]
fn what_was_never_shown_is_discarded() {
    let (mut fixture, window) = open();
    // Superseded before any frame took it.
    fixture.client(window).ask_when_shown(2);
    fixture
        .client(window)
        .commit(Painting { seed: 2, ..WINDOW });
    fixture
        .client(window)
        .commit(Painting { seed: 3, ..WINDOW });
    assert_eq!(told(&mut fixture, window), [(2, Told::Discarded)]);
    // Superseded while it was under way: the terminal shows two frames at once.
    draw(&mut fixture, window, 4);
    draw(&mut fixture, window, 5);
    fixture.shown_after(1000);
    let all = told(&mut fixture, window);
    assert_eq!(all[1], (4, Told::Discarded));
    assert!(presented(&all, 5).is_some());
    // Hidden.
    fixture.acknowledge(true);
    fixture.act(Action::Minimise);
    fixture.settle();
    draw(&mut fixture, window, 6);
    assert_eq!(told(&mut fixture, window)[3..], [(6, Told::Discarded)]);
    // Under way when the terminal goes, and drawn when there is none.
    fixture.act(Action::NextWindow);
    fixture.settle();
    fixture.acknowledge(false);
    draw(&mut fixture, window, 7);
    fixture.detach();
    assert_eq!(told(&mut fixture, window)[4..], [(7, Told::Discarded)]);
    draw(&mut fixture, window, 8);
    assert_eq!(told(&mut fixture, window)[5..], [(8, Told::Discarded)]);
}

#[test]
fn commit_that_changes_nothing_is_shown_with_what_is_there() {
    let (mut fixture, window) = open();
    draw(&mut fixture, window, 2);
    fixture.client(window).ask_when_shown(3);
    fixture.client(window).surface.as_ref().unwrap().commit();
    assert!(told(&mut fixture, window).iter().all(|told| told.0 != 3));
    fixture.shown_after(1000);
    assert!(presented(&told(&mut fixture, window), 3).is_some());
    fixture.client(window).ask_when_shown(4);
    fixture.client(window).surface.as_ref().unwrap().commit();
    assert!(presented(&told(&mut fixture, window), 4).is_some());
}

#[test]
fn surface_on_two_outputs_is_presented_on_the_one_where_most_of_it_is() {
    let outputs = [(0, 100_000), (1, 50_000)].map(|(id, refresh_mhz)| {
        let mut output = before_any_terminal();
        output.id = OutputId(id);
        output.size = Size { w: 640, h: 480 };
        output.x = 640 * i32::from(id);
        output.refresh_mhz = refresh_mhz;
        output
    });
    let mut fixture = Fixture::new();
    fixture.attach_to("a", outputs.to_vec());
    let window = fixture.open(WINDOW);
    for (x, seed, interval) in [(500, 2, 10 * MS), (580, 3, 20 * MS)] {
        fixture.drag(window, x, 100);
        draw(&mut fixture, window, seed);
        within("it is presented", || {
            let all = told(&mut fixture, window);
            presented(&all, seed).is_some_and(|(_, refresh, _)| refresh == interval)
        });
    }
}

/// Asks for frames for so long; returns how many came.
fn frames_in(fixture: &mut Fixture, window: usize, time: Duration) -> usize {
    let before = fixture.client(window).frames_done();
    let until = Instant::now() + time;
    let mut asked = before;
    fixture.client(window).ask_for_a_frame();
    while Instant::now() < until {
        fixture.turn();
        let done = fixture.client(window).frames_done();
        if done > asked {
            asked = done;
            fixture.client(window).ask_for_a_frame();
        }
    }
    fixture.client(window).frames_done() - before
}

#[test]
fn client_that_is_covered_draws_once_a_second_and_at_once_when_it_is_seen() {
    let mut fixture = Fixture::new();
    fixture.attach("a", (640, 480));
    let below = fixture.open(WINDOW);
    let above = fixture.open(Painting {
        w: 400,
        h: 300,
        seed: 2,
    });
    fixture.drag(below, 100, 100);
    fixture.drag(above, 280, 150);
    fixture.settle();
    within("half covered, it may draw on and on", || {
        frames_in(&mut fixture, below, 20 * MS) > 3
    });
    // Its title bar as well.
    fixture.drag(above, 50, 60);
    fixture.settle();
    let covered = frames_in(&mut fixture, below, 1500 * MS);
    assert!((1..=3).contains(&covered), "{covered} frames while covered");
    within("it is seen itself", || {
        frames_in(&mut fixture, above, 20 * MS) > 3
    });
    fixture.client(below).ask_for_a_frame();
    fixture.turn_for(5 * MS);
    let before = fixture.client(below).frames_done();
    fixture.drag(above, 280, 150);
    let then = Instant::now();
    within("it may draw", || {
        fixture.turn();
        fixture.client(below).frames_done() > before
    });
    assert!(then.elapsed() < 500 * MS, "{:?}", then.elapsed());
    fixture.act(Action::Minimise);
    fixture.detach();
    fixture.settle();
    assert_eq!(
        frames_in(&mut fixture, below, 100 * MS),
        0,
        "nobody is attached"
    );
}

/// A terminal of 60 Hz, and a client that draws as soon as it may.
struct Animation {
    fixture: Fixture,
    window: usize,
    retrace: Instant,
    start: Instant,
    told_us: i64,
    done: usize,
}

const SIXTIETH: Duration = Duration::from_nanos(16_666_667);

impl Animation {
    fn new() -> Self {
        let mut fixture = Fixture::new();
        fixture.attach_at("a", (640, 480), 60_000);
        let window = fixture.open(WINDOW);
        fixture.settle();
        fixture.acknowledge(false);
        fixture.client(window).ask_for_a_frame();
        let now = Instant::now();
        Self {
            done: fixture.client(window).frames_done(),
            fixture,
            window,
            retrace: now,
            start: now,
            told_us: 0,
        }
    }

    fn turn(&mut self) {
        self.fixture.turn();
        let client = self.fixture.client(self.window);
        if client.frames_done() > self.done {
            self.done = client.frames_done();
            let seed = self.done as u32 % 9;
            client.commit(Painting { seed, ..WINDOW });
            client.ask_for_a_frame();
        }
        if Instant::now() < self.retrace {
            return;
        }
        if self.fixture.has_unshown() {
            let us = (self.retrace - self.start).as_micros() as i64 + 1_000_000_000;
            self.fixture.shown_after(us - self.told_us);
            self.told_us = us;
        }
        self.retrace += SIXTIETH;
    }
}

// How well frames are aimed is a matter of given times, in the tests of `rhythm.rs`.
#[test]
fn animation_is_aimed_at_the_retraces_of_a_terminal_that_has_some() {
    let mut animation = Animation::new();
    within("the rhythm is learnt", || {
        animation.turn();
        animation.fixture.is_aimed_at()
    });
    let (window, asked) = (animation.window, 77);
    animation.fixture.client(window).ask_when_shown(asked);
    let mut at_retrace = None;
    within("the picture is shown", || {
        animation.turn();
        at_retrace = is_at_retrace(animation.fixture.client(window).told(), asked);
        at_retrace.is_some()
    });
    assert_eq!(at_retrace, Some(true));
}

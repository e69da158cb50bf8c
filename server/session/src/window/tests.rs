use proptest::prelude::*;

use super::*;

fn area(output: u8, x: i32, w: i32, h: i32) -> Area {
    let full = Rect { x, y: 0, w, h };
    let usable = Rect {
        y: 24,
        h: h - 24,
        ..full
    };
    Area {
        output: OutputId(output),
        full,
        usable,
    }
}

fn desk(w: i32, h: i32) -> Windows {
    let mut windows = Windows::default();
    windows.set_areas(vec![area(0, 0, w, h)]);
    windows
}

fn open(windows: &mut Windows, w: i32, h: i32) -> WindowId {
    let id = windows.add();
    windows.map(id, Size { w, h });
    id
}

#[derive(Debug, Clone)]
enum Op {
    Open(i32, i32, bool),
    Close(usize),
    Focus(usize),
    Cycle(bool),
    Minimise(usize),
    Mode(usize, u8),
    Parent(usize, usize),
    Drag(usize, bool, i32, i32),
    EndDrag(i32, i32),
    Obey(usize),
    Areas(Vec<(i32, i32)>),
}

fn op() -> impl Strategy<Value = Op> {
    let place = || (-500i32..3000, -500i32..2000);
    prop_oneof![
        (1i32..3000, 1i32..2000, any::<bool>()).prop_map(|(w, h, t)| Op::Open(w, h, t)),
        any::<usize>().prop_map(Op::Close),
        any::<usize>().prop_map(Op::Focus),
        any::<bool>().prop_map(Op::Cycle),
        any::<usize>().prop_map(Op::Minimise),
        (any::<usize>(), 0u8..5).prop_map(|(n, mode)| Op::Mode(n, mode)),
        (any::<usize>(), any::<usize>()).prop_map(|(n, parent)| Op::Parent(n, parent)),
        (any::<usize>(), any::<bool>(), place()).prop_map(|(n, m, (x, y))| Op::Drag(n, m, x, y)),
        place().prop_map(|(x, y)| Op::EndDrag(x, y)),
        any::<usize>().prop_map(Op::Obey),
        prop::collection::vec((320i32..2600, 240i32..1500), 0..3).prop_map(Op::Areas),
    ]
}

fn apply(windows: &mut Windows, op: Op) {
    let all: Vec<_> = windows.windows.keys().copied().collect();
    let pick = |n: usize| {
        all.get(n % all.len().max(1))
            .copied()
            .unwrap_or(WindowId(9999))
    };
    match op {
        Op::Open(w, h, titlebar) => {
            let id = windows.add();
            windows.set_titlebar(id, titlebar);
            windows.map(id, Size { w, h });
        }
        Op::Close(n) => windows.remove(pick(n)),
        Op::Focus(n) => windows.focus(pick(n)),
        Op::Cycle(forward) => windows.cycle(forward),
        Op::Minimise(n) => windows.minimise(pick(n)),
        Op::Mode(n, mode) => windows.set_mode(
            pick(n),
            [
                Mode::Floating,
                Mode::Maximised,
                Mode::Fullscreen,
                Mode::Half(Side::Left),
                Mode::Half(Side::Right),
            ][usize::from(mode)],
        ),
        Op::Parent(n, parent) => windows.set_parent(pick(n), Some(pick(parent))),
        Op::Drag(n, moves, x, y) => {
            let id = pick(n);
            let Some(rect) = windows.get(id).map(|window| window.rect) else {
                return;
            };
            let at = Point {
                x: rect.x + 5,
                y: rect.y + 5,
            };
            match moves {
                true => windows.begin_move(id, at),
                false => windows.begin_resize(id, Edges::near(rect, at), at),
            }
            windows.drag_to(Point { x, y });
        }
        Op::EndDrag(x, y) => windows.end_drag(Point { x, y }),
        Op::Obey(n) => {
            let id = pick(n);
            if let Some(size) = windows.wish(id).and_then(|wish| wish.size) {
                windows.resized(id, size);
            }
        }
        Op::Areas(sizes) => {
            let mut x = 0;
            let areas = sizes.into_iter().enumerate().map(|(n, (w, h))| {
                x += w;
                area(n as u8, x - w, w, h)
            });
            windows.set_areas(areas.collect());
        }
    }
}

fn verify_invariants(windows: &Windows) {
    let mut stack = windows.stack.clone();
    stack.sort_unstable();
    assert!(
        stack.iter().eq(windows.windows.keys()),
        "each window is in the stack once"
    );
    if let Some(focus) = windows.focus {
        let window = &windows.windows[&focus];
        assert!(
            window.mapped && !window.minimised,
            "the keyboard is with a window in sight"
        );
    }
    if windows.shown().next().is_some() {
        assert!(
            windows.focus.is_some(),
            "some window in sight has the keyboard"
        );
    }
    let desk = windows.desk();
    for (id, window) in windows.shown() {
        let top = window.title_rect().map_or(window.rect.y, |title| title.y);
        assert!(
            top >= desk.y,
            "{id:?} cannot be taken hold of: {window:?} on {desk:?}"
        );
        assert!(
            window.rect.overlap(desk) > 0,
            "{id:?} is off the desk: {window:?} on {desk:?}"
        );
        let wish = windows.wish(id).unwrap();
        assert!(wish.size.is_none_or(|size| size.w > 0 && size.h > 0));
        assert!(
            windows.ancestors(id).count() <= windows.windows.len(),
            "no window above itself"
        );
    }
    if let Some(drag) = windows.drag {
        let window = &windows.windows[&drag.window()];
        assert!(window.mapped && window.mode == Mode::Floating);
    }
}

proptest! {
    #[test]
    fn windows_stay_reachable_and_one_has_the_keyboard(ops in prop::collection::vec(op(), 1..60)) {
        let mut windows = desk(1920, 1080);
        for op in ops {
            apply(&mut windows, op);
            verify_invariants(&windows);
        }
    }
}

#[test]
fn window_comes_back_to_its_place_after_a_visit_at_a_small_desk() {
    let mut windows = desk(1920, 1080);
    let id = open(&mut windows, 1500, 900);
    let home = windows.get(id).unwrap().rect;
    windows.set_areas(vec![area(0, 0, 1024, 768)]);
    let small = windows.wish(id).unwrap().size.unwrap();
    assert!(small.w <= 1024 && small.h <= 744);
    windows.resized(id, small);
    windows.set_areas(vec![area(0, 0, 1920, 1080)]);
    windows.resized(id, windows.wish(id).unwrap().size.unwrap());
    assert_eq!(windows.get(id).unwrap().rect, home);
}

#[test]
fn maximised_window_fills_each_desk_it_comes_to() {
    let mut windows = desk(1920, 1080);
    let id = open(&mut windows, 640, 480);
    windows.set_titlebar(id, true);
    windows.set_mode(id, Mode::Maximised);
    windows.set_areas(vec![area(0, 0, 1280, 800)]);
    let rect = windows.get(id).unwrap().rect;
    assert_eq!(
        rect,
        Rect {
            x: 0,
            y: 24 + TITLE_HEIGHT,
            w: 1280,
            h: 776 - TITLE_HEIGHT
        }
    );
    windows.set_mode(id, Mode::Floating);
    assert_eq!(
        windows.wish(id).unwrap().size,
        Some(Size { w: 640, h: 480 })
    );
}

#[test]
fn dragging_the_left_edge_leaves_the_right_one_where_it_is() {
    let mut windows = desk(1920, 1080);
    let id = open(&mut windows, 600, 400);
    let before = windows.get(id).unwrap().rect;
    let at = Point {
        x: before.x,
        y: before.y + 200,
    };
    windows.begin_resize(
        id,
        Edges {
            left: true,
            ..Edges::default()
        },
        at,
    );
    windows.drag_to(Point {
        x: at.x + 57,
        y: at.y,
    });
    windows.end_drag(Point {
        x: at.x + 57,
        y: at.y,
    });
    // A terminal emulator rounds to its cells.
    windows.resized(id, Size { w: 540, h: 400 });
    let after = windows.get(id).unwrap().rect;
    assert_eq!(
        (after.x + after.w, after.y),
        (before.x + before.w, before.y)
    );
}

#[test]
fn window_dropped_at_the_upper_edge_is_maximised_and_comes_off_again() {
    let mut windows = desk(1920, 1080);
    let id = open(&mut windows, 600, 400);
    let rect = windows.get(id).unwrap().rect;
    windows.begin_move(
        id,
        Point {
            x: rect.x + 300,
            y: rect.y,
        },
    );
    windows.drag_to(Point { x: 900, y: 0 });
    windows.end_drag(Point { x: 900, y: 0 });
    assert_eq!(windows.get(id).unwrap().mode, Mode::Maximised);
    windows.resized(id, windows.wish(id).unwrap().size.unwrap());
    windows.begin_move(id, Point { x: 960, y: 30 });
    windows.resized(id, windows.wish(id).unwrap().size.unwrap());
    windows.drag_to(Point { x: 960, y: 300 });
    let rect = windows.get(id).unwrap().rect;
    assert_eq!(rect.size(), Size { w: 600, h: 400 });
    assert!(
        rect.x < 960 && rect.x + rect.w > 960,
        "{rect:?} is under the mouse"
    );
}

#[test]
fn cycling_goes_round_through_all_windows() {
    let mut windows = desk(1920, 1080);
    let all = [
        open(&mut windows, 9, 9),
        open(&mut windows, 9, 9),
        open(&mut windows, 9, 9),
    ];
    let mut seen = Vec::new();
    for _ in 0..3 {
        windows.cycle(true);
        seen.push(windows.focused().unwrap());
    }
    assert_eq!(seen, all);
    windows.cycle(false);
    assert_eq!(windows.focused(), Some(all[1]));
}

#[test]
fn dialog_stays_above_its_window() {
    let mut windows = desk(1920, 1080);
    let main = open(&mut windows, 600, 400);
    let dialog = windows.add();
    windows.set_parent(dialog, Some(main));
    windows.map(dialog, Size { w: 100, h: 100 });
    open(&mut windows, 300, 300);
    windows.focus(main);
    let order: Vec<_> = windows.shown().map(|(id, _)| id).collect();
    assert_eq!(order[1..], [main, dialog]);
    assert_eq!(windows.focused(), Some(main));
}

//! Where windows go: pure arithmetic on rectangles.

use super::{Area, Mode, Rect, Side, TITLE_HEIGHT};

/// How much of a window stays on the desk however far it is dragged.
const GRIP: i32 = 48;

/// What a title bar leaves of `outer`.
pub fn content_of(outer: Rect, titlebar: bool) -> Rect {
    let title = if titlebar { TITLE_HEIGHT } else { 0 };
    Rect {
        y: outer.y + title,
        h: (outer.h - title).max(1),
        ..outer
    }
}

/// Where a window's content lies in a mode other than floating.
pub fn placed(mode: Mode, area: Area, titlebar: bool) -> Rect {
    let usable = area.usable;
    let left = usable.w / 2;
    match mode {
        Mode::Fullscreen => area.full,
        Mode::Half(Side::Left) => content_of(
            Rect {
                w: left.max(1),
                ..usable
            },
            titlebar,
        ),
        Mode::Half(Side::Right) => {
            let right = Rect {
                x: usable.x + left,
                w: (usable.w - left).max(1),
                ..usable
            };
            content_of(right, titlebar)
        }
        Mode::Maximised | Mode::Floating => content_of(usable, titlebar),
    }
}

/// `home` with its size, its middle as far along `after` as it was along `before`.
pub fn carried(home: Rect, before: Rect, after: Rect) -> Rect {
    let along = |start: i32, length: i32, before: (i32, i32), after: (i32, i32)| {
        let middle = i64::from(start) + i64::from(length) / 2 - i64::from(before.0);
        let scaled = middle * i64::from(after.1) / i64::from(before.1.max(1));
        (i64::from(after.0) + scaled - i64::from(length) / 2)
            .clamp(i64::from(i32::MIN / 4), i64::from(i32::MAX / 4)) as i32
    };
    Rect {
        x: along(home.x, home.w, (before.x, before.w), (after.x, after.w)),
        y: along(home.y, home.h, (before.y, before.h), (after.y, after.h)),
        ..home
    }
}

/// `home`, made no larger than `usable` and moved inside.
pub fn fitted(home: Rect, usable: Rect, titlebar: bool) -> Rect {
    let inner = content_of(usable, titlebar);
    let (w, h) = (home.w.min(inner.w).max(1), home.h.min(inner.h).max(1));
    Rect {
        x: home.x.clamp(inner.x, inner.x + inner.w - w),
        y: home.y.clamp(inner.y, inner.y + inner.h - h),
        w,
        h,
    }
}

/// `rect`, moved so that it can be taken hold of on `desk`.
pub fn reachable(rect: Rect, desk: Rect, titlebar: bool) -> Rect {
    let top = desk.y + if titlebar { TITLE_HEIGHT } else { 0 };
    let grip = GRIP.min(rect.w);
    Rect {
        x: rect
            .x
            .clamp(desk.x + grip - rect.w, (desk.x + desk.w - grip).max(desk.x)),
        y: rect.y.clamp(top, (desk.y + desk.h - GRIP / 2).max(top)),
        ..rect
    }
}

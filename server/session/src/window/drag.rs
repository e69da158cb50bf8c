//! What the mouse does to a window that it holds.

use super::places::reachable;
use super::{Anchor, Edges, Mode, Point, Rect, Side, WindowId, Windows};

/// What the mouse is doing to a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drag {
    Move {
        window: WindowId,
        grip: Point,
    },
    Resize {
        window: WindowId,
        edges: Edges,
        from: Point,
        start: Rect,
    },
}

impl Drag {
    /// The window that it is done to.
    pub fn window(self) -> WindowId {
        match self {
            Self::Move { window, .. } | Self::Resize { window, .. } => window,
        }
    }
}

impl Windows {
    /// The mouse takes hold of a window at `at`.
    pub fn begin_move(&mut self, id: WindowId, at: Point) {
        let Some(window) = self.windows.get_mut(&id) else {
            return;
        };
        if !window.mapped || window.mode == Mode::Fullscreen {
            return;
        }
        let mut grip = Point {
            x: at.x - window.rect.x,
            y: at.y - window.rect.y,
        };
        if window.mode != Mode::Floating {
            // It shrinks under the mouse, which keeps its place along the title bar.
            let width = window.home.w.max(1);
            grip.x =
                (i64::from(grip.x) * i64::from(width) / i64::from(window.rect.w.max(1))) as i32;
            window.mode = Mode::Floating;
            window.asked = Some(window.home.size());
        }
        window.anchor = None;
        self.drag = Some(Drag::Move { window: id, grip });
    }

    /// The mouse takes hold of a window's edges at `at`.
    pub fn begin_resize(&mut self, id: WindowId, edges: Edges, at: Point) {
        let Some(window) = self.windows.get_mut(&id) else {
            return;
        };
        if !window.mapped || window.mode == Mode::Fullscreen {
            return;
        }
        window.mode = Mode::Floating;
        window.home = window.rect;
        let start = window.rect;
        window.anchor = Some(Anchor {
            right: edges.left.then_some(start.x + start.w),
            bottom: edges.top.then_some(start.y + start.h),
        });
        self.drag = Some(Drag::Resize {
            window: id,
            edges,
            from: at,
            start,
        });
    }

    /// Whether the mouse holds a window.
    pub fn is_dragging(&self) -> bool {
        self.drag.is_some()
    }

    /// The mouse moved while it holds a window.
    pub fn drag_to(&mut self, at: Point) {
        match self.drag {
            Some(Drag::Move { window, grip }) => self.move_to(window, at, grip),
            Some(Drag::Resize {
                window,
                edges,
                from,
                start,
            }) => {
                let size = edges.drag(start, at.x - from.x, at.y - from.y);
                self.ask(window, size);
            }
            None => {}
        }
    }

    /// The mouse lets go at `at`; at an edge of an output a moved window snaps to it.
    pub fn end_drag(&mut self, at: Point) {
        let Some(Drag::Move { window, .. }) = self.drag.take() else {
            return;
        };
        let Some(area) = self.areas.iter().find(|area| area.full.contains(at)) else {
            return;
        };
        if at.y <= area.full.y {
            self.set_mode(window, Mode::Maximised);
        } else if at.x <= area.full.x {
            self.set_mode(window, Mode::Half(Side::Left));
        } else if at.x >= area.full.x + area.full.w - 1 {
            self.set_mode(window, Mode::Half(Side::Right));
        }
    }

    fn move_to(&mut self, id: WindowId, at: Point, grip: Point) {
        let desk = self.desk();
        if let Some(window) = self.windows.get_mut(&id) {
            let wanted = Rect {
                x: at.x - grip.x,
                y: at.y - grip.y,
                ..window.rect
            };
            window.rect = reachable(wanted, desk, window.titlebar);
            window.home = Rect {
                x: window.rect.x,
                y: window.rect.y,
                ..window.home
            };
        }
    }

    /// The mouse lets go of a window where it is.
    pub fn drop_drag(&mut self) {
        self.drag = None;
    }
}

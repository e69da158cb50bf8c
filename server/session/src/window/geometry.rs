//! Points, sizes and rectangles in logical pixels.

/// A place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// From the left.
    pub x: i32,
    /// From the top.
    pub y: i32,
}

/// Width and height.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Width.
    pub w: i32,
    /// Height.
    pub h: i32,
}

/// A rectangle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: i32,
    /// Top edge.
    pub y: i32,
    /// Width.
    pub w: i32,
    /// Height.
    pub h: i32,
}

/// What stands for the desk while there is none.
pub const NO_DESK: Rect = Rect {
    x: 0,
    y: 0,
    w: 1280,
    h: 720,
};

/// The edges that the mouse drags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Edges {
    /// The left one.
    pub left: bool,
    /// The right one.
    pub right: bool,
    /// The upper one.
    pub top: bool,
    /// The lower one.
    pub bottom: bool,
}

impl Size {
    /// A rectangle of this size in the middle of `around`.
    pub fn centred(self, around: Rect) -> Rect {
        Rect {
            x: around.x + (around.w - self.w) / 2,
            y: around.y + (around.h - self.h) / 2,
            w: self.w,
            h: self.h,
        }
    }
}

impl Rect {
    /// Width and height.
    pub fn size(self) -> Size {
        Size {
            w: self.w,
            h: self.h,
        }
    }

    /// Whether `at` is inside.
    pub fn contains(self, at: Point) -> bool {
        (self.x..self.x + self.w).contains(&at.x) && (self.y..self.y + self.h).contains(&at.y)
    }

    /// The smallest rectangle around both.
    pub fn union(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        Self {
            x,
            y,
            w: (self.x + self.w).max(other.x + other.w) - x,
            h: (self.y + self.h).max(other.y + other.h) - y,
        }
    }

    /// Pixels inside both.
    pub fn overlap(self, other: Self) -> i64 {
        let w = (self.x + self.w).min(other.x + other.w) - self.x.max(other.x);
        let h = (self.y + self.h).min(other.y + other.h) - self.y.max(other.y);
        i64::from(w.max(0)) * i64::from(h.max(0))
    }
}

impl Edges {
    /// The size of `start` after the mouse has moved by (dx, dy).
    pub fn drag(self, start: Rect, dx: i32, dy: i32) -> Size {
        let change = |less: bool, more: bool, by: i32| match (less, more) {
            (true, _) => -by,
            (_, true) => by,
            _ => 0,
        };
        Size {
            w: start.w.saturating_add(change(self.left, self.right, dx)),
            h: start.h.saturating_add(change(self.top, self.bottom, dy)),
        }
    }

    /// The edges nearest to `at`: a third of the window each way is its border.
    pub fn near(rect: Rect, at: Point) -> Self {
        let third = |offset: i32, length: i32| (offset < length / 3, offset > length * 2 / 3);
        let (left, right) = third(at.x - rect.x, rect.w);
        let (top, bottom) = third(at.y - rect.y, rect.h);
        let any = left || right || top || bottom;
        Self {
            left,
            right: right || !any,
            top,
            bottom: bottom || !any,
        }
    }
}

//! Rectangles on an output, and sets of them that need drawing.

use heliostat_wire::scene;

/// A rectangle in an output's pixels. Edges are computed in 64 bits, so that no rectangle of the
/// wire overflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left edge.
    pub x: i32,
    /// Top edge.
    pub y: i32,
    /// Width; not negative.
    pub w: i32,
    /// Height; not negative.
    pub h: i32,
}

impl Rect {
    /// A rectangle from its edges, clamped to what `i32` holds.
    pub fn from_edges(left: i64, top: i64, right: i64, bottom: i64) -> Self {
        let clamp = |v: i64| v.clamp(i64::from(i32::MIN / 2), i64::from(i32::MAX / 2)) as i32;
        let (x, y) = (clamp(left), clamp(top));
        Self {
            x,
            y,
            w: (clamp(right) - x).max(0),
            h: (clamp(bottom) - y).max(0),
        }
    }

    /// A rectangle of the wire.
    pub fn from_wire(rect: scene::Rect) -> Self {
        let (x, y) = (i64::from(rect.x), i64::from(rect.y));
        Self::from_edges(x, y, x + i64::from(rect.w), y + i64::from(rect.h))
    }

    /// All of an area of this size.
    pub fn of_size(w: u32, h: u32) -> Self {
        Self::from_edges(0, 0, i64::from(w), i64::from(h))
    }

    /// A rectangle of pixels that are counted without a sign.
    pub fn of_area(x: u32, y: u32, w: u32, h: u32) -> Self {
        let (x, y) = (i64::from(x), i64::from(y));
        Self::from_edges(x, y, x + i64::from(w), y + i64::from(h))
    }

    /// The first column right of it.
    pub fn right(self) -> i32 {
        self.x + self.w
    }

    /// The first row below it.
    pub fn bottom(self) -> i32 {
        self.y + self.h
    }

    /// Whether it holds no pixel.
    pub fn is_empty(self) -> bool {
        self.w <= 0 || self.h <= 0
    }

    /// What both share.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let (right, bottom) = (
            self.right().min(other.right()),
            self.bottom().min(other.bottom()),
        );
        (x < right && y < bottom).then(|| Self {
            x,
            y,
            w: right - x,
            h: bottom - y,
        })
    }

    /// The smallest rectangle that holds both.
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let (right, bottom) = (
            self.right().max(other.right()),
            self.bottom().max(other.bottom()),
        );
        Self {
            x,
            y,
            w: right - x,
            h: bottom - y,
        }
    }

    /// Whether all of `other` is inside.
    pub fn contains(self, other: Self) -> bool {
        self.x <= other.x
            && self.y <= other.y
            && self.right() >= other.right()
            && self.bottom() >= other.bottom()
    }

    /// Its pixels.
    pub fn area(self) -> i64 {
        i64::from(self.w) * i64::from(self.h)
    }
}

/// What has to be drawn anew: a few rectangles that together hold every changed pixel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damage {
    rects: Vec<Rect>,
}

/// More rectangles than this are joined.
const MAX_RECTS: usize = 16;

impl Damage {
    /// Nothing.
    pub const fn new() -> Self {
        Self { rects: Vec::new() }
    }

    /// Whether nothing has to be drawn.
    pub fn is_empty(&self) -> bool {
        self.rects.is_empty()
    }

    /// The rectangles.
    pub fn rects(&self) -> &[Rect] {
        &self.rects
    }

    /// Adds a rectangle. It is joined with one it (nearly) fills a rectangle with, so that the
    /// tiles of one row become one.
    pub fn add(&mut self, rect: Rect) {
        if rect.is_empty() || self.rects.iter().any(|known| known.contains(rect)) {
            return;
        }
        let mut rect = rect;
        // A join can make another possible, hence the loop.
        while let Some(i) = self.rects.iter().position(|known| joins_well(*known, rect)) {
            rect = rect.union(self.rects.swap_remove(i));
        }
        self.rects.push(rect);
        if self.rects.len() > MAX_RECTS {
            let all = self.rects.drain(..).reduce(Rect::union);
            self.rects.extend(all);
        }
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Damage) {
        other.rects.iter().for_each(|rect| self.add(*rect));
    }

    /// Cuts everything to `bounds`.
    pub fn clip(&mut self, bounds: Rect) {
        self.rects = self
            .rects
            .iter()
            .filter_map(|rect| rect.intersection(bounds))
            .collect();
    }
}

fn joins_well(a: Rect, b: Rect) -> bool {
    a.union(b).area() <= a.area() + b.area() + 4096
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rects() -> impl Strategy<Value = Vec<Rect>> {
        let rect = (-50i32..500, -50i32..500, 0i32..200, 0i32..200);
        prop::collection::vec(rect.prop_map(|(x, y, w, h)| Rect { x, y, w, h }), 0..40)
    }

    proptest! {
        #[test]
        fn damage_holds_everything_that_was_added(rects in rects()) {
            let mut damage = Damage::new();
            rects.iter().for_each(|rect| damage.add(*rect));
            prop_assert!(damage.rects().len() <= MAX_RECTS);
            for rect in rects.into_iter().filter(|rect| !rect.is_empty()) {
                for corner in [(rect.x, rect.y), (rect.right() - 1, rect.bottom() - 1)] {
                    let dot = Rect { x: corner.0, y: corner.1, w: 1, h: 1 };
                    prop_assert!(damage.rects().iter().any(|known| known.contains(dot)));
                }
            }
        }
    }

    #[test]
    fn rectangles_of_the_wire_never_overflow() {
        let wild = scene::Rect {
            x: i32::MAX,
            y: i32::MIN,
            w: u32::MAX,
            h: u32::MAX,
        };
        let rect = Rect::from_wire(wild);
        assert_eq!(rect.intersection(Rect::of_size(100, 100)), None);
        assert!(Rect::from_wire(scene::Rect { x: 0, ..wild }).right() > 0);
    }
}

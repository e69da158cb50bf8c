//! Pixels, rectangles, and what is done with both.

/// A rectangle in pixels; empty where a side is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rect {
    /// From the left.
    pub x: u32,
    /// From the top.
    pub y: u32,
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

impl Rect {
    /// A rectangle at `(x, y)`.
    pub const fn new(x: u32, y: u32, w: u32, h: u32) -> Self {
        Self { x, y, w, h }
    }

    /// The smallest rectangle around both.
    pub fn around(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + self.w).max(other.x + other.w);
        let bottom = (self.y + self.h).max(other.y + other.h);
        Self::new(x, y, right - x, bottom - y)
    }
}

/// A picture of XRGB8888 pixels, rows without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    /// Width in pixels.
    pub w: u32,
    /// Height in pixels.
    pub h: u32,
    /// 0xffRRGGBB each.
    pub pixels: Vec<u32>,
}

impl Canvas {
    /// A picture of one colour.
    pub fn new(w: u32, h: u32, rgb: u32) -> Self {
        let pixels = vec![rgb | 0xff00_0000; (w * h) as usize];
        Self { w, h, pixels }
    }

    /// All of it.
    pub fn bounds(&self) -> Rect {
        Rect::new(0, 0, self.w, self.h)
    }

    /// A part of a row.
    pub fn row(&self, x: u32, y: u32, w: u32) -> &[u32] {
        &self.pixels[(y * self.w + x) as usize..][..w as usize]
    }

    /// A part of a row, for drawing.
    pub fn row_mut(&mut self, x: u32, y: u32, w: u32) -> &mut [u32] {
        &mut self.pixels[(y * self.w + x) as usize..][..w as usize]
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, rect: Rect, rgb: u32) {
        for y in rect.y..rect.y + rect.h {
            self.row_mut(rect.x, y, rect.w).fill(rgb | 0xff00_0000);
        }
    }

    /// Copies `from` of another picture to `(x, y)`; both lie inside.
    pub fn copy(&mut self, other: &Self, from: Rect, (x, y): (u32, u32)) {
        for row in 0..from.h {
            let source = other.row(from.x, from.y + row, from.w);
            self.row_mut(x, y + row, from.w).copy_from_slice(source);
        }
    }

    /// Copies as much of another picture as lies inside when its corner is at `(x, y)`.
    pub fn copy_clipped(&mut self, other: &Self, (x, y): (i32, i32)) {
        let left = (-x).max(0);
        let top = (-y).max(0);
        let w = (other.w as i32).min(self.w as i32 - x) - left;
        let h = (other.h as i32).min(self.h as i32 - y) - top;
        if w > 0 && h > 0 {
            let from = Rect::new(left as u32, top as u32, w as u32, h as u32);
            self.copy(other, from, ((x + left) as u32, (y + top) as u32));
        }
    }
}

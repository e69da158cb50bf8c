//! What is on the screen, as a list of things in pixels.

/// An area in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Area {
    /// An area.
    pub fn new(x: f32, y: f32, w: f32, h: f32) -> Self {
        Self { x, y, w, h }
    }

    /// Whether a point is inside.
    pub fn contains(&self, x: f32, y: f32) -> bool {
        x >= self.x && y >= self.y && x < self.x + self.w && y < self.y + self.h
    }

    /// This without a margin.
    pub fn inset(&self, by: f32) -> Self {
        Self::new(
            self.x + by,
            self.y + by,
            (self.w - 2.0 * by).max(0.0),
            (self.h - 2.0 * by).max(0.0),
        )
    }
}

/// Whole pixels: left, top, right, bottom; right and bottom are outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pixels {
    /// Left edge.
    pub left: u32,
    /// Upper edge.
    pub top: u32,
    /// The first column that is not inside.
    pub right: u32,
    /// The first row that is not inside.
    pub bottom: u32,
}

impl Pixels {
    /// All of a screen.
    pub fn all((w, h): (u32, u32)) -> Self {
        Self {
            left: 0,
            top: 0,
            right: w,
            bottom: h,
        }
    }

    /// The pixels that an area touches, with one around them for smooth edges.
    fn touched(area: &Area, (w, h): (u32, u32)) -> Option<Self> {
        let touched = Self {
            left: (area.x.floor() - 1.0).max(0.0) as u32,
            top: (area.y.floor() - 1.0).max(0.0) as u32,
            right: ((area.x + area.w).ceil() + 1.0).clamp(0.0, w as f32) as u32,
            bottom: ((area.y + area.h).ceil() + 1.0).clamp(0.0, h as f32) as u32,
        };
        (touched.left < touched.right && touched.top < touched.bottom).then_some(touched)
    }

    /// The smallest that holds both.
    pub fn union(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// Whether the two have pixels in common.
    pub fn meets(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    /// Width.
    pub fn w(&self) -> u32 {
        self.right - self.left
    }

    /// Height.
    pub fn h(&self) -> u32 {
        self.bottom - self.top
    }
}

/// Where in its area a text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Align {
    /// Where its script begins: left, or right for those that go the other way.
    Start,
    /// In the middle.
    Middle,
    /// At the right.
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// Size in pixels.
    pub size: f32,
    /// Whether it is bold.
    pub bold: bool,
    /// 0xRRGGBB.
    pub colour: u32,
    /// Where it begins.
    pub align: Align,
    /// Whether it may have several lines.
    pub wraps: bool,
}

/// A thing on the screen.
#[derive(Debug, Clone, PartialEq)]
pub enum Thing {
    /// A rectangle with round corners.
    Box {
        /// Where.
        area: Area,
        /// Of the corners.
        radius: f32,
        /// 0xRRGGBB.
        fill: u32,
        /// Width and colour of the line around it, inside of the area.
        edge: Option<(f32, u32)>,
    },
    /// A text, cut at its area.
    Text {
        /// Where.
        area: Area,
        /// What.
        text: String,
        /// How.
        style: Style,
        /// How far it is moved to the left, for a long text in a field.
        shift: f32,
    },
    /// A tick.
    Tick {
        /// Where.
        area: Area,
        /// 0xRRGGBB.
        colour: u32,
    },
    /// The heliostat's sun.
    Sun {
        /// Where.
        area: Area,
    },
}

impl Thing {
    fn area(&self) -> &Area {
        match self {
            Self::Box { area, .. }
            | Self::Text { area, .. }
            | Self::Tick { area, .. }
            | Self::Sun { area } => area,
        }
    }

    /// The pixels that it may change.
    pub fn pixels(&self, screen: (u32, u32)) -> Option<Pixels> {
        Pixels::touched(self.area(), screen)
    }
}

/// The pixels that change between two lists of things on a screen.
pub fn changed(old: &[Thing], new: &[Thing], screen: (u32, u32)) -> Option<Pixels> {
    let lost = old.iter().filter(|thing| !new.contains(thing));
    let come = new.iter().filter(|thing| !old.contains(thing));
    let touched = lost.chain(come).filter_map(|thing| thing.pixels(screen));
    touched.reduce(Pixels::union)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(x: f32, fill: u32) -> Thing {
        Thing::Box {
            area: Area::new(x, 10.0, 5.0, 5.0),
            radius: 1.0,
            fill,
            edge: None,
        }
    }

    #[test]
    fn only_what_differs_is_changed() {
        let screen = (100, 100);
        let old = [square(10.0, 1), square(50.0, 2)];
        assert_eq!(changed(&old, &old, screen), None);
        let new = [square(10.0, 1), square(50.0, 3)];
        let pixels = Pixels {
            left: 49,
            top: 9,
            right: 56,
            bottom: 16,
        };
        assert_eq!(changed(&old, &new, screen), Some(pixels));
        assert_eq!(changed(&old, &old[..1], screen), Some(pixels));
        // What lies outside changes nothing.
        let outside = [old[0].clone(), old[1].clone(), square(200.0, 1)];
        assert_eq!(changed(&old, &outside, screen), None);
    }
}

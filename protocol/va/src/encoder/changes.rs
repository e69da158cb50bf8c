//! What has changed of a video's picture since the one that was encoded last.
//!
//! ```text
//!              a picture is encoded
//!   Anything ──────────────────────────► Parts ◄─┐ what differs from the picture that was given before,
//!       ▲                                 │  │   │ encoded or not, is added; all goes when one is encoded
//!       └─────────────────────────────────┘  └───┘
//!         nobody knows what differs
//! ```
//!
//! More than has changed does no harm, less makes a wrong picture. So parts grow to whole macroblocks,
//! and become one where there are too many.

use heliostat_video::Size;

/// A part of a video's picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// The left edge.
    pub x: u32,
    /// The upper edge.
    pub y: u32,
    /// The width.
    pub w: u32,
    /// The height.
    pub h: u32,
}

/// Parts that are told apart. No driver that we know of takes more.
pub(super) const MOST: usize = 16;
/// Pixels beside a changed one that it may shine into when colours are made coarser than brightness.
const NEAR: u32 = 2;
/// Drivers know whole macroblocks only.
const BLOCK: u32 = 16;

/// See above.
#[derive(Debug)]
pub(super) struct Changes {
    size: Size,
    is_known: bool,
    parts: Vec<Area>,
}

impl Changes {
    /// Of a video of which nothing is encoded yet.
    pub fn new(size: Size) -> Self {
        Self {
            size,
            is_known: false,
            parts: Vec::with_capacity(MOST + 1),
        }
    }

    /// A picture is given that differs from the one given before in these parts, or nobody knows in what.
    pub fn given(&mut self, changed: Option<&[Area]>) {
        match changed {
            Some(changed) if self.is_known => changed.iter().for_each(|area| self.add(*area)),
            Some(_) => {}
            None => {
                self.is_known = false;
                self.parts.clear();
            }
        }
    }

    /// The picture that was given last is encoded.
    pub fn encoded(&mut self) {
        self.is_known = true;
        self.parts.clear();
    }

    /// Parts that hold all that has changed; `most` of them at most, of which there is one at least.
    /// Nothing where anything may have changed.
    pub fn parts(&mut self, most: usize) -> Option<&[Area]> {
        self.fold(most.max(1));
        self.is_known.then_some(&self.parts)
    }

    fn add(&mut self, area: Area) {
        let Some(new) = self.grown(area) else {
            return;
        };
        if self.parts.iter().any(|part| part.holds(new)) {
            return;
        }
        self.parts.retain(|part| !new.holds(*part));
        self.parts.push(new);
        self.fold(MOST);
    }

    /// The macroblocks of an area and of what is near it, as far as they are in the picture.
    fn grown(&self, area: Area) -> Option<Area> {
        let side = |at: u32, length: u32, of: u32| {
            let from = at.saturating_sub(NEAR) / BLOCK * BLOCK;
            let to = at.saturating_add(length).saturating_add(NEAR).min(of);
            let to = to.next_multiple_of(BLOCK).min(of);
            (length > 0 && at < of).then(|| (from, to - from))
        };
        let (x, w) = side(area.x, area.w, self.size.w)?;
        let (y, h) = side(area.y, area.h, self.size.h)?;
        Some(Area { x, y, w, h })
    }

    /// Has parts become one, those first that make the least more of it, until there are few enough.
    fn fold(&mut self, most: usize) {
        while self.parts.len() > most {
            let pairs = (0..self.parts.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
            let more = |(a, b): &(usize, usize)| {
                let (a, b) = (self.parts[*a], self.parts[*b]);
                a.around(b).pixels() as i64 - (a.pixels() + b.pixels()) as i64
            };
            let Some((a, b)) = pairs.min_by_key(more) else {
                return;
            };
            let around = self.parts[a].around(self.parts.swap_remove(b));
            self.parts[a] = around;
        }
    }
}

impl Area {
    fn holds(self, other: Self) -> bool {
        self.around(other) == self
    }

    fn around(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let (right, bottom) = (
            (self.x + self.w).max(other.x + other.w),
            (self.y + self.h).max(other.y + other.h),
        );
        Self {
            x,
            y,
            w: right - x,
            h: bottom - y,
        }
    }

    /// How many pixels it has.
    pub(super) fn pixels(self) -> u64 {
        u64::from(self.w) * u64::from(self.h)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: Size = Size { w: 150, h: 100 };

    /// A picture, a number for each pixel.
    type Picture = Vec<u32>;

    #[derive(Debug, Clone)]
    struct Step {
        drawn: Vec<Area>,
        is_said: bool,
        is_encoded: bool,
        most: usize,
    }

    fn area() -> impl Strategy<Value = Area> {
        let all = prop_oneof![9 => 0u32..40, 1 => any::<u32>()];
        (0u32..170, 0u32..120, all.clone(), all).prop_map(|(x, y, w, h)| Area { x, y, w, h })
    }

    fn step() -> impl Strategy<Value = Step> {
        let drawn = prop::collection::vec(area(), 0..24);
        let odds = (prop::bool::weighted(0.9), any::<bool>());
        (drawn, odds, 0usize..20).prop_map(|(drawn, (is_said, is_encoded), most)| Step {
            drawn,
            is_said,
            is_encoded,
            most,
        })
    }

    fn draw(picture: &mut Picture, area: Area, seed: u32) {
        for (n, pixel) in (0..).zip(picture) {
            let (x, y) = (n % SIZE.w, n / SIZE.w);
            let is_in = |at: u32, from: u32, length: u32| at >= from && at - from < length;
            if is_in(x, area.x, area.w) && is_in(y, area.y, area.h) {
                *pixel = seed;
            }
        }
    }

    proptest! {
        /// An encoder that believes what it is told, and copies nothing but the parts, has the picture
        /// that was drawn, however many pictures were drawn before and not encoded.
        #[test]
        fn whoever_takes_the_parts_only_has_the_whole_picture(
            steps in prop::collection::vec(step(), 1..30),
        ) {
            let mut changes = Changes::new(SIZE);
            let mut drawn: Picture = vec![0; SIZE.area()];
            let mut encoded: Picture = vec![u32::MAX; SIZE.area()];
            for (seed, step) in (1..).zip(steps) {
                step.drawn.iter().for_each(|area| draw(&mut drawn, *area, seed));
                changes.given(step.is_said.then_some(&step.drawn));
                if !step.is_encoded {
                    continue;
                }
                match changes.parts(step.most) {
                    None => encoded.clone_from(&drawn),
                    Some(parts) => {
                        prop_assert!(parts.len() <= step.most.clamp(1, MOST));
                        for part in parts {
                            prop_assert!(part.w > 0 && part.x + part.w <= SIZE.w);
                            prop_assert!(part.h > 0 && part.y + part.h <= SIZE.h);
                            prop_assert_eq!((part.x % BLOCK, part.y % BLOCK), (0, 0));
                            for row in part.y..part.y + part.h {
                                let at = (row * SIZE.w + part.x) as usize;
                                let run = at..at + part.w as usize;
                                encoded[run.clone()].copy_from_slice(&drawn[run]);
                            }
                        }
                    }
                }
                changes.encoded();
                prop_assert!(encoded == drawn);
            }
        }
    }

    #[test]
    fn little_that_changes_stays_little() {
        let mut changes = Changes::new(SIZE);
        changes.given(Some(&[]));
        assert_eq!(changes.parts(4), None);
        changes.encoded();
        assert_eq!(changes.parts(4), Some(&[][..]));
        let dot = |x, y| Area { x, y, w: 1, h: 1 };
        changes.given(Some(&[dot(5, 5), dot(5, 6), dot(149, 99)]));
        let block = |x, y, w, h| Area { x, y, w, h };
        let expected = [block(0, 0, 16, 16), block(144, 96, 6, 4)];
        assert_eq!(changes.parts(4), Some(&expected[..]));
        changes.given(None);
        assert_eq!(changes.parts(4), None);
    }
}

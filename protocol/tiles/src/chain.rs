//! Copies that follow each other, as copies of the first picture.

use crate::copy::Copy;
use crate::geometry::Rect;

/// Steps of copies, one picture after the other, told to a terminal that has only the first one.
#[derive(Debug, Default)]
pub struct Chain {
    copies: Vec<Copy>,
}

impl Chain {
    /// Adds copies of the picture that the chain has made so far; all of them are of that picture.
    pub fn add(&mut self, step: &[Copy]) {
        let earlier = self.copies.len();
        let mut rest = Vec::new();
        for copy in step {
            rest.clear();
            rest.push(copy.from);
            // The last one that has written to a pixel says where it is from.
            for n in (0..earlier).rev() {
                let before = self.copies[n];
                let parts = std::mem::take(&mut rest);
                for part in parts {
                    match part.intersection(before.target()) {
                        Some(met) => {
                            let from = Rect {
                                x: met.x - before.to.0 + before.from.x,
                                y: met.y - before.to.1 + before.from.y,
                                ..met
                            };
                            let to = place_of(copy, met);
                            self.copies.push(Copy { from, to });
                            rest.extend(around(part, met));
                        }
                        None => rest.push(part),
                    }
                }
            }
            let untouched = rest.iter().map(|part| Copy {
                from: *part,
                to: place_of(copy, *part),
            });
            self.copies.extend(untouched);
        }
    }

    /// All copies, of the first picture. Where two write to a pixel the later one counts.
    pub fn copies(&self) -> &[Copy] {
        &self.copies
    }

    /// Pixels that they write together.
    pub fn area(&self) -> usize {
        self.copies.iter().map(|copy| copy.from.area()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// The terminal has the last picture, or none any more.
    pub fn clear(&mut self) {
        self.copies.clear();
    }
}

/// Where `copy` takes a part of its source.
fn place_of(copy: &Copy, part: Rect) -> (u32, u32) {
    (
        part.x - copy.from.x + copy.to.0,
        part.y - copy.from.y + copy.to.1,
    )
}

/// What is left of `whole` around `hole`, which lies inside.
fn around(whole: Rect, hole: Rect) -> impl Iterator<Item = Rect> {
    let (right, bottom) = (hole.x + hole.w, hole.y + hole.h);
    let strips = [
        Rect {
            h: hole.y - whole.y,
            ..whole
        },
        Rect {
            y: bottom,
            h: whole.y + whole.h - bottom,
            ..whole
        },
        Rect {
            w: hole.x - whole.x,
            x: whole.x,
            ..hole
        },
        Rect {
            x: right,
            w: whole.x + whole.w - right,
            ..hole
        },
    ];
    strips.into_iter().filter(|strip| !strip.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIDE: u32 = 24;

    /// What a decoder does: every source is of the picture before.
    fn copied(picture: &[u32], copies: &[Copy]) -> Vec<u32> {
        let mut after = picture.to_vec();
        for copy in copies {
            for y in 0..copy.from.h {
                for x in 0..copy.from.w {
                    let from = (copy.from.y + y) * SIDE + copy.from.x + x;
                    let to = (copy.to.1 + y) * SIDE + copy.to.0 + x;
                    after[to as usize] = picture[from as usize];
                }
            }
        }
        after
    }

    fn copy() -> impl Strategy<Value = Copy> {
        (1..=SIDE, 1..=SIDE).prop_flat_map(|(w, h)| {
            let (x, y) = (0..=SIDE - w, 0..=SIDE - h);
            let place = (x.clone(), y.clone(), x, y);
            place.prop_map(move |(x, y, to_x, to_y)| Copy {
                from: Rect { x, y, w, h },
                to: (to_x, to_y),
            })
        })
    }

    proptest! {
        #[test]
        fn chain_makes_of_the_first_picture_what_its_steps_make_one_by_one(
            steps in prop::collection::vec(prop::collection::vec(copy(), 0..4), 0..5),
        ) {
            let first: Vec<u32> = (0..SIDE * SIDE).collect();
            let mut chain = Chain::default();
            let mut picture = first.clone();
            for step in steps {
                picture = copied(&picture, &step);
                chain.add(&step);
                prop_assert_eq!(&copied(&first, chain.copies()), &picture);
            }
        }
    }
}

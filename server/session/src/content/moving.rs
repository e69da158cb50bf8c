//! What has only moved, taken in while it comes.
//!
//! A scroll changes nearly every pixel of a window. Keeping what the terminal holds of every cell,
//! to find out later that all of it was a copy, costs many times what the copy does. So a few rows
//! of the new picture are looked at first; where they have come from somewhere, each row is compared
//! with its source as it arrives, in an order in which no source has been overwritten yet. What
//! matches becomes part of a copy, and its cells stay in step with a terminal that does that copy.

use heliostat_tiles::motion::{Moved, Samples, Track};
use heliostat_tiles::{Copy, Rect, TILE};

use super::Content;
use super::base::Base;

/// Smaller areas are not looked at.
const SMALLEST: (u32, u32) = (64, 32);
/// Copies of one area, after which the rest of it is new.
const MAX_COPIES: usize = 24;
/// Copies that may wait for a frame before no more motion is looked for.
pub(super) const MAX_WAITING: usize = 8;
/// Pixels of these.
const MAX_WAITING_AREA: usize = 6 << 20;
/// Fewer columns are not worth a copy of their own.
const NARROWEST: u32 = 32;
/// Rows that must match before a copy begins.
const AHEAD: u32 = 8;

/// What is remembered from area to area.
#[derive(Debug, Default)]
pub(super) struct Moving {
    track: Track,
}

/// The copies of one area while its rows come.
pub(super) struct Pass {
    moved: Moved,
    /// Columns that begin and end copies by themselves.
    strips: Vec<Strip>,
    found: Vec<Copy>,
    /// Rows that come after the one at hand, and their sources.
    ahead: Vec<u32>,
    held: Held,
    tries: usize,
}

struct Strip {
    left: u32,
    right: u32,
    /// First and last row so far of the copy that is going on.
    open: Option<(u32, u32)>,
    matches: bool,
}

impl Moving {
    /// Looks at some rows of `area`.
    pub(super) fn begin(
        &mut self,
        content: &Content,
        area: Rect,
        row: impl FnMut(u32, u32, &mut [u32]) -> bool,
    ) -> Option<Pass> {
        let room = content.waiting.copies().len() <= MAX_WAITING
            && content.waiting.area() <= MAX_WAITING_AREA;
        if !room || area.w < SMALLEST.0 || area.h < SMALLEST.1 || !self.track.is_due() {
            return None;
        }
        let mut samples = Samples::default();
        if !samples.take(area, row) {
            return None;
        }
        samples.force(content.force());
        let moved = self.track.guess(content.view(), &samples)?;
        let (mut strips, mut left) = (Vec::new(), moved.left);
        while left < moved.right {
            let right = ((left / TILE + 1) * TILE).min(moved.right);
            let edge = moved.edges.iter().find(|edge| **edge > left);
            let right = edge.map_or(right, |edge| right.min(*edge));
            strips.push(Strip {
                left,
                right,
                open: None,
                matches: false,
            });
            left = right;
        }
        Some(Pass {
            ahead: vec![0; (moved.right - moved.left) as usize],
            moved,
            strips,
            found: Vec::new(),
            held: Held::default(),
            tries: MAX_COPIES,
        })
    }
}

impl Pass {
    /// The rows of `area` in an order in which sources come after their targets.
    pub(super) fn order(&self, area: Rect) -> impl Iterator<Item = u32> + use<> {
        let (down, rows) = (self.moved.by.y > 0, area.y..area.y + area.h);
        let last = rows.end - 1;
        rows.clone()
            .map(move |y| if down { last - (y - rows.start) } else { y })
    }

    /// Takes in the row `y` of `area`, whose pixels are `line`; `next` gives pixels of other rows.
    pub(super) fn take(
        &mut self,
        content: &mut Content,
        (area, y, line): (Rect, u32, &[u32]),
        next: impl FnMut(u32, u32, &mut [u32]) -> bool,
    ) {
        let (left, right) = (self.moved.left, self.moved.right);
        let x = area.x;
        let run = &line[(left - x) as usize..(right - x) as usize];
        self.compare(content, y, run);
        if self.tries > 0 && self.may_begin(content, y, run) {
            self.open(content, y, area, next);
        }
        for n in 0..self.strips.len() {
            self.step(n, y);
        }
        if self.strips.iter().all(|strip| strip.open.is_some()) {
            content.take_held(left, y, run);
        } else {
            for strip in &self.strips {
                let part = &run[(strip.left - left) as usize..(strip.right - left) as usize];
                match strip.open {
                    Some(_) => content.take_held(strip.left, y, part),
                    None => content.take_run(strip.left, y, part),
                }
            }
        }
        content.take_run(x, y, &line[..(left - x) as usize]);
        content.take_run(right, y, &line[(right - x) as usize..]);
    }

    /// Finds which strips of a row match their sources.
    fn compare(&mut self, content: &Content, y: u32, run: &[u32]) {
        let left = self.moved.left;
        let source = self.held.row(content, &self.moved, y);
        let going = self.strips.iter().any(|strip| strip.open.is_some());
        let all = going && source.is_some_and(|source| source == run);
        // Where nothing goes on, a row that has not changed is no reason to begin.
        let still = !going && content.row(left, y, run.len()) == run;
        for strip in &mut self.strips {
            let part = (strip.left - left) as usize..(strip.right - left) as usize;
            strip.matches = all
                || !still && source.is_some_and(|source| source[part.clone()] == run[part.clone()]);
        }
    }

    /// Whether this row has changed in a strip that matches and belongs to no copy yet.
    fn may_begin(&self, content: &Content, y: u32, run: &[u32]) -> bool {
        let left = self.moved.left;
        let before = content.row(left, y, run.len());
        self.strips.iter().any(|strip| {
            let part = (strip.left - left) as usize..(strip.right - left) as usize;
            strip.matches && strip.open.is_none() && before[part.clone()] != run[part]
        })
    }

    /// Begins copies in strips that match in this row and in those that come next.
    fn open(
        &mut self,
        content: &Content,
        y: u32,
        area: Rect,
        mut next: impl FnMut(u32, u32, &mut [u32]) -> bool,
    ) {
        self.tries -= 1;
        let left = self.moved.left;
        let closed = |strip: &Strip| strip.matches && strip.open.is_none();
        let mut may: Vec<_> = self.strips.iter().map(closed).collect();
        for n in 1..AHEAD {
            let y = match self.moved.by.y > 0 {
                true => y.checked_sub(n),
                false => Some(y + n),
            };
            let inside = y.filter(|y| (area.y..area.y + area.h).contains(y));
            let Some(y) = inside.filter(|y| next(left, *y, &mut self.ahead)) else {
                return;
            };
            let Some(source) = self.held.row(content, &self.moved, y) else {
                return;
            };
            for (may, strip) in may.iter_mut().zip(&self.strips) {
                let part = (strip.left - left) as usize..(strip.right - left) as usize;
                *may = *may && self.ahead[part.clone()] == source[part];
            }
            if !may.contains(&true) {
                return;
            }
        }
        let strips = self.strips.iter().zip(&may).filter(|(_, may)| **may);
        let width: u32 = strips.map(|(strip, _)| strip.right - strip.left).sum();
        if width < NARROWEST {
            return;
        }
        for (strip, _) in self.strips.iter_mut().zip(may).filter(|(_, may)| *may) {
            strip.open = Some((y, y));
        }
    }

    /// Goes on with the copy of a strip in this row, or ends it.
    fn step(&mut self, n: usize, y: u32) {
        let strip = &mut self.strips[n];
        if let Some((_, last)) = &mut strip.open {
            match strip.matches {
                true => *last = y,
                false => self.close(n),
            }
        }
    }

    fn close(&mut self, n: usize) {
        let strip = &mut self.strips[n];
        let Some((first, last)) = strip.open.take() else {
            return;
        };
        let (top, bottom) = (first.min(last), first.max(last));
        let (left, right) = (strip.left, strip.right);
        let height = bottom - top + 1;
        // Strips are closed from left to right, so that those that end together lie together.
        if let Some(copy) = self.found.last_mut()
            && (copy.to.0 + copy.from.w, copy.to.1, copy.from.h) == (left, top, height)
        {
            copy.from.w += right - left;
            return;
        }
        let from = |place: u32, by: i32| (i64::from(place) - i64::from(by)) as u32;
        self.found.push(Copy {
            from: Rect {
                x: from(left, self.moved.by.x),
                y: from(top, self.moved.by.y),
                w: right - left,
                h: height,
            },
            to: (left, top),
        });
        if self.found.len() >= MAX_COPIES {
            self.tries = 0;
        }
    }

    /// The copies, when the last row has been taken in.
    pub(super) fn end(mut self) -> Vec<Copy> {
        (0..self.strips.len()).for_each(|n| self.close(n));
        self.found
    }
}

/// Rows of what the terminal will hold when it has done the copies that wait.
#[derive(Debug, Default)]
struct Held(Vec<u32>);

impl Held {
    /// The pixels that would be at the columns of `moved` in the row `y`; nothing where they come
    /// from outside, or nobody knows what the terminal holds there.
    fn row<'a>(&'a mut self, content: &'a Content, moved: &Moved, y: u32) -> Option<&'a [u32]> {
        let from = |place: u32, by: i32| u32::try_from(i64::from(place) - i64::from(by)).ok();
        let (x, y) = (from(moved.left, moved.by.x)?, from(y, moved.by.y)?);
        let w = moved.right - moved.left;
        if y >= content.size.h || x + w > content.size.w {
            return None;
        }
        let newest = content.row(x, y, w as usize);
        let is_same = |base: &Base| matches!(base, Base::Same);
        // Most of what scrolls has no changes that wait.
        if content.bases(x, y, newest.len()).iter().all(is_same) {
            return Some(newest);
        }
        self.0.clear();
        for part in heliostat_tiles::cells(Rect { x, y, w, h: 1 }) {
            let number = y / TILE * content.columns() + part.x / TILE;
            let part_of =
                |pixels: &'a [u32], start: u32| &pixels[start as usize..][..part.w as usize];
            self.0
                .extend_from_slice(match &content.cells[number as usize] {
                    Base::Same => part_of(newest, part.x - x),
                    // Parts were made whole before this pass.
                    Base::Unknown | Base::Wrong | Base::Film | Base::Part(..) => return None,
                    Base::Known(base) => {
                        let cell = content.cell_rect(number);
                        part_of(base, (y - cell.y) * cell.w + part.x - cell.x)
                    }
                });
        }
        Some(&self.0)
    }
}

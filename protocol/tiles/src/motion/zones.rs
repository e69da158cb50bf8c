//! Which blocks a distance explains, and the largest rectangles of them.

use super::{BLOCK, Distance, WORTH};
use crate::copy::Copy;
use crate::geometry::{PixelsRef, Rect};

/// The blocks of a picture.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    columns: usize,
    rows: usize,
    /// Blocks that differ from the old picture.
    changed: usize,
    /// Those of them that no copy has explained.
    left: usize,
    unexplained: Vec<bool>,
    /// Blocks that a copy may not write to, since one does already.
    taken: Vec<bool>,
    matches: Vec<bool>,
    /// Unexplained blocks above and left of each corner.
    sums: Vec<u32>,
    heights: Vec<usize>,
}

/// A rectangle of blocks: left, top, right, bottom.
#[derive(Debug, Clone, Copy)]
struct Blocks {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Zones {
    /// Begins with two pictures of the same size.
    pub(crate) fn begin(&mut self, old: PixelsRef<'_>, new: PixelsRef<'_>) {
        self.columns = (new.width() as usize).div_ceil(BLOCK);
        self.rows = (new.height() as usize).div_ceil(BLOCK);
        let blocks = self.columns * self.rows;
        for (list, value) in [
            (&mut self.unexplained, false),
            (&mut self.taken, false),
            (&mut self.matches, false),
        ] {
            list.clear();
            list.resize(blocks, value);
        }
        let columns = self.columns;
        for y in 0..new.height() {
            let (old, new) = (old.row(y), new.row(y));
            if old == new {
                continue;
            }
            let blocks = &mut self.unexplained[y as usize / BLOCK * columns..][..columns];
            for (differs, (old, new)) in blocks
                .iter_mut()
                .zip(old.chunks(BLOCK).zip(new.chunks(BLOCK)))
            {
                *differs = *differs || old != new;
            }
        }
        self.changed = self.unexplained.iter().filter(|differs| **differs).count();
        self.left = self.changed;
    }

    /// Blocks that differ.
    pub(crate) fn changed(&self) -> usize {
        self.changed
    }

    /// Those of them that are still to be explained.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Where they are: column, row.
    pub(crate) fn unexplained(&self) -> impl Iterator<Item = (usize, usize)> {
        let columns = self.columns;
        let blocks = self.unexplained.iter().enumerate();
        blocks.filter_map(move |(at, left)| left.then_some((at % columns, at / columns)))
    }

    /// The pixels around all blocks that differ: left, top, right, bottom.
    pub(crate) fn bounds(&self, new: PixelsRef<'_>) -> [usize; 4] {
        let (w, h) = (new.width() as usize, new.height() as usize);
        let around = self
            .unexplained()
            .fold([w, h, 0, 0], |around, (column, row)| {
                let (x, y) = (column * BLOCK, row * BLOCK);
                let [left, top, right, bottom] = around;
                [
                    left.min(x),
                    top.min(y),
                    right.max(x + BLOCK),
                    bottom.max(y + BLOCK),
                ]
            });
        let [left, top, right, bottom] = around;
        [left, top, right.min(w), bottom.min(h)]
    }

    /// Finds the blocks that are the old picture at this distance.
    pub(crate) fn compare(&mut self, old: PixelsRef<'_>, new: PixelsRef<'_>, by: Distance) {
        let (w, h) = (new.width() as usize, new.height() as usize);
        for (at, matches) in self.matches.iter_mut().enumerate() {
            let (x, y) = (at % self.columns * BLOCK, at / self.columns * BLOCK);
            *matches = !self.taken[at]
                && is_copied(old, new, by, [x, y, (x + BLOCK).min(w), (y + BLOCK).min(h)]);
        }
        self.sum();
    }

    fn sum(&mut self) {
        let width = self.columns + 1;
        self.sums.clear();
        self.sums.resize(width * (self.rows + 1), 0);
        for row in 0..self.rows {
            let mut in_row = 0;
            for column in 0..self.columns {
                let at = row * self.columns + column;
                in_row += u32::from(self.unexplained[at] && self.matches[at]);
                self.sums[(row + 1) * width + column + 1] =
                    self.sums[row * width + column + 1] + in_row;
            }
        }
    }

    fn explains(&self, blocks: Blocks) -> u32 {
        let width = self.columns + 1;
        let at = |column: usize, row: usize| self.sums[row * width + column];
        at(blocks.right, blocks.bottom) + at(blocks.left, blocks.top)
            - at(blocks.right, blocks.top)
            - at(blocks.left, blocks.bottom)
    }

    /// The copy at this distance that explains most, if it is worth it. Its blocks are taken.
    pub(crate) fn take_largest(
        &mut self,
        old: PixelsRef<'_>,
        new: PixelsRef<'_>,
        by: Distance,
    ) -> Option<Copy> {
        let (explained, blocks) = self.largest()?;
        if explained as usize * BLOCK * BLOCK < WORTH {
            return None;
        }
        let pixels = self.spread(old, new, by, blocks);
        self.take(pixels);
        let [left, top, right, bottom] = pixels;
        let from = |place: usize, by: i32| (place as i64 - i64::from(by)) as u32;
        Some(Copy {
            from: Rect {
                x: from(left, by.x),
                y: from(top, by.y),
                w: (right - left) as u32,
                h: (bottom - top) as u32,
            },
            to: (left as u32, top as u32),
        })
    }

    /// The rectangle of matching blocks that explains most: for each row, the rectangles that stand
    /// on it, found with a stack of rising columns.
    fn largest(&mut self) -> Option<(u32, Blocks)> {
        let mut heights = std::mem::take(&mut self.heights);
        heights.clear();
        heights.resize(self.columns, 0);
        let mut best: Option<(u32, Blocks)> = None;
        let mut rising: Vec<(usize, usize)> = Vec::new();
        for row in 0..self.rows {
            for (column, height) in heights.iter_mut().enumerate() {
                let matches = self.matches[row * self.columns + column];
                *height = if matches { *height + 1 } else { 0 };
            }
            rising.clear();
            for column in 0..=self.columns {
                let height = heights.get(column).copied().unwrap_or(0);
                let mut start = column;
                while let Some(&(left, tall)) = rising.last()
                    && tall > height
                {
                    rising.pop();
                    start = left;
                    let blocks = Blocks {
                        left,
                        top: row + 1 - tall,
                        right: column,
                        bottom: row + 1,
                    };
                    let explained = self.explains(blocks);
                    if best.is_none_or(|(most, _)| explained > most) {
                        best = Some((explained, blocks));
                    }
                }
                if height > 0 && rising.last().is_none_or(|(_, tall)| *tall < height) {
                    rising.push((start, height));
                }
            }
        }
        self.heights = heights;
        best
    }

    /// The pixels of `blocks`, and as many around them as match too and nobody writes to: left,
    /// top, right, bottom.
    fn spread(
        &self,
        old: PixelsRef<'_>,
        new: PixelsRef<'_>,
        by: Distance,
        blocks: Blocks,
    ) -> [usize; 4] {
        let (w, h) = (new.width() as usize, new.height() as usize);
        let [mut left, mut top] = [blocks.left * BLOCK, blocks.top * BLOCK];
        let [mut right, mut bottom] = [
            (blocks.right * BLOCK).min(w),
            (blocks.bottom * BLOCK).min(h),
        ];
        let free = |area: [usize; 4]| self.is_free(area) && is_copied(old, new, by, area);
        for _ in 0..BLOCK {
            if left > 0 && free([left - 1, top, left, bottom]) {
                left -= 1;
            }
            if right < w && free([right, top, right + 1, bottom]) {
                right += 1;
            }
            if top > 0 && free([left, top - 1, right, top]) {
                top -= 1;
            }
            if bottom < h && free([left, bottom, right, bottom + 1]) {
                bottom += 1;
            }
        }
        [left, top, right, bottom]
    }

    fn is_free(&self, [left, top, right, bottom]: [usize; 4]) -> bool {
        (top / BLOCK..bottom.div_ceil(BLOCK)).all(|row| {
            let blocks = &self.taken[row * self.columns..][..self.columns];
            blocks[left / BLOCK..right.div_ceil(BLOCK)]
                .iter()
                .all(|taken| !taken)
        })
    }

    fn take(&mut self, [left, top, right, bottom]: [usize; 4]) {
        for row in top / BLOCK..bottom.div_ceil(BLOCK) {
            for column in left / BLOCK..right.div_ceil(BLOCK) {
                let at = row * self.columns + column;
                self.taken[at] = true;
                let was_match = std::mem::take(&mut self.matches[at]);
                if was_match && std::mem::take(&mut self.unexplained[at]) {
                    self.left -= 1;
                }
            }
        }
        self.sum();
    }
}

/// Whether the area (left, top, right, bottom) of `new` is what `old` has at this distance.
fn is_copied(
    old: PixelsRef<'_>,
    new: PixelsRef<'_>,
    by: Distance,
    [left, top, right, bottom]: [usize; 4],
) -> bool {
    let (w, h) = (i64::from(old.width()), i64::from(old.height()));
    let x = left as i64 - i64::from(by.x);
    let y = top as i64 - i64::from(by.y);
    let (width, height) = ((right - left) as i64, (bottom - top) as i64);
    if x < 0 || y < 0 || x + width > w || y + height > h {
        return false;
    }
    let x = x as usize;
    (top..bottom).zip(y as u32..).all(|(row, source)| {
        new.row(row as u32)[left..right] == old.row(source)[x..x + (right - left)]
    })
}

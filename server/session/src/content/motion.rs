//! What of a change is only the previous picture at another place.

use heliostat_tiles::motion::{self, Workspace};
use heliostat_tiles::{Copy, PixelsRef, Rect, TILE};

use super::{Base, Content, moving};

/// Dirty cells below which looking for motion does not pay.
const FEWEST_CELLS: usize = 3;
/// The rectangle around the dirty cells may have this many times as many cells as are dirty.
const SPARSEST: u32 = 4;
/// Dirty cells from which some rows are looked at before a search: 2 MB of pixels.
const MANY_CELLS: usize = 128;
/// Blocks of the search along a cell's side.
const BLOCKS: usize = TILE as usize / motion::BLOCK;
/// Pixels for which room is kept between searches.
const KEPT_PIXELS: usize = 1 << 18;

/// Room that the search for motion works in; one is enough for all layers.
#[derive(Debug, Default)]
pub struct MotionRoom {
    workspace: Workspace,
    /// The rectangle around the dirty cells as the terminal holds it.
    held: Vec<u32>,
    copies: Vec<Copy>,
}

impl MotionRoom {
    /// Finds copies for what has only moved, and counts it among what the terminal will hold.
    pub(super) fn explain(&mut self, content: &mut Content) {
        let Some(around) = content.worth_a_search() else {
            return;
        };
        if !content.motion.is_due() {
            return;
        }
        content.keep_all_bases();
        if !self.is_promising(content, around) {
            return;
        }
        self.take_held(content, around);
        let stride = around.w as usize;
        let held = PixelsRef::new(&self.held, stride, around.w, around.h);
        let Some(held) = held else {
            return;
        };
        let mut motion = std::mem::take(&mut content.motion);
        let new = content.view().sub(around).expect("cells are inside");
        self.copies.clear();
        motion.find(held, new, &mut self.workspace, &mut self.copies);
        content.motion = motion;
        for copy in &mut self.copies {
            content.move_bases(held, around, copy);
            *copy = copy.moved(around.x, around.y);
        }
        content.waiting.add(&self.copies);
        // A search of a whole screen needs no room kept for the next one.
        self.held.clear();
        self.held.shrink_to(KEPT_PIXELS);
    }

    /// Whether the search is worth its time. A large picture as the terminal holds it lies in pieces,
    /// and to put them together takes longer than to look at some rows of it first.
    fn is_promising(&mut self, content: &mut Content, around: Rect) -> bool {
        if content.dirty < MANY_CELLS {
            return true;
        }
        let mut motion = std::mem::take(&mut content.motion);
        let new = content.view().sub(around).expect("cells are inside");
        let blocks = content.dirty_blocks(around);
        let count = content.dirty * BLOCKS * BLOCKS;
        let put = |y: u32, row: &mut Vec<u32>| content.put_held_row(around, y, row);
        let is_promising = motion.is_promising(new, (count, blocks), put, &mut self.workspace);
        content.motion = motion;
        is_promising
    }

    fn take_held(&mut self, content: &Content, around: Rect) {
        self.held.clear();
        self.held.reserve(around.area());
        for y in 0..around.h {
            content.put_held_row(around, y, &mut self.held);
        }
    }
}

impl Content {
    /// Blocks of the dirty cells that begin inside `around`, counted from its corner: column, row.
    fn dirty_blocks(&self, around: Rect) -> impl Iterator<Item = (usize, usize)> {
        let cells = (0..).zip(&self.cells);
        let dirty = cells.filter(|(_, base)| base.is_known());
        let corners = dirty.map(move |(cell, _)| {
            let rect = self.cell_rect(cell);
            let block = |at: u32| (at as usize) / motion::BLOCK;
            (block(rect.x - around.x), block(rect.y - around.y))
        });
        corners.flat_map(|(column, row)| {
            (0..BLOCKS * BLOCKS).map(move |n| (column + n % BLOCKS, row + n / BLOCKS))
        })
    }

    /// Appends row `y` of `around` as the terminal holds it. All bases are whole.
    fn put_held_row(&self, around: Rect, y: u32, row: &mut Vec<u32>) {
        let y = around.y + y;
        let first = y / TILE * self.columns() + around.x / TILE;
        for number in first..first + around.w.div_ceil(TILE) {
            let cell = self.cell_rect(number);
            let held = match &self.cells[number as usize] {
                Base::Known(base) => &base[((y - cell.y) * cell.w) as usize..][..cell.w as usize],
                _ => &self.pixels[self.place(cell.x, y)..][..cell.w as usize],
            };
            row.extend_from_slice(held);
        }
    }

    /// The rectangle around the dirty cells, if they are many and near each other, and the terminal
    /// holds something of all of them.
    fn worth_a_search(&self) -> Option<Rect> {
        let unknown = |base: &Base| matches!(base, Base::Unknown | Base::Wrong);
        // Copies that were found on the way leave only what is new.
        let explained = self.waiting.area() > self.dirty * (TILE * TILE) as usize;
        if self.dirty < FEWEST_CELLS || explained || self.cells.iter().any(unknown) {
            return None;
        }
        if self.waiting.copies().len() > moving::MAX_WAITING {
            return None;
        }
        let columns = self.columns();
        let cells = (0..).zip(&self.cells);
        let dirty = cells.filter(|(_, base)| base.is_known());
        let around = dirty.fold(None, |around: Option<[u32; 4]>, (cell, _)| {
            let (column, row) = (cell % columns, cell / columns);
            let [left, top, right, bottom] = around.unwrap_or([column, row, column, row]);
            Some([
                left.min(column),
                top.min(row),
                right.max(column),
                bottom.max(row),
            ])
        });
        let [left, top, right, bottom] = around?;
        let cells = (right - left + 1) * (bottom - top + 1);
        let (x, y) = (left * TILE, top * TILE);
        let around = Rect {
            x,
            y,
            w: ((right + 1) * TILE).min(self.size.w) - x,
            h: ((bottom + 1) * TILE).min(self.size.h) - y,
        };
        // What the terminal holds of a film is not known.
        let known = !self.has_film_in(around);
        (known && self.dirty as u32 * SPARSEST >= cells).then_some(around)
    }

    /// The terminal does `copy` (places count from the corner of `around`), so that the dirty cells
    /// have other bases. All sources are in `held`, the picture before.
    fn move_bases(&mut self, held: PixelsRef<'_>, around: Rect, copy: &Copy) {
        let target = copy.target();
        let target = Rect {
            x: target.x + around.x,
            y: target.y + around.y,
            ..target
        };
        for part in heliostat_tiles::cells(target) {
            let number = part.y / TILE * self.columns() + part.x / TILE;
            let cell = self.cell_rect(number);
            // A cell that is not dirty has these pixels already.
            let Base::Known(base) = &mut self.cells[number as usize] else {
                continue;
            };
            for y in 0..part.h {
                let from = held.row(part.y + y - target.y + copy.from.y);
                let x = (part.x - target.x + copy.from.x) as usize;
                let start = (part.y + y - cell.y) * cell.w + part.x - cell.x;
                base[start as usize..][..part.w as usize]
                    .copy_from_slice(&from[x..x + part.w as usize]);
            }
        }
    }
}

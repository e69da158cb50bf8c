//! What of a change is only the previous picture at another place.

use heliostat_tiles::motion::Workspace;
use heliostat_tiles::{Copy, Encoder, PixelsRef, Rect, TILE};

use super::{Base, Content};

/// Dirty cells below which looking for motion does not pay.
const FEWEST_CELLS: usize = 3;
/// The rectangle around the dirty cells may have this many times as many cells as are dirty.
const SPARSEST: u32 = 4;

/// Room that the search for motion works in; one is enough for all layers.
#[derive(Debug, Default)]
pub struct MotionRoom {
    workspace: Workspace,
    /// The rectangle around the dirty cells as the terminal holds it.
    held: Vec<u32>,
    copies: Vec<Copy>,
}

impl MotionRoom {
    /// Pushes copies for what has only moved, and counts it among what the terminal holds.
    pub(super) fn explain(&mut self, content: &mut Content, encoder: &mut Encoder) {
        let Some(around) = content.worth_a_search() else {
            return;
        };
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
        for copy in &self.copies {
            if encoder.copy(content.layer.0, &copy.moved(around.x, around.y)) {
                content.move_bases(held, around, copy);
            }
        }
    }

    fn take_held(&mut self, content: &Content, around: Rect) {
        self.held.resize(around.area(), 0);
        for rect in heliostat_tiles::cells(around) {
            let cell = rect.y / TILE * content.columns() + rect.x / TILE;
            let held = match content.dirty.get(&cell) {
                Some(Base::Known(base)) => {
                    PixelsRef::new(base, rect.w as usize, rect.w, rect.h).expect("bases are whole")
                }
                _ => content.view().sub(rect).expect("cells are inside"),
            };
            let start = (rect.y - around.y) as usize * around.w as usize;
            let start = start + (rect.x - around.x) as usize;
            let rows = self.held[start..].chunks_mut(around.w as usize);
            for (to, from) in rows.zip(held.rows()) {
                to[..from.len()].copy_from_slice(from);
            }
        }
    }
}

impl Content {
    /// The rectangle around the dirty cells, if they are many and near each other, and the terminal
    /// holds something of all of them.
    fn worth_a_search(&self) -> Option<Rect> {
        let known = |base: &Base| matches!(base, Base::Known(_));
        if self.dirty.len() < FEWEST_CELLS || !self.dirty.values().all(known) {
            return None;
        }
        let columns = self.columns();
        let column = |cell: &u32| cell % columns;
        let (left, right) = (
            self.dirty.keys().map(column).min()?,
            self.dirty.keys().map(column).max()?,
        );
        let top = self.dirty.first_key_value()?.0 / columns;
        let bottom = self.dirty.last_key_value()?.0 / columns;
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
        (known && self.dirty.len() as u32 * SPARSEST >= cells).then_some(around)
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
            let Some(Base::Known(base)) = self.dirty.get_mut(&number) else {
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

//! One layer's pixels: the newest ones, and what of them the terminal does not hold yet.
//!
//! ```text
//!             pixels change (the old ones are kept as the base)
//!   in step ─────────────────────────────────────────────────► dirty, base known
//!      ▲ ◄────────────────── encoded ──────────────────────────┘
//!      └ ◄────────────────── encoded ── dirty, base unknown ◄── new, or the terminal lost it
//! ```
//!
//! That is the state of each 64×64 cell. A base is what the terminal holds, so that the encoder may
//! send the difference, and so that a change that was undone before it was sent costs nothing.
//! Copies that wait for the next frame are done before it: bases are what the terminal holds then.
//! Cells that a film covers, wholly or in part, stand apart from this (`video.rs`).

mod account;
mod base;
mod beside;
mod fresh;
mod kept;
mod motion;
mod moving;
mod news;
mod touched;
mod video;
mod watch;

use std::time::{Duration, Instant};

use heliostat_compose::geometry::Damage;
use heliostat_tiles::motion::Motion;
use heliostat_tiles::{Chain, Encoder, PixelsRef, Rect, TILE, diff};
use heliostat_wire::id::LayerId;
use heliostat_wire::output::Size;

use base::Base;
pub use kept::give_back as give_back_kept;
pub use motion::MotionRoom;
pub use video::{Hint, Playing};

/// A cell that has not changed for this long may be looked at, and may come back when it does.
const CALM: Duration = Duration::from_millis(400);

/// A layer's pixels.
#[derive(Debug)]
pub struct Content {
    layer: LayerId,
    size: Size,
    alpha: bool,
    pixels: Vec<u32>,
    /// What the terminal holds of each cell.
    cells: Vec<Base>,
    /// Cells of which it lacks something.
    dirty: usize,
    /// The area that is being drawn.
    drawn: Rect,
    /// Pixels that were drawn, have changed, and have not only moved.
    changed: u64,
    /// Copies that it does not know of yet.
    waiting: Chain,
    /// The terminal's layer has this size and kind.
    in_step: bool,
    motion: Motion,
    moving: moving::Moving,
    /// When each cell was last sent.
    sent: Vec<Option<Instant>>,
    films: video::Films,
    account: account::Account,
    fresh: fresh::Fresh,
    /// What was drawn since it was composed with others.
    touched: Damage,
}

/// Whether the terminal keeps and recalls cells of a frame.
#[derive(Debug, Clone, Copy)]
enum Keep {
    /// It recalls, and keeps those that do not change all the time.
    IfCalm,
    /// Slots are counted in the order of the frames, so one that may overtake others leaves them
    /// alone.
    Nothing,
}

/// What a frame may still take.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Pixels of the whole frame.
    pub pixels: usize,
    /// Bytes of the whole frame.
    pub bytes: u64,
    /// When it is sent.
    pub now: Instant,
    /// Its serial.
    pub serial: u32,
}

impl Room {
    fn is_left(&self, encoder: &Encoder) -> bool {
        encoder.pixel_count() < self.pixels && (encoder.estimate() as u64) < self.bytes
    }
}

impl Content {
    /// An empty layer, of which the terminal has nothing. `size` has no zero side.
    pub fn new(layer: LayerId, size: Size, alpha: bool) -> Self {
        let mut content = Self {
            layer,
            size,
            alpha,
            pixels: vec![empty(alpha); area(size)],
            cells: Vec::new(),
            dirty: 0,
            drawn: Rect {
                x: 0,
                y: 0,
                w: 0,
                h: 0,
            },
            changed: 0,
            waiting: Chain::default(),
            in_step: false,
            motion: Motion::default(),
            moving: moving::Moving::default(),
            sent: Vec::new(),
            films: video::Films::default(),
            account: account::Account::default(),
            fresh: fresh::Fresh::default(),
            touched: Damage::default(),
        };
        content.forget();
        content
    }

    /// The layer's name on the wire.
    pub fn layer(&self) -> LayerId {
        self.layer
    }

    /// Pixels of each side.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Whether alpha counts.
    pub fn alpha(&self) -> bool {
        self.alpha
    }

    /// Whether there is anything to send.
    pub fn is_dirty(&self) -> bool {
        self.dirty_cells() > 0
    }

    /// Cells of which the terminal lacks something; copies count as one.
    pub fn dirty_cells(&self) -> usize {
        self.dirty + self.beside_films() + usize::from(!self.waiting.is_empty())
    }

    /// All pixels, rows without gaps.
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// The terminal holds nothing of this layer that could be relied on.
    pub fn forget(&mut self) {
        self.in_step = false;
        self.waiting.clear();
        self.dirty = self.cell_count();
        self.cells.clear();
        self.cells.resize_with(self.dirty, || Base::Unknown);
        self.sent.clear();
        self.sent.resize(self.dirty, None);
        self.account.reset(self.dirty);
        self.films.forget(self.columns(), self.dirty);
        self.fresh.clear();
    }

    /// The terminal is told of the present size and kind in the frame that is being made.
    pub fn told(&mut self, serial: u32) {
        if !std::mem::replace(&mut self.in_step, true) {
            self.account.shaped(serial);
        }
    }

    /// Takes another size and kind, as the terminal's layer will.
    pub fn reshape(&mut self, size: Size, alpha: bool) {
        if (size, alpha) == (self.size, self.alpha) {
            return;
        }
        let mut pixels = vec![empty(alpha); area(size)];
        let w = self.size.w.min(size.w) as usize;
        let rows = self.pixels.chunks(self.size.w as usize);
        for (new, old) in pixels.chunks_mut(size.w as usize).zip(rows) {
            new[..w].copy_from_slice(&old[..w]);
        }
        self.end_video();
        let known = self.in_step && !self.is_dirty();
        (self.size, self.alpha, self.pixels) = (size, alpha, pixels);
        self.cells.clear();
        self.cells.resize_with(self.cell_count(), || Base::Same);
        self.sent.clear();
        self.sent.resize(self.cell_count(), None);
        self.account.reshape(self.cell_count());
        self.films.forget(self.columns(), self.cell_count());
        self.fresh.clear();
        self.touch_all();
        // Had the terminal missed an earlier change, its common part would be another one.
        if !known {
            self.forget();
        }
        self.in_step = false;
    }

    /// Copies the pixels of `area`, clipped to the layer. `row` is asked for the pixels of a row from
    /// (x, y) on, and answers whether it could fill it.
    pub fn update(&mut self, area: Rect, mut row: impl FnMut(u32, u32, &mut [u32]) -> bool) {
        let Some(area) = self.whole().intersection(area) else {
            return;
        };
        self.touch(area);
        let mut moving = std::mem::take(&mut self.moving);
        let pass = moving.begin(self, area, &mut row);
        self.moving = moving;
        let force = self.force();
        let mut row = |x: u32, y: u32, run: &mut [u32]| {
            let filled = row(x, y, run);
            run.iter_mut().for_each(|pixel| *pixel |= force);
            filled
        };
        let mut line = vec![0; area.w as usize];
        // Copies want whole bases.
        self.drawn = if pass.is_some() { self.whole() } else { area };
        let Some(mut pass) = pass else {
            // Row by row and not cell by cell: rows lie together in memory.
            for y in area.y..area.y + area.h {
                if !row(area.x, y, &mut line) {
                    return;
                }
                self.take_run(area.x, y, &line);
            }
            return;
        };
        self.keep_all_bases();
        for y in pass.order(area) {
            if !row(area.x, y, &mut line) {
                break;
            }
            pass.take(self, (area, y, &line), &mut row);
        }
        self.waiting.add(&pass.end());
    }

    /// How many pixels have changed since this was last asked, and have not only moved: in runs of
    /// rows of cells, so that a few more may count.
    pub fn take_changed(&mut self) -> u64 {
        std::mem::take(&mut self.changed)
    }

    /// Takes in pixels from (x, y) on.
    fn take_run(&mut self, x: u32, y: u32, run: &[u32]) {
        let start = self.place(x, y);
        if self.pixels[start..start + run.len()] == *run {
            return;
        }
        let mut at = 0;
        while at < run.len() {
            let column = x + at as u32;
            let next = run.len().min(((column / TILE + 1) * TILE - x) as usize);
            if self.pixels[start + at..start + next] != run[at..next] {
                let cell = y / TILE * self.columns() + column / TILE;
                self.mark(cell);
                let w = (next - at) as u32;
                let place = Rect {
                    x: column,
                    y,
                    w,
                    h: 1,
                };
                self.note_run(cell, place, &run[at..next]);
                self.changed += u64::from(w);
                self.pixels[start + at..start + next].copy_from_slice(&run[at..next]);
            }
            at = next;
        }
    }

    /// Takes in pixels that the terminal will hold, too.
    fn take_held(&mut self, x: u32, y: u32, run: &[u32]) {
        let start = self.place(x, y);
        self.pixels[start..start + run.len()].copy_from_slice(run);
        self.note_film(x, y, run.len() as u32);
        let is_known = |base: &Base| matches!(base, Base::Known(_));
        if self.dirty == 0 || !self.bases(x, y, run.len()).iter().any(is_known) {
            return;
        }
        let cells = Rect {
            x,
            y,
            w: run.len() as u32,
            h: 1,
        };
        for part in heliostat_tiles::cells(cells) {
            let number = y / TILE * self.columns() + part.x / TILE;
            let cell = self.cell_rect(number);
            if let Base::Known(base) = &mut self.cells[number as usize] {
                let start = (y - cell.y) * cell.w + part.x - cell.x;
                let run = &run[(part.x - x) as usize..][..part.w as usize];
                base[start as usize..][..run.len()].copy_from_slice(run);
            }
        }
    }

    /// Pushes what the terminal lacks, while there is room. Returns whether all of
    /// it went.
    pub fn encode(&mut self, encoder: &mut Encoder, motion: &mut MotionRoom, room: Room) -> bool {
        self.fresh.clear();
        if !self.is_dirty() {
            return true;
        }
        if !room.is_left(encoder) {
            return false;
        }
        motion.explain(self);
        if !self.push_copies(encoder, room.serial) {
            return false;
        }
        self.push_beside_films(encoder);
        // Cells of which the terminal shows a likeness come after all those of which it does not.
        let turns = if self.has_likenesses() { 2 } else { 1 };
        for turn in 0..turns {
            for cell in 0..self.cells.len() {
                let is_its_turn = turns == 1 || self.is_likeness(cell as u32) == (turn == 1);
                if !self.cells[cell].is_dirty() || !is_its_turn {
                    continue;
                }
                if !room.is_left(encoder) {
                    return false;
                }
                let base = std::mem::replace(&mut self.cells[cell], Base::Same);
                self.dirty -= 1;
                self.account.changed(cell as u32, room.serial);
                self.push(encoder, cell as u32, base, (room.now, Keep::IfCalm));
            }
        }
        true
    }

    /// Pushes the copies that wait, or none of them where they do not fit behind those of others.
    fn push_copies(&mut self, encoder: &mut Encoder, serial: u32) -> bool {
        if encoder.copy_all(self.layer.0, self.waiting.copies()) {
            for copy in self.waiting.copies() {
                for part in heliostat_tiles::cells(copy.target()) {
                    let cell = part.y / TILE * self.columns() + part.x / TILE;
                    self.account.changed(cell, serial);
                }
            }
            if !self.waiting.is_empty() {
                self.account.copied(serial);
            }
            self.waiting.clear();
            return true;
        }
        if encoder.has_copies() {
            return false;
        }
        // No batch would ever hold them all.
        let in_step = self.in_step;
        self.forget();
        self.in_step = in_step;
        true
    }

    fn push(
        &mut self,
        encoder: &mut Encoder,
        number: u32,
        base: Base,
        (now, keep): (Instant, Keep),
    ) {
        let cell = self.cell_rect(number);
        self.forget_likeness(number);
        let new = whole_view(&self.pixels, self.size).sub(cell);
        let new = new.expect("cells are inside");
        let known = base.known(cell.w, cell.h);
        let whole = Rect { x: 0, y: 0, ..cell };
        // What has changed, counted from the cell's corner, and what it was.
        let (changed, old) = match known {
            None => (whole, None),
            Some((part, old)) => {
                let drawn = new.sub(part).expect("parts are inside");
                let Some(changed) = diff::changed(old, drawn) else {
                    return;
                };
                let (x, y) = (part.x + changed.x, part.y + changed.y);
                (Rect { x, y, ..changed }, old.sub(changed))
            }
        };
        if matches!(base, Base::Wrong) {
            return encoder.push(self.layer.0, cell, new, None);
        }
        let at = Rect {
            x: cell.x + changed.x,
            y: cell.y + changed.y,
            ..changed
        };
        let pixels = new.sub(changed).expect("changes are inside");
        if known.is_some() && self.playing().is_none() {
            self.films.watch.note(number, at, pixels);
        }
        if let Keep::Nothing = keep {
            encoder.push(self.layer.0, at, pixels, old);
        } else {
            // What changes all the time does not come back.
            let last = self.sent.get(number as usize).copied().flatten();
            let calm = last.is_none_or(|last| now.saturating_duration_since(last) > CALM);
            encoder.push_cell(self.layer.0, (cell, changed), new, old, calm);
        }
        if let Some(sent) = self.sent.get_mut(number as usize) {
            *sent = Some(now);
        }
    }

    fn view(&self) -> PixelsRef<'_> {
        whole_view(&self.pixels, self.size)
    }

    pub(crate) fn whole(&self) -> Rect {
        Rect {
            x: 0,
            y: 0,
            w: self.size.w,
            h: self.size.h,
        }
    }

    /// Bits that are set in every pixel.
    fn force(&self) -> u32 {
        if self.alpha { 0 } else { 0xff00_0000 }
    }

    fn place(&self, x: u32, y: u32) -> usize {
        y as usize * self.size.w as usize + x as usize
    }

    /// The newest pixels from (x, y) on.
    fn row(&self, x: u32, y: u32, length: usize) -> &[u32] {
        &self.pixels[self.place(x, y)..][..length]
    }

    /// What the terminal holds of the cells that so many pixels from (x, y) on are of.
    fn bases(&self, x: u32, y: u32, length: usize) -> &[Base] {
        let (first, row) = (x / TILE, y / TILE * self.columns());
        let end = (x + length as u32).div_ceil(TILE);
        &self.cells[(row + first) as usize..(row + end) as usize]
    }

    fn cell_count(&self) -> usize {
        self.columns() as usize * self.size.h.div_ceil(TILE) as usize
    }

    fn columns(&self) -> u32 {
        self.size.w.div_ceil(TILE)
    }

    fn cell_rect(&self, cell: u32) -> Rect {
        let (x, y) = (cell % self.columns() * TILE, cell / self.columns() * TILE);
        Rect {
            x,
            y,
            w: TILE.min(self.size.w - x),
            h: TILE.min(self.size.h - y),
        }
    }

    /// Keeps the pixels of a cell that are about to be drawn as its base, if they are what the
    /// terminal holds.
    fn mark(&mut self, cell: u32) {
        self.fresh.touch(cell);
        self.forget_likeness(cell);
        if !matches!(self.cells[cell as usize], Base::Same | Base::Part(..)) {
            return;
        }
        let rect = self.cell_rect(cell);
        let part = rect.intersection(self.drawn).unwrap_or(rect);
        let part = Rect {
            x: part.x - rect.x,
            y: part.y - rect.y,
            ..part
        };
        let newest = whole_view(&self.pixels, self.size).sub(rect);
        let newest = newest.expect("cells are inside");
        match &mut self.cells[cell as usize] {
            base @ Base::Same => {
                *base = Base::keeping(part, newest);
                self.dirty += 1;
            }
            base => base.keep_more(part, newest),
        }
    }

    /// Has whole cells kept where parts of them are.
    fn keep_all_bases(&mut self) {
        for cell in 0..self.cells.len() {
            if let Base::Part(..) = &self.cells[cell] {
                let newest = whole_view(&self.pixels, self.size).sub(self.cell_rect(cell as u32));
                self.cells[cell].keep_all(newest.expect("cells are inside"));
            }
        }
    }
}

fn whole_view(pixels: &[u32], size: Size) -> PixelsRef<'_> {
    PixelsRef::new(pixels, size.w as usize, size.w, size.h).expect("layers are whole")
}

/// A pixel that was never drawn.
fn empty(alpha: bool) -> u32 {
    if alpha { 0 } else { 0xff00_0000 }
}

fn area(size: Size) -> usize {
    size.w as usize * size.h as usize
}

#[cfg(test)]
mod tests;

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

mod held;
mod motion;
mod video;
mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heliostat_tiles::motion::Motion;
use heliostat_tiles::{Encoder, PixelsRef, Rect, TILE, diff};
use heliostat_wire::id::LayerId;
use heliostat_wire::output::Size;

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
    dirty: BTreeMap<u32, Base>,
    /// The terminal's layer has this size and kind.
    in_step: bool,
    motion: Motion,
    /// When each cell was last sent.
    sent: Vec<Option<Instant>>,
    films: video::Films,
    held: held::Held,
}

/// What the terminal holds of a dirty cell.
#[derive(Debug)]
enum Base {
    /// Nobody knows, or nothing.
    Unknown,
    /// These pixels, rows without gaps.
    Known(Box<[u32]>),
    /// Something else than was sent.
    Wrong,
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

impl Base {
    /// The pixels of `cell`, where they are known.
    fn of(&self, cell: Rect) -> Option<PixelsRef<'_>> {
        match self {
            Self::Unknown | Self::Wrong => None,
            Self::Known(pixels) => PixelsRef::new(pixels, cell.w as usize, cell.w, cell.h),
        }
    }
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
            dirty: BTreeMap::new(),
            in_step: false,
            motion: Motion::default(),
            sent: Vec::new(),
            films: video::Films::default(),
            held: held::Held::default(),
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
        !self.dirty.is_empty()
    }

    /// Cells of which the terminal lacks something.
    pub fn dirty_cells(&self) -> usize {
        self.dirty.len()
    }

    /// All pixels, rows without gaps.
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// The terminal holds nothing of this layer that could be relied on.
    pub fn forget(&mut self) {
        self.in_step = false;
        let cells = self.columns() * self.size.h.div_ceil(TILE);
        self.dirty = (0..cells).map(|cell| (cell, Base::Unknown)).collect();
        self.held.reset(cells);
        self.sent.clear();
        self.sent.resize(cells as usize, None);
        self.films.forget(self.columns(), cells);
    }

    /// The terminal is told of the present size and kind in the frame that is being made.
    pub fn told(&mut self, serial: u32) {
        if !std::mem::replace(&mut self.in_step, true) {
            self.held.shaped(serial);
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
        let known = self.in_step && self.dirty.is_empty();
        (self.size, self.alpha, self.pixels) = (size, alpha, pixels);
        let cells = self.columns() * self.size.h.div_ceil(TILE);
        self.sent.clear();
        self.sent.resize(cells as usize, None);
        self.films.forget(self.columns(), cells);
        self.held.reset(cells);
        // Had the terminal missed an earlier change, its common part would be another one.
        if !known {
            self.forget();
        }
        self.in_step = false;
    }

    /// Copies the pixels of `area`, clipped to the layer. `row` is asked for the pixels of a row from
    /// (x, y) on, and answers whether it could fill it.
    pub fn update(&mut self, area: Rect, mut row: impl FnMut(u32, u32, &mut [u32]) -> bool) {
        let whole = Rect {
            x: 0,
            y: 0,
            w: self.size.w,
            h: self.size.h,
        };
        let Some(area) = whole.intersection(area) else {
            return;
        };
        let force = if self.alpha { 0 } else { 0xff00_0000 };
        let mut line = vec![0; area.w as usize];
        let first = area.x / TILE;
        let mut marked = vec![false; ((area.x + area.w).div_ceil(TILE) - first) as usize];
        // Row by row and not cell by cell: rows lie together in memory.
        for y in area.y..area.y + area.h {
            if y == area.y || y % TILE == 0 {
                marked.fill(false);
            }
            if !row(area.x, y, &mut line) {
                return;
            }
            line.iter_mut().for_each(|pixel| *pixel |= force);
            let start = y as usize * self.size.w as usize + area.x as usize;
            if self.pixels[start..start + line.len()] == line[..] {
                continue;
            }
            let mut x = area.x;
            for marked in &mut marked {
                let next = (x / TILE + 1) * TILE;
                let part = (x - area.x) as usize..(next.min(area.x + area.w) - area.x) as usize;
                let held = start + part.start..start + part.end;
                if self.pixels[held.clone()] != line[part.clone()] {
                    if !std::mem::replace(marked, true) {
                        self.mark(y / TILE * self.columns() + x / TILE);
                    }
                    self.note_film(x, y, part.len() as u32);
                    self.pixels[held].copy_from_slice(&line[part]);
                }
                x = next;
            }
        }
    }

    /// Pushes what the terminal lacks, while there is room. Returns whether all of
    /// it went.
    pub fn encode(&mut self, encoder: &mut Encoder, motion: &mut MotionRoom, room: Room) -> bool {
        if !self.dirty.is_empty() && room.is_left(encoder) {
            motion.explain(self, encoder);
        }
        for cell in self.order().unwrap_or_default() {
            if !room.is_left(encoder) {
                return false;
            }
            if let Some(base) = self.dirty.remove(&cell) {
                self.push(encoder, cell, base, room.now);
            }
        }
        while let Some((cell, base)) = self.dirty.pop_first() {
            if !room.is_left(encoder) {
                self.dirty.insert(cell, base);
                return false;
            }
            self.held.changed(cell, room.serial);
            self.push(encoder, cell, base, room.now);
        }
        true
    }

    fn push(&mut self, encoder: &mut Encoder, number: u32, base: Base, now: Instant) {
        let cell = self.cell_rect(number);
        self.is_exact(number);
        if self.has_film_in(cell) {
            return self.push_beside(encoder, cell, &base);
        }
        let new = whole_view(&self.pixels, self.size).sub(cell);
        let new = new.expect("cells are inside");
        let old = base.of(cell);
        let all = Rect { x: 0, y: 0, ..cell };
        let Some(changed) = old.map_or(Some(all), |old| diff::changed(old, new)) else {
            return;
        };
        if old.is_some() {
            let at = Rect {
                x: cell.x + changed.x,
                y: cell.y + changed.y,
                ..changed
            };
            let pixels = new.sub(changed).expect("changes are inside");
            self.films.watch.note(number, at, pixels);
        }
        if matches!(base, Base::Wrong) {
            // What it has kept may be wrong as well.
            return encoder.push(self.layer.0, cell, new, None);
        }
        // What changes all the time does not come back.
        let last = self.sent.get(number as usize).copied().flatten();
        let calm = last.is_none_or(|last| now.saturating_duration_since(last) > CALM);
        encoder.push_cell(self.layer.0, (cell, changed), new, old, calm);
        if let Some(sent) = self.sent.get_mut(number as usize) {
            *sent = Some(now);
        }
    }

    fn view(&self) -> PixelsRef<'_> {
        whole_view(&self.pixels, self.size)
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

    /// Keeps the pixels of a cell as its base, if they are what the terminal holds.
    fn mark(&mut self, cell: u32) {
        if self.note_film_cell(cell) || self.dirty.contains_key(&cell) {
            return;
        }
        let view = self
            .view()
            .sub(self.cell_rect(cell))
            .expect("cells are inside");
        let mut base = Vec::with_capacity(TILE as usize * TILE as usize);
        view.rows().for_each(|row| base.extend_from_slice(row));
        self.dirty.insert(cell, Base::Known(base.into()));
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
mod tests {
    use heliostat_tiles::oracle::{Layer, Layers};
    use heliostat_tiles::{Decoder, Limits, TileSink};
    use heliostat_wire::id::VideoId;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Op {
        Paint(Rect, u32),
        Draw(Rect, u32, u32),
        Reshape(u32, u32, bool),
        Encode(usize),
        Forget,
        Film(Rect),
        EndFilm,
    }

    fn op() -> impl Strategy<Value = Op> {
        let rect = (0u32..150, 0u32..150, 1u32..90, 1u32..90);
        let rect = rect.prop_map(|(x, y, w, h)| Rect { x, y, w, h });
        prop_oneof![
            4 => (rect, any::<u32>()).prop_map(|(rect, colour)| Op::Paint(rect, colour % 5 * 0x0101_0101)),
            3 => (0u32..3, 0u32..40, 0u32..40).prop_map(|(half, x, y)| {
                let rect = Rect { x: 75 * (half % 2), y: 0, w: 75 * (1 + half / 2), h: 200 };
                Op::Draw(rect, x, y)
            }),
            1 => (1u32..160, 1u32..160, any::<bool>()).prop_map(|(w, h, a)| Op::Reshape(w, h, a)),
            3 => (1usize..30_000).prop_map(Op::Encode),
            1 => Just(Op::Forget),
            1 => (0u32..150, 0u32..150, 1u32..150, 1u32..150)
                .prop_map(|(x, y, w, h)| Op::Film(Rect { x, y, w, h })),
            1 => Just(Op::EndFilm),
        ]
    }

    fn resize(layer: &mut Layer, size: Size, alpha: bool) {
        let mut new = Layer::new(size.w, size.h);
        new.pixels.fill(empty(alpha));
        for y in 0..layer.h.min(size.h) as usize {
            let w = layer.w.min(size.w) as usize;
            let (from, to) = (y * layer.w as usize, y * size.w as usize);
            new.pixels[to..to + w].copy_from_slice(&layer.pixels[from..from + w]);
        }
        *layer = new;
    }

    fn room(pixels: usize) -> Room {
        Room {
            pixels,
            bytes: u64::MAX,
            now: Instant::now(),
            serial: 1,
        }
    }

    fn send(
        content: &mut Content,
        (terminal, decoder): (&mut Layers, &mut Decoder),
        encoder: &mut Encoder,
        max: usize,
    ) {
        let size = content.size();
        if (terminal.0[0].w, terminal.0[0].h) != (size.w, size.h) || !content.in_step {
            resize(&mut terminal.0[0], size, content.alpha());
        }
        content.told(1);
        // A film's pixels are nobody's business while it plays.
        if let Some(film) = content.playing() {
            let (pixels, stride) = terminal.pixels_mut(0, film.rect).unwrap();
            for row in pixels.chunks_mut(stride).take(film.rect.h as usize) {
                row[..film.rect.w as usize].fill(0xff12_3456);
            }
        }
        content.encode(encoder, &mut MotionRoom::default(), room(max));
        let mut batch = Vec::new();
        encoder.finish(&mut batch);
        decoder
            .decode(&batch, &Limits::default(), terminal)
            .unwrap();
    }

    proptest! {
        #[test]
        fn terminal_ends_with_the_newest_pixels_whatever_happened_between(ops in prop::collection::vec(op(), 1..40)) {
            let mut content = Content::new(LayerId(0), Size { w: 70, h: 100 }, true);
            let mut terminal = Layers(vec![Layer::new(70, 100)]);
            let mut encoder = Encoder::new(1);
            // Few, so that slots are taken again.
            encoder.start_keeping(3, 7);
            let mut decoder = Decoder::keeping(3);
            for op in ops {
                match op {
                    Op::Paint(rect, colour) => content.update(rect, |_, _, run| { run.fill(colour); true }),
                    // The same picture at another place, as scrolling does.
                    Op::Draw(rect, x, y) => content.update(rect, |left, top, run| {
                        for (pixel, at) in run.iter_mut().zip(left..) {
                            *pixel = (at + x).wrapping_mul(0x9e37_79b9) ^ ((top + y).wrapping_mul(0x85eb_ca6b) >> 9);
                        }
                        true
                    }),
                    Op::Reshape(w, h, alpha) => content.reshape(Size { w, h }, alpha),
                    Op::Encode(max) => send(&mut content, (&mut terminal, &mut decoder), &mut encoder, max),
                    Op::Forget => content.forget(),
                    Op::Film(rect) => {
                        let size = content.size();
                        let all = Rect { x: 0, y: 0, w: size.w, h: size.h };
                        if let Some(rect) = rect.intersection(all) {
                            content.start_video(VideoId(1), rect, Instant::now());
                        }
                    }
                    Op::EndFilm => content.end_video(),
                }
            }
            content.end_video();
            send(&mut content, (&mut terminal, &mut decoder), &mut encoder, usize::MAX);
            prop_assert!(!content.is_dirty());
            prop_assert_eq!(content.pixels(), &terminal.0[0].pixels[..]);
        }
    }

    fn settled() -> (Content, Encoder) {
        let mut content = Content::new(LayerId(3), Size { w: 100, h: 100 }, false);
        let mut encoder = Encoder::new(1);
        content.told(1);
        content.encode(&mut encoder, &mut MotionRoom::default(), room(usize::MAX));
        encoder.finish(&mut Vec::new());
        (content, encoder)
    }

    #[test]
    fn damage_without_a_change_costs_nothing() {
        let (mut content, _) = settled();
        let all = Rect {
            x: 0,
            y: 0,
            w: 100,
            h: 100,
        };
        content.update(all, |_, _, run| {
            run.fill(0xff00_0000);
            true
        });
        assert!(!content.is_dirty());
    }

    #[test]
    fn change_that_was_undone_before_it_was_sent_costs_nothing() {
        let (mut content, mut encoder) = settled();
        let spot = Rect {
            x: 5,
            y: 5,
            w: 3,
            h: 3,
        };
        for colour in [0xffff_ffff, 0xff00_0000] {
            content.update(spot, |_, _, run| {
                run.fill(colour);
                true
            });
        }
        content.encode(&mut encoder, &mut MotionRoom::default(), room(usize::MAX));
        assert!(encoder.is_empty());
    }

    #[test]
    fn only_the_changed_rectangle_is_sent() {
        let (mut content, mut encoder) = settled();
        content.update(
            Rect {
                x: 60,
                y: 60,
                w: 9,
                h: 18,
            },
            |_, _, run| {
                run.fill(0xffff_ffff);
                true
            },
        );
        content.encode(&mut encoder, &mut MotionRoom::default(), room(usize::MAX));
        assert_eq!(encoder.pixel_count(), 9 * 18);
        let mut batch = Vec::new();
        encoder.finish(&mut batch);
        assert!(batch.len() < 100, "{} bytes", batch.len());
    }
}

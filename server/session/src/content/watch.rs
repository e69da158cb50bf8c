//! Which part of a layer is a film, going by how it changes: often, and never as text does.
//!
//! Changes are counted by cell in windows of half a second. Cells that changed often enough in the
//! last two windows, and have more colours than text or a drawing has, are hot; the largest group of
//! neighbours among them is a film where its changes fill the rectangle around them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use heliostat_tiles::{PixelsRef, Rect, TILE};

use super::Hint;
use super::beside::{Beside, outside};

const WINDOW: Duration = Duration::from_millis(500);
/// Changes in two windows that make a cell hot: ten pictures a second.
const HOT: u8 = 10;
/// Changes in two windows where the client says that this is a film.
const HOT_BY_HINT: u8 = 5;
/// Films that are smaller cost little as they are.
const SMALLEST: (u32, u32) = (96, 64);
/// How much of the rectangle around them the changes have to fill, in percent.
const FILLED: usize = 70;
/// How much of what has changed in a cell each change has to cover on average, in percent. A film's
/// pictures are new everywhere; the edge of what is dragged leaves stripes that fill the cell together.
const COVERED: usize = 25;
/// How large a film has to be that has grown, of what was known of it, in percent: it becomes another
/// video.
const MORE: usize = 102;
/// How much of a film has to go on changing for it to stay one, in percent.
const ALIVE: usize = 40;
/// Pixels looked at in a cell, for their colours.
const SAMPLES: usize = 256;
/// Colours among them from which a cell is none of text or of a drawing.
const NATURAL: usize = 96;
/// Bits for the colours that are met in a cell.
const MET: usize = 4096;
/// A cell's colours are looked at in one of so many changes.
const LOOK_EVERY: u8 = 4;

/// Changes of a cell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Changes {
    /// In the window before, and in this one.
    times: (u8, u8),
    /// Around the changes of both, in the layer's pixels.
    changed: (Option<Rect>, Option<Rect>),
}

impl Changes {
    pub(super) fn count(&self) -> u8 {
        self.times.0.saturating_add(self.times.1)
    }

    pub(super) fn changed(&self) -> Option<Rect> {
        either(self.changed.0, self.changed.1)
    }

    /// Adds one, or more of the last one.
    pub(super) fn add(&mut self, changed: Rect, is_another: bool) {
        self.times.1 = self.times.1.saturating_add(is_another.into());
        self.changed.1 = either(self.changed.1, Some(changed));
    }

    /// A window is over.
    pub(super) fn turn(&mut self) {
        self.times = (self.times.1, 0);
        self.changed = (self.changed.1, None);
    }
}

/// What is known of a cell's changes.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    changes: Changes,
    /// Pixels of all changes together, in the window before and in this one.
    pixels: (usize, usize),
    natural: bool,
}

impl Seen {
    /// Whether its changes are those of a film.
    fn is_hot(&self, hint: Hint) -> bool {
        let (count, changed) = (self.changes.count(), self.changes.changed());
        let Some(changed) = changed else {
            return false;
        };
        if hint == Hint::Film {
            return count >= HOT_BY_HINT;
        }
        let pixels = self.pixels.0 + self.pixels.1;
        let covers = pixels * 100 >= changed.area() * usize::from(count) * COVERED;
        self.natural && count >= HOT && covers
    }
}

/// The changes of one layer.
#[derive(Debug, Default)]
pub(super) struct Watch {
    columns: u32,
    cells: Vec<Seen>,
    beside: Beside,
    window: Option<Instant>,
}

/// What a window that is over has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing new.
    Same,
    /// This part is a film, which was none or another one.
    Film(Rect),
    /// What was a film is none.
    Over,
}

impl Watch {
    /// Of a layer of so many cells.
    pub(super) fn reset(&mut self, columns: u32, cells: usize) {
        self.columns = columns;
        self.cells.clear();
        self.cells.resize(cells, Seen::default());
        self.beside = Beside::default();
        self.window = None;
    }

    /// `changed`, in the layer's pixels, of a cell has changed to what is in `pixels`.
    pub(super) fn note(&mut self, cell: u32, changed: Rect, pixels: PixelsRef<'_>) {
        let Some(seen) = self.cells.get_mut(cell as usize) else {
            return;
        };
        if seen.changes.times.1 % LOOK_EVERY == 0 {
            seen.natural = is_natural(pixels);
        }
        seen.changes.add(changed, true);
        seen.pixels.1 += changed.area();
    }

    /// A film is known from now on.
    pub(super) fn begin_film(&mut self) {
        self.beside = Beside::default();
    }

    /// A cell of what is a film has changed.
    pub(super) fn note_film(&mut self, cell: u32) {
        if let Some(seen) = self.cells.get_mut(cell as usize) {
            let times = &mut seen.changes.times.1;
            *times = times.saturating_add(1);
        }
    }

    /// `changed`, in the layer's pixels, of a cell has changed that is not in the film.
    pub(super) fn note_beside(&mut self, cell: u32, changed: Rect) {
        self.beside.note(cell, changed);
    }

    /// A picture of the film was taken.
    pub(super) fn note_picture(&mut self) {
        self.beside.note_picture();
    }

    /// What is to be done about films. `playing` is the one that is known; `natural` says whether a part
    /// of the layer has more colours than text and drawings.
    pub(super) fn judge(
        &mut self,
        (playing, hint): (Option<Rect>, Hint),
        natural: impl Fn(Rect) -> bool,
        now: Instant,
    ) -> Verdict {
        let window = *self.window.get_or_insert(now);
        let is_over = now.saturating_duration_since(window) >= WINDOW;
        let hinted = hint == Hint::Film && playing.is_none();
        if !is_over && !hinted {
            return Verdict::Same;
        }
        let film = match playing {
            _ if hint == Hint::Still => None,
            Some(known) => self.grown(known, natural),
            None => self.film(hint),
        };
        let verdict = match (playing, film) {
            (_, Some(film)) => Verdict::Film(film),
            (Some(known), None) if !self.is_alive(known) => Verdict::Over,
            _ => Verdict::Same,
        };
        if is_over {
            self.turn(now);
        }
        verdict
    }

    fn turn(&mut self, now: Instant) {
        self.window = Some(now);
        for seen in &mut self.cells {
            seen.changes.turn();
            seen.pixels = (seen.pixels.1, 0);
        }
        self.beside.turn();
    }

    /// The rectangle of the largest group of hot cells, where it is filled by changes.
    fn film(&self, hint: Hint) -> Option<Rect> {
        let changed = |cell: u32| self.cells[cell as usize].changes.changed();
        let cells = self.cells.iter().zip(0..);
        let hot = cells.filter(|(seen, _)| seen.is_hot(hint));
        let hot = hot.map(|(_, cell)| cell).collect();
        let (filled, rect) = largest(hot, self.columns, changed)?;
        let large = rect.w >= SMALLEST.0 && rect.h >= SMALLEST.1;
        let full = filled * 100 >= rect.area() * FILLED;
        (full && large).then_some(rect)
    }

    /// What is `known` of a film with what has changed beside it as it has, where that is notably more.
    fn grown(&self, known: Rect, natural: impl Fn(Rect) -> bool) -> Option<Rect> {
        let with_it = self.beside.with_it();
        let as_films = with_it.filter(|(_, part)| outside(*part, known).all(&natural));
        let beside: BTreeMap<u32, Rect> = as_films.collect();
        if beside.is_empty() {
            return None;
        }
        let film = |cell: u32| known.intersection(self.whole_cell(cell));
        let part = |cell: u32| either(film(cell), beside.get(&cell).copied());
        let cell_of = |part: Rect| part.y / TILE * self.columns + part.x / TILE;
        let cells = heliostat_tiles::cells(known).map(cell_of);
        let mut cells: BTreeSet<u32> = cells.chain(beside.keys().copied()).collect();
        let first = cell_of(known);
        cells.remove(&first);
        let (filled, rect) = group(first, &mut cells, self.columns, &part)?;
        let more = rect.area() * 100 >= known.area() * MORE;
        let full = filled * 100 >= rect.area() * FILLED;
        (more && full).then_some(rect)
    }

    /// A cell with what of it is beyond the layer.
    fn whole_cell(&self, cell: u32) -> Rect {
        let (x, y) = (cell % self.columns * TILE, cell / self.columns * TILE);
        let (w, h) = (TILE, TILE);
        Rect { x, y, w, h }
    }

    /// Whether enough of a film has changed in the last two windows.
    fn is_alive(&self, film: Rect) -> bool {
        let (mut all, mut moving) = (0, 0);
        for part in heliostat_tiles::cells(film) {
            let cell = part.y / TILE * self.columns + part.x / TILE;
            all += part.area();
            if self
                .cells
                .get(cell as usize)
                .is_some_and(|seen| seen.changes.count() > 0)
            {
                moving += part.area();
            }
        }
        moving * 100 >= all * ALIVE
    }
}

/// The largest group of neighbours among `cells`: how much of it there is, and the rectangle around
/// it. `part` says what of a cell counts.
pub(super) fn largest(
    mut cells: BTreeSet<u32>,
    columns: u32,
    part: impl Fn(u32) -> Option<Rect>,
) -> Option<(usize, Rect)> {
    let mut largest: Option<(usize, Rect)> = None;
    while let Some(first) = cells.pop_first() {
        let group = group(first, &mut cells, columns, &part);
        if largest.is_none_or(|(filled, _)| group.is_some_and(|group| group.0 > filled)) {
            largest = group.or(largest);
        }
    }
    largest
}

/// Takes the neighbours of a cell, and theirs, out of `left`.
fn group(
    first: u32,
    left: &mut BTreeSet<u32>,
    columns: u32,
    part: &impl Fn(u32) -> Option<Rect>,
) -> Option<(usize, Rect)> {
    let mut next = vec![first];
    let mut found: Option<(usize, Rect)> = None;
    while let Some(cell) = next.pop() {
        let column = cell % columns;
        let mut beside = vec![cell + columns];
        beside.extend(cell.checked_sub(columns));
        beside.extend((column > 0).then(|| cell - 1));
        beside.extend((column + 1 < columns).then(|| cell + 1));
        next.extend(beside.into_iter().filter(|cell| left.remove(cell)));
        if let Some(part) = part(cell) {
            let (filled, all) = found.unwrap_or((0, part));
            found = Some((filled + part.area(), all.around(part)));
        }
    }
    found
}

/// Whether pixels have more colours than text and drawings.
pub(super) fn is_natural(pixels: PixelsRef<'_>) -> bool {
    let all = pixels.width() as usize * pixels.height() as usize;
    // A step that no regular pattern has.
    let step = (all / SAMPLES).max(1) | 1;
    let w = pixels.width() as usize;
    // A bit for each colour that was met, by its hash: two colours with one bit are rare among so
    // few, and one more or less does not matter.
    let mut met = [0u64; MET / 64];
    let mut looked = 0;
    for n in (0..all).step_by(step) {
        let colour = pixels.row((n / w) as u32)[n % w] & 0xff_ffff;
        let bit = colour.wrapping_mul(0x9e37_79b1) as usize >> (u32::BITS - MET.ilog2());
        met[bit / 64] |= 1 << (bit % 64);
        looked += 1;
    }
    let colours: u32 = met.iter().map(|bits| bits.count_ones()).sum();
    colours as usize >= NATURAL.min(looked * 3 / 4)
}

fn either(a: Option<Rect>, b: Option<Rect>) -> Option<Rect> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.around(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: u32 = 10;
    const FILM: Rect = Rect {
        x: 100,
        y: 90,
        w: 320,
        h: 200,
    };

    fn natural() -> Vec<u32> {
        (0..64 * 64u32)
            .map(|n| n.wrapping_mul(0x9e37_79b9))
            .collect()
    }

    fn text() -> Vec<u32> {
        (0..64 * 64u32).map(|n| n % 24 * 0x0a_0a0a).collect()
    }

    /// Changes of `rect` at so many pictures a second, for a time.
    fn play(
        watch: &mut Watch,
        start: Instant,
        (rect, rate, ms): (Rect, u64, u64),
        pixels: &[u32],
        hint: Hint,
    ) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for n in 0..ms * rate / 1000 {
            for part in heliostat_tiles::cells(rect) {
                let cell = part.y / TILE * COLUMNS + part.x / TILE;
                let view = PixelsRef::new(pixels, 64, part.w, part.h).unwrap();
                watch.note(cell, part, view);
            }
            let now = start + Duration::from_millis(n * 1000 / rate);
            match watch.judge((None, hint), |_| true, now) {
                Verdict::Same => {}
                verdict => verdicts.push(verdict),
            }
        }
        verdicts
    }

    fn watch() -> Watch {
        let mut watch = Watch::default();
        watch.reset(COLUMNS, 100);
        watch
    }

    #[test]
    fn film_is_found_to_the_pixel_within_a_second() {
        for rate in [24, 30, 60] {
            let verdicts = play(
                &mut watch(),
                Instant::now(),
                (FILM, rate, 1100),
                &natural(),
                Hint::Nothing,
            );
            assert_eq!(verdicts.first(), Some(&Verdict::Film(FILM)), "{rate} Hz");
        }
    }

    #[test]
    fn text_slow_changes_stills_and_small_spots_are_no_film() {
        let small = Rect {
            w: 64,
            h: 200,
            ..FILM
        };
        let cases = [
            (text(), (FILM, 60, 3000), Hint::Nothing),
            (natural(), (FILM, 5, 3000), Hint::Nothing),
            (natural(), (small, 60, 3000), Hint::Nothing),
            (natural(), (FILM, 60, 3000), Hint::Still),
        ];
        for (pixels, case, hint) in cases {
            let verdicts = play(&mut watch(), Instant::now(), case, &pixels, hint);
            assert_eq!(verdicts, [], "{case:?} {hint:?}");
        }
    }

    #[test]
    fn client_that_says_film_is_believed_after_a_few_pictures_whatever_they_look_like() {
        let verdicts = play(
            &mut watch(),
            Instant::now(),
            (FILM, 30, 200),
            &text(),
            Hint::Film,
        );
        assert_eq!(verdicts.first(), Some(&Verdict::Film(FILM)));
    }

    #[test]
    fn changes_that_do_not_fill_their_rectangle_are_no_film() {
        let mut watch = watch();
        let start = Instant::now();
        let pixels = natural();
        for n in 0..60 {
            // A frame of changes around a still middle.
            for part in heliostat_tiles::cells(Rect {
                x: 0,
                y: 0,
                w: 640,
                h: 640,
            }) {
                let inside = |v: u32| (64..576).contains(&v);
                if inside(part.x) && inside(part.y) {
                    continue;
                }
                let view = PixelsRef::new(&pixels, 64, part.w, part.h).unwrap();
                watch.note(part.y / TILE * COLUMNS + part.x / TILE, part, view);
            }
            let now = start + Duration::from_millis(n * 16);
            let verdict = watch.judge((None, Hint::Nothing), |_| true, now);
            assert_eq!(verdict, Verdict::Same);
        }
    }

    #[test]
    fn edges_that_pass_are_no_film() {
        for step in [1, 3, 5, 6] {
            let (mut watch, start, pixels) = (watch(), Instant::now(), natural());
            for n in 0..240u32 {
                // What the lower edge of a picture that is dragged up uncovers.
                let stripe = Rect {
                    x: 64,
                    y: 512 - (n * step).min(448),
                    w: 384,
                    h: step,
                };
                for part in heliostat_tiles::cells(stripe) {
                    let view = PixelsRef::new(&pixels, 64, part.w, part.h).unwrap();
                    watch.note(part.y / TILE * COLUMNS + part.x / TILE, part, view);
                }
                let now = start + Duration::from_micros(u64::from(n) * 16_667);
                let verdict = watch.judge((None, Hint::Nothing), |_| true, now);
                assert_eq!(verdict, Verdict::Same, "{step} pixels a picture, {n}");
            }
        }
    }

    /// Plays a film for two seconds, and then `shown` in its place, of which the parts beside the film
    /// change with one picture of so many. Says what is seen of it after that.
    fn grow(shown: Rect, every: u64, natural: bool) -> Vec<Verdict> {
        let (mut watch, start) = (watch(), Instant::now());
        let mut verdicts = Vec::new();
        for n in 0..360u64 {
            for part in heliostat_tiles::cells(FILM) {
                watch.note_film(part.y / TILE * COLUMNS + part.x / TILE);
            }
            let changes = n >= 120 && n % every == 0;
            for part in heliostat_tiles::cells(shown).filter(|_| changes) {
                let cell = part.y / TILE * COLUMNS + part.x / TILE;
                // Row by row, as it is drawn.
                let rows = (part.y..part.y + part.h).map(|y| Rect { y, h: 1, ..part });
                let beside = rows.flat_map(|row| outside(row, FILM));
                beside.for_each(|run| watch.note_beside(cell, run));
            }
            watch.note_picture();
            let now = start + Duration::from_millis(n * 1000 / 60);
            let verdict = watch.judge((Some(FILM), Hint::Nothing), |_| natural, now);
            assert!(n >= 120 || verdict == Verdict::Same, "{verdict:?}");
            verdicts.push(verdict);
        }
        verdicts.retain(|verdict| *verdict != Verdict::Same);
        verdicts
    }

    #[test]
    fn film_that_has_played_for_long_is_seen_to_grow_around_a_corner_and_in_the_cells_it_has() {
        for (w, h) in [(420, 330), (347, 229), (320, 205)] {
            let grown = Rect { w, h, ..FILM };
            assert_eq!(grow(grown, 1, true).first(), Some(&Verdict::Film(grown)));
        }
    }

    #[test]
    fn what_looks_like_text_changes_seldom_or_is_next_to_nothing_is_no_part_of_a_film_beside_it() {
        let grown = Rect {
            w: 347,
            h: 229,
            ..FILM
        };
        assert_eq!(grow(grown, 1, false), []);
        assert_eq!(grow(grown, 3, true), []);
        assert_eq!(grow(Rect { w: 321, ..FILM }, 1, true), []);
    }

    #[test]
    fn film_that_stands_still_for_the_most_part_is_over() {
        let mut watch = watch();
        let start = Instant::now();
        let mut verdicts = Vec::new();
        for n in 0..120 {
            // One cell of twenty goes on.
            watch.note_film(2 * COLUMNS + 2);
            let now = start + Duration::from_millis(n * 16);
            let known = (Some(FILM), Hint::Nothing);
            verdicts.push(watch.judge(known, |_| true, now));
        }
        assert!(verdicts.contains(&Verdict::Over));
    }
}

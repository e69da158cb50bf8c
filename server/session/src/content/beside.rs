//! What changes beside a film, in the cells that it shares with the rest of its layer and in all others.
//!
//! It is sent as exactly as ever. What changes with the film's pictures, and has as many colours, is a
//! part of it all the same: it was found smaller than it is, as where a slow link took some of its cells
//! only, or has grown. That is seen when it is drawn, not when it is sent.

use std::collections::BTreeMap;

use heliostat_tiles::{Encoder, Rect};

use super::watch::Changes;
use super::{Base, Content};

/// How many of a film's pictures have to change what is a part of it, in percent.
const WITH_IT: usize = 75;
/// And how many at least, in two windows.
const FEWEST: u8 = 4;

/// Changes beside the film that plays.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Pictures of the film, in the window before, and in this one.
    pictures: (u8, u8),
    cells: BTreeMap<u32, Cell>,
}

/// What of a cell is beside the film.
#[derive(Debug, Default)]
struct Cell {
    changes: Changes,
    /// It has changed since the film's last picture.
    is_counted: bool,
}

impl Beside {
    /// A part of a cell, beside the film, has changed.
    pub(super) fn note(&mut self, cell: u32, changed: Rect) {
        let cell = self.cells.entry(cell).or_default();
        let is_counted = std::mem::replace(&mut cell.is_counted, true);
        cell.changes.add(changed, !is_counted);
    }

    /// A picture of the film was taken.
    pub(super) fn note_picture(&mut self) {
        self.pictures.1 = self.pictures.1.saturating_add(1);
        let cells = self.cells.values_mut();
        cells.for_each(|cell| cell.is_counted = false);
    }

    /// A window is over.
    pub(super) fn turn(&mut self) {
        self.pictures = (self.pictures.1, 0);
        self.cells.retain(|_, cell| {
            cell.changes.turn();
            cell.changes.count() > 0
        });
    }

    /// Cells that have changed with the film, and what of them.
    pub(super) fn with_it(&self) -> impl Iterator<Item = (u32, Rect)> {
        let pictures = usize::from(self.pictures.0) + usize::from(self.pictures.1);
        let is_with_it =
            move |times: u8| times >= FEWEST && usize::from(times) * 100 >= pictures * WITH_IT;
        let cells = self.cells.iter();
        let with_it = cells.filter(move |(_, cell)| is_with_it(cell.changes.count()));
        with_it.filter_map(|(number, cell)| Some((*number, cell.changes.changed()?)))
    }
}

impl Content {
    /// A run of a row of a cell is about to become `new`.
    pub(super) fn note_run(&mut self, cell: u32, run: Rect, new: &[u32]) {
        let start = self.place(run.x, run.y);
        let Some(film) = self.films.playing_rect() else {
            return;
        };
        let inside = film.intersection(run);
        if inside.is_some() {
            self.films.note_changed(cell);
        }
        if inside == Some(run) {
            return;
        }
        let mut is_beside = false;
        for part in outside(run, film) {
            let old = &self.pixels[start + (part.x - run.x) as usize..][..part.w as usize];
            let new = &new[(part.x - run.x) as usize..][..part.w as usize];
            let differs = |n: &usize| old[*n] != new[*n];
            let mut places = 0..old.len();
            let Some(first) = places.find(differs) else {
                continue;
            };
            let last = places.rfind(differs).unwrap_or(first);
            is_beside = true;
            let changed = Rect {
                x: part.x + first as u32,
                w: (last - first) as u32 + 1,
                ..part
            };
            self.films.watch.note_beside(cell, changed);
        }
        if is_beside && matches!(self.cells[cell as usize], Base::Film) {
            self.films.beside.insert(cell);
        }
    }

    /// Cells whose rest, beside the film, is to be sent.
    pub(super) fn beside_films(&self) -> usize {
        self.films.beside.len()
    }

    /// Pushes what has changed beside the film in the cells that it shares.
    pub(super) fn push_beside_films(&mut self, encoder: &mut Encoder) {
        let Some(film) = self.films.playing_rect() else {
            return;
        };
        for cell in std::mem::take(&mut self.films.beside) {
            for part in outside(self.cell_rect(cell), film) {
                let new = self.view().sub(part).expect("cells are inside");
                encoder.push(self.layer.0, part, new, None);
            }
        }
    }
}

/// The parts of a rectangle outside `film`, which overlap neither each other nor it.
pub(super) fn outside(rect: Rect, film: Rect) -> impl Iterator<Item = Rect> {
    let (right, bottom) = (rect.x + rect.w, rect.y + rect.h);
    let nothing = Rect { w: 0, h: 0, ..rect };
    let parts = match rect.intersection(film) {
        None => [rect, nothing, nothing, nothing],
        Some(inner) => {
            let (beyond, below) = (inner.x + inner.w, inner.y + inner.h);
            let band = |x: u32, y: u32, right: u32, bottom: u32| Rect {
                x,
                y,
                w: right - x,
                h: bottom - y,
            };
            [
                band(rect.x, rect.y, right, inner.y),
                band(rect.x, below, right, bottom),
                band(rect.x, inner.y, inner.x, below),
                band(beyond, inner.y, right, below),
            ]
        }
    };
    parts.into_iter().filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use heliostat_wire::id::{LayerId, VideoId};
    use heliostat_wire::output::Size;

    use super::super::{Hint, MotionRoom, Room};
    use super::*;

    const SIZE: Size = Size { w: 640, h: 480 };
    /// What a client damages for each picture, which neither begins nor ends with cells.
    const PART: Rect = Rect {
        x: 100,
        y: 101,
        w: 400,
        h: 256,
    };

    /// A layer on a link that carries so many pixels a picture.
    struct Layer {
        content: Content,
        encoder: Encoder,
        videos: u32,
        now: Instant,
    }

    impl Layer {
        fn new(hint: Hint) -> Self {
            let mut content = Content::new(LayerId(0), SIZE, false);
            content.set_hint(hint);
            let mut layer = Self {
                content,
                encoder: Encoder::new(1),
                videos: 0,
                now: Instant::now(),
            };
            layer.send(usize::MAX);
            layer
        }

        fn send(&mut self, pixels: usize) {
            let room = Room {
                pixels,
                bytes: u64::MAX,
                now: self.now,
                serial: 1,
            };
            let mut motion = MotionRoom::default();
            self.content.encode(&mut self.encoder, &mut motion, room);
            self.encoder.finish(&mut Vec::new());
        }

        /// The next picture of a film that is lent when it is found. Returns how many pixels of it were
        /// read.
        fn play(&mut self, pixel: impl Fn(u32, u32) -> u32, carries: usize) -> usize {
            self.now += Duration::from_millis(40);
            let rest = self.content.note_damage(&[PART]);
            for rect in &rest {
                self.content.update(*rect, |x, y, run| {
                    (x..).zip(run).for_each(|(x, to)| *to = pixel(x, y));
                    true
                });
            }
            self.send(carries);
            self.content.look_for_films(false, self.now);
            if let Some(film) = self.content.found_film() {
                self.videos += 1;
                assert!(self.content.lend(VideoId(self.videos), film, self.now));
            }
            self.content.give_picture(self.now);
            rest.iter().map(|rect| rect.area()).sum()
        }
    }

    /// A picture with all colours that nothing of the one before is in.
    fn natural(n: u32) -> impl Fn(u32, u32) -> u32 {
        let mixed = |x: u32, y: u32| x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b);
        move |x, y| (mixed(x, y) ^ n.wrapping_mul(0xc2b2_ae35)).wrapping_mul(0x27d4_eb2f)
    }

    #[test]
    fn film_that_was_found_in_part_since_the_link_is_slow_is_all_of_it_soon_and_not_read_any_more()
    {
        for hint in [Hint::Nothing, Hint::Film] {
            let mut layer = Layer::new(hint);
            let mut pictures = 0..250;
            // The link takes the upper cells of each picture.
            let first = pictures.find_map(|n| {
                layer.play(natural(n), 14 * 64 * 64);
                layer.content.lent()
            });
            let first = first.expect("a film is found");
            assert!(first.area() * 4 < PART.area() * 3, "{first:?}");
            // And next to nothing else beside the film.
            let read = pictures.map(|n| layer.play(natural(n), 1));
            let read: Vec<usize> = read.collect();
            assert_eq!(layer.content.lent(), Some(PART), "{first:?} {read:?}");
            let until = read.iter().position(|pixels| *pixels == 0);
            assert!(until.is_some_and(|pictures| pictures < 50), "{read:?}");
            assert!(layer.videos <= 3, "{} videos", layer.videos);
        }
    }

    #[test]
    fn text_that_changes_with_a_film_in_the_cells_that_they_share_stays_exact() {
        let film = Rect {
            x: 110,
            y: 110,
            w: 380,
            h: 230,
        };
        for hint in [Hint::Nothing, Hint::Film] {
            let mut layer = Layer::new(hint);
            assert!(layer.content.lend(VideoId(1), film, layer.now));
            for n in 0..250 {
                let text = |x: u32, y: u32| (x / 3 * y / 5 + n) % 24 * 0x0a_0a0a;
                assert!(layer.play(text, usize::MAX) > 0);
                assert_eq!(layer.content.lent(), Some(film), "{hint:?}");
            }
        }
    }
}

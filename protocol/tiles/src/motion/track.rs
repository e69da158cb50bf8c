//! How a picture has come along since the one before, guessed from a few of its rows.

use std::collections::HashMap;

use super::{Distance, MAX_PATIENCE};
use crate::geometry::{PixelsRef, Rect};

/// Rows that are looked at.
const ROWS: u32 = 24;
/// Pixels of a run.
const RUN: usize = 32;
/// Changes of colour that make a run one of its kind.
const FEATURES: usize = 6;
/// Runs that are looked for along the axes.
const FAR: usize = 16;
/// Runs that are looked for around their places.
const NEAR: usize = 8;
/// How far around.
const REACH: usize = 40;
/// Runs that must be found at a distance: so many, and this share of all.
const FEWEST: usize = 3;
const SHARE: usize = 4;
/// Finds of one run that are looked at; more of them say nothing.
const MAX_FINDS: usize = 48;
/// Distances that are tried on all runs.
const VOTED: usize = 4;
/// Less of a row is not worth a copy.
const NARROWEST: u32 = 64;

/// Guesses motion. Keep one a layer: most of what moves goes on moving.
#[derive(Debug, Default)]
pub struct Track {
    last: Option<Distance>,
    /// Guesses that were in vain, one after the other.
    vain: u32,
    /// Pictures until the next guess.
    wait: u32,
}

/// Some rows of a new picture.
#[derive(Debug, Default)]
pub struct Samples {
    left: usize,
    width: usize,
    rows: Vec<u32>,
    pixels: Vec<u32>,
}

/// What seems to have moved: columns of the new picture, and how far they have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// From the old picture to the new one.
    pub by: Distance,
    /// First column.
    pub left: u32,
    /// The one after the last.
    pub right: u32,
    /// Columns between them at which what has moved may begin or end: blank paper beside a picture
    /// matches in many rows, and must not end the picture's copy in the others.
    pub edges: Vec<u32>,
}

impl Samples {
    /// Takes rows of `area`; `row` is asked for the pixels from (x, y) on, and answers whether it
    /// could fill them.
    pub fn take(&mut self, area: Rect, mut row: impl FnMut(u32, u32, &mut [u32]) -> bool) -> bool {
        (self.left, self.width) = (area.x as usize, area.w as usize);
        self.rows.clear();
        // Not in equal steps: those may always meet lines of text at the same height, where a pixel
        // more or less makes no difference.
        let step = (area.h / ROWS).max(1);
        let rows = (0..ROWS).map(|n| n * area.h / ROWS + n * 7 % step);
        self.rows.extend(rows.map(|row| area.y + row));
        self.pixels.clear();
        self.pixels.resize(self.rows.len() * self.width, 0);
        let lines = self.pixels.chunks_mut(self.width.max(1));
        self.rows
            .iter()
            .zip(lines)
            .all(|(y, line)| row(area.x, *y, line))
    }

    /// Changes all pixels, as the layer does with those it takes.
    pub fn force(&mut self, bits: u32) {
        self.pixels.iter_mut().for_each(|pixel| *pixel |= bits);
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &[u32])> {
        let lines = self.pixels.chunks(self.width.max(1));
        self.rows.iter().map(|y| *y as usize).zip(lines)
    }
}

/// A run of the new picture, in the sample that it is of.
struct Run<'a> {
    x: usize,
    y: usize,
    line: &'a [u32],
    left: usize,
}

impl Run<'_> {
    fn pixels(&self) -> &[u32] {
        &self.line[self.x - self.left..][..RUN]
    }

    /// The row that it would be of, and where in it.
    fn source<'o>(&self, old: PixelsRef<'o>, by: Distance) -> Option<(&'o [u32], usize)> {
        let place = |at: usize, by: i32| usize::try_from(at as i64 - i64::from(by)).ok();
        let (x, y) = (place(self.x, by.x)?, place(self.y, by.y)?);
        (y < old.height() as usize && x + RUN <= old.width() as usize)
            .then(|| (old.row(y as u32), x))
    }

    fn is_at(&self, old: PixelsRef<'_>, by: Distance) -> bool {
        let source = self.source(old, by);
        source.is_some_and(|(row, x)| row[x..x + RUN] == *self.pixels())
    }

    /// The columns around it that have come as far.
    fn reach(&self, old: PixelsRef<'_>, by: Distance) -> Option<(usize, usize)> {
        let (row, x) = self.source(old, by)?;
        let at = self.x - self.left;
        let before = self.line[..at].iter().rev().zip(row[..x].iter().rev());
        let before = before.take_while(|(a, b)| a == b).count();
        let behind = self.line[at..].iter().zip(&row[x..]);
        let behind = behind.take_while(|(a, b)| a == b).count();
        Some((self.x - before, self.x + behind))
    }
}

impl Track {
    /// Whether to look at a picture at all: less often where that was in vain lately.
    pub fn is_due(&mut self) -> bool {
        let due = self.wait == 0;
        self.wait = self.wait.saturating_sub(1);
        due
    }

    /// What of the samples' picture is `old` at another place.
    pub fn guess(&mut self, old: PixelsRef<'_>, samples: &Samples) -> Option<Moved> {
        let runs = runs_of(old, samples);
        if runs.len() < FEWEST {
            return None;
        }
        let found = |by: &Distance| runs.iter().filter(|run| run.is_at(old, *by)).count();
        let enough = |by: &Distance| found(by) >= FEWEST && found(by) * SHARE >= runs.len();
        let best = |voted: Vec<Distance>| voted.into_iter().rev().max_by_key(found).filter(enough);
        // What goes on must do so as a whole: a pixel more or less explains much of text as well.
        let goes_on = |by: &Distance| found(by) * 8 >= runs.len() * 7;
        let by = (self.last.filter(goes_on))
            .or_else(|| best(along_axes(old, &runs)))
            .or_else(|| best(nearby(old, &runs)));
        let moved = by.and_then(|by| columns(old, &runs, by));
        match &moved {
            Some(moved) => (self.last, self.vain, self.wait) = (Some(moved.by), 0, 0),
            None => {
                self.vain += 1;
                self.wait = (self.vain / 2).min(MAX_PATIENCE);
            }
        }
        moved
    }
}

/// Runs of what has changed: from each row up to three.
fn runs_of<'a>(old: PixelsRef<'_>, samples: &'a Samples) -> Vec<Run<'a>> {
    let mut runs = Vec::new();
    let left = samples.left;
    for (y, line) in samples.lines() {
        let before = &old.row(y as u32)[left..left + line.len()];
        if line == before {
            continue;
        }
        let differs = |(a, b): (&u32, &u32)| a != b;
        let start = line.iter().zip(before).position(differs).unwrap_or(0);
        let end = line.iter().zip(before).rposition(differs).unwrap_or(0) + 1;
        let quarter = (end - start) / 4;
        for n in 1..4 {
            let from = start + n * quarter;
            let places = (from..from + quarter.max(1)).step_by(RUN / 2);
            let found = places
                .filter(|at| at + RUN <= line.len())
                .find(|at| is_of_its_kind(&line[*at..at + RUN]));
            runs.extend(found.map(|at| Run {
                x: left + at,
                y,
                line,
                left,
            }));
        }
    }
    runs
}

fn is_of_its_kind(run: &[u32]) -> bool {
    run.windows(2).filter(|pair| pair[0] != pair[1]).count() >= FEATURES
}

/// `count` of the runs, spread evenly over them.
fn some<'a, 'b>(runs: &'b [Run<'a>], count: usize) -> impl Iterator<Item = &'b Run<'a>> {
    runs.iter().step_by(runs.len().div_ceil(count).max(1))
}

/// The distances at which most runs are found straight above, below or beside their places.
fn along_axes(old: PixelsRef<'_>, runs: &[Run<'_>]) -> Vec<Distance> {
    let mut votes = HashMap::new();
    let few: Vec<_> = some(runs, FAR).map(|run| (run, run.pixels())).collect();
    // Row by row for all runs, since rows lie together in memory and columns do not.
    for y in 0..old.height() as usize {
        let row = old.row(y as u32);
        for (run, pixels) in &few {
            if row[run.x] == pixels[0] && run.y != y && row[run.x..run.x + RUN] == **pixels {
                let y = run.y as i32 - y as i32;
                *votes.entry(Distance { x: 0, y }).or_insert(0) += 1;
            }
        }
    }
    for (run, pixels) in &few {
        let places = old.row(run.y as u32).windows(RUN).enumerate();
        let found = places.filter(|(x, place)| place[0] == pixels[0] && *x != run.x);
        let found = found.filter(|(_, place)| place == pixels);
        for (x, _) in found.take(MAX_FINDS) {
            let x = run.x as i32 - x as i32;
            *votes.entry(Distance { x, y: 0 }).or_insert(0) += 1;
        }
    }
    most_voted(&votes)
}

/// The distances at which most runs are found around their places.
fn nearby(old: PixelsRef<'_>, runs: &[Run<'_>]) -> Vec<Distance> {
    let mut votes = HashMap::new();
    for run in some(runs, NEAR) {
        let pixels = run.pixels();
        let bottom = (run.y + REACH + 1).min(old.height() as usize);
        let left = run.x.saturating_sub(REACH);
        let right = (run.x + REACH + RUN).min(old.width() as usize);
        let mut finds = 0;
        for y in run.y.saturating_sub(REACH)..bottom {
            let row = &old.row(y as u32)[left..right];
            for (at, place) in row.windows(RUN).enumerate() {
                if place[0] != pixels[0] || place != pixels || (left + at, y) == (run.x, run.y) {
                    continue;
                }
                finds += 1;
                if finds <= MAX_FINDS {
                    let x = run.x as i32 - (left + at) as i32;
                    let y = run.y as i32 - y as i32;
                    *votes.entry(Distance { x, y }).or_insert(0) += 1;
                }
            }
        }
    }
    most_voted(&votes)
}

/// Of equals the shorter one first; the order must not depend on that of a hash map.
fn most_voted(votes: &HashMap<Distance, u32>) -> Vec<Distance> {
    let mut ranking: Vec<_> = votes.iter().collect();
    let length = |d: Distance| d.x.unsigned_abs() + d.y.unsigned_abs();
    ranking.sort_unstable_by_key(|(d, votes)| (std::cmp::Reverse(**votes), length(**d), **d));
    let best = ranking.into_iter().take(VOTED);
    best.map(|(distance, _)| *distance).collect()
}

/// The columns that most runs agree on. A row with a change of its own must not narrow all.
fn columns(old: PixelsRef<'_>, runs: &[Run<'_>], by: Distance) -> Option<Moved> {
    let found = runs.iter().filter(|run| run.is_at(old, by));
    let (mut lefts, mut rights): (Vec<_>, Vec<_>) =
        found.filter_map(|run| run.reach(old, by)).unzip();
    lefts.sort_unstable_by(|a, b| b.cmp(a));
    rights.sort_unstable();
    let (left, right) = (
        *lefts.get(lefts.len() / 4)? as u32,
        *rights.get(rights.len() / 4)? as u32,
    );
    let often = |sides: &[usize]| {
        let same = sides.chunk_by(|a, b| a == b);
        let often = same.filter(|same| same.len() > 1);
        often.map(|same| same[0] as u32).collect::<Vec<_>>()
    };
    let mut edges = [often(&lefts), often(&rights)].concat();
    edges.retain(|edge| (left + 1..right).contains(edge));
    edges.sort_unstable();
    edges.dedup();
    (left + NARROWEST <= right).then_some(Moved {
        by,
        left,
        right,
        edges,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Layer;

    fn noise(x: u32, y: u32) -> u32 {
        let mut v = x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b);
        v ^= v >> 15;
        v.wrapping_mul(0xc2b2_ae35)
    }

    fn drawn(colour: impl Fn(u32, u32) -> u32) -> Layer {
        let mut layer = Layer::new(400, 300);
        for (i, pixel) in layer.pixels.iter_mut().enumerate() {
            *pixel = colour(i as u32 % 400, i as u32 / 400);
        }
        layer
    }

    fn guess(track: &mut Track, old: &Layer, new: &Layer) -> Option<Moved> {
        let mut samples = Samples::default();
        assert!(samples.take(new.area(), |x, y, line| {
            line.copy_from_slice(&new.view().row(y)[x as usize..]);
            true
        }));
        track.guess(old.view(), &samples)
    }

    #[test]
    fn columns_and_distance_of_a_page_beside_a_bar_are_found() {
        let page = |by: u32| {
            drawn(move |x, y| match x {
                0..70 => noise(x, y) | 1,
                _ => noise(x, y + by) & !1,
            })
        };
        let mut track = Track::default();
        for by in [51, 102, 109] {
            let moved = guess(&mut track, &page(0), &page(by)).unwrap();
            let by = Distance {
                x: 0,
                y: -(by as i32),
            };
            let (left, right) = (70, 400);
            let edges = Vec::new();
            assert_eq!(
                moved,
                Moved {
                    by,
                    left,
                    right,
                    edges
                }
            );
        }
    }

    #[test]
    fn picture_that_is_dragged_a_little_in_both_directions_is_found() {
        let dragged = |left: u32, top: u32| {
            drawn(move |x, y| {
                let inside = (left..left + 200).contains(&x) && (top..top + 200).contains(&y);
                if inside {
                    noise(x - left, y - top) | 1
                } else {
                    noise(x, y) & !1
                }
            })
        };
        let (old, new) = (dragged(50, 40), dragged(61, 35));
        let moved = guess(&mut Track::default(), &old, &new).unwrap();
        assert_eq!(moved.by, Distance { x: 11, y: -5 });
        assert_eq!((moved.left, moved.right), (61, 261));
    }

    #[test]
    fn new_pictures_are_looked_at_ever_less_often() {
        let mut track = Track::default();
        let mut looked = 0;
        for n in 0..100 {
            if track.is_due() {
                looked += 1;
                let [old, new] = [0, 500].map(|by| drawn(|x, y| noise(x + n * 999 + by, y)));
                assert_eq!(guess(&mut track, &old, &new), None);
            }
        }
        assert!(looked < 25, "{looked} of 100");
    }
}

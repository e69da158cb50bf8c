//! Short runs of the new picture, looked for in the old one.

use std::collections::HashMap;

use super::zones::Zones;
use super::{BLOCK, Distance};
use crate::geometry::PixelsRef;

/// Pixels of a run.
const RUN: usize = 32;
/// Runs of one search.
const MAX_ANCHORS: usize = 64;
/// Changes of colour that make a run one of its kind.
const FEATURES: usize = 6;
/// Runs that are found this often say nothing.
const MAX_FINDS: u32 = 48;
/// Multiplier of the rolling hash.
const FACTOR: u32 = 0x9e37_79b1;
/// What a pixel has become in the rolling hash when it leaves it.
const LEAVING: u32 = FACTOR.wrapping_pow(RUN as u32);
/// So many runs are enough to tell where a picture has gone. Of more, only some can be found: rows
/// of the old picture are left out.
const ENOUGH: usize = 16;
/// At most one row of so many is looked at.
const SPARSEST: usize = 4;
/// Bits of the hash that the sieve looks at.
const SIEVE_BITS: u32 = 12;

/// The runs, and what was found of them.
#[derive(Debug, Default)]
pub(crate) struct Anchors {
    runs: Vec<Run>,
    votes: HashMap<Distance, u32>,
    /// Memory for the next sieve.
    bits: Vec<u64>,
}

/// Tells nearly all places where no run is.
#[derive(Debug)]
struct Sieve {
    bits: Vec<u64>,
    by_hash: HashMap<u32, Vec<usize>>,
}

#[derive(Debug)]
struct Run {
    x: usize,
    y: usize,
    pixels: [u32; RUN],
    hash: u32,
    finds: u32,
}

impl Anchors {
    /// Takes runs from the blocks that are still to be explained, spread evenly over them.
    pub(crate) fn choose(&mut self, new: PixelsRef<'_>, zones: &Zones) {
        self.runs.clear();
        self.votes.clear();
        self.take(new, zones.left(), zones.unexplained());
    }

    /// Takes runs from some of `count` blocks (column, row), spread evenly over them.
    pub(crate) fn choose_among(
        &mut self,
        new: PixelsRef<'_>,
        count: usize,
        blocks: impl Iterator<Item = (usize, usize)>,
    ) {
        self.runs.clear();
        self.votes.clear();
        self.take(new, count, blocks);
    }

    fn take(
        &mut self,
        new: PixelsRef<'_>,
        count: usize,
        blocks: impl Iterator<Item = (usize, usize)>,
    ) {
        let every = (count / MAX_ANCHORS).max(1);
        for (column, row) in blocks.step_by(every) {
            if self.runs.len() == MAX_ANCHORS {
                break;
            }
            self.runs.extend(run_in(new, column * BLOCK, row * BLOCK));
        }
    }

    /// Looks for each run straight above, below and beside its place.
    pub(crate) fn look_along_axes(
        &mut self,
        old: PixelsRef<'_>,
        [left, top, right, bottom]: [usize; 4],
    ) {
        let Self { runs, votes, .. } = self;
        // Row by row for all runs, since rows lie together in memory and columns do not.
        for y in top..bottom {
            let row = old.row(y as u32);
            for run in runs.iter_mut() {
                let found = row[run.x] == run.pixels[0] && row[run.x..run.x + RUN] == run.pixels;
                if found && run.y != y {
                    run.found(votes, run.x, y);
                }
            }
        }
        for run in runs.iter_mut() {
            let row = &old.row(run.y as u32)[left..right];
            let (first, own) = (run.pixels[0], run.x);
            for (at, places) in row.windows(RUN).enumerate() {
                if places[0] == first && *places == run.pixels && left + at != own {
                    run.found(votes, left + at, run.y);
                }
            }
        }
    }

    /// Looks for every run in an area (left, top, right, bottom), with a rolling hash.
    pub(crate) fn look_within(
        &mut self,
        old: PixelsRef<'_>,
        [left, top, right, bottom]: [usize; 4],
    ) {
        if self.runs.is_empty() || left + RUN > right {
            return;
        }
        let sieve = self.sieve();
        for y in (top..bottom).step_by(self.every()) {
            self.look_in_row(&sieve, &old.row(y as u32)[left..right], (left, y));
        }
        self.bits = sieve.bits;
    }

    /// The same in the whole of a picture of `height` rows, of which `put` appends those that are
    /// looked at.
    pub(crate) fn look_in_rows(&mut self, height: usize, mut put: impl FnMut(u32, &mut Vec<u32>)) {
        if self.runs.is_empty() {
            return;
        }
        let sieve = self.sieve();
        let mut row = Vec::new();
        for y in (0..height).step_by(self.every()) {
            row.clear();
            put(y as u32, &mut row);
            self.look_in_row(&sieve, &row, (0, y));
        }
        self.bits = sieve.bits;
    }

    /// Runs begin at any height, so that a share of them comes from each so-many-th row, however far
    /// the picture has gone.
    fn every(&self) -> usize {
        (self.runs.len() / ENOUGH).clamp(1, SPARSEST)
    }

    fn sieve(&mut self) -> Sieve {
        let mut bits = std::mem::take(&mut self.bits);
        bits.clear();
        bits.resize(1 << (SIEVE_BITS - 6), 0);
        let mut by_hash: HashMap<u32, Vec<usize>> = HashMap::new();
        for (at, run) in self.runs.iter().enumerate() {
            let bit = run.hash >> (32 - SIEVE_BITS);
            bits[bit as usize / 64] |= 1 << (bit % 64);
            by_hash.entry(run.hash).or_default().push(at);
        }
        Sieve { bits, by_hash }
    }

    /// `row` begins at (left, y) of the old picture.
    fn look_in_row(&mut self, sieve: &Sieve, row: &[u32], (left, y): (usize, usize)) {
        let (Some(first), Some(rest)) = (row.get(..RUN), row.get(RUN..)) else {
            return;
        };
        let mut hash = hash_of(first);
        for (x, (leaves, comes)) in row.iter().zip(rest).enumerate() {
            hash = roll(hash, *comes).wrapping_sub(leaves.wrapping_mul(LEAVING));
            let bit = hash >> (32 - SIEVE_BITS);
            if sieve.bits[bit as usize / 64] >> (bit % 64) & 1 == 0 {
                continue;
            }
            let x = x + 1;
            for &at in sieve.by_hash.get(&hash).into_iter().flatten() {
                let run = &mut self.runs[at];
                if (run.x, run.y) != (left + x, y) && row[x..x + RUN] == run.pixels {
                    run.found(&mut self.votes, left + x, y);
                }
            }
        }
    }

    /// How often the distance was found that was found most often.
    pub(crate) fn most_votes(&self) -> u32 {
        self.votes.values().copied().max().unwrap_or(0)
    }

    /// The distances at which runs were found, best first.
    pub(crate) fn ranking(&self) -> Vec<Distance> {
        let mut ranking: Vec<_> = self.votes.iter().map(|(d, votes)| (*votes, *d)).collect();
        // Of equals the shorter one; the order must not depend on that of a hash map.
        let length = |d: Distance| d.x.unsigned_abs() + d.y.unsigned_abs();
        ranking.sort_unstable_by_key(|(votes, d)| (std::cmp::Reverse(*votes), length(*d), *d));
        ranking.into_iter().map(|(_, distance)| distance).collect()
    }
}

impl Run {
    fn found(&mut self, votes: &mut HashMap<Distance, u32>, x: usize, y: usize) {
        self.finds += 1;
        if self.finds > MAX_FINDS {
            return;
        }
        let distance = Distance {
            x: self.x as i32 - x as i32,
            y: self.y as i32 - y as i32,
        };
        *votes.entry(distance).or_default() += 1;
    }
}

/// A run of its kind that begins in the block at (left, top).
fn run_in(new: PixelsRef<'_>, left: usize, top: usize) -> Option<Run> {
    let (w, h) = (new.width() as usize, new.height() as usize);
    let x = left.min(w.checked_sub(RUN)?);
    let rows = BLOCK.min(h.checked_sub(top)?);
    // Not all blocks' runs are to begin at the same height within their block.
    let first = (left / BLOCK * 5 + top / BLOCK * 3) % rows.max(1);
    (first..first + rows).find_map(|at| {
        let y = top + at % rows;
        let pixels: [u32; RUN] = new.row(y as u32)[x..x + RUN].try_into().ok()?;
        let changes = pixels.windows(2).filter(|pair| pair[0] != pair[1]).count();
        (changes >= FEATURES).then(|| Run {
            x,
            y,
            pixels,
            hash: hash_of(&pixels),
            finds: 0,
        })
    })
}

fn hash_of(pixels: &[u32]) -> u32 {
    pixels.iter().fold(0, |hash, pixel| roll(hash, *pixel))
}

fn roll(hash: u32, pixel: u32) -> u32 {
    hash.wrapping_mul(FACTOR).wrapping_add(pixel)
}

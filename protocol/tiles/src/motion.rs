//! Finds what of a picture is the previous one at another place: scrolled text, a dragged picture.
//!
//! A few short runs of the new picture (anchors) are looked for in the old one. The distances at
//! which several are found are tried over the whole picture, in blocks; the largest rectangles of
//! blocks that match become copies, and their edges are moved out to the last matching pixel.
//!
//! That is [`Motion`], for any picture and any distance. [`Track`] is for what goes on moving: from a
//! few rows it guesses one distance, which whoever takes the picture in can verify on the way.

mod anchors;
mod track;
mod zones;

use crate::copy::Copy;
use crate::geometry::PixelsRef;
use anchors::Anchors;
use zones::Zones;

pub use track::{Moved, Samples, Track};

/// Side of a block of the comparison.
pub const BLOCK: usize = 16;
/// A copy of fewer changed pixels is not worth its bytes.
pub(crate) const WORTH: usize = 1024;
/// Runs of a picture that have come from one distance, as two have not by chance.
const PROMISING: u32 = 2;
/// Distances that are tried.
const MAX_DISTANCES: usize = 6;
/// Copies of one picture.
const MAX_ZONES: usize = 12;
/// Pictures after which a vain search in two dimensions is tried again, at most.
const MAX_PATIENCE: u32 = 16;

/// Finds copies. Keep one a layer: it remembers how much use searching was lately.
#[derive(Debug, Default)]
pub struct Motion {
    /// Searches that were in vain, one after the other.
    vain: u32,
    /// Pictures until the next search.
    wait: u32,
}

/// Room that searches work in; one is enough for all layers.
#[derive(Debug, Default)]
pub struct Workspace {
    anchors: Anchors,
    zones: Zones,
}

/// How far pixels have come: right and down, from the old picture to the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Distance {
    /// Right.
    pub x: i32,
    /// Down.
    pub y: i32,
}

impl Motion {
    /// Whether to search now: less often where that was in vain lately. Counts the picture.
    pub fn is_due(&mut self) -> bool {
        let due = self.wait == 0;
        self.wait = self.wait.saturating_sub(1);
        due
    }

    /// Whether a search may find something: whether some runs of `new` come from one distance in what
    /// was there before, of which `put` appends the rows that are asked for. `blocks` are the `count` blocks of it (column,
    /// row) that are to be explained. Where nothing is found it counts as a vain search.
    ///
    /// It is for large pictures, of which the old one is not there in one piece.
    pub fn is_promising(
        &mut self,
        new: PixelsRef<'_>,
        (count, blocks): (usize, impl Iterator<Item = (usize, usize)>),
        put: impl FnMut(u32, &mut Vec<u32>),
        workspace: &mut Workspace,
    ) -> bool {
        let anchors = &mut workspace.anchors;
        anchors.choose_among(new, count, blocks);
        anchors.look_in_rows(new.height() as usize, put);
        let is_promising = anchors.most_votes() >= PROMISING;
        if !is_promising {
            self.in_vain();
        }
        is_promising
    }

    fn in_vain(&mut self) {
        self.vain += 1;
        self.wait = self.vain.min(MAX_PATIENCE);
    }

    /// Appends to `out` the copies that turn `old` into something closer to `new`; both are of the
    /// same size. All copies are of `old`, and no two of them write to the same pixel.
    pub fn find(
        &mut self,
        old: PixelsRef<'_>,
        new: PixelsRef<'_>,
        workspace: &mut Workspace,
        out: &mut Vec<Copy>,
    ) {
        if (old.width(), old.height()) != (new.width(), new.height()) {
            return;
        }
        let Workspace { anchors, zones } = workspace;
        let before = out.len();
        zones.begin(old, new);
        if zones.left() * BLOCK * BLOCK < WORTH {
            return;
        }
        let changed = zones.bounds(new);
        anchors.choose(new, zones);
        // Most motion is along one axis, where looking is cheap.
        anchors.look_along_axes(old, changed);
        try_distances(anchors, zones, old, new, out);
        if zones.left() * 4 > zones.changed() {
            anchors.choose(new, zones);
            anchors.look_within(old, changed);
            try_distances(anchors, zones, old, new, out);
        }
        if out.len() == before {
            self.in_vain();
        } else {
            (self.vain, self.wait) = (0, 0);
        }
    }
}

fn try_distances(
    anchors: &mut Anchors,
    zones: &mut Zones,
    old: PixelsRef<'_>,
    new: PixelsRef<'_>,
    out: &mut Vec<Copy>,
) {
    let start = out.len();
    for distance in anchors.ranking().into_iter().take(MAX_DISTANCES) {
        zones.compare(old, new, distance);
        while out.len() - start < MAX_ZONES {
            let Some(copy) = zones.take_largest(old, new, distance) else {
                break;
            };
            out.push(copy);
        }
    }
}

#[cfg(test)]
mod tests;

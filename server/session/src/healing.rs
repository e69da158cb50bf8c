//! Cells that the terminal holds wrongly are sent again: damaged memory, or a bug of ours.
//!
//! ```text
//!   the terminal says what it holds ──► agrees, or changes just now: nothing
//!                                  └──► differs ──► that cell alone is sent again, and counted
//! ```
//!
//! Whatever a terminal says, only so many cells a second are looked at, and fewer sent again.

use std::time::{Duration, Instant};

use heliostat_wire::id::LayerId;
use heliostat_wire::session::CellHash;
use tracing::{debug, warn};

use crate::app::App;
use crate::content::Content;
use crate::quota::Quota;

/// Cells a second that are compared: a hash of 16 KiB each.
const MOST_CHECKED: u32 = 512;
/// Cells a second that are sent again.
const MOST_MENDED: u32 = 16;
const SECOND: Duration = Duration::from_secs(1);

/// How much is still done for one terminal.
#[derive(Debug)]
pub struct Healing {
    checks: Quota,
    mends: Quota,
}

impl Healing {
    /// Of a terminal that has just been attached.
    pub fn new(now: Instant) -> Self {
        Self {
            checks: Quota::new(MOST_CHECKED, SECOND, now),
            mends: Quota::new(MOST_MENDED, SECOND, now),
        }
    }
}

impl App {
    /// The terminal has said what it holds of some cells, as of a frame.
    pub(crate) fn check_cells(&mut self, serial: u32, cells: &[CellHash]) {
        let Some(terminal) = &self.terminal else {
            return;
        };
        if !terminal.pace.has_sent(serial) {
            return self.break_off("it has applied a frame that was never sent");
        }
        let (now, seed) = (Instant::now(), terminal.id.0);
        for cell in cells {
            let Some(terminal) = &mut self.terminal else {
                return;
            };
            if terminal.healing.checks.take(now).is_none() {
                return;
            }
            let content = self.content_of(cell.layer);
            let agrees =
                content.and_then(|content| content.agrees(cell.cell, serial, seed, cell.hash));
            self.counters.cells_checked += u64::from(agrees.is_some());
            if agrees == Some(false) {
                self.counters.cells_wrong += 1;
                self.mend(cell, now);
            }
        }
    }

    fn mend(&mut self, wrong: &CellHash, now: Instant) {
        let (layer, cell) = (wrong.layer.0, wrong.cell);
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        match terminal.healing.mends.take(now) {
            None => return,
            Some(1) => warn!(
                terminal = terminal.terminal,
                layer, cell, "the terminal holds a cell wrongly: it is sent again"
            ),
            Some(_) => debug!(layer, cell, "another cell is sent again"),
        }
        if let Some(content) = self.content_of(wrong.layer) {
            content.mend(wrong.cell);
            self.dirty.pixels = true;
        }
    }

    fn content_of(&mut self, layer: LayerId) -> Option<&mut Content> {
        let surfaces = self
            .surfaces
            .all_mut()
            .chain(self.titles.all_mut())
            .chain(self.flat.all_mut());
        let mut contents = surfaces.map(|surface| &mut surface.content);
        contents.find(|content| content.layer() == layer)
    }
}

//! What a terminal that has gone may still hold, so that it need not be sent again.
//!
//! ```text
//!              parted, and it may keep its pixels
//!   nothing ─────────────────────────────────────► remembered
//!      ▲ ◄── its time is over, another terminal ──────│
//!      └ ◄── it comes back: what it holds is the base of what it is sent ──┘
//! ```
//!
//! Meanwhile each layer goes on noting what the terminal lacks ([`crate::content`]), as it does for a
//! terminal that is slow. The terminal says which frame was its last: what later ones have
//! changed, nobody knows there. If it lies, it alone shows something wrong.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

use heliostat_control::session::FromSession;
use heliostat_wire::control::DetachReason;
use heliostat_wire::id::{AttachId, LayerId};
use heliostat_wire::limits::MAX_LAYER_SIDE;
use heliostat_wire::output::Size;
use heliostat_wire::scene::SceneOp;
use heliostat_wire::session::{Capabilities, Kept};
use tracing::debug;

use crate::app::App;
use crate::attach::Attachment;
use crate::content::Content;
use crate::link::NewAttach;
use crate::scene::{Scene, Shape};

/// Cells of which is remembered that a terminal keeps them; 40 bytes each here, 16 KiB there.
const MOST_KEPT_CELLS: u32 = 1 << 14;

/// A terminal that has gone.
#[derive(Debug)]
pub struct Gone {
    attach: AttachId,
    /// What it was told of.
    told: Scene,
    /// Serial of the last frame that was sent.
    last: u32,
    kept_cells: u32,
    until: Instant,
}

/// Where a new attach begins.
#[derive(Debug, Default)]
pub struct Start {
    /// What the terminal has been told of.
    pub told: Scene,
    /// What it has to forget first.
    pub forget: Option<SceneOp>,
}

impl App {
    /// A terminal has gone.
    pub(crate) fn parted(&mut self, terminal: Attachment, reason: DetachReason) {
        self.tell_broker(FromSession::Detached {
            attach_id: terminal.id,
            reason,
        });
        self.gone = (!terminal.keep.is_zero()).then(|| Gone {
            attach: terminal.id,
            last: terminal.pace.last_serial(),
            kept_cells: kept_cells(terminal.capabilities()),
            until: Instant::now() + terminal.keep,
            told: terminal.told,
        });
        self.contents().for_each(Content::end_video);
        if self.gone.is_none() {
            self.forget_contents();
        }
    }

    /// Where the attach of this terminal begins: with what it still holds, if that is known.
    pub(crate) fn begin(&mut self, attach: &NewAttach) -> Start {
        let gone = self.gone.take();
        let cells = kept_cells(&attach.capabilities);
        let known = gone.zip(attach.kept.as_ref()).filter(|(gone, kept)| {
            gone.attach == kept.attach_id
                && (1..=gone.last).contains(&kept.serial)
                && is_possible(kept)
        });
        let Some((gone, kept)) = known else {
            self.forget_contents();
            self.keep_cells(cells);
            return Start {
                told: Scene::default(),
                forget: attach.kept.as_ref().map(|_| SceneOp::Clear),
            };
        };
        let holds_all = kept.serial == gone.last;
        debug!(holds_all, layers = kept.layers.len(), "a terminal is back");
        let carries_on = holds_all && gone.kept_cells == cells;
        if !carries_on {
            self.keep_cells(cells);
        }
        Start {
            told: self.go_on(&gone.told, kept),
            forget: (!carries_on).then_some(SceneOp::ForgetCells),
        }
    }

    /// Takes what the terminal holds as what it was told of.
    fn go_on(&mut self, before: &Scene, kept: &Kept) -> Scene {
        let layers: BTreeMap<LayerId, (Size, bool)> = kept
            .layers
            .iter()
            .map(|layer| (layer.layer, (layer.size, layer.alpha)))
            .collect();
        for content in self.contents() {
            let id = content.layer();
            let told = before.layers.get(&id).map(|told| (told.size, told.alpha));
            match told.is_some() && told.as_ref() == layers.get(&id) {
                true => content.go_on_after(kept.serial),
                false => content.forget(),
            }
        }
        let shape = |(id, (size, alpha))| {
            let opaque = Vec::new();
            let shape = Shape {
                size,
                alpha,
                opaque,
            };
            (id, shape)
        };
        Scene {
            layers: layers.into_iter().map(shape).collect(),
            outputs: BTreeMap::new(),
        }
    }

    /// When a terminal that has gone does not hold anything any more.
    pub(crate) fn gone_deadline(&self) -> Option<Instant> {
        self.gone.as_ref().map(|gone| gone.until)
    }

    /// Forgets a terminal that has been gone for too long.
    pub(crate) fn forget_gone_if_due(&mut self, now: Instant) {
        if self.gone.take_if(|gone| gone.until <= now).is_some() {
            self.forget_contents();
        }
    }

    /// Nobody holds anything.
    pub(crate) fn forget_contents(&mut self) {
        self.contents().for_each(Content::forget);
    }

    /// The terminal keeps so many cells from now on, and none yet.
    fn keep_cells(&mut self, cells: u32) {
        let secret = RandomState::new().build_hasher().finish();
        self.encoder.start_keeping(cells, secret);
    }

    fn contents(&mut self) -> impl Iterator<Item = &mut Content> {
        let surfaces = self
            .surfaces
            .all_mut()
            .chain(self.titles.all_mut())
            .chain(self.flat.all_mut());
        surfaces.map(|surface| &mut surface.content)
    }
}

fn kept_cells(capabilities: &Capabilities) -> u32 {
    capabilities.max_kept_cells.min(MOST_KEPT_CELLS)
}

/// Whether there could be such layers at all.
fn is_possible(kept: &Kept) -> bool {
    let side = |side| (1..=MAX_LAYER_SIDE).contains(&side);
    let mut sizes = kept.layers.iter().map(|layer| layer.size);
    sizes.all(|size| side(size.w) && side(size.h))
}

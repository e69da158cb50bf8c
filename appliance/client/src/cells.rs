//! What the terminal says of the cells that it holds, so that the session can mend a wrong one.
//!
//! It goes through all cells of all layers, round and round: a few with every sixteenth
//! acknowledgement, and some more where those are seldom or none.

use heliostat_tiles::{PixelsRef, Rect, TILE, diff};
use heliostat_wire::List;
use heliostat_wire::id::LayerId;
use heliostat_wire::limits::MAX_CELL_HASHES;
use heliostat_wire::session::{CellHash, ToSession};

use crate::scene::{Layer, Scene};

/// Acknowledgements between two that cells go with.
const ACKS: u32 = 16;
/// Cells that go with one.
const WITH_ACK: usize = 3;
/// From the last message until one goes without waiting for that.
const SWEEP_NS: u64 = 9_000_000_000;

/// How far around the scene it is.
#[derive(Debug, Default)]
pub struct Rounds {
    /// The cell that is next, if it still exists.
    next: (u32, u32),
    acks: u32,
    /// When the last word about cells was.
    word_ns: u64,
}

impl Rounds {
    /// An acknowledgement goes; what goes with it.
    pub fn acknowledged(
        &mut self,
        scene: &Scene,
        serial: u32,
        seed: u64,
        now_ns: u64,
    ) -> Option<ToSession> {
        self.acks += 1;
        if self.acks < ACKS {
            return None;
        }
        self.say(scene, serial, seed, (now_ns, WITH_ACK))
    }

    /// Some time has passed; what is to be said if nothing else was.
    pub fn rested(
        &mut self,
        scene: &Scene,
        serial: u32,
        seed: u64,
        now_ns: u64,
    ) -> Option<ToSession> {
        if now_ns.saturating_sub(self.word_ns) < SWEEP_NS {
            return None;
        }
        self.say(scene, serial, seed, (now_ns, MAX_CELL_HASHES))
    }

    fn say(
        &mut self,
        scene: &Scene,
        serial: u32,
        seed: u64,
        (now_ns, most): (u64, usize),
    ) -> Option<ToSession> {
        (self.acks, self.word_ns) = (0, now_ns);
        let mut cells = Vec::with_capacity(most);
        while cells.len() < most
            && let Some(cell) = self.step(scene, seed)
        {
            // Once around.
            if cells
                .iter()
                .any(|known: &CellHash| (known.layer, known.cell) == (cell.layer, cell.cell))
            {
                self.next = (cell.layer.0, cell.cell);
                break;
            }
            cells.push(cell);
        }
        let cells = List::truncated(cells);
        (!cells.is_empty()).then_some(ToSession::Cells { serial, cells })
    }

    /// The next cell, of this layer or of the one after it.
    fn step(&mut self, scene: &Scene, seed: u64) -> Option<CellHash> {
        let (layer, cell) = self.next;
        let here = scene
            .layer(LayerId(layer))
            .filter(|known| cell < cells_of(known));
        let (id, cell, known) = match here {
            Some(known) => (LayerId(layer), cell, known),
            None => {
                let ids = || scene.layers().map(|(id, _)| id.0);
                let after = ids().filter(|id| *id > layer).min();
                let id = LayerId(after.or_else(|| ids().min())?);
                (id, 0, scene.layer(id)?)
            }
        };
        self.next = (id.0, cell + 1);
        let hash = digest(known, cell, seed)?;
        Some(CellHash {
            layer: id,
            cell,
            hash,
        })
    }
}

fn columns(layer: &Layer) -> u32 {
    layer.size.w.div_ceil(TILE)
}

fn cells_of(layer: &Layer) -> u32 {
    columns(layer) * layer.size.h.div_ceil(TILE)
}

fn digest(layer: &Layer, cell: u32, seed: u64) -> Option<[u8; 4]> {
    let (x, y) = (cell % columns(layer) * TILE, cell / columns(layer) * TILE);
    let (w, h) = (layer.size.w, layer.size.h);
    let rect = Rect {
        x,
        y,
        w: TILE.min(w.checked_sub(x)?),
        h: TILE.min(h.checked_sub(y)?),
    };
    let pixels = PixelsRef::new(&layer.pixels, w as usize, w, h)?.sub(rect)?;
    Some(diff::digest(seed, pixels))
}

#[cfg(test)]
mod tests {
    use heliostat_wire::output::Size;
    use heliostat_wire::scene::{FrameHeader, SceneOp};

    use super::*;
    use crate::scene::Budget;

    fn scene(layers: &[(u32, u32, u32)]) -> Scene {
        let mut scene = Scene::new(&List::default(), Budget::default());
        let create = |&(id, w, h): &(u32, u32, u32)| SceneOp::CreateLayer {
            layer: LayerId(id),
            size: Size { w, h },
            alpha: false,
        };
        let header = FrameHeader {
            serial: 1,
            last_input: 0,
            overtakes: 0,
            ops: List::new(layers.iter().map(create).collect()).unwrap(),
        };
        let mut nothing = Vec::new();
        heliostat_tiles::Encoder::new(1).finish(&mut nothing);
        scene.apply(&header, &nothing).unwrap();
        scene
    }

    fn cells(message: Option<ToSession>) -> Vec<(u32, u32)> {
        match message {
            Some(ToSession::Cells { serial: 1, cells }) => {
                cells.iter().map(|cell| (cell.layer.0, cell.cell)).collect()
            }
            None => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_cells_of_all_layers_have_their_turn() {
        let scene = scene(&[(7, 65, 64), (2, 10, 10), (9, 64, 129)]);
        let mut rounds = Rounds::default();
        let mut said = Vec::new();
        for n in 1..=64 {
            let now = cells(rounds.acknowledged(&scene, 1, 5, n));
            assert_eq!(now.is_empty(), n % 16 != 0);
            said.extend(now);
        }
        let round = [(2, 0), (7, 0), (7, 1), (9, 0), (9, 1), (9, 2)];
        assert_eq!(said, [round, round].concat());
    }

    #[test]
    fn scene_at_rest_is_gone_through_slowly_and_an_empty_one_is_not() {
        let some = scene(&[(7, 65, 64)]);
        let mut rounds = Rounds::default();
        let second = 1_000_000_000;
        rounds.acknowledged(&some, 1, 5, 100 * second);
        let mut said = |at: u64| cells(rounds.rested(&some, 1, 5, at * second));
        assert_eq!(said(101), [(7, 0), (7, 1)], "each cell once");
        assert_eq!(said(109), []);
        assert_eq!(said(110), [(7, 0), (7, 1)]);
        // A cursor that blinks does not keep it from its round.
        let large = scene(&[(7, 640, 640)]);
        let mut blinking = Rounds::default();
        let mut named = 0;
        for now in (0..100).map(|n| n * second) {
            named += cells(blinking.acknowledged(&large, 1, 5, now)).len();
            named += cells(blinking.rested(&large, 1, 5, now)).len();
        }
        assert!(named >= 10 * 12, "{named} in 100 s");
        assert_eq!(
            cells(Rounds::default().rested(&scene(&[]), 1, 5, 100 * second)),
            []
        );
    }

    #[test]
    fn hash_is_of_the_pixels_of_that_cell_and_of_the_seed() {
        let scene = scene(&[(1, 70, 70)]);
        let mut layer = scene.layer(LayerId(1)).unwrap().clone();
        let all = |layer: &Layer, seed| [0, 1, 2, 3].map(|cell| digest(layer, cell, seed));
        let before = all(&layer, 5);
        assert!(before.iter().all(Option::is_some));
        assert_ne!(before, all(&layer, 6));
        layer.pixels[69 * 70 + 65] ^= 1;
        let after = all(&layer, 5);
        let same = [0, 1, 2, 3].map(|cell| before[cell] == after[cell]);
        assert_eq!(same, [true, true, true, false]);
        assert_eq!(digest(&layer, 4, 5), None);
    }
}

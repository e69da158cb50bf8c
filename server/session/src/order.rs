//! Which frames an answer to input may not overtake, for what their operations do to layers.
//!
//! A frame of tiles alone may go ahead of any other that leaves its layers as they are
//! ([ADR 0015](../../../docs/adr/0015-answers-overtake.md)). Places are not about pixels; the pictures
//! of a film are where no tiles go, and what begins or ends one matters to its own layer. Behind a
//! narrow way the first picture of a photograph takes long, and a letter beside it does not wait.

use std::collections::BTreeMap;

use heliostat_wire::id::{LayerId, VideoId};
use heliostat_wire::scene::SceneOp;

/// The last frame with operations that matter to tiles: of any layer, and of each.
#[derive(Debug, Default)]
pub struct Order {
    all: u32,
    layers: BTreeMap<LayerId, u32>,
    /// Where each video plays.
    videos: BTreeMap<VideoId, LayerId>,
}

impl Order {
    /// A frame with these operations goes.
    pub fn sent(&mut self, serial: u32, ops: &[SceneOp]) {
        for op in ops {
            self.operation(serial, op);
        }
    }

    fn operation(&mut self, serial: u32, op: &SceneOp) {
        match op {
            SceneOp::SetOpaque { .. }
            | SceneOp::Place(_)
            | SceneOp::Move { .. }
            | SceneOp::Unplace { .. }
            | SceneOp::Stack { .. }
            | SceneOp::VideoPart { .. }
            | SceneOp::Background { .. } => {}
            SceneOp::CreateLayer { layer, .. } | SceneOp::ResizeLayer { layer, .. } => {
                self.layers.insert(*layer, serial);
            }
            SceneOp::StartVideo { video, layer, .. } => {
                self.videos.insert(*video, *layer);
                self.layers.insert(*layer, serial);
            }
            SceneOp::EndVideo { video } => match self.videos.remove(video) {
                Some(layer) => {
                    self.layers.insert(layer, serial);
                }
                None => self.all = serial,
            },
            SceneOp::DestroyLayer { layer } => {
                self.layers.remove(layer);
                self.videos.retain(|_, plays_in| plays_in != layer);
            }
            SceneOp::Clear | SceneOp::ForgetCells => {
                *self = Self {
                    all: serial,
                    ..Self::default()
                };
            }
        }
    }

    /// The frames that tiles for a layer have to come after.
    pub fn before(&self, layer: LayerId) -> [u32; 2] {
        [self.all, self.layers.get(&layer).copied().unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use heliostat_wire::output::Size;
    use heliostat_wire::scene::Rect;

    use super::*;

    const A: LayerId = LayerId(1);
    const B: LayerId = LayerId(2);
    const FILM: VideoId = VideoId(7);

    fn create(layer: LayerId) -> SceneOp {
        SceneOp::CreateLayer {
            layer,
            size: Size { w: 64, h: 64 },
            alpha: false,
        }
    }

    fn start() -> SceneOp {
        let rect = Rect {
            x: 0,
            y: 0,
            w: 64,
            h: 64,
        };
        SceneOp::StartVideo {
            video: FILM,
            layer: A,
            rect,
        }
    }

    #[test]
    fn what_is_done_to_a_layer_matters_to_that_layer_alone() {
        let mut order = Order::default();
        assert_eq!(order.before(A), [0, 0]);
        order.sent(1, &[create(A), create(B)]);
        order.sent(2, &[start()]);
        assert_eq!((order.before(A), order.before(B)), ([0, 2], [0, 1]));
        order.sent(3, &[]);
        order.sent(4, &[SceneOp::EndVideo { video: FILM }]);
        assert_eq!((order.before(A), order.before(B)), ([0, 4], [0, 1]));
        order.sent(5, &[SceneOp::DestroyLayer { layer: A }]);
        assert_eq!((order.before(A), order.before(B)), ([0, 0], [0, 1]));
        order.sent(6, &[create(A)]);
        assert_eq!(order.before(A), [0, 6]);
    }

    #[test]
    fn what_is_done_to_all_matters_to_all() {
        let mut order = Order::default();
        order.sent(1, &[create(A), create(B), start()]);
        order.sent(2, &[SceneOp::Clear]);
        assert_eq!((order.before(A), order.before(B)), ([2, 0], [2, 0]));
        // Of a film that nobody knows the layer is not known.
        order.sent(3, &[SceneOp::EndVideo { video: FILM }]);
        assert_eq!(order.before(B), [3, 0]);
        assert_eq!(order.videos.len() + order.layers.len(), 0);
    }
}

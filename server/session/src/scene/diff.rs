//! From the scene that the terminal was told of to the one that should be, in few operations.

use std::collections::{BTreeMap, BTreeSet};

use heliostat_wire::bounded::List;
use heliostat_wire::id::{LayerId, OutputId};
use heliostat_wire::scene::{Placement, SceneOp};

use super::{OutputScene, Scene, Shape};

/// The operations that turn `told` into `wanted`, in an order in which each is valid, and `told`
/// turned so. Layers of `told` that are not wanted stay where `keep` says so, off all outputs.
pub fn diff(told: &mut Scene, wanted: &Scene, keep: impl Fn(LayerId) -> bool) -> Vec<SceneOp> {
    let mut ops = Vec::new();
    destroy_layers(told, wanted, keep, &mut ops);
    for (id, shape) in &wanted.layers {
        shape_layer(told.layers.get(id), *id, shape, &mut ops);
        if told.layers.get(id) != Some(shape) {
            told.layers.insert(*id, shape.clone());
        }
    }
    let nothing = OutputScene::default();
    let known: BTreeSet<OutputId> = told.outputs.keys().copied().collect();
    for id in known.iter().chain(wanted.outputs.keys()) {
        let wanted = wanted.outputs.get(id).unwrap_or(&nothing);
        let told = told.outputs.entry(*id).or_default();
        if *told != *wanted {
            output(*id, told, wanted, &mut ops);
        }
    }
    told.outputs.retain(|id, _| wanted.outputs.contains_key(id));
    ops
}

fn destroy_layers(
    told: &mut Scene,
    wanted: &Scene,
    keep: impl Fn(LayerId) -> bool,
    ops: &mut Vec<SceneOp>,
) {
    let lives = |id: &LayerId| wanted.layers.contains_key(id) || keep(*id);
    told.layers.retain(|id, _| {
        let lives = lives(id);
        if !lives {
            ops.push(SceneOp::DestroyLayer { layer: *id });
        }
        lives
    });
    for output in told.outputs.values_mut() {
        output.stack.retain(|placement| lives(&placement.layer));
    }
}

fn shape_layer(told: Option<&Shape>, layer: LayerId, wanted: &Shape, ops: &mut Vec<SceneOp>) {
    let (size, alpha) = (wanted.size, wanted.alpha);
    let reshaped = match told {
        None => {
            ops.push(SceneOp::CreateLayer { layer, size, alpha });
            true
        }
        Some(told) if (told.size, told.alpha) != (size, alpha) => {
            ops.push(SceneOp::ResizeLayer { layer, size, alpha });
            true
        }
        Some(_) => false,
    };
    let before = told.map_or(&[][..], |told| &told.opaque);
    // Whether a region outlives a change of size need not be known: it is said again.
    if before != wanted.opaque || reshaped && !wanted.opaque.is_empty() {
        ops.push(SceneOp::SetOpaque {
            layer,
            rects: List::truncated(wanted.opaque.clone()),
        });
    }
}

fn output(id: OutputId, told: &mut OutputScene, wanted: &OutputScene, ops: &mut Vec<SceneOp>) {
    if told.background != wanted.background {
        let rgb = wanted.background;
        ops.push(SceneOp::Background { output: id, rgb });
    }
    let stays: BTreeSet<LayerId> = wanted.stack.iter().map(|p| p.layer).collect();
    told.stack.retain(|placement| {
        let stays = stays.contains(&placement.layer);
        if !stays {
            let layer = placement.layer;
            ops.push(SceneOp::Unplace { layer, output: id });
        }
        stays
    });
    place(told, wanted, ops);
    let order = |scene: &OutputScene| scene.stack.iter().map(|p| p.layer).collect::<Vec<_>>();
    if order(told) != order(wanted) {
        ops.push(SceneOp::Stack {
            output: id,
            layers: List::truncated(order(wanted)),
        });
    }
    *told = wanted.clone();
}

/// Places what is new or otherwise; new placements go on top, as at the terminal.
fn place(told: &mut OutputScene, wanted: &OutputScene, ops: &mut Vec<SceneOp>) {
    let heights: BTreeMap<LayerId, usize> = told
        .stack
        .iter()
        .enumerate()
        .map(|(height, placement)| (placement.layer, height))
        .collect();
    for placement in &wanted.stack {
        match heights.get(&placement.layer).map(|at| told.stack[*at]) {
            Some(known) if known == *placement => {}
            Some(known) if moved(known, *placement) == *placement => ops.push(SceneOp::Move {
                layer: placement.layer,
                output: placement.output,
                x: placement.dst.x,
                y: placement.dst.y,
            }),
            Some(_) => ops.push(SceneOp::Place(*placement)),
            None => {
                ops.push(SceneOp::Place(*placement));
                told.stack.push(*placement);
            }
        }
    }
}

/// `known` at the place of `wanted`.
fn moved(mut known: Placement, wanted: Placement) -> Placement {
    (known.dst.x, known.dst.y) = (wanted.dst.x, wanted.dst.y);
    known
}

#[cfg(test)]
mod tests {
    use heliostat_wire::output::Size;
    use heliostat_wire::scene::{Crop, Rect, Transform};
    use proptest::prelude::*;

    use super::super::model::Model;
    use super::*;

    fn scene() -> impl Strategy<Value = Scene> {
        let layer = (1u32..4, any::<bool>(), 0usize..2);
        let layers = prop::collection::btree_map((0u32..6).prop_map(LayerId), layer, 0..5);
        let stacks = prop::collection::btree_map(
            (0u8..2).prop_map(OutputId),
            (
                0u32..3,
                Just((0u32..6).collect::<Vec<_>>()).prop_shuffle(),
                0i32..3,
            ),
            0..3,
        );
        (layers, stacks).prop_map(|(layers, stacks)| {
            let mut scene = Scene::default();
            for (id, (side, alpha, opaque)) in layers {
                let size = Size { w: side, h: side };
                let rect = Rect {
                    x: 0,
                    y: 0,
                    w: side,
                    h: 1,
                };
                let opaque = vec![rect; opaque];
                scene.layers.insert(
                    id,
                    Shape {
                        size,
                        alpha,
                        opaque,
                    },
                );
            }
            for (output, (background, order, x)) in stacks {
                let stack = order
                    .into_iter()
                    .map(LayerId)
                    .filter_map(|layer| {
                        let size = scene.layers.get(&layer)?.size;
                        let dst = Rect {
                            x: x + layer.0 as i32 % 2,
                            y: 0,
                            w: size.w,
                            h: size.h,
                        };
                        let placement = Placement {
                            layer,
                            output,
                            dst,
                            src: Crop::whole(size),
                            transform: Transform::Normal,
                            opacity: 255,
                        };
                        (layer.0 as i32 != x).then_some(placement)
                    })
                    .collect();
                scene
                    .outputs
                    .insert(output, OutputScene { background, stack });
            }
            scene
        })
    }

    proptest! {
        #[test]
        fn operations_lead_the_terminal_through_any_scenes(
            scenes in prop::collection::vec((scene(), any::<u8>()), 1..8),
        ) {
            let mut told = Scene::default();
            let mut model = Model::default();
            for (wanted, kept) in scenes {
                let ops = diff(&mut told, &wanted, |layer| kept >> layer.0 & 1 == 1);
                ops.iter().for_each(|op| model.apply(op));
                assert_shows(&model, &wanted);
                prop_assert_eq!(&told.outputs, &wanted.outputs);
                prop_assert!(diff(&mut told, &wanted, |layer| kept >> layer.0 & 1 == 1).is_empty());
            }
        }
    }

    /// Outputs and placed layers are as `wanted`.
    fn assert_shows(model: &Model, wanted: &Scene) {
        for (id, output) in &wanted.outputs {
            let (background, stack) = model.outputs.get(id).cloned().unwrap_or_default();
            assert_eq!((background, &stack), (output.background, &output.stack));
            for placement in stack {
                let layer = &model.layers[&placement.layer];
                let shape = &wanted.layers[&placement.layer];
                assert_eq!((layer.size, layer.alpha), (shape.size, shape.alpha));
                assert_eq!(layer.opaque, shape.opaque);
            }
        }
        for (id, (_, stack)) in &model.outputs {
            assert!(wanted.outputs.contains_key(id) || stack.is_empty());
        }
    }

    fn one_window() -> Scene {
        let size = Size { w: 800, h: 600 };
        let placement = Placement {
            layer: LayerId(1),
            output: OutputId(0),
            dst: Rect {
                x: 10,
                y: 20,
                w: 800,
                h: 600,
            },
            src: Crop::whole(size),
            transform: Transform::Normal,
            opacity: 255,
        };
        let shape = Shape {
            size,
            alpha: false,
            opaque: Vec::new(),
        };
        let output = OutputScene {
            background: 0x203040,
            stack: vec![placement],
        };
        Scene {
            layers: [(LayerId(1), shape)].into(),
            outputs: [(OutputId(0), output)].into(),
        }
    }

    #[test]
    fn dragging_a_window_is_one_move() {
        let mut told = one_window();
        let mut wanted = one_window();
        wanted.outputs.get_mut(&OutputId(0)).unwrap().stack[0].dst.x = 300;
        let ops = diff(&mut told, &wanted, |_| false);
        let expected = SceneOp::Move {
            layer: LayerId(1),
            output: OutputId(0),
            x: 300,
            y: 20,
        };
        assert_eq!(ops, [expected]);
    }

    #[test]
    fn hiding_a_window_keeps_its_pixels() {
        let mut told = one_window();
        let mut wanted = one_window();
        wanted.layers.clear();
        wanted.outputs.get_mut(&OutputId(0)).unwrap().stack.clear();
        let ops = diff(&mut told, &wanted, |_| true);
        let expected = SceneOp::Unplace {
            layer: LayerId(1),
            output: OutputId(0),
        };
        assert_eq!(ops, [expected]);
        assert!(told.layers.contains_key(&LayerId(1)));
    }
}

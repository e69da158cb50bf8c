use heliostat_wire::id::{LayerId, OutputId, Ticket};
use heliostat_wire::output::{Output, Outputs, Size};
use heliostat_wire::scene::{Crop, FrameHeader, Placement, Rect, SceneOp, Transform};

use super::*;
use crate::scene::{Budget, SceneError};

const LAYER: LayerId = LayerId(3);
const OUT: OutputId = OutputId(0);
const SIZE: Size = Size { w: 100, h: 80 };
const SECOND: u64 = 1_000_000_000;

fn outputs() -> Outputs {
    List::truncated(vec![Output {
        id: OUT,
        connector: "T-1".into(),
        make: "".into(),
        model: "".into(),
        size: SIZE,
        refresh_mhz: 60_000,
        physical_mm: Size { w: 0, h: 0 },
        x: 0,
        y: 0,
    }])
}

fn apply(scene: &mut Scene, ops: Vec<SceneOp>) -> Result<(), SceneError> {
    let header = FrameHeader {
        serial: 1,
        overtakes: 0,
        last_input: 0,
        ops: List::truncated(ops),
    };
    scene.apply(&header, &[0, 0, 0])
}

fn place() -> SceneOp {
    SceneOp::Place(Placement {
        layer: LAYER,
        output: OUT,
        dst: Rect {
            x: 0,
            y: 0,
            w: SIZE.w,
            h: SIZE.h,
        },
        src: Crop::whole(SIZE),
        transform: Transform::Normal,
        opacity: 255,
    })
}

/// A scene with one layer on the screen.
fn scene() -> Scene {
    let mut scene = Scene::new(&outputs(), Budget::default());
    let create = SceneOp::CreateLayer {
        layer: LAYER,
        size: SIZE,
        alpha: true,
    };
    let rects = List::truncated(vec![Rect {
        x: 0,
        y: 0,
        w: 9,
        h: 9,
    }]);
    let opaque = SceneOp::SetOpaque {
        layer: LAYER,
        rects,
    };
    apply(&mut scene, vec![create, opaque, place()]).unwrap();
    scene
}

fn attach(id: u64, pin: u8, keep_pixels_s: u32) -> Attach {
    Attach {
        seq: 1,
        attach_id: AttachId(id),
        addresses: List::default(),
        pin: KeyPin([pin; 32]),
        ticket: Ticket([0; 32]),
        person: "alice".into(),
        keep_pixels_s,
    }
}

/// After an attach of the session 1, which ended like this at the second 100.
fn after(reason: DetachReason, serial: u32, keep_pixels_s: u32) -> Keeper {
    let mut keeper = Keeper::default();
    assert!(keeper.begin(&attach(7, 1, keep_pixels_s), 0).is_none());
    keeper.end(AttachId(7), (serial, scene()), &reason, 100 * SECOND);
    keeper
}

#[test]
fn session_that_comes_back_in_time_finds_its_layers_and_no_place() {
    let mut keeper = after(DetachReason::CardRemoved, 9, 300);
    let kept = keeper.begin(&attach(8, 1, 300), 399 * SECOND);
    let mut kept = kept.expect("it is in time");
    let told = kept.told();
    assert_eq!((told.attach_id, told.serial), (AttachId(7), 9));
    let layer = KeptLayer {
        layer: LAYER,
        size: SIZE,
        alpha: true,
    };
    assert_eq!(told.layers[..], [layer]);
    let scene = &mut kept.scene;
    assert!(scene.layer(LAYER).unwrap().opaque.is_empty());
    assert!(scene.output(OUT).is_none());
    scene.set_outputs(&outputs());
    assert!(scene.output(OUT).unwrap().stack.is_empty());
    apply(scene, vec![place()]).unwrap();
    assert_eq!(scene.output(OUT).unwrap().stack.len(), 1);
    assert!(keeper.begin(&attach(9, 1, 300), 399 * SECOND).is_none());
}

#[test]
fn nothing_is_kept_for_longer_than_allowed_or_than_an_hour() {
    for (allowed, kept) in [(300, 300), (u32::MAX, u64::from(MAX_KEEP_S))] {
        let mut keeper = after(DetachReason::LinkLost, 9, allowed);
        let left = keeper.left(100 * SECOND);
        assert_eq!(left, Some(Duration::from_secs(kept)));
        keeper.tick((100 + kept) * SECOND - 1);
        assert!(keeper.left(0).is_some());
        keeper.tick((100 + kept) * SECOND);
        assert_eq!(keeper.left(0), None);
        let mut keeper = after(DetachReason::LinkLost, 9, allowed);
        let late = (100 + kept) * SECOND;
        assert!(keeper.begin(&attach(8, 1, 300), late).is_none());
    }
}

#[test]
fn another_session_finds_nothing_and_leaves_nothing_of_the_first() {
    let mut keeper = after(DetachReason::CardRemoved, 9, 300);
    assert!(keeper.begin(&attach(8, 2, 300), 101 * SECOND).is_none());
    keeper.end(
        AttachId(8),
        (0, scene()),
        &DetachReason::LinkLost,
        102 * SECOND,
    );
    assert!(keeper.begin(&attach(9, 1, 300), 103 * SECOND).is_none());
}

#[test]
fn what_nobody_may_keep_is_not_kept() {
    let removed = || DetachReason::CardRemoved;
    assert_eq!(after(removed(), 9, 0).left(0), None, "not allowed");
    assert_eq!(after(removed(), 0, 300).left(0), None, "no frame came");
    for reason in [
        DetachReason::MovedElsewhere {
            terminal: "b".into(),
        },
        DetachReason::SessionEnded,
        DetachReason::SessionCrashed,
        DetachReason::ByAdmin,
        DetachReason::CardRevoked,
        DetachReason::ProtocolViolation,
    ] {
        assert_eq!(after(reason.clone(), 9, 300).left(0), None, "{reason:?}");
    }
    let mut keeper = after(removed(), 9, 300);
    keeper.forget();
    assert_eq!(keeper.left(0), None, "the card opens nothing");
}

#[test]
fn cells_are_kept_with_the_layers_until_they_are_to_be_forgotten() {
    use heliostat_tiles::{DecodeError, Encoder, PixelsRef, Rect as TileRect};
    let mut encoder = Encoder::new(1);
    encoder.start_keeping(4, 5);
    let picture: Vec<u32> = (0..64 * 64u32)
        .map(|n| 0xff00_0000 | n.wrapping_mul(0x9e37_79b1) >> 8)
        .collect();
    let cell = TileRect {
        x: 0,
        y: 0,
        w: 64,
        h: 64,
    };
    let mut batch = |keeps: bool| {
        let view = PixelsRef::new(&picture, 64, 64, 64).unwrap();
        encoder.push_cell(LAYER.0, (cell, cell), view, None, keeps);
        let mut bytes = Vec::new();
        encoder.finish(&mut bytes);
        bytes
    };
    let (kept, recalled) = (batch(true), batch(false));
    assert!(recalled.len() < 16, "{}", recalled.len());
    let header = |ops: Vec<SceneOp>| FrameHeader {
        serial: 1,
        overtakes: 0,
        last_input: 0,
        ops: List::truncated(ops),
    };
    let mut scene = scene();
    scene.apply(&header(vec![]), &kept).unwrap();
    scene.rest();
    scene.set_outputs(&outputs());
    scene.apply(&header(vec![]), &recalled).unwrap();
    let forget = header(vec![SceneOp::ForgetCells]);
    let refused = scene.apply(&forget, &recalled).unwrap_err();
    assert_eq!(refused, SceneError::Tiles(DecodeError::NotKept));
}

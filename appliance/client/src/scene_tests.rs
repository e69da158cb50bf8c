use heliostat_wire::List;
use heliostat_wire::output::Output;
use heliostat_wire::scene::{self, Crop};

use super::*;

const A: LayerId = LayerId(1);
const OUT: OutputId = OutputId(0);

fn outputs() -> Outputs {
    let size = Size { w: 100, h: 80 };
    List::truncated(vec![Output {
        id: OUT,
        connector: "T-1".into(),
        make: "".into(),
        model: "".into(),
        size,
        refresh_mhz: 60_000,
        physical_mm: Size { w: 0, h: 0 },
        x: 0,
        y: 0,
    }])
}

fn scene() -> Scene {
    Scene::new(
        &outputs(),
        Budget {
            layers: 3,
            bytes: 100 * 100 * 4,
            cells: 4,
            videos: 2,
            video_pixels: 80 * 64,
        },
    )
}

fn apply(scene: &mut Scene, ops: Vec<SceneOp>) -> Result<(), SceneError> {
    let header = FrameHeader {
        serial: 1,
        last_input: 0,
        overtakes: 0,
        ops: List::truncated(ops),
    };
    scene.apply(&header, &[0, 0, 0])
}

fn create(w: u32, h: u32) -> SceneOp {
    SceneOp::CreateLayer {
        layer: A,
        size: Size { w, h },
        alpha: false,
    }
}

fn place(x: i32, y: i32, w: u32, h: u32) -> SceneOp {
    SceneOp::Place(Placement {
        layer: A,
        output: OUT,
        dst: scene::Rect { x, y, w, h },
        src: Crop::whole(Size { w, h }),
        transform: scene::Transform::Normal,
        opacity: 255,
    })
}

#[test]
fn frame_for_an_unknown_layer_breaks_the_protocol() {
    for op in [
        SceneOp::DestroyLayer { layer: A },
        SceneOp::ResizeLayer {
            layer: A,
            size: Size { w: 1, h: 1 },
            alpha: false,
        },
        SceneOp::SetOpaque {
            layer: A,
            rects: List::default(),
        },
        place(0, 0, 1, 1),
    ] {
        assert_eq!(
            apply(&mut scene(), vec![op]),
            Err(SceneError::UnknownLayer(A))
        );
    }
    let moved = SceneOp::Move {
        layer: A,
        output: OUT,
        x: 0,
        y: 0,
    };
    assert_eq!(
        apply(&mut scene(), vec![moved]),
        Err(SceneError::BadPlacement(A))
    );
    let header = FrameHeader {
        serial: 1,
        last_input: 0,
        overtakes: 0,
        ops: List::default(),
    };
    let tile = [0, 1, 6, 0, 9, 0, 0, 1, 2];
    let refused = scene().apply(&header, &tile).unwrap_err();
    assert_eq!(refused, SceneError::Tiles(DecodeError::UnknownLayer(9)));
}

#[test]
fn tile_outside_its_layer_breaks_the_protocol() {
    let header = FrameHeader {
        serial: 1,
        last_input: 0,
        overtakes: 0,
        ops: List::truncated(vec![create(10, 10)]),
    };
    // A solid tile of layer 1 in cell (1, 0), which a layer of ten pixels does not have.
    let tile = [0, 1, 7, 0b10_0000, 1, 1, 0, 1, 2, 3];
    let refused = scene().apply(&header, &tile).unwrap_err();
    assert_eq!(refused, SceneError::Tiles(DecodeError::OutsideLayer(1)));
}

#[test]
fn layers_beyond_the_offer_are_refused() {
    assert_eq!(
        apply(&mut scene(), vec![create(0, 5)]),
        Err(SceneError::BadSize(A))
    );
    assert_eq!(
        apply(&mut scene(), vec![create(16385, 1)]),
        Err(SceneError::BadSize(A))
    );
    assert_eq!(
        apply(&mut scene(), vec![create(101, 100)]),
        Err(SceneError::OverBudget)
    );
    let create_twice = vec![create(1, 1), create(1, 1)];
    assert_eq!(
        apply(&mut scene(), create_twice),
        Err(SceneError::LayerExists(A))
    );
    let many = (0..4).map(|id| SceneOp::CreateLayer {
        layer: LayerId(id),
        size: Size { w: 1, h: 1 },
        alpha: false,
    });
    assert_eq!(
        apply(&mut scene(), many.collect()),
        Err(SceneError::OverBudget)
    );
}

#[test]
fn frame_that_makes_layers_over_and_over_is_refused() {
    let resize = |n: u32| SceneOp::ResizeLayer {
        layer: A,
        size: Size {
            w: 90 + n % 2,
            h: 90,
        },
        alpha: true,
    };
    let ops = [
        vec![create(90, 90)],
        (0..4096).map(resize).take(20).collect(),
    ]
    .concat();
    assert_eq!(apply(&mut scene(), ops), Err(SceneError::OverBudget));
}

#[test]
fn frame_that_would_take_for_ever_to_draw_is_refused() {
    let size = Size { w: 1, h: 1 };
    let budget = Budget {
        layers: 100,
        bytes: 40_000,
        cells: 4,
        ..Budget::default()
    };
    let mut scene = Scene::new(&outputs(), budget);
    // One pixel, sampled all over the screen.
    let over_all = |id: u32| {
        let layer = LayerId(id);
        let SceneOp::Place(mut placement) = place(0, 0, 1, 1) else {
            unreachable!("place() places");
        };
        let output = outputs()[0].size;
        (placement.layer, placement.opacity) = (layer, 1);
        (placement.dst.w, placement.dst.h) = (output.w, output.h);
        let alpha = true;
        vec![
            SceneOp::CreateLayer { layer, size, alpha },
            SceneOp::Place(placement),
        ]
    };
    apply(&mut scene, (0..60).flat_map(over_all).collect()).unwrap();
    assert_eq!(
        apply(&mut scene, (60..70).flat_map(over_all).collect()),
        Err(SceneError::OverBudget)
    );
}

#[test]
fn budget_is_given_back_by_destroyed_and_shrunk_layers() {
    let mut scene = scene();
    for _ in 0..3 {
        apply(&mut scene, vec![create(100, 100)]).unwrap();
        let size = Size { w: 10, h: 10 };
        apply(
            &mut scene,
            vec![SceneOp::ResizeLayer {
                layer: A,
                size,
                alpha: true,
            }],
        )
        .unwrap();
        apply(&mut scene, vec![SceneOp::DestroyLayer { layer: A }]).unwrap();
    }
    apply(
        &mut scene,
        vec![create(100, 100), SceneOp::Clear, create(100, 100)],
    )
    .unwrap();
}

#[test]
fn placements_outside_their_layer_or_on_no_output_are_refused() {
    let mut scene = scene();
    apply(&mut scene, vec![create(10, 10)]).unwrap();
    for (w, h) in [(11, 10), (10, 11), (0, 10), (10, 0)] {
        let refused = apply(&mut scene, vec![place(0, 0, w, h)]);
        assert_eq!(refused, Err(SceneError::BadPlacement(A)), "{w}×{h}");
    }
    let nowhere = OutputId(9);
    let op = SceneOp::Background {
        output: nowhere,
        rgb: 0,
    };
    assert_eq!(
        apply(&mut scene, vec![op]),
        Err(SceneError::UnknownOutput(nowhere))
    );
}

#[test]
fn operations_on_an_unplugged_output_do_no_harm() {
    let mut scene = scene();
    scene.set_outputs(&List::default());
    assert!(scene.output(OUT).is_none());
    apply(&mut scene, vec![create(10, 10), place(0, 0, 10, 10)]).unwrap();
    scene.set_outputs(&outputs());
    assert_eq!(scene.output(OUT).unwrap().stack.len(), 1);
}

#[test]
fn stack_must_name_each_placed_layer_once() {
    let mut scene = scene();
    apply(&mut scene, vec![create(10, 10), place(0, 0, 10, 10)]).unwrap();
    for layers in [vec![], vec![A, A], vec![LayerId(2)]] {
        let op = SceneOp::Stack {
            output: OUT,
            layers: List::truncated(layers),
        };
        assert_eq!(apply(&mut scene, vec![op]), Err(SceneError::BadStack(OUT)));
    }
    let op = SceneOp::Stack {
        output: OUT,
        layers: List::truncated(vec![A]),
    };
    assert_eq!(apply(&mut scene, vec![op]), Ok(()));
}

#[test]
fn moving_a_layer_damages_where_it_was_and_where_it_is() {
    let mut scene = scene();
    apply(&mut scene, vec![create(10, 10), place(0, 0, 10, 10)]).unwrap();
    scene.take_damage(OUT);
    apply(
        &mut scene,
        vec![SceneOp::Move {
            layer: A,
            output: OUT,
            x: 80,
            y: 60,
        }],
    )
    .unwrap();
    let damage = scene.take_damage(OUT);
    assert_eq!(damage.rects().len(), 2);
    assert!(scene.take_damage(OUT).is_empty());
}

const FILM: VideoId = VideoId(5);

fn start(x: i32, y: i32, w: u32, h: u32) -> SceneOp {
    SceneOp::StartVideo {
        video: FILM,
        layer: A,
        rect: scene::Rect { x, y, w, h },
    }
}

fn unit(encoder: &mut heliostat_video::Encoder, w: u32, h: u32, colour: u32) -> Vec<u8> {
    let size = heliostat_video::Size { w, h };
    let mut picture = heliostat_video::Picture::default();
    assert!(picture.take(size, &vec![colour; size.area()]));
    let mut unit = Vec::new();
    encoder.encode(&picture, false, &mut unit).unwrap();
    unit
}

fn encoder(w: u32, h: u32) -> heliostat_video::Encoder {
    let size = heliostat_video::Size { w, h };
    heliostat_video::Encoder::new(size, heliostat_video::Quality::default()).unwrap()
}

fn part(bytes: usize, last: bool) -> SceneOp {
    SceneOp::VideoPart {
        video: FILM,
        bytes: bytes as u32,
        last,
    }
}

fn picture(scene: &mut Scene, mut ops: Vec<SceneOp>, unit: &[u8]) -> Result<(), SceneError> {
    ops.push(part(unit.len(), true));
    let header = FrameHeader {
        serial: 1,
        last_input: 0,
        overtakes: 0,
        ops: List::truncated(ops),
    };
    let content = [unit, &[0, 0, 0]].concat();
    scene.apply(&header, &content)
}

#[test]
fn video_fills_its_rectangle_and_nothing_else() {
    let mut scene = scene();
    apply(&mut scene, vec![create(99, 80), place(0, 0, 99, 80)]).unwrap();
    scene.take_damage(OUT);
    let (w, h) = (41, 33);
    let mut encoder = encoder(w, h);
    let unit_1 = unit(&mut encoder, w, h, 0xffff_ffff);
    picture(&mut scene, vec![start(7, 9, w, h)], &unit_1).unwrap();
    assert_eq!(
        scene.take_damage(OUT).rects(),
        [Rect {
            x: 7,
            y: 9,
            w: 41,
            h: 33
        }]
    );
    let unit_2 = unit(&mut encoder, w, h, 0xffee_eeee);
    picture(&mut scene, vec![], &unit_2).unwrap();
    let layer = scene.layer(A).unwrap();
    for (n, pixel) in layer.pixels.iter().enumerate() {
        let (x, y) = (n as u32 % 99, n as u32 / 99);
        let inside = (7..7 + w).contains(&x) && (9..9 + h).contains(&y);
        match inside {
            true => assert!((pixel & 0xff).abs_diff(0xee) < 4, "{pixel:x} at {x}, {y}"),
            false => assert_eq!(*pixel, 0xff00_0000, "at {x}, {y}"),
        }
    }
}

#[test]
fn videos_that_break_the_protocol_are_refused() {
    let began = |scene: &mut Scene| apply(scene, vec![create(90, 70), start(0, 0, 64, 48)]);
    let wrong = |error| Err(SceneError::Video(FILM, error));
    let mut encoder = encoder(64, 48);
    let key = unit(&mut encoder, 64, 48, 0xff12_3456);
    let later = unit(&mut encoder, 64, 48, 0xff12_3456);

    let mut film = scene();
    began(&mut film).unwrap();
    assert_eq!(
        apply(&mut film, vec![start(0, 0, 64, 48)]),
        wrong(VideoError::Exists)
    );
    let no_key = VideoError::Decode(heliostat_video::DecodeError::NoKey);
    assert_eq!(picture(&mut film, vec![], &later), wrong(no_key));
    picture(&mut film, vec![], &key).unwrap();
    let twice = part(0, false);
    let header = FrameHeader {
        serial: 1,
        last_input: 0,
        overtakes: 0,
        ops: List::truncated(vec![twice.clone(), twice]),
    };
    assert!(film.apply(&header, &[0, 0, 0]).is_err());
    let long = part(4, true);
    assert_eq!(apply(&mut film, vec![long]), wrong(VideoError::Truncated));

    for (x, y, w, h) in [
        (27, 0, 64, 48),
        (0, 23, 64, 48),
        (-1, 0, 64, 48),
        (i32::MAX, 0, 64, 48),
    ] {
        let mut scene = scene();
        apply(&mut scene, vec![create(90, 70)]).unwrap();
        assert_eq!(
            apply(&mut scene, vec![start(x, y, w, h)]),
            wrong(VideoError::Outside)
        );
    }
    let mut large = scene();
    apply(&mut large, vec![create(90, 70)]).unwrap();
    assert_eq!(
        apply(&mut large, vec![start(0, 0, 90, 70)]),
        wrong(VideoError::OverBudget)
    );
    assert!(apply(&mut large, vec![start(0, 0, 15, 70)]).is_err());
}

#[test]
fn video_ends_with_its_layer_and_when_the_layer_takes_another_size() {
    let size = Size { w: 80, h: 70 };
    let resize = SceneOp::ResizeLayer {
        layer: A,
        size,
        alpha: false,
    };
    for op in [resize, SceneOp::DestroyLayer { layer: A }, SceneOp::Clear] {
        let mut scene = scene();
        apply(&mut scene, vec![create(90, 70), start(0, 0, 64, 48), op]).unwrap();
        let end = SceneOp::EndVideo { video: FILM };
        let unknown = Err(SceneError::Video(FILM, VideoError::Unknown));
        assert_eq!(apply(&mut scene, vec![end]), unknown);
    }
}

#[test]
fn picture_comes_in_as_many_parts_as_the_session_likes_and_not_without_end() {
    let mut encoder = encoder(64, 48);
    let key = unit(&mut encoder, 64, 48, 0xff40_8020);
    let mut scene = scene();
    apply(&mut scene, vec![create(90, 70), start(0, 0, 64, 48)]).unwrap();
    let mut send = |ops: Vec<SceneOp>, content: &[u8]| {
        let header = FrameHeader {
            serial: 1,
            last_input: 0,
            overtakes: 0,
            ops: List::truncated(ops),
        };
        let sent = scene.apply(&header, &[content, &[0, 0, 0]].concat());
        (sent, scene.layer(A).unwrap().pixels[0] & 0xff_ffff)
    };
    let pieces: Vec<&[u8]> = key.chunks(key.len() / 3 + 1).collect();
    for (n, piece) in pieces.iter().enumerate() {
        let last = n + 1 == pieces.len();
        let (sent, shown) = send(vec![part(piece.len(), last)], piece);
        assert_eq!(sent, Ok(()));
        assert_eq!(shown != 0, last);
    }
    let much = vec![7; 3 << 20];
    let more = || vec![part(much.len(), false)];
    assert_eq!(send(more(), &much).0, Ok(()));
    assert_eq!(send(more(), &much).0, Ok(()));
    let too_much = Err(SceneError::Video(FILM, VideoError::OverBudget));
    assert_eq!(send(more(), &much).0, too_much);
}

#[test]
fn videos_started_over_and_over_in_one_frame_are_refused() {
    let mut film = scene();
    apply(&mut film, vec![create(90, 70)]).unwrap();
    let ops = (0..50).flat_map(|n| {
        let video = VideoId(n);
        let SceneOp::StartVideo { layer, rect, .. } = start(0, 0, 64, 48) else {
            unreachable!("start() starts");
        };
        let start = SceneOp::StartVideo { video, layer, rect };
        [start, SceneOp::EndVideo { video }]
    });
    let refused = apply(&mut film, ops.collect());
    assert!(
        matches!(refused, Err(SceneError::Video(_, VideoError::OverBudget))),
        "{refused:?}"
    );
}

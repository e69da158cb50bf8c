//! One golden vector a message: `tests/golden/<version>/<name>.bin`.
//!
//! `BLESS_GOLDEN=1 cargo test -p heliostat-wire` writes the vectors that are missing; it never
//! overwrites one.

use std::fmt::Debug;
use std::path::PathBuf;

use heliostat_wire::card::{Card, CardKind, Unreadable};
use heliostat_wire::control::{
    Address, Attach, CardRefusal, DetachReason, Hello, Host, LoginOffer, ToBroker,
    ToTerminal as ControlToTerminal,
};
use heliostat_wire::id::{
    AttachId, CursorId, KeyPin, LayerId, OutputId, SessionId, Ticket, VideoId,
};
use heliostat_wire::input::{AxisSource, InputBatch, InputEvent, KeyboardState, Leds};
use heliostat_wire::output::{Output, Outputs, Size};
use heliostat_wire::proof::{self, Algorithm, Challenge, Proof, ProofFailure, ProofKey, Purpose};
use heliostat_wire::receipt::{Receipt, Stage, StageTime};
use heliostat_wire::scene::{Crop, FrameHeader, Placement, Rect, SceneOp, Transform};
use heliostat_wire::session::{
    Capabilities, CellHash, Cursor, Kept, KeptLayer, ToSession, ToTerminal,
};
use heliostat_wire::{List, codec, limits, version};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, message: T) {
    let mut bytes = Vec::new();
    codec::encode(&message, &mut bytes).unwrap();
    let golden = check_bytes(name, &bytes);
    let body = codec::body_range(&golden, limits::MAX_MESSAGE);
    assert_eq!(
        codec::decode::<T>(&golden[body.unwrap().unwrap()]).unwrap(),
        message,
        "{name}"
    );
}

/// Compares with the golden vector, and returns that.
fn check_bytes(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/golden/{}/{name}.bin", version::MAX));
    if !path.exists() && std::env::var_os("BLESS_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(bytes, golden, "{name} encodes differently now");
    golden
}

fn some_outputs() -> Outputs {
    List::truncated(vec![Output {
        id: OutputId(1),
        connector: "HDMI-A-1".into(),
        make: "DEL".into(),
        model: "U2415".into(),
        size: Size { w: 1920, h: 1200 },
        refresh_mhz: 59_950,
        physical_mm: Size { w: 518, h: 324 },
        x: -1920,
        y: 0,
    }])
}

#[test]
fn control_messages_keep_their_bytes() {
    check(
        "control-hello",
        ToBroker::Hello(Hello {
            terminal_id: "52:54:00:00:00:0a".into(),
            name: "desk-a".into(),
            software: "heliostat 0.1.0".into(),
            outputs: some_outputs(),
            boot_ms: (900, 2100),
        }),
    );
    check(
        "control-card-inserted",
        ToBroker::CardInserted {
            seq: 3,
            reader: "Gemalto PC Twin 00 00".into(),
            card: Card {
                id: "piv:00112233445566778899aabbccddeeff".into(),
                kind: CardKind::Piv,
                atr: List::truncated(vec![0x3b, 0x7b, 0x18]),
            },
        },
    );
    let why = Unreadable::TornOut;
    check(
        "control-card-unreadable",
        ToBroker::CardUnreadable {
            seq: 4,
            reader: "r".into(),
            why,
        },
    );
    check("control-card-removed", ToBroker::CardRemoved { seq: 3 });
    check("control-retry", ToBroker::Retry { seq: 3 });
    let reason = DetachReason::LinkLost;
    check(
        "control-link-ended",
        ToBroker::LinkEnded {
            attach_id: AttachId(7),
            reason,
        },
    );
    let stages = List::truncated(vec![
        StageTime {
            stage: Stage::CardEdge,
            us: 0,
        },
        StageTime {
            stage: Stage::FirstFrameShown,
            us: 41_000,
        },
    ]);
    check(
        "control-receipt",
        ToBroker::Receipt(Receipt {
            attach_id: AttachId(7),
            stages,
        }),
    );
    check("control-outputs", ToBroker::Outputs(some_outputs()));
    check("control-ping", ToBroker::Ping(9));
    check("control-login", ToBroker::Login { seq: 4 });
    check(
        "control-proof",
        ToBroker::Proof(Proof {
            seq: 3,
            algorithm: Algorithm::EcdsaP384Sha384,
            signature: List::truncated(vec![0x30, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x07]),
            certificate: List::truncated(vec![0x30, 0x82]),
        }),
    );
    let why = ProofFailure::PinBlocked;
    check("control-no-proof", ToBroker::NoProof { seq: 3, why });
}

fn some_challenge() -> Challenge {
    Challenge {
        seq: 3,
        nonce: [0x44; 32],
        purpose: Purpose::Enrol,
        key: ProofKey::PivAuthentication,
        want_certificate: true,
    }
}

#[test]
fn statement_of_a_proof_keeps_its_bytes() {
    let exporter = [0x55; 32];
    let terminal = "52:54:00:00:00:0a".into();
    let card = "piv:00112233445566778899aabbccddeeff".into();
    let statement = proof::statement(&some_challenge(), &exporter, &terminal, &card);
    check_bytes("proof-statement", &statement);
    let mut attach = some_challenge();
    (attach.purpose, attach.key) = (Purpose::Attach, ProofKey::CardAuthentication);
    let nothing = proof::statement(&attach, &exporter, &"".into(), &"".into());
    check_bytes("proof-statement-without-names", &nothing);
}

#[test]
fn control_answers_keep_their_bytes() {
    check(
        "control-welcome",
        ControlToTerminal::Welcome {
            terminal_name: "desk-a".into(),
            site: "Lab".into(),
            unix_time_s: 1_800_000_000,
            login: LoginOffer::Offered,
        },
    );
    let text = "too many terminals".into();
    check(
        "control-refused",
        ControlToTerminal::Refused {
            text,
            retry_after_s: 30,
        },
    );
    check(
        "control-starting",
        ControlToTerminal::Starting {
            seq: 3,
            person: "alice".into(),
        },
    );
    check(
        "control-attach",
        ControlToTerminal::Attach(Attach {
            seq: 3,
            attach_id: AttachId(7),
            addresses: List::truncated(vec![
                Address {
                    host: Host::Broker,
                    port: 4500,
                },
                Address {
                    host: Host::V4([192, 0, 2, 1]),
                    port: 4500,
                },
                Address {
                    host: Host::V6([0xfd; 16]),
                    port: 4500,
                },
            ]),
            pin: KeyPin([0x11; 32]),
            ticket: Ticket([0x22; 32]),
            person: "alice".into(),
            keep_pixels_s: 300,
        }),
    );
    let reason = CardRefusal::Unknown;
    let text = "this card is not known here".into();
    check(
        "control-card-refused",
        ControlToTerminal::CardRefused {
            seq: 3,
            reason,
            text,
        },
    );
    let reason = DetachReason::MovedElsewhere {
        terminal: "desk-b".into(),
    };
    check(
        "control-detach",
        ControlToTerminal::Detach {
            attach_id: AttachId(7),
            reason,
        },
    );
    check("control-pong", ControlToTerminal::Pong(9));
    check("control-prove", ControlToTerminal::Prove(some_challenge()));
    check(
        "control-login-offer",
        ControlToTerminal::Login(LoginOffer::Now),
    );
}

#[test]
fn session_messages_keep_their_bytes() {
    let leds = Leds {
        caps: false,
        num: true,
        scroll: false,
    };
    let keyboard = KeyboardState {
        pressed: List::truncated(vec![42]),
        leds,
    };
    check(
        "session-attach",
        ToSession::Attach {
            attach_id: AttachId(7),
            ticket: Ticket([0x22; 32]),
            outputs: some_outputs(),
            capabilities: Capabilities {
                max_layers: 512,
                max_layer_bytes: 256 << 20,
                max_cursor_side: 64,
                max_frames_in_flight: 4,
                max_kept_cells: 2048,
                max_videos: 4,
                max_video_pixels: 1920 * 1088,
            },
            keyboard: keyboard.clone(),
            layout: "ch(fr)".into(),
            kept: Some(Kept {
                attach_id: AttachId(6),
                serial: 1000,
                layers: List::truncated(vec![KeptLayer {
                    layer: LayerId(3),
                    size: Size { w: 800, h: 600 },
                    alpha: true,
                }]),
            }),
        },
    );
    let output = OutputId(1);
    let events = vec![
        InputEvent::Key {
            code: 30,
            pressed: true,
        },
        InputEvent::Motion {
            output,
            x: 25_600,
            y: 100,
            dx: -256,
            dy: 3,
            raw: Some((-300, 4)),
        },
        InputEvent::Button {
            code: 0x110,
            pressed: false,
        },
        InputEvent::Axis {
            source: AxisSource::Wheel,
            dx: 0,
            dy: 3840,
            v120_x: 0,
            v120_y: 120,
        },
        InputEvent::TouchDown {
            slot: 1,
            output,
            x: 1,
            y: 2,
        },
        InputEvent::TouchMotion {
            slot: 1,
            output,
            x: 3,
            y: 4,
        },
        InputEvent::TouchUp { slot: 1 },
        InputEvent::TouchFrame,
        InputEvent::TouchCancel,
    ];
    let batch = InputBatch {
        after_us: 1_000_000,
        events: List::truncated(events),
    };
    check("session-input", ToSession::Input(batch));
    check("session-keyboard", ToSession::Keyboard(keyboard));
    check("session-heartbeat", ToSession::Heartbeat);
    check("session-outputs", ToSession::Outputs(some_outputs()));
    let shown = ToSession::FrameShown {
        serial: 6,
        after_us: -700,
        output: Some(OutputId(1)),
    };
    check("session-frame-shown", shown);
    let unseen = ToSession::FrameShown {
        serial: 7,
        after_us: 1,
        output: None,
    };
    check("session-frame-shown-nowhere", unseen);
    let failed = ToSession::VideoFailed { video: VideoId(9) };
    check("session-video-failed", failed);
    check("session-refresh", ToSession::Refresh);
    let cells = [(3, 0), (300, 509)].map(|(layer, cell)| CellHash {
        layer: LayerId(layer),
        cell,
        hash: [0xde, 0xad, 0xbe, 0xef],
    });
    let cells = ToSession::Cells {
        serial: 1000,
        cells: List::new(cells.to_vec()).unwrap(),
    };
    check("session-cells", cells);
    check("session-bye", ToSession::Bye(DetachReason::CardRemoved));
}

#[test]
fn session_answers_keep_their_bytes() {
    let session = SessionId([0x33; 16]);
    check(
        "session-attached",
        ToTerminal::Attached {
            session,
            person: "alice".into(),
        },
    );
    check(
        "session-define-cursor",
        ToTerminal::DefineCursor {
            id: CursorId(2),
            size: Size { w: 24, h: 24 },
            hotspot: (4, 4),
            image: List::truncated(vec![1, 2, 3]),
        },
    );
    check(
        "session-set-cursor",
        ToTerminal::SetCursor(Cursor::Image(CursorId(2))),
    );
    check(
        "session-cursor-hidden",
        ToTerminal::SetCursor(Cursor::Hidden),
    );
    check(
        "session-cursor-locked",
        ToTerminal::SetCursor(Cursor::Locked),
    );
    check(
        "session-warp",
        ToTerminal::WarpPointer {
            output: OutputId(1),
            x: 256,
            y: 512,
        },
    );
    check(
        "session-leds",
        ToTerminal::SetLeds(Leds {
            caps: true,
            num: false,
            scroll: false,
        }),
    );
    check("session-end", ToTerminal::Bye(DetachReason::SessionEnded));
}

#[test]
fn frame_headers_keep_their_bytes() {
    let (layer, output) = (LayerId(8), OutputId(1));
    let size = Size { w: 800, h: 600 };
    let ops = vec![
        SceneOp::Clear,
        SceneOp::ForgetCells,
        SceneOp::CreateLayer {
            layer,
            size,
            alpha: true,
        },
        SceneOp::ResizeLayer {
            layer,
            size,
            alpha: false,
        },
        SceneOp::SetOpaque {
            layer,
            rects: List::truncated(vec![Rect {
                x: 1,
                y: 2,
                w: 3,
                h: 4,
            }]),
        },
        SceneOp::Place(Placement {
            layer,
            output,
            dst: Rect {
                x: -10,
                y: 20,
                w: 800,
                h: 600,
            },
            src: Crop::whole(size),
            transform: Transform::Flipped90,
            opacity: 200,
        }),
        SceneOp::Move {
            layer,
            output,
            x: 5,
            y: 6,
        },
        SceneOp::Stack {
            output,
            layers: List::truncated(vec![layer]),
        },
        SceneOp::Background {
            output,
            rgb: 0x20_40_60,
        },
        SceneOp::StartVideo {
            video: VideoId(3),
            layer,
            rect: Rect {
                x: 64,
                y: 30,
                w: 641,
                h: 360,
            },
        },
        SceneOp::VideoPart {
            video: VideoId(3),
            bytes: 4711,
            last: true,
        },
        SceneOp::EndVideo { video: VideoId(3) },
        SceneOp::Unplace { layer, output },
        SceneOp::DestroyLayer { layer },
    ];
    check(
        "frame",
        FrameHeader {
            serial: 6,
            last_input: 5,
            overtakes: 2,
            ops: List::truncated(ops),
        },
    );
}

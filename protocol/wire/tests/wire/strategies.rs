//! Random messages of every shape.

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
use heliostat_wire::proof::{Algorithm, Challenge, Proof, ProofFailure, ProofKey, Purpose};
use heliostat_wire::receipt::{Receipt, Stage, StageTime};
use heliostat_wire::scene::{Crop, FrameHeader, Placement, Rect, SceneOp, Transform};
use heliostat_wire::session::{
    Capabilities, CellHash, Cursor, Kept, KeptLayer, ToSession, ToTerminal,
};
use heliostat_wire::{List, Text};
use proptest::collection::vec;
use proptest::prelude::*;

fn text<const MAX: usize>() -> impl Strategy<Value = Text<MAX>> {
    "\\PC{0,40}".prop_map(|text| Text::lossy(&text))
}

fn list<T: std::fmt::Debug, const MAX: usize>(
    item: impl Strategy<Value = T>,
) -> impl Strategy<Value = List<T, MAX>> {
    vec(item, 0..8).prop_map(List::truncated)
}

fn size() -> impl Strategy<Value = Size> {
    (any::<u32>(), any::<u32>()).prop_map(|(w, h)| Size { w, h })
}

fn output() -> impl Strategy<Value = Output> {
    (
        any::<u8>(),
        [text(), text(), text()],
        size(),
        any::<u32>(),
        size(),
        any::<(i32, i32)>(),
    )
        .prop_map(
            |(id, [connector, make, model], size, refresh_mhz, physical_mm, (x, y))| Output {
                id: OutputId(id),
                connector,
                make,
                model,
                size,
                refresh_mhz,
                physical_mm,
                x,
                y,
            },
        )
}

fn outputs() -> impl Strategy<Value = Outputs> {
    list(output())
}

fn card() -> impl Strategy<Value = Card> {
    let kind = prop::sample::select(vec![
        CardKind::Piv,
        CardKind::ContactlessUid,
        CardKind::AtrSerial,
    ]);
    (text(), kind, list(any::<u8>())).prop_map(|(id, kind, atr)| Card { id, kind, atr })
}

fn reason() -> impl Strategy<Value = DetachReason> {
    prop_oneof![
        text().prop_map(|terminal| DetachReason::MovedElsewhere { terminal }),
        prop::sample::select(vec![
            DetachReason::CardRemoved,
            DetachReason::SessionEnded,
            DetachReason::SessionCrashed,
            DetachReason::ByAdmin,
            DetachReason::ByPerson,
            DetachReason::Locked,
            DetachReason::ByPolicy,
            DetachReason::CardRevoked,
            DetachReason::LinkLost,
            DetachReason::ProtocolViolation,
        ]),
    ]
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let stage = prop::sample::select(vec![
        Stage::CardEdge,
        Stage::IdRead,
        Stage::Challenged,
        Stage::ProofMade,
        Stage::AttachReceived,
        Stage::LinkUp,
        Stage::Attached,
        Stage::FirstFrameReceived,
        Stage::FirstFrameShown,
        Stage::SettledLossless,
    ]);
    let stages = list((stage, any::<u32>()).prop_map(|(stage, us)| StageTime { stage, us }));
    (any::<u64>(), stages).prop_map(|(id, stages)| Receipt {
        attach_id: AttachId(id),
        stages,
    })
}

fn proof() -> impl Strategy<Value = Proof> {
    let algorithm = prop::sample::select(vec![
        Algorithm::EcdsaP256Sha256,
        Algorithm::EcdsaP384Sha384,
        Algorithm::Rsa2048Sha256,
        Algorithm::Rsa3072Sha256,
    ]);
    (
        any::<u32>(),
        algorithm,
        list(any::<u8>()),
        list(any::<u8>()),
    )
        .prop_map(|(seq, algorithm, signature, certificate)| Proof {
            seq,
            algorithm,
            signature,
            certificate,
        })
}

fn proof_failure() -> impl Strategy<Value = ProofFailure> {
    prop::sample::select(vec![
        ProofFailure::NoKey,
        ProofFailure::NoPin,
        ProofFailure::PinWrong,
        ProofFailure::PinBlocked,
        ProofFailure::TornOut,
        ProofFailure::CardFailed,
        ProofFailure::Unsupported,
    ])
}

fn challenge() -> impl Strategy<Value = Challenge> {
    let purpose = prop::sample::select(vec![Purpose::Attach, Purpose::Enrol, Purpose::Unlock]);
    let keys = vec![ProofKey::CardAuthentication, ProofKey::PivAuthentication];
    let key = prop::sample::select(keys);
    (any::<(u32, [u8; 32], bool)>(), purpose, key).prop_map(
        |((seq, nonce, want_certificate), purpose, key)| Challenge {
            seq,
            nonce,
            purpose,
            key,
            want_certificate,
        },
    )
}

/// Terminal to broker.
pub fn to_broker() -> impl Strategy<Value = ToBroker> {
    let unreadable = prop::sample::select(vec![
        Unreadable::Mute,
        Unreadable::Nameless,
        Unreadable::TornOut,
        Unreadable::ReaderFailed,
    ]);
    prop_oneof![
        (text(), text(), text(), outputs(), any::<(u32, u32)>()).prop_map(
            |(terminal_id, name, software, outputs, boot_ms)| ToBroker::Hello(Hello {
                terminal_id,
                name,
                software,
                outputs,
                boot_ms,
            })
        ),
        (any::<u32>(), text(), card()).prop_map(|(seq, reader, card)| ToBroker::CardInserted {
            seq,
            reader,
            card
        }),
        (any::<u32>(), text(), unreadable)
            .prop_map(|(seq, reader, why)| ToBroker::CardUnreadable { seq, reader, why }),
        any::<u32>().prop_map(|seq| ToBroker::CardRemoved { seq }),
        any::<u32>().prop_map(|seq| ToBroker::Retry { seq }),
        (any::<u64>(), reason()).prop_map(|(id, reason)| ToBroker::LinkEnded {
            attach_id: AttachId(id),
            reason,
        }),
        receipt().prop_map(ToBroker::Receipt),
        outputs().prop_map(ToBroker::Outputs),
        any::<u32>().prop_map(ToBroker::Ping),
        any::<u32>().prop_map(|seq| ToBroker::Login { seq }),
        proof().prop_map(ToBroker::Proof),
        (any::<u32>(), proof_failure()).prop_map(|(seq, why)| ToBroker::NoProof { seq, why }),
    ]
}

fn address() -> impl Strategy<Value = Address> {
    let host = prop_oneof![
        Just(Host::Broker),
        any::<[u8; 4]>().prop_map(Host::V4),
        any::<[u8; 16]>().prop_map(Host::V6),
    ];
    (host, any::<u16>()).prop_map(|(host, port)| Address { host, port })
}

/// Broker to terminal.
pub fn control_to_terminal() -> impl Strategy<Value = ControlToTerminal> {
    let refusal = prop::sample::select(vec![
        CardRefusal::Unknown,
        CardRefusal::Revoked,
        CardRefusal::Forbidden,
        CardRefusal::NoAccount,
        CardRefusal::SessionFailed,
        CardRefusal::Busy,
        CardRefusal::NotProven,
        CardRefusal::Locked,
    ]);
    let login = prop::sample::select(vec![LoginOffer::None, LoginOffer::Offered, LoginOffer::Now]);
    let offer = login.clone();
    prop_oneof![
        (text(), text(), (any::<u64>(), login)).prop_map(
            |(terminal_name, site, (unix_time_s, login))| ControlToTerminal::Welcome {
                terminal_name,
                site,
                unix_time_s,
                login,
            }
        ),
        (text(), any::<u32>()).prop_map(|(text, retry_after_s)| ControlToTerminal::Refused {
            text,
            retry_after_s,
        }),
        (any::<u32>(), text())
            .prop_map(|(seq, person)| ControlToTerminal::Starting { seq, person }),
        (
            any::<(u32, u64)>(),
            list(address()),
            any::<[u8; 32]>(),
            any::<[u8; 32]>(),
            text(),
            any::<u32>(),
        )
            .prop_map(|((seq, id), addresses, pin, ticket, person, keep)| {
                ControlToTerminal::Attach(Attach {
                    seq,
                    attach_id: AttachId(id),
                    addresses,
                    pin: KeyPin(pin),
                    ticket: Ticket(ticket),
                    person,
                    keep_pixels_s: keep,
                })
            }),
        (any::<u32>(), refusal, text()).prop_map(|(seq, reason, text)| {
            ControlToTerminal::CardRefused { seq, reason, text }
        }),
        (any::<u64>(), reason()).prop_map(|(id, reason)| ControlToTerminal::Detach {
            attach_id: AttachId(id),
            reason,
        }),
        any::<u32>().prop_map(ControlToTerminal::Pong),
        challenge().prop_map(ControlToTerminal::Prove),
        offer.prop_map(ControlToTerminal::Login),
    ]
}

fn input_event() -> impl Strategy<Value = InputEvent> {
    let source = prop::sample::select(vec![
        AxisSource::Wheel,
        AxisSource::Finger,
        AxisSource::Continuous,
    ]);
    let output = any::<u8>().prop_map(OutputId);
    prop_oneof![
        any::<(u16, bool)>().prop_map(|(code, pressed)| InputEvent::Key { code, pressed }),
        (
            output.clone(),
            any::<[i32; 4]>(),
            any::<Option<(i32, i32)>>()
        )
            .prop_map(|(output, [x, y, dx, dy], raw)| InputEvent::Motion {
                output,
                x,
                y,
                dx,
                dy,
                raw,
            }),
        any::<(u16, bool)>().prop_map(|(code, pressed)| InputEvent::Button { code, pressed }),
        (source, any::<[i32; 4]>()).prop_map(|(source, [dx, dy, v120_x, v120_y])| {
            InputEvent::Axis {
                source,
                dx,
                dy,
                v120_x,
                v120_y,
            }
        }),
        (any::<u8>(), output.clone(), any::<(i32, i32)>())
            .prop_map(|(slot, output, (x, y))| InputEvent::TouchDown { slot, output, x, y }),
        (any::<u8>(), output, any::<(i32, i32)>())
            .prop_map(|(slot, output, (x, y))| InputEvent::TouchMotion { slot, output, x, y }),
        any::<u8>().prop_map(|slot| InputEvent::TouchUp { slot }),
        Just(InputEvent::TouchFrame),
        Just(InputEvent::TouchCancel),
    ]
}

fn leds() -> impl Strategy<Value = Leds> {
    any::<(bool, bool, bool)>().prop_map(|(caps, num, scroll)| Leds { caps, num, scroll })
}

fn keyboard() -> impl Strategy<Value = KeyboardState> {
    (list(any::<u16>()), leds()).prop_map(|(pressed, leds)| KeyboardState { pressed, leds })
}

/// Terminal to session.
pub fn to_session() -> impl Strategy<Value = ToSession> {
    let capabilities = any::<(u64, [u32; 6])>().prop_map(|(max_layer_bytes, n)| Capabilities {
        max_layers: n[0],
        max_layer_bytes,
        max_cursor_side: n[1],
        max_frames_in_flight: n[2],
        max_kept_cells: n[3],
        max_videos: n[4],
        max_video_pixels: n[5],
    });
    let attach = (
        any::<(u64, [u8; 32])>(),
        outputs(),
        capabilities,
        keyboard(),
        text(),
        prop::option::of(kept()),
    );
    prop_oneof![
        attach.prop_map(
            |((id, ticket), outputs, capabilities, keyboard, layout, kept)| {
                ToSession::Attach {
                    attach_id: AttachId(id),
                    ticket: Ticket(ticket),
                    outputs,
                    capabilities,
                    keyboard,
                    layout,
                    kept,
                }
            }
        ),
        (any::<i64>(), list(input_event()))
            .prop_map(|(after_us, events)| { ToSession::Input(InputBatch { after_us, events }) }),
        keyboard().prop_map(ToSession::Keyboard),
        Just(ToSession::Heartbeat),
        outputs().prop_map(ToSession::Outputs),
        any::<(u32, i64, Option<u8>)>().prop_map(|(serial, after_us, output)| {
            ToSession::FrameShown {
                serial,
                after_us,
                output: output.map(OutputId),
            }
        }),
        Just(ToSession::Refresh),
        reason().prop_map(ToSession::Bye),
        (any::<u32>(), list(cell_hash()))
            .prop_map(|(serial, cells)| ToSession::Cells { serial, cells }),
        any::<u32>().prop_map(|video| ToSession::VideoFailed {
            video: VideoId(video),
        }),
    ]
}

fn kept() -> impl Strategy<Value = Kept> {
    let layer = any::<([u32; 3], bool)>().prop_map(|([layer, w, h], alpha)| KeptLayer {
        layer: LayerId(layer),
        size: Size { w, h },
        alpha,
    });
    (any::<(u64, u32)>(), list(layer)).prop_map(|((id, serial), layers)| Kept {
        attach_id: AttachId(id),
        serial,
        layers,
    })
}

fn cell_hash() -> impl Strategy<Value = CellHash> {
    any::<(u32, u32, [u8; 4])>().prop_map(|(layer, cell, hash)| CellHash {
        layer: LayerId(layer),
        cell,
        hash,
    })
}

/// Session to terminal.
pub fn session_to_terminal() -> impl Strategy<Value = ToTerminal> {
    let cursor = prop_oneof![
        Just(Cursor::Hidden),
        any::<u8>().prop_map(|id| Cursor::Image(CursorId(id))),
        Just(Cursor::Locked),
    ];
    prop_oneof![
        (any::<[u8; 16]>(), text()).prop_map(|(id, person)| ToTerminal::Attached {
            session: SessionId(id),
            person
        }),
        (any::<u8>(), size(), any::<(i32, i32)>(), list(any::<u8>())).prop_map(
            |(id, size, hotspot, image)| ToTerminal::DefineCursor {
                id: CursorId(id),
                size,
                hotspot,
                image,
            }
        ),
        cursor.prop_map(ToTerminal::SetCursor),
        any::<(u8, i32, i32)>().prop_map(|(output, x, y)| ToTerminal::WarpPointer {
            output: OutputId(output),
            x,
            y,
        }),
        leds().prop_map(ToTerminal::SetLeds),
        reason().prop_map(ToTerminal::Bye),
    ]
}

fn rect() -> impl Strategy<Value = Rect> {
    any::<(i32, i32, u32, u32)>().prop_map(|(x, y, w, h)| Rect { x, y, w, h })
}

fn scene_op() -> impl Strategy<Value = SceneOp> {
    let layer = any::<u32>().prop_map(LayerId);
    let output = any::<u8>().prop_map(OutputId);
    let video = any::<u32>().prop_map(VideoId);
    let transform = prop::sample::select(vec![
        Transform::Normal,
        Transform::Rotate90,
        Transform::Rotate180,
        Transform::Rotate270,
        Transform::Flipped,
        Transform::Flipped90,
        Transform::Flipped180,
        Transform::Flipped270,
    ]);
    let crop = any::<(u32, u32, u32, u32)>().prop_map(|(x, y, w, h)| Crop { x, y, w, h });
    prop_oneof![
        Just(SceneOp::Clear),
        Just(SceneOp::ForgetCells),
        (layer.clone(), size(), any::<bool>())
            .prop_map(|(layer, size, alpha)| SceneOp::CreateLayer { layer, size, alpha }),
        (layer.clone(), size(), any::<bool>())
            .prop_map(|(layer, size, alpha)| SceneOp::ResizeLayer { layer, size, alpha }),
        layer
            .clone()
            .prop_map(|layer| SceneOp::DestroyLayer { layer }),
        (layer.clone(), list(rect()))
            .prop_map(|(layer, rects)| SceneOp::SetOpaque { layer, rects }),
        (
            layer.clone(),
            output.clone(),
            rect(),
            crop,
            transform,
            any::<u8>()
        )
            .prop_map(
                |(layer, output, dst, src, transform, opacity)| SceneOp::Place(Placement {
                    layer,
                    output,
                    dst,
                    src,
                    transform,
                    opacity,
                })
            ),
        (layer.clone(), output.clone(), any::<(i32, i32)>()).prop_map(|(layer, output, (x, y))| {
            SceneOp::Move {
                layer,
                output,
                x,
                y,
            }
        }),
        (layer.clone(), output.clone())
            .prop_map(|(layer, output)| SceneOp::Unplace { layer, output }),
        (output.clone(), list(layer))
            .prop_map(|(output, layers)| SceneOp::Stack { output, layers }),
        (output, any::<u32>()).prop_map(|(output, rgb)| SceneOp::Background { output, rgb }),
        (video.clone(), any::<u32>().prop_map(LayerId), rect())
            .prop_map(|(video, layer, rect)| SceneOp::StartVideo { video, layer, rect }),
        (video.clone(), any::<(u32, bool)>())
            .prop_map(|(video, (bytes, last))| SceneOp::VideoPart { video, bytes, last }),
        video.prop_map(|video| SceneOp::EndVideo { video }),
    ]
}

/// The header of a frame.
pub fn frame_header() -> impl Strategy<Value = FrameHeader> {
    let numbers = any::<(u32, u32, u32)>();
    (numbers, list(scene_op())).prop_map(|((serial, last_input, overtakes), ops)| FrameHeader {
        serial,
        last_input,
        overtakes,
        ops,
    })
}

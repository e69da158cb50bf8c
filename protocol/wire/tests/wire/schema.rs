//! The schema of every message, hashed, with the version it belongs to. A changed wire without a
//! changed version fails here.

use heliostat_wire::{control, limits, scene, session, version};
use postcard_schema::Schema;
use postcard_schema::schema::owned::OwnedNamedType;

/// The hash of each version's schema. Add a line with a new version; never change an old one once
/// it has been released.
const HASHES: &[(u16, u64)] = &[(1, 0x53d2_4f98_0ebc_7fdd)];

fn schema_text() -> String {
    [
        control::ToBroker::SCHEMA,
        control::ToTerminal::SCHEMA,
        session::ToSession::SCHEMA,
        session::ToTerminal::SCHEMA,
        scene::FrameHeader::SCHEMA,
    ]
    .into_iter()
    .map(|schema| format!("{:?}\n", OwnedNamedType::from(schema)))
    .chain([format!("{:?}", limits_of_the_wire())])
    .collect()
}

/// The limits decide which bytes decode, so they are a part of the wire.
fn limits_of_the_wire() -> [usize; 24] {
    [
        limits::MAX_MESSAGE,
        limits::MAX_FRAME_HEADER,
        limits::MAX_FRAME_CONTENT,
        limits::MAX_SCENE_OPS,
        limits::MAX_LAYERS,
        limits::MAX_OPAQUE_RECTS,
        limits::MAX_LAYER_SIDE as usize,
        limits::MAX_CURSOR_SIDE as usize,
        limits::MAX_CURSORS,
        limits::MAX_VIDEOS,
        limits::MAX_VIDEO_UNIT,
        limits::MAX_OUTPUTS,
        limits::MAX_INPUT_EVENTS,
        limits::MAX_PRESSED,
        limits::MAX_ADDRESSES,
        limits::MAX_RECEIPT_STAGES,
        limits::MAX_NAME,
        limits::MAX_SENTENCE,
        limits::MAX_CARD_ID,
        limits::MAX_CELL_HASHES,
        limits::MAX_ATR,
        limits::MAX_SIGNATURE,
        limits::MAX_CERTIFICATE,
        limits::MAX_KEEP_S as usize,
    ]
}

#[test]
fn wire_changes_only_with_its_version() {
    let hash = xxhash_rust::xxh3::xxh3_64(schema_text().as_bytes());
    let known = HASHES.iter().find(|(version, _)| *version == version::MAX);
    assert_eq!(
        known.map(|(_, hash)| *hash),
        Some(hash),
        "the schema of version {} hashes to {hash:#018x}: a changed wire needs a new version, \
         golden vectors of its own and a line in docs/PROTOCOL.md",
        version::MAX,
    );
}

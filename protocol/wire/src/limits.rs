//! Every limit of the wire in one place. A peer that exceeds one breaks the protocol.

/// Bytes of one message on a main stream, without its length field. The largest honest message is
/// the definition of a 256×256 cursor.
pub const MAX_MESSAGE: usize = 320 * 1024;
/// Bytes of one frame header (scene operations), without its length field.
pub const MAX_FRAME_HEADER: usize = 256 * 1024;
/// Bytes of the access units and the tile batch behind one frame header. A session splits what is larger over frames.
pub const MAX_FRAME_CONTENT: usize = 64 * 1024 * 1024;
/// Scene operations in one frame.
pub const MAX_SCENE_OPS: usize = 4096;
/// Layers that a terminal holds at once.
pub const MAX_LAYERS: usize = 1024;
/// Rectangles of one opaque region.
pub const MAX_OPAQUE_RECTS: usize = 64;
/// Width and height of a layer, in pixels.
pub const MAX_LAYER_SIDE: u32 = 16384;
/// Width and height of a cursor image, in pixels.
pub const MAX_CURSOR_SIDE: u32 = 256;
/// Cursor images that a terminal keeps.
pub const MAX_CURSORS: usize = 64;
/// Videos that a terminal decodes at once.
pub const MAX_VIDEOS: usize = 8;
/// Bytes of one access unit of a video.
pub const MAX_VIDEO_UNIT: usize = 8 * 1024 * 1024;
/// Outputs of one terminal.
pub const MAX_OUTPUTS: usize = 16;
/// Cells of which a terminal says in one message what it holds.
pub const MAX_CELL_HASHES: usize = 16;
/// Seconds for which a terminal keeps the pixels of a session that has gone from its screen.
pub const MAX_KEEP_S: u32 = 3600;
/// Input events in one batch.
pub const MAX_INPUT_EVENTS: usize = 64;
/// Keys held down at once.
pub const MAX_PRESSED: usize = 64;
/// Addresses in one attach.
pub const MAX_ADDRESSES: usize = 8;
/// Stages of one receipt.
pub const MAX_RECEIPT_STAGES: usize = 16;
/// Bytes of a name (terminal, person, site, reader, output).
pub const MAX_NAME: usize = 128;
/// Bytes of a sentence meant for a person.
pub const MAX_SENTENCE: usize = 512;
/// Bytes of a card id in its text form.
pub const MAX_CARD_ID: usize = 128;
/// Bytes of an answer-to-reset (ISO 7816-3).
pub const MAX_ATR: usize = 33;
/// Bytes of a proof's signature: RSA of 3072 bits.
pub const MAX_SIGNATURE: usize = 384;
/// Bytes of a card's certificate. The PIV standard has room for about 3000 on the card, where it may
/// be compressed.
pub const MAX_CERTIFICATE: usize = 8192;

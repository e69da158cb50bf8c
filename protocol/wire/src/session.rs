//! Messages of the session link's main stream, between a terminal and a session.
//!
//! The terminal opens the stream and sends its preamble and [`ToSession::Attach`] at once. The
//! session answers with its preamble and [`ToTerminal::Attached`], or closes the link with a
//! [`crate::close::CloseCode`]. Frames come on streams of their own ([`crate::scene`]).

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::bounded::{Bytes, List, Text};
use crate::control::DetachReason;
use crate::id::{AttachId, CursorId, LayerId, OutputId, SessionId, Ticket, VideoId};
use crate::input::{InputBatch, KeyboardState, Leds};
use crate::limits::{MAX_CELL_HASHES, MAX_LAYERS, MAX_MESSAGE, MAX_NAME};
use crate::output::{Outputs, Size};

/// What a terminal can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Capabilities {
    /// Layers at once, at most [`crate::limits::MAX_LAYERS`].
    pub max_layers: u32,
    /// Bytes of all layers' pixels together, four a pixel.
    pub max_layer_bytes: u64,
    /// Side of the largest cursor image, in pixels.
    pub max_cursor_side: u32,
    /// Frames that may be under way unacknowledged before the terminal's queue is full.
    pub max_frames_in_flight: u32,
    /// Cells of 64×64 pixels that it keeps when it is told to, beside the layers; 16 KiB each.
    pub max_kept_cells: u32,
    /// Videos that it decodes at once, at most [`crate::limits::MAX_VIDEOS`]; none where it has no
    /// decoder.
    pub max_videos: u32,
    /// Pixels that one picture of all its videos together may have.
    pub max_video_pixels: u32,
}

/// What a terminal still holds of an earlier attach of the same session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Kept {
    /// That attach.
    pub attach_id: AttachId,
    /// Serial of the last frame of it that was applied.
    pub serial: u32,
    /// All layers as that frame has left them, but for their opaque parts and placements, of which
    /// there are none any more.
    pub layers: List<KeptLayer, MAX_LAYERS>,
}

/// A layer that a terminal still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct KeptLayer {
    /// Its id.
    pub layer: LayerId,
    /// Its size.
    pub size: Size,
    /// Whether its alpha counts.
    pub alpha: bool,
}

/// From the terminal to the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub enum ToSession {
    /// The first message.
    Attach {
        /// The attach, as the broker named it.
        attach_id: AttachId,
        /// The secret from the broker.
        ticket: Ticket,
        /// The terminal's screens.
        outputs: Outputs,
        /// What it can hold.
        capabilities: Capabilities,
        /// What is held down on it.
        keyboard: KeyboardState,
        /// The terminal's keyboard layout as an XKB `layout` or `layout(variant)`; empty where it
        /// has none.
        layout: Text<MAX_NAME>,
        /// What the terminal still holds of an earlier attach of this session.
        kept: Option<Kept>,
    },
    /// Input.
    Input(InputBatch),
    /// The keyboard as it now is; keys that the session believes down and are not listed are up.
    Keyboard(KeyboardState),
    /// Sent every 100 ms while a key is down. Without one for 250 ms the session releases all keys.
    Heartbeat,
    /// Screens came, went or changed.
    Outputs(Outputs),
    /// A frame has been scanned out, and all before it.
    FrameShown {
        /// Its serial.
        serial: u32,
        /// When, by the [`crate::clock::Clock`] of this attach.
        after_us: i64,
        /// Whose vertical retrace that was; none where the frame changed nothing on any screen.
        output: Option<OutputId>,
    },
    /// The pixels of all layers are to be sent anew; the terminal's copy is damaged.
    Refresh,
    /// The terminal leaves.
    Bye(DetachReason),
    /// What the terminal holds of some cells, so that the session can mend what it holds wrongly.
    Cells {
        /// Serial of the newest frame that it has applied.
        serial: u32,
        /// Cells as that frame has left them.
        cells: List<CellHash, MAX_CELL_HASHES>,
    },
    /// The decoder of a video has failed. Its access units are taken and thrown away until one comes
    /// that begins with an IDR picture; the session sends one soon, or ends the video.
    VideoFailed {
        /// The video, which may have ended meanwhile.
        video: VideoId,
    },
}

/// What a terminal holds of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct CellHash {
    /// The layer.
    pub layer: LayerId,
    /// Which of the layer's cells of 64×64 pixels, counted in rows from the top left one.
    pub cell: u32,
    /// The lowest bytes of XXH3-128 of its pixels, seeded with the attach.
    pub hash: [u8; 4],
}

/// From the session to the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub enum ToTerminal {
    /// The ticket was good.
    Attached {
        /// The session.
        session: SessionId,
        /// The person's name.
        person: Text<MAX_NAME>,
    },
    /// A cursor image, kept by the terminal under its id.
    DefineCursor {
        /// The id.
        id: CursorId,
        /// Its size; neither side above [`crate::limits::MAX_CURSOR_SIDE`].
        size: Size,
        /// The pixel that points, counted from the top-left one.
        hotspot: (i32, i32),
        /// A batch of tiles for a layer 0 of that size.
        image: Bytes<MAX_MESSAGE>,
    },
    /// Which cursor is shown. The latest wins.
    SetCursor(Cursor),
    /// The pointer is put somewhere else.
    WarpPointer {
        /// The output.
        output: OutputId,
        /// Place, in 1/256 pixel.
        x: i32,
        /// Place, in 1/256 pixel.
        y: i32,
    },
    /// Which lock lights are to be lit.
    SetLeds(Leds),
    /// The attach is over; the link closes.
    Bye(DetachReason),
}

/// What the terminal draws at the pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Cursor {
    /// Nothing.
    Hidden,
    /// An image.
    Image(CursorId),
    /// Nothing, and the pointer stays where it is: only movements are reported (pointer lock).
    Locked,
}

//! The retained scene: layers hold pixels, placements put them on outputs, frames change both.
//!
//! A frame travels on a unidirectional stream of its own: the byte [`STREAM_FRAME`], a
//! [`FrameHeader`] with its length field, the access units that its operations name, and a batch of
//! tiles (`heliostat-tiles`) up to the end of the stream. Frames are applied in the order of their
//! serials, but for those that may overtake others, each as a whole: first the operations in order,
//! then the tiles; then it is shown and acknowledged.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::bounded::List;
use crate::id::{LayerId, OutputId, VideoId};
use crate::limits::{MAX_LAYERS, MAX_OPAQUE_RECTS, MAX_SCENE_OPS};
use crate::output::Size;

/// First byte of a stream that carries one frame.
pub const STREAM_FRAME: u8 = 1;
/// Units of a source crop in one layer pixel.
pub const UNITS_PER_PIXEL: u32 = 256;

/// What a frame does to the scene, without the pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct FrameHeader {
    /// Counts frames from 1 within one attach, without gaps.
    pub serial: u32,
    /// Serial of the last input batch whose effects this frame may show; 0 for none.
    pub last_input: u32,
    /// Which of the 32 frames before this one may be applied after it: bit 0 is the one right before
    /// it. Where it is not 0 the frame has no operations and no copies, keeps and recalls no cells,
    /// and none of those frames touches what it does.
    pub overtakes: u32,
    /// The operations, in order.
    pub ops: List<SceneOp, MAX_SCENE_OPS>,
}

impl FrameHeader {
    /// Whether this frame may be applied before the frame `other`, which has a smaller serial.
    pub fn may_overtake(&self, other: u32) -> bool {
        let between = self.serial.wrapping_sub(other).wrapping_sub(1);
        self.overtakes.checked_shr(between).unwrap_or(0) & 1 == 1
    }
}

/// A rectangle of whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Rect {
    /// Left edge.
    pub x: i32,
    /// Top edge.
    pub y: i32,
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

/// The part of a layer that is shown, in 1/256 of a layer pixel. Its lower bits come from
/// `wp_viewport` sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Crop {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

impl Crop {
    /// All of a layer of `size`.
    pub fn whole(size: Size) -> Self {
        Self {
            x: 0,
            y: 0,
            w: size.w * UNITS_PER_PIXEL,
            h: size.h * UNITS_PER_PIXEL,
        }
    }
}

/// How a layer's pixels are turned before they are placed, as in `wl_output.transform`: a
/// counter-clockwise rotation, after a flip around the vertical axis for the flipped ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Transform {
    /// As they are.
    #[default]
    Normal,
    /// 90 degrees.
    Rotate90,
    /// 180 degrees.
    Rotate180,
    /// 270 degrees.
    Rotate270,
    /// Flipped.
    Flipped,
    /// Flipped, then 90 degrees.
    Flipped90,
    /// Flipped, then 180 degrees.
    Flipped180,
    /// Flipped, then 270 degrees.
    Flipped270,
}

/// Where a layer stands on an output. A layer has at most one placement an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Placement {
    /// The layer.
    pub layer: LayerId,
    /// The output.
    pub output: OutputId,
    /// Where it is shown, in the output's pixels; the crop is scaled to it.
    pub dst: Rect,
    /// What of it is shown.
    pub src: Crop,
    /// How it is turned.
    pub transform: Transform,
    /// 255 is opaque.
    pub opacity: u8,
}

/// One step of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub enum SceneOp {
    /// Forget every layer, placement and kept cell.
    Clear,
    /// A new layer, transparent black (opaque black without alpha) until tiles fill it.
    CreateLayer {
        /// Its id, not in use.
        layer: LayerId,
        /// Pixels; neither side zero or above [`crate::limits::MAX_LAYER_SIDE`].
        size: Size,
        /// Whether its alpha counts.
        alpha: bool,
    },
    /// Gives a layer another size. Pixels in the common top-left rectangle stay, new ones are as in
    /// a new layer.
    ResizeLayer {
        /// The layer.
        layer: LayerId,
        /// Its new size.
        size: Size,
        /// Whether its alpha counts from now on.
        alpha: bool,
    },
    /// Forget a layer and its placements.
    DestroyLayer {
        /// The layer.
        layer: LayerId,
    },
    /// Which parts of an alpha layer are opaque, so that nothing below need be drawn.
    SetOpaque {
        /// The layer.
        layer: LayerId,
        /// Rectangles in its pixels; none by default.
        rects: List<Rect, MAX_OPAQUE_RECTS>,
    },
    /// Puts a layer on an output: a new placement goes on top, a known one keeps its height.
    Place(Placement),
    /// Moves a placement.
    Move {
        /// The layer.
        layer: LayerId,
        /// The output.
        output: OutputId,
        /// New left edge.
        x: i32,
        /// New top edge.
        y: i32,
    },
    /// Takes a layer off an output. Its pixels stay.
    Unplace {
        /// The layer.
        layer: LayerId,
        /// The output.
        output: OutputId,
    },
    /// The order of all placements of an output, lowest first.
    Stack {
        /// The output.
        output: OutputId,
        /// Each placed layer once.
        layers: List<LayerId, MAX_LAYERS>,
    },
    /// The colour (0xRRGGBB) of an output where no layer is.
    Background {
        /// The output.
        output: OutputId,
        /// The colour.
        rgb: u32,
    },
    /// A video begins inside a layer. Its pictures are H.264, 8 bits, 4:2:0, progressive, BT.709 in
    /// limited range.
    StartVideo {
        /// Its id, not in use.
        video: VideoId,
        /// The layer.
        layer: LayerId,
        /// Where in the layer's pixels; all of it inside. Sides of 16 to 3840 pixels.
        rect: Rect,
    },
    /// A part of the next access unit (Annex B) of a video. With its last part comes its picture,
    /// whose pixels are the layer's from now on, fully opaque.
    VideoPart {
        /// The video.
        video: VideoId,
        /// Bytes of the part, which follow those of the parts before it in this frame, at the start
        /// of the content.
        bytes: u32,
        /// Whether the access unit is whole with it; else a later frame goes on with it.
        last: bool,
    },
    /// A video is over. Its last picture stays. A video also ends with its layer, and when its
    /// layer takes another size.
    EndVideo {
        /// The video.
        video: VideoId,
    },
    /// Forget every kept cell.
    ForgetCells,
}

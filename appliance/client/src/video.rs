//! Videos inside layers, each with a decoder of its own.
//!
//! ```text
//!   StartVideo          the last VideoPart of a key       EndVideo, the layer's end or other size
//!  ───────────► started ───────────────────────────► playing ───────────────────────────────► gone
//! ```

use std::collections::BTreeMap;

use heliostat_tiles::Rect;
use heliostat_video::DecodeError;
use heliostat_wire::id::{LayerId, VideoId};
use heliostat_wire::limits::{MAX_VIDEO_UNIT, MAX_VIDEOS};
use heliostat_wire::output::Size;
use heliostat_wire::scene::Rect as WireRect;

use crate::scene::Layer;

/// How often a frame may decode, or make decoders for, all the pixels that were offered.
const WORK: usize = 3;
/// A decoder is as much work as this, however small its picture.
const SMALLEST_WORK: usize = 128 * 128;

/// What is wrong with a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VideoError {
    /// No video has this id.
    #[error("it does not exist")]
    Unknown,
    /// Its id is in use.
    #[error("it exists already")]
    Exists,
    /// More videos, or larger ones, than the terminal offered.
    #[error("this terminal offered fewer videos, or smaller ones")]
    OverBudget,
    /// Not inside its layer.
    #[error("it is not inside its layer")]
    Outside,
    /// A second part in one frame.
    #[error("it has two parts in one frame")]
    TooOften,
    /// A frame with less content than its operations name.
    #[error("its part is not in the frame")]
    Truncated,
    /// The picture.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// What decodes a video.
#[derive(Debug)]
enum VideoDecoder {
    /// The processor.
    Software(heliostat_video::Decoder),
}

impl VideoDecoder {
    fn decode(
        &mut self,
        unit: &[u8],
        pixels: &mut [u32],
        stride: usize,
    ) -> Result<(), DecodeError> {
        match self {
            Self::Software(decoder) => decoder.decode(unit, pixels, stride),
        }
    }
}

#[derive(Debug)]
struct Video {
    layer: LayerId,
    rect: Rect,
    decoder: VideoDecoder,
    /// The parts of an access unit that is not whole.
    begun: Vec<u8>,
    /// It has had its part of the frame that is being applied.
    served: bool,
}

/// The videos of one scene.
#[derive(Debug)]
pub struct Videos {
    videos: BTreeMap<VideoId, Video>,
    most: usize,
    most_pixels: u32,
    /// Pixels that the frame at hand may still decode, or make decoders for.
    left: usize,
}

impl Videos {
    /// None yet, and at most so many, of so many pixels together.
    pub fn new(most: usize, most_pixels: u32) -> Self {
        Self {
            videos: BTreeMap::new(),
            most: most.min(MAX_VIDEOS),
            most_pixels,
            left: 0,
        }
    }

    /// Another frame is applied. It may not keep the terminal busy: the card is heard of in between.
    pub fn begin_frame(&mut self) {
        self.left = WORK * SMALLEST_WORK.max(self.most_pixels as usize);
        self.videos
            .values_mut()
            .for_each(|video| video.served = false);
    }

    /// Begins a video in a layer of `size`.
    pub fn start(
        &mut self,
        id: VideoId,
        layer: LayerId,
        rect: WireRect,
        size: Size,
    ) -> Result<(), VideoError> {
        if self.videos.contains_key(&id) {
            return Err(VideoError::Exists);
        }
        let rect = inside(rect, size).ok_or(VideoError::Outside)?;
        self.charge(rect.area().max(SMALLEST_WORK))?;
        let used: usize = self.videos.values().map(|video| video.rect.area()).sum();
        if self.videos.len() >= self.most || used + rect.area() > self.most_pixels as usize {
            return Err(VideoError::OverBudget);
        }
        let size = heliostat_video::Size {
            w: rect.w,
            h: rect.h,
        };
        let video = Video {
            layer,
            rect,
            decoder: VideoDecoder::Software(heliostat_video::Decoder::new(size)?),
            begun: Vec::new(),
            served: false,
        };
        self.videos.insert(id, video);
        Ok(())
    }

    fn charge(&mut self, pixels: usize) -> Result<(), VideoError> {
        self.left = self
            .left
            .checked_sub(pixels)
            .ok_or(VideoError::OverBudget)?;
        Ok(())
    }

    /// Ends a video.
    pub fn end(&mut self, id: VideoId) -> Result<(), VideoError> {
        self.videos.remove(&id).map(drop).ok_or(VideoError::Unknown)
    }

    /// Ends the videos of a layer.
    pub fn end_in(&mut self, layer: LayerId) {
        self.videos.retain(|_, video| video.layer != layer);
    }

    /// Ends them all.
    pub fn clear(&mut self) {
        self.videos.clear();
    }

    /// Takes a part of an access unit, and with the last one decodes the picture into its layer.
    /// Returns what of which layer has changed then.
    pub fn part<'a>(
        &mut self,
        id: VideoId,
        part: &[u8],
        last: bool,
        layer: impl FnOnce(LayerId) -> Option<&'a mut Layer>,
    ) -> Result<Option<(LayerId, Rect)>, VideoError> {
        let video = self.videos.get_mut(&id).ok_or(VideoError::Unknown)?;
        if std::mem::replace(&mut video.served, true) {
            return Err(VideoError::TooOften);
        }
        if video.begun.len() + part.len() > MAX_VIDEO_UNIT {
            return Err(VideoError::OverBudget);
        }
        if !last {
            video.begun.extend_from_slice(part);
            return Ok(None);
        }
        self.left = self
            .left
            .checked_sub(video.rect.area())
            .ok_or(VideoError::OverBudget)?;
        let layer = layer(video.layer).ok_or(VideoError::Unknown)?;
        if video.begun.is_empty() {
            video.draw(part, layer)?;
        } else {
            let mut unit = std::mem::take(&mut video.begun);
            unit.extend_from_slice(part);
            video.draw(&unit, layer)?;
        }
        Ok(Some((video.layer, video.rect)))
    }
}

impl Drop for Video {
    /// What a person has seen does not stay in memory. The codec's own pictures are overwritten when
    /// they are freed (`heliostat_sys::memory`).
    fn drop(&mut self) {
        self.begun.fill(0);
    }
}

impl Video {
    fn draw(&mut self, unit: &[u8], layer: &mut Layer) -> Result<(), VideoError> {
        let stride = layer.size.w as usize;
        let start = self.rect.y as usize * stride + self.rect.x as usize;
        // A video ends when its layer takes another size, so that this is inside.
        let pixels = layer.pixels.get_mut(start..).ok_or(VideoError::Outside)?;
        Ok(self.decoder.decode(unit, pixels, stride)?)
    }
}

fn inside(rect: WireRect, size: Size) -> Option<Rect> {
    let (x, y) = (u32::try_from(rect.x).ok()?, u32::try_from(rect.y).ok()?);
    let fits = |start: u32, length: u32, side: u32| {
        start.checked_add(length).is_some_and(|end| end <= side)
    };
    let (w, h) = (rect.w, rect.h);
    (fits(x, w, size.w) && fits(y, h, size.h)).then_some(Rect { x, y, w, h })
}

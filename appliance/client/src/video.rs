//! Videos inside layers, each with a decoder of its own.
//!
//! ```text
//!   StartVideo          the last VideoPart of a key       EndVideo, the layer's end or other size
//!  ───────────► started ───────────────────────────► playing ───────────────────────────────► gone
//!                                          the hardware fails │ ▲
//!                                   (the processor decodes    ▼ │ a key
//!                                    from now on)           waiting: units are thrown away
//! ```
//!
//! Where hardware decodes, a picture is in a surface and not among its layer's pixels. Whoever needs
//! those has it copied there first; what a plane shows never is.

mod converted;
mod driver;
pub mod hardware;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use heliostat_tiles::Rect;
use heliostat_va::decoder::Frame;
use heliostat_video::{DecodeError, inspect};
use heliostat_wire::id::{LayerId, VideoId};
use heliostat_wire::limits::{MAX_VIDEO_UNIT, MAX_VIDEOS};
use heliostat_wire::output::Size;
use heliostat_wire::scene::Rect as WireRect;
use tracing::warn;

use self::converted::Converted;
use self::driver::VideoReader;
use self::hardware::{Blame, Device, Lent};
use crate::clock::monotonic_ns;
use crate::planes::Format;
use crate::scene::Layer;

/// How often a frame may decode, or make decoders for, all the pixels that were offered.
const WORK: usize = 3;
/// A decoder is as much work as this, however small its picture.
const SMALLEST_WORK: usize = 128 * 128;

/// A device makes surfaces for each, which takes it longer.
const DEVICE_WORK: usize = 512 * 512;

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
enum VideoDecoder {
    /// The processor.
    Software(heliostat_video::Decoder),
    /// A device, for which a good picture counts after failures.
    Hardware(Arc<Lent>, driver::VideoDecoder),
}

impl std::fmt::Debug for VideoDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Software(_) => "Software",
            Self::Hardware(..) => "Hardware",
        })
    }
}

/// The newest picture of a video, while it is in a surface.
#[derive(Debug)]
pub struct Picture {
    /// The surface.
    pub frame: Frame,
    /// Counts the pictures of all videos of a scene.
    pub number: u64,
    /// It is among the layer's pixels as well.
    is_copied: bool,
}

/// What has become of an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is not whole, or of no use.
    Nothing,
    /// The layer's pixels have changed.
    Pixels(LayerId, Rect),
    /// There is a picture in a surface.
    Surface(LayerId),
}

/// A video.
#[derive(Debug)]
pub struct Video {
    layer: LayerId,
    rect: Rect,
    decoder: VideoDecoder,
    picture: Option<Picture>,
    /// Copies pictures out of surfaces.
    reader: VideoReader,
    /// Its newest picture for planes that take no NV12.
    converted: RefCell<Converted>,
    padded: Vec<u32>,
    /// The hardware has failed; nothing but a key is of use.
    is_waiting: bool,
    /// It has decoded something.
    is_begun: bool,
    /// The parts of an access unit that is not whole.
    begun: Vec<u8>,
    /// It has had its part of the frame that is being applied.
    served: bool,
    /// How long decoders took for its last access unit.
    decoding_ns: u64,
}

/// The videos of one scene.
#[derive(Debug)]
pub struct Videos {
    videos: BTreeMap<VideoId, Video>,
    most: usize,
    most_pixels: u32,
    /// Pixels that the frame at hand may still decode, or make decoders for.
    left: usize,
    device: Option<Arc<Lent>>,
    /// Pictures so far.
    pictures: u64,
    /// Pixels copied out of surfaces so far.
    copied: u64,
    /// How long decoders took for the frame at hand.
    decoding_ns: u64,
    /// Those whose decoder has failed, and who have not been told of.
    failed: Vec<VideoId>,
}

impl Videos {
    /// None yet, and at most so many, of so many pixels together.
    pub fn new(most: usize, most_pixels: u32) -> Self {
        Self {
            videos: BTreeMap::new(),
            most: most.min(MAX_VIDEOS),
            most_pixels,
            left: 0,
            device: None,
            pictures: 0,
            copied: 0,
            decoding_ns: 0,
            failed: Vec::new(),
        }
    }

    /// An attach begins: its videos are decoded by a device, as long as it works.
    pub fn use_device(&mut self, device: Option<Arc<Device>>) {
        self.device = device.map(Device::lend);
    }

    /// Videos whose decoder has failed since the last call, and that wait for a key.
    pub fn take_failed(&mut self) -> Vec<VideoId> {
        std::mem::take(&mut self.failed)
    }

    /// Pixels copied out of surfaces so far.
    pub fn copied(&self) -> u64 {
        self.copied
    }

    /// How long decoders took for the frame at hand, or for the last one.
    pub fn decoding_ns(&self) -> u64 {
        self.decoding_ns
    }

    /// A video.
    pub fn get(&self, id: VideoId) -> Option<&Video> {
        self.videos.get(&id)
    }

    /// Videos of a layer whose newest picture is in a surface.
    pub fn surfaces_in(&self, layer: LayerId) -> impl Iterator<Item = (VideoId, Rect)> {
        let of_layer = self.videos.iter().filter(move |(_, v)| v.layer == layer);
        of_layer
            .filter(|(_, video)| video.picture.is_some())
            .map(|(id, video)| (*id, video.rect))
    }

    /// Copies the newest picture of a video to where it belongs in its layer, if it is not there.
    pub fn copy(&mut self, id: VideoId, layer: &mut Layer) {
        let Some(video) = self.videos.get_mut(&id) else {
            return;
        };
        match video.copy(layer) {
            Ok(pixels) => self.copied += pixels as u64,
            Err(error) => {
                // The next pictures could not be had either.
                let was_waiting = video.is_waiting;
                let error = heliostat_va::decoder::DecodeError::from(error);
                if video.fall_back(&error).is_err() {
                    warn!("no decoder can be made; the video stands still");
                }
                if video.is_waiting && !was_waiting {
                    self.failed.push(id);
                }
                video.picture = None;
            }
        }
    }

    /// Forgets the surface of a video whose pixels have been copied, and may be others from now on.
    pub fn let_go(&mut self, id: VideoId) {
        if let Some(video) = self.videos.get_mut(&id) {
            video.picture = None;
        }
    }

    /// Another frame is applied. It may not keep the terminal busy: the card is heard of in between.
    pub fn begin_frame(&mut self) {
        self.left = WORK * SMALLEST_WORK.max(self.most_pixels as usize);
        self.decoding_ns = 0;
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
        let least = self.device.as_ref().map_or(SMALLEST_WORK, |_| DEVICE_WORK);
        self.charge(rect.area().max(least))?;
        let used: usize = self.videos.values().map(|video| video.rect.area()).sum();
        if self.videos.len() >= self.most || used + rect.area() > self.most_pixels as usize {
            return Err(VideoError::OverBudget);
        }
        let size = heliostat_video::Size {
            w: rect.w,
            h: rect.h,
        };
        let decoder = self.decoder(size)?;
        let driver = match &decoder {
            VideoDecoder::Hardware(lent, _) => Some(Arc::clone(lent.device().driver())),
            VideoDecoder::Software(_) => None,
        };
        let video = Video {
            layer,
            rect,
            decoder,
            picture: None,
            reader: VideoReader::of(driver),
            converted: RefCell::default(),
            padded: Vec::new(),
            is_waiting: false,
            is_begun: false,
            begun: Vec::new(),
            served: false,
            decoding_ns: 0,
        };
        self.videos.insert(id, video);
        Ok(())
    }

    fn decoder(&self, size: heliostat_video::Size) -> Result<VideoDecoder, VideoError> {
        if let Some(device) = &self.device
            && let Some(decoder) = device.decoder(size)
        {
            return Ok(VideoDecoder::Hardware(Arc::clone(device), decoder));
        }
        Ok(VideoDecoder::Software(heliostat_video::Decoder::new(size)?))
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

    /// Takes a part of an access unit, and with the last one decodes the picture, into its layer or
    /// into a surface.
    pub fn part<'a>(
        &mut self,
        id: VideoId,
        part: &[u8],
        last: bool,
        layer: impl FnOnce(LayerId) -> Option<&'a mut Layer>,
    ) -> Result<Taken, VideoError> {
        let video = self.videos.get_mut(&id).ok_or(VideoError::Unknown)?;
        if std::mem::replace(&mut video.served, true) {
            return Err(VideoError::TooOften);
        }
        if video.begun.len() + part.len() > MAX_VIDEO_UNIT {
            return Err(VideoError::OverBudget);
        }
        if !last {
            video.begun.extend_from_slice(part);
            return Ok(Taken::Nothing);
        }
        self.left = self
            .left
            .checked_sub(video.rect.area())
            .ok_or(VideoError::OverBudget)?;
        let layer = layer(video.layer).ok_or(VideoError::Unknown)?;
        let mut begun = std::mem::take(&mut video.begun);
        let unit = match begun.is_empty() {
            true => part,
            false => {
                begun.extend_from_slice(part);
                &begun
            }
        };
        let was_waiting = video.is_waiting;
        let taken = video.take(unit, layer)?;
        self.decoding_ns += video.decoding_ns;
        // Its memory serves the next unit that comes in parts.
        begun.fill(0);
        begun.clear();
        video.begun = begun;
        if let Some(picture) = &mut video.picture
            && matches!(taken, Taken::Surface(_))
        {
            self.pictures += 1;
            picture.number = self.pictures;
        }
        if video.is_waiting && !was_waiting {
            self.failed.push(id);
        }
        Ok(taken)
    }
}

impl Drop for Video {
    /// What a person has seen does not stay in memory. The codec's own pictures are overwritten when
    /// they are freed (`heliostat_sys::memory`); a device's surfaces are given back to its driver.
    fn drop(&mut self) {
        self.begun.fill(0);
        // What nobody shows goes with its decoder.
        self.picture = None;
        self.converted.take();
    }
}

impl Video {
    /// Its layer.
    pub fn layer(&self) -> LayerId {
        self.layer
    }

    /// Where in its layer it is.
    pub fn rect(&self) -> Rect {
        self.rect
    }

    /// Its newest picture, while that is in a surface.
    pub fn picture(&self) -> Option<&Picture> {
        self.picture.as_ref()
    }

    /// What its pictures become for planes that do not show them as they are, if anything.
    pub fn converts_into(&self) -> Option<Format> {
        match &self.decoder {
            VideoDecoder::Hardware(lent, _) => self.converted.borrow().format(lent),
            VideoDecoder::Software(_) => None,
        }
    }

    /// Its newest picture made RGB by the device, once for each.
    pub fn converted(&self) -> Option<Frame> {
        let VideoDecoder::Hardware(lent, _) = &self.decoder else {
            return None;
        };
        let (size, picture) = (self.size(), self.picture.as_ref()?);
        self.converted.borrow_mut().of(picture, lent, size)
    }

    fn size(&self) -> heliostat_video::Size {
        heliostat_video::Size {
            w: self.rect.w,
            h: self.rect.h,
        }
    }

    fn take(&mut self, unit: &[u8], layer: &mut Layer) -> Result<Taken, VideoError> {
        self.decoding_ns = 0;
        if self.is_waiting && !inspect(unit, self.size()).map_err(DecodeError::from)?.key {
            return Ok(Taken::Nothing);
        }
        self.is_waiting = false;
        if let VideoDecoder::Hardware(device, decoder) = &mut self.decoder {
            let decoded = decoder.decode(unit);
            self.decoding_ns = decoder.took_ns();
            let error = match decoded {
                Ok(frame) => {
                    device.worked();
                    self.is_begun = true;
                    self.picture = Some(Picture {
                        frame,
                        number: 0,
                        is_copied: false,
                    });
                    return Ok(Taken::Surface(self.layer));
                }
                Err(error) => error,
            };
            // What no decoder would take is the session's fault, and not the device's.
            let is_key = inspect(unit, self.size()).map_err(DecodeError::from)?.key;
            if !self.is_begun && !is_key {
                return Err(DecodeError::NoKey.into());
            }
            self.fall_back(&error)?;
            if !is_key {
                return Ok(Taken::Nothing);
            }
            self.is_waiting = false;
        }
        self.draw(unit, layer)?;
        self.picture = None;
        Ok(Taken::Pixels(self.layer, self.rect))
    }

    /// Goes on by the processor, from the next key on. What the hardware has decoded last is shown
    /// until then.
    fn fall_back(&mut self, why: &heliostat_va::decoder::DecodeError) -> Result<(), VideoError> {
        let VideoDecoder::Hardware(device, _) = &self.decoder else {
            return Ok(());
        };
        let (w, h) = (self.rect.w, self.rect.h);
        warn!(w, h, %why, "hardware has failed; the processor goes on with this video");
        device.failed(Blame::of(why));
        self.decoder = VideoDecoder::Software(heliostat_video::Decoder::new(self.size())?);
        self.is_waiting = true;
        Ok(())
    }

    /// Decodes by the processor.
    fn draw(&mut self, unit: &[u8], layer: &mut Layer) -> Result<(), VideoError> {
        let VideoDecoder::Software(decoder) = &mut self.decoder else {
            return Ok(());
        };
        let (pixels, stride) = target(layer, self.rect).ok_or(VideoError::Outside)?;
        let began_ns = monotonic_ns();
        decoder.decode(unit, pixels, stride)?;
        self.decoding_ns += monotonic_ns().saturating_sub(began_ns);
        self.is_begun = true;
        Ok(())
    }

    /// Copies the newest picture into its layer; returns how many pixels that were.
    fn copy(&mut self, layer: &mut Layer) -> Result<usize, heliostat_va::Error> {
        let size = self.size();
        let Some(picture) = self.picture.as_mut().filter(|p| !p.is_copied) else {
            return Ok(0);
        };
        let Some((pixels, stride)) = target(layer, self.rect) else {
            return Ok(0);
        };
        let padded = &mut self.padded;
        self.reader.read(&picture.frame, |copy| {
            copy.draw(size, pixels, stride, padded);
        })?;
        picture.is_copied = true;
        Ok(size.area())
    }
}

/// Pixels of a layer from the first one of a rectangle on. A video ends when its layer takes another
/// size, so that it is inside.
fn target(layer: &mut Layer, rect: Rect) -> Option<(&mut [u32], usize)> {
    let stride = layer.size.w as usize;
    let start = rect.y as usize * stride + rect.x as usize;
    Some((layer.pixels.get_mut(start..)?, stride))
}

fn inside(rect: WireRect, size: Size) -> Option<Rect> {
    let (x, y) = (u32::try_from(rect.x).ok()?, u32::try_from(rect.y).ok()?);
    let fits = |start: u32, length: u32, side: u32| {
        start.checked_add(length).is_some_and(|end| end <= side)
    };
    let (w, h) = (rect.w, rect.h);
    (fits(x, w, size.w) && fits(y, h, size.h)).then_some(Rect { x, y, w, h })
}

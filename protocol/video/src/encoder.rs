//! The encoder in software: Cisco's OpenH264, one picture in, one access unit out, at once.

use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, QpRange,
    RateControlMode, SpsPpsStrategy, UsageType, VuiConfig,
};
use openh264::formats::YUVSource;

use crate::picture::Planes;
use crate::{Picture, Size, is_possible};

/// How good pictures are to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Bits a second that may be used.
    pub bits_per_second: u32,
    /// Pictures a second that are expected.
    pub pictures_per_second: f32,
    /// The finest quantizer: less would cost bytes that no eye sees.
    pub finest: u8,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            bits_per_second: 8_000_000,
            pictures_per_second: 30.0,
            finest: 22,
        }
    }
}

/// Why a picture could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// No video has this size.
    #[error("no video has {}×{} pixels", .0.w, .0.h)]
    Size(Size),
    /// A picture of another size than the encoder was made for, or none.
    #[error("the picture has not the size of the video")]
    WrongPicture,
    /// The codec says no.
    #[error("the codec: {0}")]
    Codec(#[from] openh264::Error),
}

/// What became of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// An access unit that needs none before it; the codec makes them where a scene changes, too.
    Key,
    /// An access unit that builds on the one before.
    Difference,
    /// Nothing: the bits of this moment are spent, a later picture will do.
    LeftOut,
}

/// The coarsest quantizer.
const COARSEST: u8 = 42;

/// Encodes one video.
pub struct Encoder {
    codec: openh264::encoder::Encoder,
    size: Size,
    begun: bool,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("size", &self.size).finish()
    }
}

impl Encoder {
    /// An encoder of pictures of `size`.
    pub fn new(size: Size, quality: Quality) -> Result<Self, EncodeError> {
        if !is_possible(size) {
            return Err(EncodeError::Size(size));
        }
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(quality.bits_per_second))
            .max_frame_rate(FrameRate::from_hz(quality.pictures_per_second))
            .qp(QpRange::new(quality.finest, COARSEST))
            .skip_frames(true)
            .complexity(Complexity::Low)
            .scene_change_detect(true)
            .adaptive_quantization(false)
            .background_detection(false)
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .intra_frame_period(IntraFramePeriod::auto())
            // One video has one thread: sessions share the machine.
            .num_threads(1)
            .vui(VuiConfig::bt709());
        let codec =
            openh264::encoder::Encoder::with_api_config(OpenH264API::from_source(), config)?;
        Ok(Self {
            codec,
            size,
            begun: false,
        })
    }

    /// Appends the access unit of `picture` to `unit`, with `key` as one that needs none before it.
    pub fn encode(
        &mut self,
        picture: &Picture,
        key: bool,
        unit: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        if picture.size() != Some(self.size.even()) {
            return Err(EncodeError::WrongPicture);
        }
        if key && self.begun {
            self.codec.force_intra_frame();
        }
        let source = Source {
            size: self.size.even(),
            planes: picture.planes(),
        };
        let stream = self.codec.encode(&source)?;
        self.begun = true;
        stream.write_vec(unit);
        Ok(match stream.frame_type() {
            FrameType::IDR => Encoded::Key,
            FrameType::Skip | FrameType::Invalid => Encoded::LeftOut,
            FrameType::I | FrameType::P | FrameType::IPMixed => Encoded::Difference,
        })
    }
}

struct Source<'a> {
    size: Size,
    planes: Planes<'a>,
}

impl YUVSource for Source<'_> {
    fn dimensions(&self) -> (usize, usize) {
        (self.size.w as usize, self.size.h as usize)
    }

    fn strides(&self) -> (usize, usize, usize) {
        let [y, u, v] = self.planes.strides;
        (y, u, v)
    }

    fn y(&self) -> &[u8] {
        self.planes.planes[0]
    }

    fn u(&self) -> &[u8] {
        self.planes.planes[1]
    }

    fn v(&self) -> &[u8] {
        self.planes.planes[2]
    }
}

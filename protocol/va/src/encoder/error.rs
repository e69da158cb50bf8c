//! What can go wrong with a picture, and what of that the driver might do in another way.

use heliostat_video::{Refused as RefusedUnit, Size};

use crate::dmabuf;
use crate::library::Error;
use crate::probe::NoPath;

/// Why a picture was not encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// No video has this size.
    #[error("no video has {}×{} pixels", .0.w, .0.h)]
    Size(Size),
    /// The device does not encode such videos.
    #[error("the device is not used: {0}")]
    NoPath(#[from] NoPath),
    /// What is claimed of the buffer is not so, or not encoded. The video goes on.
    #[error(transparent)]
    Buffer(#[from] dmabuf::Refused),
    /// The device reads all of an NV12 buffer only. The video goes on.
    #[error("the device does not convert or cut {} for its encoder", dmabuf::name(*.0))]
    NoConversion(u32),
    /// The driver does not take the buffer. The video goes on.
    #[error("the device does not take the buffer: {0}")]
    Import(#[source] Error),
    /// libva or the driver failed. The next picture begins anew.
    #[error(transparent)]
    Va(#[from] Error),
    /// The coded picture was not whole. The next picture begins anew.
    #[error("the driver has not written the whole picture (status {0:#x})")]
    Incomplete(u32),
    /// The driver wrote what no terminal takes. The next picture begins anew.
    #[error("the driver wrote a bitstream that is refused: {0}")]
    Bitstream(#[from] RefusedUnit),
}

impl EncodeError {
    /// Whether the driver refuses what it is to do, and may do it in another way.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Va(error) => !matches!(error, Error::Lost),
            Self::Incomplete(_) | Self::Bitstream(_) => true,
            Self::Size(_)
            | Self::NoPath(_)
            | Self::Buffer(_)
            | Self::NoConversion(_)
            | Self::Import(_) => false,
        }
    }
}

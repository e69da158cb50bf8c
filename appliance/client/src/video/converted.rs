//! Pictures of a video made RGB by the device that has decoded them, for planes that take no NV12.
//!
//! ```text
//!   untried ── a plane wants it ──► works ── an error ──► fails: copied from now on
//! ```

use heliostat_va::decoder::{DecodeError, Frame};
use heliostat_video::Size;
use tracing::warn;

use super::Picture;
use super::driver::VideoConverter;
use super::hardware::{Blame, Lent};
use crate::planes::Format;

/// How far a video's conversion is.
#[derive(Debug, Default)]
pub enum Converted {
    /// Nobody has wanted it.
    #[default]
    Untried,
    /// Its converter, and the newest picture with its number.
    Works(VideoConverter, Option<(u64, Frame)>),
    /// The device does not do it.
    Fails,
}

impl Converted {
    /// What pictures become.
    pub fn format(&self, lent: &Lent) -> Option<Format> {
        match self {
            Self::Fails => None,
            Self::Untried | Self::Works(..) => lent.device().converts_into(),
        }
    }

    /// A picture, converted; nothing where it has to be copied.
    pub fn of(&mut self, picture: &Picture, lent: &Lent, size: Size) -> Option<Frame> {
        if let Self::Works(_, Some((number, frame))) = self
            && *number == picture.number
        {
            return Some(frame.clone());
        }
        let converted = self.converter(lent, size).and_then(|converter| {
            let Self::Works(converter, newest) = converter else {
                return Ok(None);
            };
            // The one before goes back to its pool, unless a plane shows it.
            *newest = None;
            let frame = converter.convert(&picture.frame)?;
            *newest = Some((picture.number, frame.clone()));
            Ok(Some(frame))
        });
        match converted {
            Ok(frame) => frame,
            // They are all shown, which passes: this picture is copied, and the next one tried.
            Err(DecodeError::Full(_)) => None,
            Err(error) => {
                warn!(%error, "the device does not make RGB of a video; it is copied");
                lent.failed(Blame::of(&error));
                *self = Self::Fails;
                None
            }
        }
    }

    fn converter(&mut self, lent: &Lent, size: Size) -> Result<&mut Self, DecodeError> {
        if matches!(self, Self::Untried) {
            *self = Self::Works(lent.device().converter(size)?, None);
        }
        Ok(self)
    }
}

//! Whether the encoder takes linear buffers: of each format one is encoded when a device is opened.
//!
//! No driver says so. Whoever finds out by a film of a program's has promised that program something.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use heliostat_va::Display;
use heliostat_va::dmabuf::{Format, LINEAR, name};
use heliostat_va::encoder::{EncodeError, Rate, Settings};
use heliostat_va::probe::Probe;
use heliostat_video::Size;
use smithay::backend::allocator::Fourcc;
use smithay::backend::allocator::dmabuf::Dmabuf;

use super::buffers::Memory;
use super::low_power::LowPower;
use crate::sys::Gbm;

/// What is encoded: as films are, its height is no multiple of what drivers like.
const SIZE: Size = Size { w: 640, h: 360 };
const SETTINGS: Settings = Settings {
    size: SIZE,
    pictures_per_second: 60,
    rate: Rate::Bounded {
        bits_per_second: 4_000_000,
        finest: 20,
        coarsest: 51,
    },
};

/// Where buffers for the trial come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The device, by GBM.
    Device,
    /// Nowhere: tests count what a driver is asked.
    #[cfg(test)]
    Nowhere,
    /// Memory that the software driver takes for a DMA-BUF.
    #[cfg(test)]
    Memory,
}

impl Source {
    fn open(self, node: &Path) -> Result<Store, String> {
        match self {
            Self::Device => match Gbm::open(node) {
                Ok(gbm) => Ok(Store::Gbm(gbm)),
                Err(error) => Err(format!("{error:#}")),
            },
            #[cfg(test)]
            Self::Nowhere => Err("nobody has a buffer for it".to_owned()),
            #[cfg(test)]
            Self::Memory => Ok(Store::Memory),
        }
    }
}

enum Store {
    Gbm(Gbm),
    #[cfg(test)]
    Memory,
}

impl Store {
    fn buffer(&self, code: Fourcc) -> anyhow::Result<Dmabuf> {
        let size = (SIZE.w, SIZE.h);
        match self {
            Self::Gbm(gbm) => gbm.linear(size, code),
            #[cfg(test)]
            Self::Memory => Ok(pretended(size, code)),
        }
    }
}

/// Memory that cannot shrink, in rows without gaps.
#[cfg(test)]
fn pretended((w, h): (u32, u32), code: Fourcc) -> Dmabuf {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    use smithay::backend::allocator::Modifier;
    use smithay::backend::allocator::dmabuf::DmabufFlags;

    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let memory = memfd_create("trial", flags).expect("memory");
    ftruncate(&memory, u64::from(w * h * 4)).expect("memory");
    fcntl_add_seals(&memory, SealFlags::SHRINK).expect("a seal");
    let places: &[_] = match code {
        Fourcc::Nv12 => &[(0, w), (w * h, w)],
        _ => &[(0, w * 4)],
    };
    let (size, flags) = ((w as i32, h as i32), DmabufFlags::empty());
    let mut builder = Dmabuf::builder(size, code, Modifier::Linear, flags);
    for (plane, (offset, pitch)) in (0..).zip(places) {
        let fd = memory.try_clone().expect("a descriptor");
        builder.add_plane(fd, plane, *offset, *pitch);
    }
    builder.build().expect("planes")
}

/// What came of a format's trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// A picture was encoded.
    Taken,
    /// It was not, for this reason.
    Refused(String),
    /// There was nothing to try it with, for this reason.
    Not(String),
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => write!(f, "tried and taken"),
            Self::Refused(why) => write!(f, "tried and refused: {why}"),
            Self::Not(why) => write!(f, "not tried: {why}"),
        }
    }
}

/// What came of each format's.
#[derive(Debug, Clone, Default)]
pub struct Trials(Vec<(Format, Tried)>);

impl Trials {
    /// Tries `formats`, by encoders of their own. It takes as long as the driver does.
    pub(super) fn run(
        (display, probe): (&Display, &Probe),
        formats: &[Format],
        low_power: &LowPower,
        (source, node): (Source, &Path),
    ) -> Self {
        let store = source.open(node);
        let attempt = |format: &Format| -> Tried {
            let memory = match &store {
                Ok(store) => memory(store, *format).map_err(|error| format!("{error:#}")),
                Err(why) => Err(why.clone()),
            };
            match memory {
                Err(why) => Tried::Not(why),
                Ok(memory) => match encode(display, probe, low_power, &memory) {
                    Ok(()) => Tried::Taken,
                    Err(error) => Tried::Refused(error.to_string()),
                },
            }
        };
        Self(formats.iter().map(|it| (*it, attempt(it))).collect())
    }

    /// Whether linear buffers of a format were refused.
    pub fn is_refused(&self, format: Format) -> bool {
        let refused = |(other, tried): &(Format, Tried)| {
            *other == format && matches!(tried, Tried::Refused(_))
        };
        self.0.iter().any(refused)
    }

    /// Formats that were refused, and why, for the log; nothing where none was.
    pub fn refusals(&self) -> Option<String> {
        let refused = self.0.iter().filter_map(|(format, tried)| match tried {
            Tried::Refused(why) => Some(format!("{} ({why})", name(format.drm))),
            Tried::Taken | Tried::Not(_) => None,
        });
        let refused: Vec<_> = refused.collect();
        (!refused.is_empty()).then(|| refused.join(", "))
    }
}

/// For people, a line for each.
impl fmt::Display for Trials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (format, tried) in &self.0 {
            writeln!(f, "linear {} for the encoder: {tried}", name(format.drm))?;
        }
        Ok(())
    }
}

fn memory(store: &Store, format: Format) -> anyhow::Result<Memory> {
    let code = Fourcc::try_from(format.drm).context("it has no name")?;
    Ok(Memory::check(store.buffer(code)?, &[LINEAR])?)
}

/// Has a picture encoded, and gives everything back.
fn encode(
    display: &Display,
    probe: &Probe,
    low_power: &LowPower,
    memory: &Memory,
) -> Result<(), EncodeError> {
    let mut encoder = low_power.encoder(display, probe, SETTINGS)?;
    let mut unit = Vec::new();
    // The encoder looks itself whether that is a whole key of this size.
    let encoded = memory.with(|buffer| encoder.encode(buffer, true, &mut unit));
    low_power.heed(&mut encoder, encoded.is_ok());
    encoded.map(drop)
}

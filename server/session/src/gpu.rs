//! The graphics device, where there is one: clients' buffers of its memory, and its encoder.
//!
//! ```text
//!   render node ─► libva, driver ─► what it offers ─► Device ─┐
//!        └───────────────┴──────────────┴─ why not ─► Processor: films are encoded in software
//!   buffers by zwp_linux_dmabuf_v1 ─► Memory (checked) ─► Loan ─► read, or given to the encoder
//! ```
//!
//! [`offers`] says in which formats and layouts clients may make buffers. What is in [`buffers`] is judged
//! before anything reads it: the processor, as [`reading`] does, or the device, by [`readers`].
//! [`device`] chooses one and says why, and [`trial`] what its encoder takes; [`health`] decides when a device that has failed is asked again, and
//! [`drawing`] when GLES has ended; what becomes then of its device, for whoever uses it, is in [`devices`] and
//! [`fate`]. [`timelines`] has points of clients'
//! and devices' that say when a buffer is drawn, and when it is free again.
//! Without the feature `gpu` all of it is `without.rs`, in which there is never a buffer nor a device.

#[cfg(feature = "gpu")]
mod buffers;
#[cfg(feature = "gpu")]
mod check;
#[cfg(feature = "gpu")]
mod device;
#[cfg(feature = "gpu")]
mod devices;
#[cfg(feature = "gpu")]
mod drawing;
#[cfg(feature = "gpu")]
mod fate;
#[cfg(feature = "gpu")]
mod health;
#[cfg(feature = "gpu")]
mod low_power;
#[cfg(feature = "gpu")]
mod offers;
#[cfg(feature = "gpu")]
mod patience;
#[cfg(feature = "gpu")]
mod readers;
#[cfg(feature = "gpu")]
mod reading;
#[cfg(feature = "gpu")]
mod returning;
#[cfg(feature = "gpu")]
mod room;
#[cfg(feature = "gpu")]
mod speed;
#[cfg(feature = "gpu")]
mod timelines;
#[cfg(feature = "gpu")]
mod trial;
#[cfg(not(feature = "gpu"))]
mod without;

use std::path::PathBuf;

use serde::Deserialize;

#[cfg(feature = "gpu")]
pub use self::{
    buffers::{Buffers, Loan, Memory, Refused},
    check::check,
    device::{Device, Gpu},
    devices::{Away, DeviceId, Lease, Return, Trial, Wake},
    drawing::{Drawing, Ended, part_with},
    low_power::LowPower,
    offers::Offers,
    readers::Reader,
    timelines::{NoTimelines, Point, Queued, Release, Timeline, Timelines},
};
#[cfg(all(test, feature = "gpu"))]
pub use self::{readers::pretended, room::Room};
#[cfg(not(feature = "gpu"))]
pub use without::{Buffers, Gpu, Loan, Release, check};

/// Who reads clients' buffers of the graphics device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// The processor what is linear, and the device what is not; and everything, where the processor is
    /// slow.
    #[default]
    Auto,
    /// The processor. Nothing but linear buffers is offered.
    Processor,
    /// The device, be it Mesa's software.
    Device,
}

/// Which device a session is to use: `auto`, `off`, `read`, or the path of a render node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum RenderNode {
    /// The first one that does what is wanted.
    #[default]
    Auto,
    /// None.
    Off,
    /// None, and clients' buffers are taken all the same: the processor reads them. For tests.
    Read,
    /// None, and something that stands in for a device reads clients' buffers.
    #[cfg(all(test, feature = "gpu"))]
    ReadByFake,
    /// This one.
    Path(PathBuf),
    /// This one, which is tried out with memory that stands in for its own.
    #[cfg(all(test, feature = "gpu"))]
    Tried(PathBuf),
}

impl From<String> for RenderNode {
    fn from(text: String) -> Self {
        match text.as_str() {
            "auto" => Self::Auto,
            "off" => Self::Off,
            "read" => Self::Read,
            _ => Self::Path(text.into()),
        }
    }
}

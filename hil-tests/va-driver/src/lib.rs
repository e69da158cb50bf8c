//! A VA driver in software that libva loads like any other, `heliostat_drv_video.so`.
//!
//! It stands in for encoders, decoders and converters of hardware, and is stricter than they are: what
//! some real driver would refuse, or would quietly do wrong, is refused here with a line in the log.
//! The README says how to run it and what it offers; `docs/adr/0018-va-stand-in.md` why it is so.
//!
//! [`sys`] has the C ABI, memory and the codec's own interface; [`driver`] the objects that clients
//! make; [`h264`] bitstreams; [`process`] conversions; [`journal`] the log, counters and faults.
#![deny(unsafe_code)]

pub mod driver;
pub mod format;
pub mod h264;
pub mod journal;
pub mod process;
pub mod refusal;
#[allow(unsafe_code, reason = "the one fence around all that is unsafe")]
pub mod sys;

pub use heliostat_va::abi as va;

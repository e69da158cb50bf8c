//! VA-API as both ends use it: libva opened at run time, and H.264 by hardware.
//!
//! ```text
//!   DMA-BUF ─► dmabuf::check ─► import ─► (VideoProc: RGB to NV12) ─► EncSlice ─► access unit
//!              (refuses lies)   (once a
//!                                buffer)
//!   access unit ─► headers read ─► VLD ─► surface of a pool, exported once ─► Frame ─► plane
//! ```
//!
//! [`abi`] has C's structures, [`sys`] the only unsafe code, [`library`] libva's objects as values that
//! are given back in the right order. [`probe`] says what a device offers and which way will be taken,
//! [`dmabuf`] judges what others claim of their buffers, [`encoder`] encodes, [`decoder`] decodes, and [`image`]
//! copies out what was decoded where nothing can show it as it is. Headers are read and written by `heliostat-video`. Why there is a binding of our own: `docs/adr/0019-own-va-binding.md`.
#![deny(unsafe_code)]

pub mod abi;
pub mod decoder;
pub mod dmabuf;
pub mod encoder;
pub mod image;
pub mod library;
pub mod probe;
#[allow(unsafe_code, reason = "the one fence around all that is unsafe")]
pub mod sys;

pub use library::{Display, Error};

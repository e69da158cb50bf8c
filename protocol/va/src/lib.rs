//! VA-API as both ends use it.
//!
//! [`abi`] has C's structures, [`sys`] the only unsafe code.
#![deny(unsafe_code)]

pub mod abi;
#[allow(unsafe_code, reason = "the one fence around all that is unsafe")]
pub mod sys;

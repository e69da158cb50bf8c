//! H.264 as far as a driver has to know it: the bits of parameter sets and slice headers, and what
//! stands between them and OpenH264.
//!
//! Source: ITU-T H.264 (08/2021), clauses 7.3, 7.4, 9.1 and Annex B. Frames only, no slice groups.

pub mod bits;
pub mod decode;
pub mod encode;
pub mod parameters;
pub mod rate;
pub mod slice;
pub mod told;

//! All that touches memory by pointers: libva's functions, what they fill in, and what they map.
//!
//! The rest of the crate forbids itself `unsafe`, and sees libva as functions of numbers and slices.

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("the structures of libva are written down for little-endian machines of 64 bits");

mod functions;
mod mapped;
pub mod plain;
mod raw;

pub(crate) use mapped::MappedImage;
pub(crate) use raw::{Mapped, Raw};

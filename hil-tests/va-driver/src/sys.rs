//! All that touches memory by pointers: the C ABI, mapped memory, the codec's encoder.
//!
//! The rest of the crate forbids itself `unsafe`, and sees clients' memory as values and slices.

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("the structures of libva are written down for little-endian machines of 64 bits");

pub mod backend;
pub mod block;
pub mod codec;
mod entry;
pub mod memory;

pub use heliostat_va::sys::plain;

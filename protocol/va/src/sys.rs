//! All that touches memory by pointers.

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("the structures of libva are written down for little-endian machines of 64 bits");

pub mod plain;

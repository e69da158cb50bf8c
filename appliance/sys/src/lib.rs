//! The terminal's unsafe code, fenced: safe functions over the few system calls for which no
//! well-kept crate has a safe one. Each unsafe block says why it is sound.

pub mod fd;
pub mod kms;
pub mod memory;
pub mod pixels;
pub mod process;
pub mod vt;

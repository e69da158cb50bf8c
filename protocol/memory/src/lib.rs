//! Large pieces of memory, straight from the kernel, and pictures in huge pages where it has them.
//!
//! A screen's picture has some 8 MB. Left to the C library it comes in two thousand pages, and each
//! is a trap into the kernel when it is touched first: on a virtual machine that takes as long as
//! everything else that is done with a new picture. In huge pages it is four traps.
//!
//! Buffers that are large and hold little are none of that: what QUIC receives into has 2.9 MB, and
//! touches a few pages of it.
//!
//! What is freed goes back to the kernel at once, which gives nothing of one process to another.

mod sys;

pub use sys::Pages;

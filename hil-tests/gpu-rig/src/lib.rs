//! A virtual machine whose display has planes for video, and what is tested inside.
//!
//! Kernels that distributions ship have no display without hardware that shows NV12. So one is made:
//! [`archive`] gets a kernel and its sources from the machine's own Debian mirror, [`kernel`] builds vkms (a
//! display in software, part of Linux) for it, [`initramfs`] packs the product's programs, and [`machine`] boots
//! it all under QEMU and hears what the guest says ([`lines`]).
//!
//! [`inside`] is the other side: `hil-planes` is process 1 there, and plays the scenarios.
#![deny(unsafe_code)]

pub mod archive;
pub mod initramfs;
pub mod inside;
pub mod kernel;
pub mod lines;
pub mod machine;

mod sys;

//! The rig: terminals as QEMU machines, in namespaces of their own.
//!
//! Everything runs behind [`namespaces::enter`]: processes, mounts, the network and the demo's
//! users exist in there only, and are gone with the program. [`Rig`] is a site in there: a broker,
//! a netboot service, and [`Machine`]s that boot from it through their firmware, each with a card
//! reader ([`hil_card::Reader`]), a keyboard and a mouse that programs move.
#![forbid(unsafe_code)]

pub mod control;
pub mod desktop;
pub mod image;
pub mod keys;
pub mod lack;
pub mod machine;
pub mod namespaces;
pub mod network;
pub mod pam;
pub mod programs;
pub mod qmp;
pub mod screen;
pub mod site;
pub mod story;

mod rig;

pub use lack::Lack;
pub use machine::{Firmware, Machine};
pub use rig::{BOOT, Rig, RigOptions, Terminal};
pub use screen::Picture;

//! What runs in the guest.
//!
//! [`init`] is process 1: it mounts, loads the modules, starts the program that plays [`scenarios`], and switches
//! the machine off. [`card`] is a display with its planes, [`buffer`] memory that it shows, and [`look`] tells what
//! is really scanned out: by the display's writeback, and by the buffers that stand behind its planes.

pub mod buffer;
pub mod card;
pub mod client;
pub mod colour;
pub mod film;
pub mod init;
pub mod look;
pub mod note;
pub mod points;
pub mod report;
pub mod scenarios;

//! Builds the netboot image from distribution packages.
//!
//! Read it in this order: [`profile`] says what an image is made of; [`apt`] and [`deb`] get packages; [`tree`]
//! holds the files; [`closure`] finds libraries and [`modules`] kernel modules; [`contents`] is what we write
//! ourselves; [`cpio`] and [`segment`] pack; [`uki`] makes one EFI program of it all and [`sign`]
//! signs it; [`build`] does them in turn,
//! and [`site`] makes a site's own image of one that was built before.

#![forbid(unsafe_code)]

pub mod profile;

pub mod apt;
pub mod deb;
pub mod digest;
pub mod tree;

pub mod closure;
pub mod elf;
pub mod modules;
pub mod tables;

pub mod contents;
pub mod firmware;
pub mod hwdb;

pub mod cpio;
pub mod efi;
pub mod output;
pub mod segment;
pub mod sign;
pub mod uki;

pub mod base;
pub mod build;
pub mod site;

//! The EFI program of an image: stub, kernel, segments and command line.

use std::path::PathBuf;

use anyhow::Result;

use crate::sign::sign;
use crate::uki::{self, Section};

/// The kernel comes last: newer stubs may unpack it in place, growing past the section's end.
const NAMES: [&str; 5] = [".osrel", ".cmdline", ".uname", ".initrd", ".linux"];

/// What is put behind the stub.
pub struct Payload<'a> {
    /// The content of `os-release`, for boot menus.
    pub os_release: &'a str,
    /// The kernel command line.
    pub cmdline: &'a str,
    /// The kernel's release.
    pub release: &'a str,
    /// All segments, one after the other.
    pub initrd: &'a [u8],
    /// The kernel.
    pub vmlinuz: &'a [u8],
}

/// Puts the payload behind the stub, and signs the result with (key, certificate) if they are given.
pub fn program(
    stub: &[u8],
    payload: &Payload<'_>,
    keys: Option<&(PathBuf, PathBuf)>,
) -> Result<Vec<u8>> {
    let contents = [
        payload.os_release.as_bytes(),
        payload.cmdline.as_bytes(),
        payload.release.as_bytes(),
        payload.initrd,
        payload.vmlinuz,
    ];
    let sections: Vec<Section<'_>> = NAMES
        .into_iter()
        .zip(contents)
        .map(|(name, data)| Section { name, data })
        .collect();
    let program = uki::add_sections(stub, &sections)?;
    match keys {
        Some((key, certificate)) => sign(&program, key, certificate),
        None => Ok(program),
    }
}

/// The stub of an unsigned program that [`program`] made.
pub fn stub_of(program: &[u8]) -> Result<Vec<u8>, uki::Error> {
    uki::remove_sections(program, &NAMES)
}

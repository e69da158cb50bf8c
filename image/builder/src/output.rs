//! An image on disk.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use heliostat_manifest::{FILE_NAME, File, Manifest, Role};

use crate::digest::sha256_hex;

/// The name of the EFI program.
pub const EFI_NAME: &str = "heliostat.efi";
/// The name of the kernel.
pub const KERNEL_NAME: &str = "vmlinuz";

/// The manifest's entries for files.
pub fn entries(files: &[(String, Role, &[u8])]) -> Vec<File> {
    let entry = |(name, role, bytes): &(String, Role, &[u8])| File {
        name: name.clone(),
        role: *role,
        bytes: bytes.len() as u64,
        sha256: sha256_hex(bytes),
    };
    files.iter().map(entry).collect()
}

/// Writes each file beside its place and renames it, the manifest last, so that a server never sees half an image.
pub fn write(out: &Path, files: &[(String, Role, &[u8])], manifest: &Manifest) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let json = manifest.to_json();
    let files = files.iter().map(|(name, _, bytes)| (name.as_str(), *bytes));
    let all: Vec<(&str, &[u8])> = files.chain([(FILE_NAME, json.as_bytes())]).collect();
    for (name, bytes) in &all {
        let part = out.join(format!("{name}.part"));
        fs::write(&part, bytes).with_context(|| format!("cannot write {}", part.display()))?;
    }
    for (name, _) in &all {
        fs::rename(out.join(format!("{name}.part")), out.join(name))?;
    }
    Ok(())
}

//! Signing for Secure Boot, by `sbsign`: a signature scheme is nothing to write again.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Signs an EFI program with a PEM key and its certificate.
///
/// The signature holds the time, so two runs differ; compare unsigned programs.
pub fn sign(image: &[u8], key: &Path, certificate: &Path) -> Result<Vec<u8>> {
    let directory =
        std::env::temp_dir().join(format!("heliostat-image-sign-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let result = sign_in(&directory, image, key, certificate);
    fs::remove_dir_all(&directory)?;
    result
}

fn sign_in(directory: &Path, image: &[u8], key: &Path, certificate: &Path) -> Result<Vec<u8>> {
    let (unsigned, signed) = (directory.join("unsigned.efi"), directory.join("signed.efi"));
    fs::write(&unsigned, image)?;
    let mut sbsign = Command::new("sbsign");
    sbsign.arg("--key").arg(key).arg("--cert").arg(certificate);
    let output = sbsign
        .arg("--output")
        .args([&signed, &unsigned])
        .output()
        .context("cannot run sbsign; it is in the package sbsigntool")?;
    if !output.status.success() {
        bail!("sbsign: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(fs::read(&signed)?)
}

//! The netboot image of the rig, built when something it is made of has changed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, bail};

use crate::programs;

/// Builds the image of the qemu profile unless there is one that is newer than its parts.
/// Needs the distribution's package sources, so it has to run outside the namespaces.
///
/// `shell` adds a root shell on the second serial line, for scenarios that break things inside.
pub fn build(shell: bool) -> anyhow::Result<PathBuf> {
    let builder = programs::find("heliostat-image")?;
    let terminal = programs::find("heliostat-terminal")?;
    let profile = programs::folder()?
        .file_name()
        .context("a profile")?
        .to_owned();
    let kind = if shell { "shell" } else { "product" };
    let out = programs::target()?
        .join("rig-image")
        .join(profile)
        .join(kind);
    if is_newer(&out.join("manifest.json"), &[&builder, &terminal])? {
        return Ok(out);
    }
    eprintln!("building the netboot image (packages are fetched the first time)");
    let status = Command::new(builder)
        .args(["build", "--profile", "qemu", "--terminal"])
        .arg(&terminal)
        .arg("--cache")
        .arg(programs::target()?.join("image-cache"))
        .arg("--out")
        .arg(&out)
        .args(shell.then_some("--with-debug-shell"))
        .stdout(std::io::stderr())
        .status()
        .context("run heliostat-image")?;
    if !status.success() {
        bail!("heliostat-image failed; see its messages above");
    }
    Ok(out)
}

fn is_newer(file: &Path, parts: &[&Path]) -> anyhow::Result<bool> {
    let changed = |path: &Path| -> anyhow::Result<SystemTime> { Ok(path.metadata()?.modified()?) };
    let Ok(built) = changed(file) else {
        return Ok(false);
    };
    for part in parts {
        if changed(part)? > built {
            return Ok(false);
        }
    }
    Ok(true)
}

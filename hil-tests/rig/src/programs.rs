//! Where the product's programs are, and where the rig puts its files.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The folder of the running program: `target/debug` or `target/release`.
pub fn folder() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe().context("the path of this program")?;
    let folder = here.parent().context("this program has a folder")?;
    // Test programs lie one folder deeper, in deps/.
    Ok(if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    }
    .to_owned())
}

/// One of the workspace's programs.
pub fn find(name: &str) -> anyhow::Result<PathBuf> {
    let path = folder()?.join(name);
    if !path.is_file() {
        bail!("{name} is not built: run cargo build --workspace --bins");
    }
    Ok(path)
}

/// `target/`, where everything the rig writes goes.
pub fn target() -> anyhow::Result<PathBuf> {
    let folder = folder()?;
    folder
        .parent()
        .map(Path::to_owned)
        .context("programs lie in a folder of target/")
}

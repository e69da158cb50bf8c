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

/// What of some of the workspace's programs is missing, and how to come by it; nothing where all are there.
pub fn missing<'a>(names: impl IntoIterator<Item = &'a &'a str>) -> Option<String> {
    let error = names.into_iter().find_map(|name| find(name).err())?;
    Some(error.to_string())
}

/// `target/`, where everything the rig writes goes.
pub fn target() -> anyhow::Result<PathBuf> {
    let folder = folder()?;
    folder
        .parent()
        .map(Path::to_owned)
        .context("programs lie in a folder of target/")
}

//! Where the product's programs are: beside this one.

use std::path::PathBuf;

use anyhow::{Context, bail};

/// The path of the workspace's program `name`, built with the same profile as the caller.
pub fn find(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe().context("the path of this program")?;
    // Test programs lie one folder deeper, in deps/.
    for folder in here.ancestors().skip(1).take(2) {
        let candidate = folder.join(name);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!(
        "{name} is not built: run cargo build --workspace --bins (looked beside {})",
        here.display()
    )
}

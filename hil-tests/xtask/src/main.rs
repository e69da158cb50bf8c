//! Checks that guard the shape of the workspace: `cargo run -p xtask -- check`.
//!
//! What the design says about who may depend on whom and on which Rust, where unsafe code may stand
//! and where links in the documents lead is a test here, or it is not a rule.

mod docs;
mod edges;
mod rust;
mod sizes;
mod sources;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("check") => check(&workspace_root()?),
        _ => bail!("usage: cargo run -p xtask -- check"),
    }
}

fn workspace_root() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .map(Path::to_owned)
        .context("xtask is two levels below the root")
}

fn check(root: &Path) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    faults.extend(edges::check(&edges::read(root)?));
    faults.extend(rust::check(&rust::read(root)?));
    faults.extend(sources::check(root)?);
    faults.extend(docs::check(root)?);
    sizes::print(root)?;
    for fault in &faults {
        eprintln!("xtask: {fault}");
    }
    if !faults.is_empty() {
        bail!("{} faults in the shape of the workspace", faults.len());
    }
    println!(
        "xtask: dependencies, the terminal's Rust, unsafe fences and document links are as designed"
    );
    Ok(())
}

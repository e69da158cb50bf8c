//! Programs that sessions start.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::programs;

/// A program of ours where everybody may start it: not everybody may enter a checkout.
#[derive(Debug)]
pub struct Lent {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Lent {
    /// Copies the program; the copy goes with this.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("a folder for a program")?;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        let path = folder.path().join(name);
        let from = programs::find(name)?;
        std::fs::copy(&from, &path).with_context(|| format!("copy {}", from.display()))?;
        Ok(Self {
            path,
            _folder: folder,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

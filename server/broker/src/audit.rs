//! The audit file: one JSON line for everything that matters afterwards, only ever appended to.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use heliostat_control::admin::AuditRow;
use heliostat_control::lines;
use tracing::warn;

/// Bytes after which a new file is begun; one older file is kept beside it.
const MAX_BYTES: u64 = 64 << 20;

/// The open file.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl AuditFile {
    /// Opens or begins the file.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = append_to(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
        })
    }

    /// Appends a line. What cannot be written is said in the log.
    pub fn append(&mut self, row: &AuditRow) {
        let line = lines::encode(row);
        if self.bytes + line.len() as u64 > MAX_BYTES
            && let Err(problem) = self.begin_another()
        {
            warn!(%problem, "the audit file could not be put aside");
        }
        match self.file.write_all(&line) {
            Ok(()) => self.bytes += line.len() as u64,
            Err(problem) => warn!(%problem, ?row, "an audit line could not be written"),
        }
    }

    fn begin_another(&mut self) -> anyhow::Result<()> {
        fs::rename(&self.path, self.path.with_extension("old.jsonl"))?;
        self.file = append_to(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

fn append_to(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open the audit file {}", path.display()))
}

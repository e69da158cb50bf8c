//! The audit file: one JSON line for everything that matters afterwards, only ever appended to.

use std::collections::HashMap;
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

/// Lines that one terminal may cause at once, and how many a second after that.
const BURST: f64 = 60.0;
const PER_SECOND: f64 = 1.0;
/// Lines that all terminals together may cause at once, and how many a second after that.
const BURST_OF_ALL: f64 = 1000.0;
const PER_SECOND_OF_ALL: f64 = 50.0;
/// Terminals that are told apart.
const MAX_TERMINALS: usize = 4096;
/// What only an administrator can cause.
const ALWAYS: [&str; 7] = [
    "card_added",
    "card_approved",
    "card_revoked",
    "person_added",
    "policy_changed",
    "policy_refused",
    "session_end",
];

/// Keeps those who can cause audit lines from washing away what was written before.
#[derive(Debug, Default)]
pub struct AuditBudget {
    terminals: HashMap<String, Bucket>,
    all: Option<Bucket>,
    skipped: u64,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at_ms: u64,
}

impl Bucket {
    fn take(&mut self, at_ms: u64, burst: f64, per_second: f64) -> bool {
        let passed = at_ms.saturating_sub(self.at_ms) as f64 / 1000.0;
        self.left = (self.left + passed * per_second).min(burst);
        self.at_ms = self.at_ms.max(at_ms);
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

impl AuditBudget {
    /// Whether a line is written; with it how many were not since the last that was.
    pub fn admit(&mut self, row: &AuditRow) -> Option<u64> {
        // Administrators are few, and what they do is to be known.
        let always = !row.by.is_empty() || ALWAYS.contains(&row.event.as_str());
        let admitted = always || self.spend(row);
        if !admitted {
            self.skipped += 1;
            return None;
        }
        Some(std::mem::take(&mut self.skipped))
    }

    fn spend(&mut self, row: &AuditRow) -> bool {
        if self.terminals.len() >= MAX_TERMINALS && !self.terminals.contains_key(&row.terminal) {
            self.terminals.clear();
        }
        let full = |burst| Bucket {
            left: burst,
            at_ms: row.at_ms,
        };
        let own = self.terminals.entry(row.terminal.clone());
        let own = own.or_insert_with(|| full(BURST));
        own.take(row.at_ms, BURST, PER_SECOND)
            && self.all.get_or_insert_with(|| full(BURST_OF_ALL)).take(
                row.at_ms,
                BURST_OF_ALL,
                PER_SECOND_OF_ALL,
            )
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_terminal_cannot_wash_the_trail_away_and_is_counted() {
        let line = |event: &str, terminal: &str, at_ms| AuditRow {
            at_ms,
            outcome: "ok".to_owned(),
            event: event.to_owned(),
            person: String::new(),
            terminal: terminal.to_owned(),
            ..AuditRow::default()
        };
        let mut budget = AuditBudget::default();
        let admitted = (0..10_000)
            .filter(|n| {
                budget
                    .admit(&line("card_refused", "loud", n / 1000))
                    .is_some()
            })
            .count();
        assert!((60..80).contains(&admitted), "{admitted}");
        let skipped = budget.admit(&line("attach", "quiet", 10));
        assert_eq!(skipped, Some(10_000 - admitted as u64));
        let mut asked_for = line("detached", "loud", 10);
        asked_for.by = "root (0)".to_owned();
        assert_eq!(budget.admit(&asked_for), Some(0));
        assert_eq!(budget.admit(&line("attach", "loud", 10)), None);
        assert_eq!(budget.admit(&line("attach", "loud", 5_000)), Some(1));
    }
}

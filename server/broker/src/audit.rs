//! The audit file: one JSON line for everything that matters afterwards, only ever appended to.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::hash::Hash;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use heliostat_control::admin::AuditRow;
use heliostat_control::lines;
use tracing::warn;

use crate::network::Network;

/// Bytes after which a new file is begun; one older file is kept beside it.
const MAX_BYTES: u64 = 64 << 20;

/// Lines that one terminal, or one person where it is no terminal's doing, may cause at once, and
/// how many a second after that.
const BURST: Rate = Rate(60.0, 1.0);
/// What one network may cause. Terminals name themselves, so whoever is there may be as many as they
/// like; an honest ward is many as well.
const BURST_OF_NETWORK: Rate = Rate(500.0, 20.0);
/// What all together may cause.
const BURST_OF_ALL: Rate = Rate(2000.0, 100.0);
/// Sources of one sort that are told apart.
const MAX_SOURCES: usize = 4096;
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

/// So many at once, and so many a second after that.
#[derive(Debug, Clone, Copy)]
struct Rate(f64, f64);

/// Keeps those who can cause audit lines from washing away what was written before, and from using
/// up what others may cause.
#[derive(Debug, Default)]
pub struct AuditBudget {
    causes: Buckets<Cause>,
    networks: Buckets<Network>,
    all: Option<Bucket>,
    skipped: u64,
}

/// By whose doing a line is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Cause {
    Terminal(String),
    /// Their session's, mostly.
    Person(String),
    /// Nobody's, so the broker's own.
    Broker,
}

impl Cause {
    fn of(row: &AuditRow) -> Self {
        match (row.terminal.as_str(), row.person.as_str()) {
            ("", "") => Self::Broker,
            ("", person) => Self::Person(person.to_owned()),
            (terminal, _) => Self::Terminal(terminal.to_owned()),
        }
    }
}

/// A bucket for each source.
#[derive(Debug)]
struct Buckets<K>(HashMap<K, Bucket>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Buckets<K> {
    fn take(&mut self, source: K, at_ms: u64, rate: Rate) -> bool {
        if self.0.len() >= MAX_SOURCES && !self.0.contains_key(&source) {
            self.0.clear();
        }
        let bucket = self.0.entry(source);
        bucket
            .or_insert_with(|| Bucket::full(at_ms, rate))
            .take(at_ms, rate)
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at_ms: u64,
}

impl Bucket {
    fn full(at_ms: u64, Rate(burst, _): Rate) -> Self {
        Self { left: burst, at_ms }
    }

    fn take(&mut self, at_ms: u64, Rate(burst, per_second): Rate) -> bool {
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
        let at_ms = row.at_ms;
        // The narrowest last, so that a network that says too much makes no terminals up.
        let network = row.from.map(Network::of);
        let may =
            network.is_none_or(|network| self.networks.take(network, at_ms, BURST_OF_NETWORK));
        may && self.causes.take(Cause::of(row), at_ms, BURST)
            && self
                .all
                .get_or_insert_with(|| Bucket::full(at_ms, BURST_OF_ALL))
                .take(at_ms, BURST_OF_ALL)
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

    #[test]
    fn who_makes_terminals_up_leaves_the_lines_of_other_networks_and_people_alone() {
        let line = |terminal: String, from: &str, person: &str, at_ms| AuditRow {
            at_ms,
            event: "terminal_online".to_owned(),
            person: person.to_owned(),
            terminal,
            from: from.parse().ok(),
            ..AuditRow::default()
        };
        for (liar, neighbour) in [
            ("2001:db8:1:2::", "2001:db8:1:3::7"),
            ("192.0.2.7", "192.0.2.8"),
            ("::ffff:192.0.2.7", "192.0.2.8"),
        ] {
            let mut budget = AuditBudget::default();
            // A new name each time, and in IPv6 another address.
            let made_up = |n: u32| match liar.ends_with("::") {
                true => line(
                    format!("t{n}"),
                    &format!("{liar}{n:x}"),
                    "",
                    u64::from(n) / 1000,
                ),
                false => line(format!("t{n}"), liar, "", u64::from(n) / 1000),
            };
            let admitted = (0..20_000).filter(|n| budget.admit(&made_up(*n)).is_some());
            let admitted = admitted.count();
            assert!((500..=1000).contains(&admitted), "{liar}: {admitted}");
            let others = line("desk".to_owned(), neighbour, "", 20);
            assert!(budget.admit(&others).is_some(), "{liar}");
            // A person whose session keeps crashing is no terminal, and not another person.
            let crash = |person: &str| line(String::new(), "", person, 20);
            let crashes = (0..1000).filter(|_| budget.admit(&crash("alice")).is_some());
            assert!(crashes.count() <= 61);
            assert!(budget.admit(&crash("bob")).is_some());
            assert!(budget.admit(&line(String::new(), "", "", 20)).is_some());
        }
    }
}

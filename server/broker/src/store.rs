//! What the broker keeps in SQLite: read at the start, written behind its back.
//!
//! One thread owns the database. The hub never waits for it, except to answer an administrator who
//! was promised that a change is kept.

mod schema;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use anyhow::Context;
use heliostat_control::admin::{AuditRow, ReceiptRow};
use rusqlite::Connection;
use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::audit::AuditFile;
use crate::directory::{Record, Remembered};

/// Writes that may wait for the disk.
const MAX_WAITING: usize = 8192;
/// Writes that become one transaction.
const MAX_BATCH: usize = 256;

/// What the thread is asked for.
enum Job {
    Keep(Box<Record>),
    Audit(Box<AuditRow>),
    Flush(oneshot::Sender<()>),
    Receipts {
        since_ms: u64,
        limit: u32,
        answer: oneshot::Sender<Vec<ReceiptRow>>,
    },
    AuditRows {
        limit: u32,
        answer: oneshot::Sender<Vec<AuditRow>>,
    },
}

/// The way to the store.
#[derive(Debug)]
pub struct Store {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Store {
    /// Opens the database in `state_dir`, brings its tables up to date and reads what the directory
    /// starts from.
    pub fn open(state_dir: &Path) -> anyhow::Result<(Self, Remembered)> {
        let path = state_dir.join("broker.sqlite");
        let mut connection = Connection::open(&path)
            .with_context(|| format!("cannot open the store {}", path.display()))?;
        schema::prepare(&mut connection)
            .with_context(|| format!("cannot use the store {}", path.display()))?;
        let remembered = tables::remembered(&mut connection)
            .with_context(|| format!("cannot read the store {}", path.display()))?;
        let audit = AuditFile::open(&state_dir.join("audit.jsonl"))?;
        let (jobs, inbox) = sync_channel(MAX_WAITING);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .stack_size(256 << 10)
            .spawn(move || work(connection, audit, &inbox))?;
        let store = Self {
            jobs: Some(jobs),
            thread: Some(thread),
            path,
        };
        Ok((store, remembered))
    }

    /// Keeps a record, soon.
    pub fn keep(&self, record: Record) {
        self.send(Job::Keep(Box::new(record)));
    }

    /// Keeps an audit line, soon.
    pub fn audit(&self, row: AuditRow) {
        self.send(Job::Audit(Box::new(row)));
    }

    /// Resolves when everything before is on the disk.
    pub fn flushed(&self) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        self.send(Job::Flush(done));
        flushed
    }

    /// The newest receipts, oldest first.
    pub fn receipts(&self, since_ms: u64, limit: u32) -> oneshot::Receiver<Vec<ReceiptRow>> {
        let (answer, rows) = oneshot::channel();
        self.send(Job::Receipts {
            since_ms,
            limit,
            answer,
        });
        rows
    }

    /// The newest audit lines, oldest first.
    pub fn audit_rows(&self, limit: u32) -> oneshot::Receiver<Vec<AuditRow>> {
        let (answer, rows) = oneshot::channel();
        self.send(Job::AuditRows { limit, answer });
        rows
    }

    fn send(&self, job: Job) {
        let Some(jobs) = &self.jobs else { return };
        match jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => warn!(
                store = %self.path.display(),
                "the disk does not keep up, something was not written"
            ),
            Err(TrySendError::Disconnected(_)) => error!("the store's thread is gone"),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(mut connection: Connection, mut audit: AuditFile, inbox: &Receiver<Job>) {
    while let Ok(first) = inbox.recv() {
        let batch: Vec<Job> = std::iter::once(first)
            .chain(inbox.try_iter().take(MAX_BATCH))
            .collect();
        if let Err(problem) = write(&mut connection, &mut audit, &batch) {
            warn!(%problem, "the store could not be written");
        }
        for job in batch {
            answer(&connection, job);
        }
    }
}

fn write(connection: &mut Connection, audit: &mut AuditFile, batch: &[Job]) -> anyhow::Result<()> {
    let transaction = connection.transaction()?;
    for job in batch {
        match job {
            Job::Keep(record) => tables::keep(&transaction, record)?,
            Job::Audit(row) => {
                audit.append(row);
                tables::keep_audit(&transaction, row)?;
            }
            Job::Flush(_) | Job::Receipts { .. } | Job::AuditRows { .. } => {}
        }
    }
    transaction.commit()?;
    Ok(())
}

fn answer(connection: &Connection, job: Job) {
    fn or_none<T>(rows: rusqlite::Result<Vec<T>>) -> Vec<T> {
        rows.unwrap_or_else(|problem| {
            warn!(%problem, "the store could not be read");
            Vec::new()
        })
    }
    match job {
        Job::Keep(_) | Job::Audit(_) => {}
        Job::Flush(done) => drop(done.send(())),
        Job::Receipts {
            since_ms,
            limit,
            answer,
        } => drop(answer.send(or_none(tables::receipts(connection, since_ms, limit)))),
        Job::AuditRows { limit, answer } => {
            drop(answer.send(or_none(tables::audit_rows(connection, limit))));
        }
    }
}

#[cfg(test)]
mod tests;

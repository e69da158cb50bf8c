//! What the broker keeps in SQLite: read at the start, written behind its back.
//!
//! One thread owns the database. The hub never waits for it, except to answer an administrator who
//! was promised that a change is kept.

mod schema;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use heliostat_control::admin::{AuditFilter, AuditRow, Receipts};
use heliostat_control::hex;
use heliostat_link::Identity;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::audit::AuditFile;
use crate::directory::{Record, Remembered};

/// Writes that may wait for the disk.
const MAX_WAITING: usize = 8192;
/// Audit lines that may wait for it. What people and administrators are promised has the rest.
const MAX_WAITING_AUDIT: usize = MAX_WAITING / 2;
/// Writes that become one transaction.
const MAX_BATCH: usize = 256;
/// Records that a disk refused and that are tried again.
const MAX_UNKEPT: usize = 8192;
/// After how long they are, if nothing else is to be written.
const RETRY: Duration = Duration::from_secs(5);
/// Writes after which the oldest rows are deleted. To find them is a walk over all that stay, and
/// that many too many do no harm.
const PRUNE_AFTER: usize = 1_000;

/// What the thread is asked for.
enum Job {
    Keep(Box<Record>),
    Audit(Box<AuditRow>),
    /// With how many records had been lost when it was asked for.
    Flush(u64, oneshot::Sender<Result<(), String>>),
    Receipts {
        since_ms: u64,
        limit: u32,
        answer: oneshot::Sender<Receipts>,
    },
    AuditRows {
        limit: u32,
        only: Box<AuditFilter>,
        answer: oneshot::Sender<Vec<AuditRow>>,
    },
}

/// The way to the store.
#[derive(Debug)]
pub struct Store {
    jobs: Option<SyncSender<Job>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

/// What both sides of the queue know.
#[derive(Debug, Default)]
struct State {
    /// Jobs in the queue.
    waiting: AtomicUsize,
    /// Records that were lost for good.
    lost: AtomicU64,
}

impl Store {
    /// Opens the database in `state_dir`, brings its tables up to date and reads what the directory
    /// starts from. Receipts are signed with `site_key`.
    pub fn open(state_dir: &Path, site_key: &Identity) -> anyhow::Result<(Self, Remembered)> {
        let path = state_dir.join("broker.sqlite");
        let mut connection = Connection::open(&path)
            .with_context(|| format!("cannot open the store {}", path.display()))?;
        schema::prepare(&mut connection)
            .with_context(|| format!("cannot use the store {}", path.display()))?;
        let remembered = tables::remembered(&mut connection)
            .with_context(|| format!("cannot read the store {}", path.display()))?;
        let audit = AuditFile::open(&state_dir.join("audit.jsonl"))?;
        let (jobs, inbox) = sync_channel(MAX_WAITING);
        let state = Arc::<State>::default();
        let seen = state.clone();
        let site_key = site_key.clone();
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                let mut keeper = Keeper {
                    connection,
                    audit,
                    site_key,
                    unkept: Vec::new(),
                    told_lost: 0,
                    unpruned: Unpruned::default(),
                    state: seen,
                };
                keeper.work(&inbox);
            })?;
        let store = Self {
            jobs: Some(jobs),
            state,
            thread: Some(thread),
            path,
        };
        Ok((store, remembered))
    }

    /// What is known in `state_dir`, beside the broker whose store it is; nothing where there is none.
    pub fn look(state_dir: &Path) -> anyhow::Result<Option<Remembered>> {
        let path = state_dir.join("broker.sqlite");
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        anyhow::ensure!(
            schema::is_current(&connection)?,
            "it was written by another version of the broker"
        );
        Ok(Some(tables::known(&connection)?))
    }

    /// Keeps a record, soon.
    pub fn keep(&self, record: Record) {
        self.send(Job::Keep(Box::new(record)));
    }

    /// Keeps an audit line, soon; the queue keeps room for what matters more.
    pub fn audit(&self, row: AuditRow) {
        if self.state.waiting.load(Ordering::Relaxed) < MAX_WAITING_AUDIT {
            self.send(Job::Audit(Box::new(row)));
        } else {
            warn!(
                ?row,
                "the disk does not keep up, an audit line was not written"
            );
        }
    }

    /// Resolves when every record before is on the disk, or with why one is not. Of what was lost
    /// it is told once, to whoever asks next.
    pub fn flushed(&self) -> oneshot::Receiver<Result<(), String>> {
        let (done, flushed) = oneshot::channel();
        let lost = self.state.lost.load(Ordering::Relaxed);
        self.send(Job::Flush(lost, done));
        flushed
    }

    /// The newest receipts, oldest first.
    pub fn receipts(&self, since_ms: u64, limit: u32) -> oneshot::Receiver<Receipts> {
        let (answer, rows) = oneshot::channel();
        self.send(Job::Receipts {
            since_ms,
            limit,
            answer,
        });
        rows
    }

    /// The newest audit lines of those that are asked for, oldest first.
    pub fn audit_rows(&self, limit: u32, only: AuditFilter) -> oneshot::Receiver<Vec<AuditRow>> {
        let (answer, rows) = oneshot::channel();
        self.send(Job::AuditRows {
            limit,
            only: Box::new(only),
            answer,
        });
        rows
    }

    fn send(&self, job: Job) {
        let Some(jobs) = &self.jobs else { return };
        self.state.waiting.fetch_add(1, Ordering::Relaxed);
        match jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => {
                self.state.waiting.fetch_sub(1, Ordering::Relaxed);
                if matches!(job, Job::Keep(_)) {
                    self.state.lost.fetch_add(1, Ordering::Relaxed);
                }
                warn!(
                    store = %self.path.display(),
                    "the disk does not keep up, something was not written"
                );
            }
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

/// The store's thread.
struct Keeper {
    connection: Connection,
    audit: AuditFile,
    /// Signs receipts.
    site_key: Identity,
    /// Records that the disk has refused so far, oldest first.
    unkept: Vec<Record>,
    /// How many lost records have been told of.
    told_lost: u64,
    unpruned: Unpruned,
    state: Arc<State>,
}

/// How much was written since the tables were last pruned, as the start does.
#[derive(Debug, Default)]
struct Unpruned(usize);

impl Unpruned {
    /// Counts what was written; whether it is time to prune, which it then is not until as much was
    /// written again.
    fn is_due_after(&mut self, written: usize) -> bool {
        self.0 += written;
        let is_due = self.0 >= PRUNE_AFTER;
        if is_due {
            self.0 = 0;
        }
        is_due
    }
}

impl Keeper {
    fn work(&mut self, inbox: &Receiver<Job>) {
        loop {
            let first = match self.unkept.is_empty() {
                true => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => inbox.recv_timeout(RETRY),
            };
            let batch: Vec<Job> = match first {
                Ok(first) => std::iter::once(first)
                    .chain(inbox.try_iter().take(MAX_BATCH))
                    .collect(),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.state.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
            self.take(batch);
        }
        if !self.unkept.is_empty() {
            self.take(Vec::new());
        }
    }

    /// Writes a batch behind what could not be written before, and answers.
    fn take(&mut self, batch: Vec<Job>) {
        let mut rows = Vec::new();
        let mut answers = Vec::new();
        for job in batch {
            match job {
                Job::Keep(record) => self.unkept.push(*record),
                Job::Audit(row) => {
                    self.audit.append(&row);
                    rows.push(*row);
                }
                other => answers.push(other),
            }
        }
        let mut is_time_to_prune = false;
        let kept = match self.write(&rows) {
            Ok(()) => {
                let written = self.unkept.len() + rows.len();
                is_time_to_prune = self.unpruned.is_due_after(written);
                self.unkept.clear();
                Ok(())
            }
            Err(problem) => {
                warn!(%problem, waiting = self.unkept.len(), "the store could not be written");
                let surplus = self.unkept.len().saturating_sub(MAX_UNKEPT);
                self.unkept.drain(..surplus);
                self.state.lost.fetch_add(surplus as u64, Ordering::Relaxed);
                Err(format!(
                    "{problem:#}; the broker tries again, and forgets it if it is restarted before \
                     that succeeds"
                ))
            }
        };
        for job in answers {
            self.answer(job, &kept);
        }
        // Nobody waits for this, and what was written stands without it.
        if is_time_to_prune && let Err(problem) = self.prune() {
            warn!(%problem, "the store could not be pruned");
        }
    }

    fn prune(&mut self) -> anyhow::Result<()> {
        let transaction = self.connection.transaction()?;
        tables::prune(&transaction, &tables::BOUNDS)?;
        transaction.commit()?;
        Ok(())
    }

    fn write(&mut self, rows: &[AuditRow]) -> anyhow::Result<()> {
        let transaction = self.connection.transaction()?;
        for record in &self.unkept {
            tables::keep(&transaction, record, &self.site_key)?;
        }
        for row in rows {
            tables::keep_audit(&transaction, row)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Whether all that was lost before somebody asked has been told of. What is lost afterwards is
    /// not theirs, and waits for the next one.
    fn lost_nothing_since(&mut self, lost: u64) -> Result<(), String> {
        if lost <= self.told_lost {
            return Ok(());
        }
        self.told_lost = lost;
        let why = "the disk did not keep up, and this or an earlier change was lost; make it again";
        Err(why.to_owned())
    }

    fn answer(&mut self, job: Job, kept: &Result<(), String>) {
        match job {
            Job::Keep(_) | Job::Audit(_) => {}
            Job::Flush(lost, done) => {
                let kept = kept.clone().and_then(|()| self.lost_nothing_since(lost));
                drop(done.send(kept));
            }
            Job::Receipts {
                since_ms,
                limit,
                answer,
            } => {
                let receipts = tables::receipts(&self.connection, since_ms, limit);
                drop(answer.send(Receipts {
                    site_key: hex::digits(&self.site_key.public_key()),
                    receipts: or_none(receipts),
                }));
            }
            Job::AuditRows {
                limit,
                only,
                answer,
            } => drop(answer.send(or_none(tables::audit_rows(&self.connection, limit, &only)))),
        }
    }
}

fn or_none<T>(rows: rusqlite::Result<Vec<T>>) -> Vec<T> {
    rows.unwrap_or_else(|problem| {
        warn!(%problem, "the store could not be read");
        Vec::new()
    })
}

#[cfg(test)]
mod tests;

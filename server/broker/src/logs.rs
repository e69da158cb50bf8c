//! Where the logs of sessions are, and which of them are kept.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use heliostat_control::hex::Hex;
use heliostat_control::worker::SessionKind;
use heliostat_wire::id::SessionId;

/// Logs of ended sessions that are kept, and of ended greeters beside them.
const MAX_LOGS: usize = 64;
/// How their names begin. Greeters come with every login, and would push out what people's sessions
/// have said.
const SESSION: &str = "session-";
const GREETER: &str = "greeter-";

/// The log of a session.
pub fn path(folder: &Path, id: SessionId, kind: SessionKind) -> PathBuf {
    let begin = match kind {
        SessionKind::Greeter => GREETER,
        SessionKind::Desktop | SessionKind::Kiosk => SESSION,
    };
    folder.join(format!("{begin}{id}.log"))
}

/// The log of a session of whatever kind.
pub fn find(folder: &Path, id: SessionId) -> PathBuf {
    let greeters = path(folder, id, SessionKind::Greeter);
    match greeters.exists() {
        true => greeters,
        false => path(folder, id, SessionKind::Desktop),
    }
}

/// Opens a log, to be added to.
pub fn open(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open the log {}", path.display()))
}

/// Removes the oldest logs of sessions and of greeters, but for those that run.
pub fn trim(folder: &Path, runs: impl Fn(SessionId) -> bool) {
    let (mut sessions, mut greeters) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let (logs, id) = match (name.strip_prefix(SESSION), name.strip_prefix(GREETER)) {
            (Some(id), _) => (&mut sessions, id),
            (None, Some(id)) => (&mut greeters, id),
            (None, None) => continue,
        };
        let id = id.strip_suffix(".log").and_then(|id| id.parse().ok());
        let runs = id.is_some_and(|Hex(id)| runs(SessionId(id)));
        if let (false, Ok(meta)) = (runs, entry.metadata()) {
            logs.push((meta.modified().unwrap_or(UNIX_EPOCH), entry.path()));
        }
    }
    remove_oldest(sessions);
    remove_oldest(greeters);
}

fn remove_oldest(mut logs: Vec<(SystemTime, PathBuf)>) {
    logs.sort();
    let surplus = logs.len().saturating_sub(MAX_LOGS);
    for (_, path) in logs.into_iter().take(surplus) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn logs_of_sessions_that_run_are_kept_and_greeters_push_out_none_of_peoples() {
        let folder = tempfile::tempdir().unwrap();
        let id = |number: usize| SessionId((number as u128).to_be_bytes());
        let log = |number, kind| path(folder.path(), id(number), kind);
        let said = |number: usize, kind| {
            let file = open(&log(number, kind)).unwrap();
            let at = UNIX_EPOCH + Duration::from_secs(number as u64);
            file.set_modified(at).unwrap();
        };
        // The oldest runs on, and has been silent for long.
        for number in 0..=MAX_LOGS + 1 {
            said(number, SessionKind::Desktop);
        }
        for number in 1000..1000 + 2 * MAX_LOGS {
            said(number, SessionKind::Greeter);
        }
        trim(folder.path(), |session| session == id(0));
        let is_there = |number, kind| log(number, kind).exists();
        assert!(is_there(0, SessionKind::Desktop), "it runs");
        assert!(!is_there(1, SessionKind::Desktop), "the oldest that ended");
        assert!((2..=MAX_LOGS + 1).all(|number| is_there(number, SessionKind::Desktop)));
        let mut left = (1000..1000 + 2 * MAX_LOGS).filter(|n| is_there(*n, SessionKind::Greeter));
        assert_eq!(left.next(), Some(1000 + MAX_LOGS));
        assert_eq!(
            find(folder.path(), id(1100)),
            log(1100, SessionKind::Greeter)
        );
        assert_eq!(find(folder.path(), id(5)), log(5, SessionKind::Kiosk));
    }
}

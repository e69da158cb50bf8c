//! The policy file on the disk: read at the start, and again whenever it has changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use crate::config::ConfigError;
use crate::directory::Event;
use crate::hub::{Incoming, ToHub};
use crate::policy::Policy;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a policy that are worth reading.
const MAX_BYTES: u64 = 4 << 20;

/// Reads a policy; where there is no file, what is built in holds.
pub fn load(path: &Path) -> Result<Policy, ConfigError> {
    let file = path.display().to_string();
    let unreadable = |why: String| ConfigError::Unreadable {
        file: file.clone(),
        why,
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Policy::default()),
        Err(error) => return Err(unreadable(error.to_string())),
        Ok(meta) if meta.len() > MAX_BYTES => {
            return Err(unreadable(format!("it has more than {MAX_BYTES} bytes")));
        }
        Ok(_) => {}
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    Policy::parse(&file, &text)
}

/// What tells one state of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: meta.modified().ok()?,
        length: meta.len(),
        inode: meta.ino(),
    })
}

/// Reads the file anew whenever it has changed, until the hub is gone. A file that is no policy
/// changes nothing.
pub async fn watch(path: PathBuf, hub: ToHub) {
    let mut seen = stamp(&path);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = stamp(&path);
        if now == seen {
            continue;
        }
        seen = now;
        match load(&path) {
            Ok(policy) => {
                info!(policy = %path.display(), "the policy has changed");
                let changed = Event::Policy(Box::new(policy));
                if hub.send(Incoming::Event(changed)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!("the policy before still holds: {error}");
                let refused = Event::PolicyRefused(error.to_string());
                if hub.send(Incoming::Event(refused)).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_what_is_built_in_and_a_wrong_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        assert_eq!(load(&path), Ok(Policy::default()));
        fs::write(&path, "[default]\nprof = \"card\"\n").unwrap();
        let text = load(&path).unwrap_err().to_string();
        assert!(text.contains("policy.toml, line 2"), "{text}");
    }

    #[tokio::test]
    async fn a_changed_file_reaches_the_hub_and_a_wrong_one_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        let (hub, mut inbox) = tokio::sync::mpsc::channel(4);
        let watching = tokio::spawn(watch(path.clone(), hub));
        tokio::task::yield_now().await;
        fs::write(&path, "default.grace = \"1h\"\n").unwrap();
        let Some(Incoming::Event(Event::Policy(policy))) = inbox.recv().await else {
            panic!("no policy");
        };
        let outcome = policy.decide(&crate::policy::Given::default());
        assert_eq!(outcome.grace.to_string(), "1h");
        fs::write(&path, "default.grace = \"an hour\"\n").unwrap();
        let Some(Incoming::Event(Event::PolicyRefused(why))) = inbox.recv().await else {
            panic!("no word of a wrong policy");
        };
        assert!(why.contains("line 1"), "{why}");
        watching.abort();
    }
}

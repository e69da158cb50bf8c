//! The policy file on the disk: read at the start, and again whenever it has changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use crate::config::ConfigError;
use crate::directory::Event;
use crate::hub::{Incoming, ToHub};
use crate::policy::{Here, Policy};

/// How often the file is looked at. Two looks have to find it alike.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes of a policy that are worth reading.
const MAX_BYTES: u64 = 4 << 20;

/// Where the policy is unless broker.toml says otherwise.
pub const USUAL: &str = "/etc/heliostat/policy.toml";

/// Reads a policy. Where there is no file in the usual place, what is built in holds; a file that
/// broker.toml names has to be there, since a slip in its name would loosen what the site asks for.
/// Only for a start: see [`watch`].
pub fn load(path: &Path) -> Result<Policy, ConfigError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match path == Path::new(USUAL) {
            true => Ok(Policy::default()),
            false => Err(ConfigError::Unreadable {
                file: path.display().to_string(),
                why: "broker.toml names it as the policy, and it is not there: make it (an empty one \
                      means what is built in), or mend the name"
                    .to_owned(),
            }),
        },
        _ => reload(path),
    }
}

/// Reads a policy that has to be there.
fn reload(path: &Path) -> Result<Policy, ConfigError> {
    let file = path.display().to_string();
    let unreadable = |why: String| ConfigError::Unreadable {
        file: file.clone(),
        why,
    };
    let meta = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if meta.len() > MAX_BYTES {
        return Err(unreadable(format!("it has more than {MAX_BYTES} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    Policy::parse(&file, &text)
}

/// What tells one state of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

/// The present state of a file, if it is there.
pub fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: meta.modified().ok()?,
        length: meta.len(),
        inode: meta.ino(),
    })
}

/// Reads the file anew whenever it has changed from what was `loaded`, until the hub is gone. A file
/// that is no policy changes nothing.
pub async fn watch(path: PathBuf, loaded: Option<Stamp>, here: Here, hub: ToHub) {
    let mut watched = Watched {
        path,
        here,
        judged: loaded,
        before: loaded,
    };
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(event) = watched.look() else {
            continue;
        };
        if hub.send(Incoming::Event(event)).await.is_err() {
            return;
        }
    }
}

/// The file, from one look to the next.
struct Watched {
    path: PathBuf,
    here: Here,
    /// The state that was loaded or refused.
    judged: Option<Stamp>,
    /// The state at the look before.
    before: Option<Stamp>,
}

impl Watched {
    /// What there is to say about the file now. One in the middle of being written may read as a
    /// policy that says less, so only what two looks find alike is taken.
    fn look(&mut self) -> Option<Event> {
        let now = stamp(&self.path);
        let is_stable = std::mem::replace(&mut self.before, now) == now;
        if !is_stable || now == self.judged {
            return None;
        }
        let policy = reload(&self.path);
        if stamp(&self.path) != now {
            return None;
        }
        self.judged = now;
        Some(match policy {
            Ok(policy) => {
                info!(policy = %self.path.display(), "the policy has changed");
                Event::Policy(Box::new(policy.at(self.here.clone())))
            }
            Err(error) => {
                warn!("the policy before still holds: {error}");
                Event::PolicyRefused(error.to_string())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_named_has_to_be_there_and_a_wrong_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        let text = load(&path).unwrap_err().to_string();
        assert!(text.contains("is not there"), "{text}");
        fs::write(&path, "").unwrap();
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
        let watching = tokio::spawn(watch(path.clone(), None, here(), hub));
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
    fn here() -> Here {
        Here {
            server: "srv1".to_owned(),
            has_greeter: true,
        }
    }

    /// A file with this text that was loaded at the start.
    fn watched(text: &str) -> (tempfile::TempDir, Watched) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        fs::write(&path, text).unwrap();
        let loaded = stamp(&path);
        let watched = Watched {
            path,
            here: here(),
            judged: loaded,
            before: loaded,
        };
        (folder, watched)
    }

    fn is_refused(event: Option<Event>) -> bool {
        matches!(event, Some(Event::PolicyRefused(_)))
    }

    #[test]
    fn file_that_vanishes_is_refused_once_and_nothing_built_in_takes_its_place() {
        let (_folder, mut watched) = watched("default.proof = \"card+pin\"\n");
        fs::remove_file(&watched.path).unwrap();
        assert!(watched.look().is_none());
        assert!(is_refused(watched.look()));
        assert!(watched.look().is_none());
        // The same words again are a change from there being none.
        fs::write(&watched.path, "default.proof = \"card+pin\"\n").unwrap();
        assert!(watched.look().is_none());
        assert!(matches!(watched.look(), Some(Event::Policy(_))));
    }

    #[test]
    fn file_in_the_middle_of_being_written_is_not_taken() {
        let whole = "default.grace = \"1h\"\ndefault.proof = \"card+pin\"\n";
        let (_folder, mut watched) = watched(whole);
        // Empty, then half of it: each of them is a policy by itself.
        for text in ["", &whole[..22]] {
            fs::write(&watched.path, text).unwrap();
            assert!(watched.look().is_none(), "{text:?}");
        }
        fs::write(&watched.path, whole).unwrap();
        assert!(watched.look().is_none());
        let Some(Event::Policy(policy)) = watched.look() else {
            panic!("no policy");
        };
        let expected = Policy::parse("policy.toml", whole).unwrap().at(here());
        assert_eq!(*policy, expected);
    }
}

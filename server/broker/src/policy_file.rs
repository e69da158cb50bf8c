//! The policy file on the disk: read at the start, and again whenever it has changed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tracing::{info, warn};

use crate::config::ConfigError;
use crate::directory::Event;
use crate::hub::{Incoming, ToHub};
use crate::policy::{Here, Policy};
use crate::sys;

/// How soon a file that has changed is looked at again: two looks have to find it alike. Where nobody
/// says that it has, it is looked at as often.
const LOOK: Duration = Duration::from_millis(500);
/// How soon it is looked at when something has changed beside it, which may be a log.
const SOON: Duration = Duration::from_millis(100);
/// How often it is looked at where the kernel would say: not all file systems tell everything.
const SELDOM: Duration = Duration::from_secs(10);
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
    let changes = Changes::new().inspect_err(|error| {
        info!("the kernel does not say when the policy changes, so it is looked at: {error}");
    });
    loop {
        // In this order: what changes after the look is said.
        let is_told = changes.as_ref().ok().filter(|it| it.of(&watched.path));
        if let Some(event) = watched.look()
            && hub.send(Incoming::Event(event)).await.is_err()
        {
            return;
        }
        match is_told {
            Some(changes) if watched.is_settled() => {
                let _ = tokio::time::timeout(SELDOM, changes.came()).await;
                tokio::time::sleep(SOON).await;
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// The kernel's word of files that change.
#[derive(Debug)]
struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self(sys::watch(inotify)?))
    }

    /// Has it say from now on when something changes in the folders of a file, where its name is and
    /// where a link leads to. False where it cannot. Folders are others when they were made anew, so
    /// this is asked before each look.
    fn of(&self, path: &Path) -> bool {
        let changes = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let named = path.parent().filter(|named| !named.as_os_str().is_empty());
        // Of a folder that a link leads to, the links on the way may be changed unseen.
        if named.is_some_and(|named| !fs::canonicalize(named).is_ok_and(|real| real == named)) {
            return false;
        }
        let real = fs::canonicalize(path).ok();
        let files = [Some(path), real.as_deref()];
        let folders = files.into_iter().flatten().filter_map(Path::parent);
        let folders: BTreeSet<&Path> = folders
            .map(|folder| match folder.as_os_str().is_empty() {
                true => Path::new("."),
                false => folder,
            })
            .collect();
        let mut watched = folders
            .into_iter()
            .map(|folder| inotify::add_watch(self.0.get_ref(), folder, changes));
        watched.all(|watched| watched.is_ok())
    }

    /// Something has changed. Cancel-safe.
    async fn came(&self) {
        let mut room = [MaybeUninit::uninit(); 4096];
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                // A descriptor that tokio has given up says nothing any more.
                return std::future::pending().await;
            };
            let mut reader = inotify::Reader::new(self.0.get_ref(), &mut room);
            let mut has_changed = false;
            while reader.next().is_ok() {
                has_changed = true;
            }
            ready.clear_ready();
            if has_changed {
                return;
            }
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
    /// Whether what the last look has found was loaded or refused.
    fn is_settled(&self) -> bool {
        self.before == self.judged
    }

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

    #[tokio::test]
    async fn kernel_says_when_a_file_changes_and_what_a_link_leads_to() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = folder.path().join("policy.toml");
        let target = elsewhere.path().join("site.toml");
        let changes = Changes::new().unwrap();
        assert!(changes.of(&path), "the file need not be there yet");
        fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        changes.came().await;
        assert!(changes.of(&path));
        fs::write(&target, "default.grace = \"1h\"\n").unwrap();
        changes.came().await;
        let nothing = tokio::time::timeout(Duration::ZERO, changes.came()).await;
        assert!(nothing.is_err(), "all of it was read");
        fs::remove_file(&path).unwrap();
        changes.came().await;
        let nowhere = folder.path().join("none/policy.toml");
        assert!(!changes.of(&nowhere), "nobody would say");
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

//! Groups of our own, where no systemd has them.

use std::fs;
use std::io::{self, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heliostat_control::worker::Limits;
use heliostat_wire::id::SessionId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The group below which sessions have theirs.
const SLICE: &str = "heliostat.slice";
/// The group of the broker itself: a group with processes in it cannot pass controllers on.
const BROKER: &str = "heliostat-broker";
const CONTROLLERS: [&str; 4] = ["memory", "cpu", "pids", "io"];

/// A session's group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group(PathBuf);

impl Group {
    /// Makes the group of a session; says what of the limits does not hold.
    pub fn make(session: SessionId, limits: &Limits) -> io::Result<(Self, Vec<String>)> {
        Self::named(&format!("session-{session}"), limits)
    }

    /// Makes a group of this name, beside those of sessions.
    pub fn named(name: &str, limits: &Limits) -> io::Result<(Self, Vec<String>)> {
        let ours = ours()?;
        pass_on_controllers(&ours);
        let slice = ours.join(SLICE);
        let group = slice.join(name);
        // Another session's end may take the empty slice away meanwhile.
        for _ in 0..3 {
            make(&slice)?;
            pass_on_controllers(&slice);
            match make(&group) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                made => {
                    made?;
                    let without = super::apply(&group, limits);
                    return Ok((Self(group), without));
                }
            }
        }
        Err(ErrorKind::NotFound.into())
    }

    /// Makes a group of this name within this one. It has no limits of its own: what is in it counts
    /// as this one's, and ends with it.
    pub fn within(&self, name: &str) -> io::Result<Self> {
        let group = self.0.join(name);
        make(&group)?;
        Ok(Self(group))
    }

    /// The group at `path`, which an earlier broker made.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Ends everything in it at once, whatever makes new processes in there.
    pub fn kill(&self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// Waits until nothing runs in it, or for so long.
    pub fn wait_until_empty(&self, patience: Duration) {
        let started = Instant::now();
        let Ok(mut events) = fs::File::open(self.0.join("cgroup.events")) else {
            return;
        };
        loop {
            let mut text = String::new();
            let read = events
                .rewind()
                .and_then(|()| events.read_to_string(&mut text));
            let left = patience.saturating_sub(started.elapsed());
            if read.is_err() || text.contains("populated 0") || left.is_zero() {
                return;
            }
            // The file says by an exceptional condition that it has changed.
            let left = Timespec::try_from(left).unwrap_or_default();
            let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&left));
        }
    }

    /// Removes it once it is empty, with empty ones within.
    pub fn remove(&self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let _ = fs::remove_dir(entry.path());
            }
        }
        let _ = fs::remove_dir(&self.0);
        if let Some(slice) = self.0.parent() {
            // Goes with the last session.
            let _ = fs::remove_dir(slice);
        }
    }
}

fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// What is not there to be passed on is missed when a limit is written.
fn pass_on_controllers(group: &Path) {
    for controller in CONTROLLERS {
        let _ = fs::write(
            group.join("cgroup.subtree_control"),
            format!("+{controller}"),
        );
    }
}

/// Puts the broker into a group of its own, so that sessions can have controllers beside it. Only
/// the machine's first group needs that not, and systemd's are not ours to arrange.
pub fn move_broker() {
    if super::systemd::runs() {
        return;
    }
    let Ok(ours) = ours() else { return };
    if ours.join("cgroup.events").exists() {
        let own = ours.join(BROKER);
        let moved = make(&own).and_then(|()| fs::write(own.join("cgroup.procs"), "0"));
        // Sessions go without limits then, and say so.
        let _ = moved;
    }
}

/// The group in which the broker was started.
fn ours() -> io::Result<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let found = folder(&groups, &mounts);
    found.ok_or_else(|| io::Error::other("no control groups of version 2 are mounted"))
}

/// From the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn folder(groups: &str, mounts: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let path = Path::new(path);
    let path = match path.file_name() {
        Some(name) if name == BROKER => path.parent()?,
        _ => path,
    };
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then_some(())?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        Some(Path::new(point).join(path.strip_prefix(root).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found_where_version_2_is_mounted() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 30 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let find = |groups| folder(groups, mounts);
        let found = |path: &str| Some(PathBuf::from(format!("/sys/fs/cgroup/unified/{path}")));
        assert_eq!(find("8:pids:/x\n0::/\n"), found(""));
        assert_eq!(find("0::/a/b\n"), found("a/b"));
        assert_eq!(find("0::/a/heliostat-broker\n"), found("a"));
        assert_eq!(find("8:pids:/\n"), None);
        assert_eq!(
            folder("0::/\n", "31 30 0:27 / /x rw - cgroup cgroup rw\n"),
            None
        );
    }
}

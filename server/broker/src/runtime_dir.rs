//! People's runtime folders, where PAM gives none: each is a file system of its own with a limit,
//! so that nobody fills everybody's.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use heliostat_control::hex::Hex;
use heliostat_control::worker::SessionKind;
use heliostat_wire::id::SessionId;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::accounts::Account;
use crate::directory::Owner;
use crate::launcher::make_dir;

/// In a session's folder: the path of the runtime folder that it has, or is about to.
const CLAIM: &str = "runtime_dir";
/// A runtime folder may hold this part of the machine's memory, as logind has it.
const PART_OF_MEMORY: u64 = 10;
/// Bytes of memory for which a runtime folder may hold one file.
const BYTES_A_FILE: u64 = 4096;
/// File systems that a person may mount over their runtime folder; with more it is left there.
const MAX_MOUNTS: u32 = 64;

/// The runtime folder of a session. A person's desktops share one, as their programs expect;
/// greeters and kiosks, which may be many of one account, have one each.
pub fn path(dirs: &Path, uid: u32, kind: SessionKind, session: SessionId) -> PathBuf {
    match kind {
        SessionKind::Desktop => dirs.join(uid.to_string()),
        SessionKind::Greeter | SessionKind::Kiosk => dirs.join(format!("{uid}-{session}")),
    }
}

/// Makes a runtime folder that is a session's from now on, whose own folder is `session`; says what
/// it has to do without.
pub fn take(session: &Path, folder: &Path, account: &Account) -> anyhow::Result<Option<String>> {
    let _lock = lock(folder).context("cannot lock runtime folders")?;
    // Before anything is made of it: it may be there still, and about to be removed.
    fs::write(session.join(CLAIM), folder.as_os_str().as_bytes())
        .context("cannot note which runtime folder a session has")?;
    make(folder, account)
}

/// Does away with a runtime folder, unless a session other than this has it.
pub fn give_up(sessions: &Path, session: SessionId, folder: &Path, away: impl FnOnce()) {
    match lock(folder) {
        Ok(_lock) if !is_shared(sessions, session, folder) => away(),
        Ok(_) => {}
        Err(problem) => {
            tracing::warn!(?folder, %problem, "a runtime folder could not be locked and is left");
        }
    }
}

/// Nobody takes or gives up a runtime folder beside who has this; workers do, and the broker.
fn lock(folder: &Path) -> io::Result<Flock<File>> {
    let path = folder.parent().unwrap_or(folder).with_extension("lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600);
    let file = file.open(path)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error.into())
}

fn make(folder: &Path, account: &Account) -> anyhow::Result<Option<String>> {
    make_dir(folder, 0o700)?;
    // Also below a mount, so that the person's process that empties the folder may look there.
    give(folder, account)?;
    if Uid::effective().is_root() && !is_mount(folder)? {
        let memory = nix::sys::sysinfo::sysinfo().context("cannot ask how much memory there is")?;
        let size = memory.ram_total() / PART_OF_MEMORY;
        let options = format!(
            "mode=0700,uid={},gid={},size={size},nr_inodes={}",
            account.uid,
            account.gid,
            size / BYTES_A_FILE
        );
        let options = std::ffi::CString::new(options)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        if let Err(error) = mount("tmpfs", folder, "tmpfs", flags, Some(options.as_c_str())) {
            let without = format!("a limit of runtime folders (cannot mount: {error})");
            return Ok(Some(without));
        }
    }
    Ok(None)
}

fn give(folder: &Path, account: &Account) -> anyhow::Result<()> {
    chown(folder, Some(account.uid), Some(account.gid))
        .with_context(|| format!("cannot give {} away", folder.display()))
}

fn is_mount(folder: &Path) -> io::Result<bool> {
    let parent = folder.parent().unwrap_or(folder);
    Ok(fs::symlink_metadata(folder)?.dev() != fs::symlink_metadata(parent)?.dev())
}

/// Takes away what is mounted there.
pub fn unmount_all(folder: &Path) {
    let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    let mut mounts = 0..MAX_MOUNTS;
    while mounts.next().is_some() && unmount(folder, flags).is_ok() {}
}

/// Whether a session other than this has the same runtime folder, or is about to.
fn is_shared(sessions: &Path, session: SessionId, folder: &Path) -> bool {
    let entries = fs::read_dir(sessions).into_iter().flatten().flatten();
    let mut others = entries.filter(|entry| {
        let id = entry.file_name().to_str().and_then(|id| id.parse().ok());
        id.is_some_and(|Hex(id)| SessionId(id) != session)
    });
    others.any(|other| {
        let claim = fs::read(other.path().join(CLAIM)).unwrap_or_default();
        // Sessions that an older broker has started have noted it there only.
        let owned = || Owner::read(&other.path())?.runtime_dir;
        claim == folder.as_os_str().as_bytes() || owned().is_some_and(|other| other == folder)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Site {
        folder: tempfile::TempDir,
        account: Account,
    }

    impl Site {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("user")).unwrap();
            let account = Account {
                name: "alice".to_owned(),
                uid: Uid::effective().as_raw(),
                gid: nix::unistd::Gid::effective().as_raw(),
                home: "/".into(),
                shell: "/bin/sh".into(),
            };
            Self { folder, account }
        }

        fn sessions(&self) -> PathBuf {
            self.folder.path().join("sessions")
        }

        /// The runtime folder.
        fn runtime(&self) -> PathBuf {
            self.folder.path().join("user/1000")
        }

        /// A session's folder.
        fn session(&self, number: u8) -> PathBuf {
            let folder = self.sessions().join(SessionId([number; 16]).to_string());
            fs::create_dir_all(&folder).unwrap();
            folder
        }

        fn is_given_up_by(&self, number: u8) -> bool {
            let mut is_away = false;
            let session = SessionId([number; 16]);
            give_up(&self.sessions(), session, &self.runtime(), || {
                is_away = true
            });
            is_away
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            unmount_all(&self.runtime());
        }
    }

    #[test]
    fn a_session_that_is_only_starting_keeps_its_runtime_folder() {
        let site = Site::new();
        let (old, new) = (site.session(1), site.session(2));
        take(&old, &site.runtime(), &site.account).unwrap();
        // Nothing runs yet for which there could be an owner.json.
        take(&new, &site.runtime(), &site.account).unwrap();
        fs::write(site.runtime().join("bus"), "").unwrap();
        assert!(!site.is_given_up_by(1));
        fs::remove_dir_all(old).unwrap();
        assert!(!site.is_given_up_by(1));
        assert!(site.runtime().join("bus").exists());
        assert!(site.is_given_up_by(2), "it is the last one");
    }

    #[test]
    fn nobody_looks_for_sharers_while_a_session_takes_its_folder() {
        let site = Site::new();
        site.session(1);
        let new = site.session(2);
        let taking = lock(&site.runtime()).unwrap();
        std::thread::scope(|scope| {
            let giving_up = scope.spawn(|| site.is_given_up_by(1));
            fs::write(new.join(CLAIM), site.runtime().as_os_str().as_bytes()).unwrap();
            drop(taking);
            assert!(!giving_up.join().unwrap());
        });
    }
}

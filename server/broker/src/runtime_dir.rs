//! People's runtime folders, where PAM gives none: each is a file system of its own with a limit,
//! so that nobody fills everybody's.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use heliostat_control::hex::Hex;
use heliostat_control::worker::SessionKind;
use heliostat_wire::id::SessionId;
use nix::unistd::Uid;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::accounts::Account;
use crate::directory::Owner;
use crate::launcher::make_dir;

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

/// Makes a runtime folder; says what it has to do without.
pub fn make(folder: &Path, account: &Account) -> anyhow::Result<Option<String>> {
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

/// Whether a session other than this has the same runtime folder.
pub fn is_shared(sessions: &Path, session: SessionId, folder: &Path) -> bool {
    let entries = fs::read_dir(sessions).into_iter().flatten().flatten();
    let mut others = entries.filter_map(|entry| {
        let Hex(id) = entry.file_name().to_str()?.parse().ok()?;
        let other = (SessionId(id) != session).then(|| Owner::read(&entry.path()))??;
        other.runtime_dir
    });
    others.any(|other| other == folder)
}

//! Empties a runtime folder that a person has left: `heliostat-broker remove-folder`.
//!
//! What lies in it is the person's doing: millions of files, links to anywhere, file systems of
//! their own. So it is a process of its own that deletes, as that person, and follows nothing out
//! of the folder. The folder itself, which lies in one of root's, is left to the broker.

use std::ffi::{CStr, OsString};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::{Gid, Uid, setgid, setgroups, setsid, setuid};
use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, chmodat, fstat, openat, openat2, renameat,
    statat, unlinkat,
};
use rustix::io::{Errno, Result};
use rustix::mount::{UnmountFlags, unmount};

/// Whose folder, and which.
#[derive(Debug, clap::Args)]
pub struct RemoveFolder {
    /// The user's number.
    #[arg(long)]
    uid: u32,
    /// The folder, of which every part but the last is root's.
    folder: PathBuf,
}

impl RemoveFolder {
    /// Empties it.
    pub fn run(&self) -> anyhow::Result<()> {
        // What ends the broker's group, as Ctrl-C does, shall not end this.
        let _ = setsid();
        let folder = fs::canonicalize(&self.folder)?;
        let top = open_folder(CWD, &folder)?;
        if Uid::effective().is_root() {
            unmount_below(&top, &folder)?;
            let group = fs::symlink_metadata(&folder)?.gid();
            setgroups(&[]).context("cannot leave root's groups")?;
            setgid(Gid::from_raw(group)).context("cannot take the user's group")?;
            setuid(Uid::from_raw(self.uid)).context("cannot become the user")?;
        }
        empty(top.as_fd()).with_context(|| format!("cannot empty {}", folder.display()))
    }
}

fn open_folder(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

/// Detaches what is mounted in the folder, as a desktop's portals leave it behind.
fn unmount_below(top: &OwnedFd, folder: &Path) -> anyhow::Result<()> {
    let mounts = fs::read("/proc/self/mountinfo")?;
    for line in mounts.split(|byte| *byte == b'\n') {
        let field = line.split(|byte| *byte == b' ').nth(4);
        let point = PathBuf::from(OsString::from_vec(unescape(field.unwrap_or_default())));
        let Ok(below) = point.strip_prefix(folder) else {
            continue;
        };
        // The path leads through the person's folders, where a link may have taken a folder's
        // place by now.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        if let Ok(mount) = openat2(top, below, flags, Mode::empty(), resolve) {
            let mount = format!("/proc/self/fd/{}", mount.as_raw_fd());
            let _ = unmount(mount, UnmountFlags::DETACH);
        }
    }
    Ok(())
}

/// Reads the octal escapes of mountinfo.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = &after[if byte.is_some() { 3 } else { 0 }..];
    }
    bytes
}

/// Deletes what lies in `top`, in rounds: whatever lies deeper than two folders is moved up, so
/// that no depth takes memory or descriptors.
fn empty(top: BorrowedFd<'_>) -> Result<()> {
    let device = fstat(top)?.st_dev;
    let mut moved = 0;
    loop {
        let (mut problem, mut progress) = (None, false);
        for name in names(top)? {
            match delete(top, &name?, device, &mut moved) {
                Ok(()) => progress = true,
                Err(error) => problem = Some(error),
            }
        }
        if !progress {
            return problem.map_or(Ok(()), Err);
        }
    }
}

fn names(folder: BorrowedFd<'_>) -> Result<impl Iterator<Item = Result<std::ffi::CString>>> {
    let names = Dir::read_from(folder)?.map(|entry| Ok(entry?.file_name().to_owned()));
    Ok(names.filter(|name| !matches!(name, Ok(name) if name == c"." || name == c"..")))
}

fn delete(top: BorrowedFd<'_>, name: &CStr, device: u64, moved: &mut u64) -> Result<()> {
    if delete_simply(top, name)? {
        return Ok(());
    }
    if statat(top, name, AtFlags::SYMLINK_NOFOLLOW)?.st_dev != device {
        return Err(Errno::XDEV);
    }
    // Without these rights nothing can be deleted in it; should a link have taken its place, it is
    // a file of the person's own that changes.
    let _ = chmodat(top, name, Mode::RWXU, AtFlags::empty());
    let folder = open_folder(top, name)?;
    if fstat(&folder)?.st_dev != device {
        return Err(Errno::XDEV);
    }
    for inner in names(folder.as_fd())? {
        let inner = inner?;
        if !delete_simply(folder.as_fd(), &inner)? {
            let _ = chmodat(&folder, &inner, Mode::RWXU, AtFlags::empty());
            *moved += 1;
            renameat(&folder, &inner, top, format!(".moved-up-{moved}"))?;
        }
    }
    unlinkat(top, name, AtFlags::REMOVEDIR)
}

/// Deletes what is no folder, or an empty one; says whether it was so.
fn delete_simply(folder: BorrowedFd<'_>, name: &CStr) -> Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => Ok(unlinkat(folder, name, AtFlags::REMOVEDIR).is_ok()),
        deleted => deleted.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn a_folder_of_any_depth_is_emptied_and_links_out_of_it_are_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        let kept = outside.path().join("kept");
        fs::write(&kept, "").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let top = open_folder(CWD, folder.path()).unwrap();
        let mut deepest = top.try_clone().unwrap();
        for _ in 0..5000 {
            mkdirat(&deepest, "d", Mode::RWXU).unwrap();
            mkdirat(&deepest, "e", Mode::RWXU).unwrap();
            deepest = open_folder(deepest.as_fd(), "d").unwrap();
        }
        drop(deepest);
        for inside in ["", "d", "d/d"] {
            let inside = folder.path().join(inside);
            symlink(outside.path(), inside.join("folder")).unwrap();
            symlink(&kept, inside.join("file")).unwrap();
            fs::write(inside.join(".moved-up-1"), "").unwrap();
        }
        let closed = folder.path().join("d/d");
        fs::set_permissions(closed, PermissionsExt::from_mode(0o000)).unwrap();
        empty(top.as_fd()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(kept.exists());
    }

    #[test]
    fn names_in_mountinfo_are_read_with_their_escapes() {
        assert_eq!(unescape(br"/a\040b\134\0"), br"/a b\\0");
    }
}

//! The file systems PID 1 mounts before it looks at anything. The root is the initramfs and stays.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// One file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount {
    /// What the kernel calls it.
    pub kind: &'static str,
    /// Where it goes.
    pub target: &'static str,
    /// `nosuid`, `noexec`, `nodev` beyond what the kind implies.
    pub flags: MsFlags,
    /// Options of the file system.
    pub options: &'static str,
}

const BARE: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NOEXEC)
    .union(MsFlags::MS_NODEV);
const DEVICES: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC);
const DATA: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Everything that is mounted, parents before children.
pub const MOUNTS: &[Mount] = &[
    Mount {
        kind: "proc",
        target: "/proc",
        flags: BARE,
        options: "",
    },
    Mount {
        kind: "sysfs",
        target: "/sys",
        flags: BARE,
        options: "",
    },
    Mount {
        kind: "devtmpfs",
        target: "/dev",
        flags: DEVICES,
        options: "mode=0755",
    },
    Mount {
        kind: "devpts",
        target: "/dev/pts",
        flags: DEVICES,
        options: "mode=0620,gid=5,ptmxmode=0666",
    },
    Mount {
        kind: "tmpfs",
        target: "/dev/shm",
        flags: DATA,
        options: "mode=1777,size=25%",
    },
    Mount {
        kind: "tmpfs",
        target: "/run",
        flags: DATA,
        options: "mode=0755,size=10%",
    },
    Mount {
        kind: "tmpfs",
        target: "/tmp",
        flags: DATA,
        options: "mode=1777,size=10%",
    },
];

/// A file system that could not be mounted.
#[derive(Debug, thiserror::Error)]
#[error("{kind} cannot be mounted at {target}: {source}")]
pub struct MountError {
    kind: &'static str,
    target: &'static str,
    source: io::Error,
}

/// Mounts what is not mounted yet and goes on past failures, which it returns: a terminal with
/// half of them can still say what is wrong.
pub fn mount_all(mounts: &'static [Mount]) -> Vec<MountError> {
    mounts
        .iter()
        .filter_map(|entry| mount_one(entry).err())
        .collect()
}

fn mount_one(entry: &'static Mount) -> Result<(), MountError> {
    let Mount {
        kind,
        target,
        flags,
        options,
    } = *entry;
    let fail = |source| MountError {
        kind,
        target,
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(target)
        .map_err(fail)?;
    match mount(Some(kind), target, Some(kind), flags, Some(options)) {
        // Mounted already, as devtmpfs is by some kernels.
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(error) => Err(fail(error.into())),
    }
}

/// Takes every file system down again, those mounted last first, and those of others (from
/// /proc/mounts) before ours. Nothing waits for a busy one: it goes when its last user does.
pub fn unmount_all() {
    let table = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for target in targets(&table)
        .into_iter()
        .rev()
        .filter(|target| *target != "/")
    {
        let _ = umount2(Path::new(target), MntFlags::MNT_DETACH);
    }
}

fn targets(table: &str) -> Vec<&str> {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_mounted_before_their_children() {
        for (at, entry) in MOUNTS.iter().enumerate() {
            let later = &MOUNTS[at + 1..];
            assert!(
                !later
                    .iter()
                    .any(|other| entry.target.starts_with(&format!("{}/", other.target)))
            );
        }
    }

    #[test]
    fn the_mount_table_is_read() {
        let table = "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\nbad\n";
        assert_eq!(targets(table), ["/", "/proc"]);
    }
}

//! The folder of X sockets, in which every session has one.
//!
//! Whoever owns it can put other sockets in the place of those that are there, so sessions take it
//! from root alone. The machine makes it at boot, but a container does not: there the first session
//! would, and all others would do without X11.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, ensure};
use rustix::fs::OFlags;
use rustix::process::geteuid;

/// Where X clients look.
pub const FOLDER: &str = "/tmp/.X11-unix";
/// Everybody may put sockets there, and take away their own.
const MODE: u32 = 0o1777;

/// Has the folder be there, and be our user's. Nothing that somebody else has put in its place is
/// followed or changed.
pub fn make(folder: &Path) -> anyhow::Result<()> {
    match DirBuilder::new().mode(MODE).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make {}", folder.display()));
        }
        _ => {}
    }
    let opened = open(folder).with_context(|| {
        let folder = folder.display();
        format!("{folder} is in the way: remove it, it is not a folder of X sockets")
    })?;
    let meta = opened.metadata()?;
    ensure!(
        meta.uid() == geteuid().as_raw(),
        "{} belongs to user {}: make it root's, with mode 1777",
        folder.display(),
        meta.uid()
    );
    if meta.mode() & 0o7777 != MODE {
        opened.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(())
}

fn open(folder: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits() as i32);
    options.open(folder)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn folder_is_made_for_everybody_and_set_right_where_it_is_ours() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = tmp.path().join(".X11-unix");
        make(&folder).unwrap();
        assert_eq!(mode(&folder), MODE);
        fs::write(folder.join("X1"), "").unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        make(&folder).unwrap();
        assert_eq!(mode(&folder), MODE);
        assert!(folder.join("X1").exists());
    }

    #[test]
    fn what_somebody_else_has_put_in_its_place_is_left_alone() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = tmp.path().join(".X11-unix");
        let victim = tmp.path().join("victim");
        DirBuilder::new().mode(0o700).create(&victim).unwrap();
        symlink(&victim, &folder).unwrap();
        let text = format!("{:#}", make(&folder).unwrap_err());
        assert!(text.contains("in the way"), "{text}");
        assert_eq!(mode(&victim), 0o700);
        fs::remove_file(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        assert!(make(&folder).is_err());
        fs::remove_file(&folder).unwrap();
        if !geteuid().is_root() {
            return eprintln!("the rest is skipped: only root gives folders away");
        }
        DirBuilder::new().mode(0o755).create(&folder).unwrap();
        chown(&folder, Some(65534), None).unwrap();
        let text = format!("{:#}", make(&folder).unwrap_err());
        assert!(text.contains("user 65534"), "{text}");
        assert_eq!(mode(&folder), 0o755);
    }
}

//! A greeter's socket: `<run_dir>/greeters/<session>/greetd.sock`, which only its user reaches.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use heliostat_wire::id::SessionId;
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

/// The folder of a greeter session, which goes with the value.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The socket in it, for `GREETD_SOCK`.
    pub fn socket(&self) -> PathBuf {
        self.0.join("greetd.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                warn!(folder = %self.0.display(), %problem, "a greeter's folder could not be removed");
            }
            _ => {}
        }
    }
}

/// Removes what the greeters of an earlier broker have left; nobody listens there any more.
pub fn clear(run_dir: &Path) {
    let all = run_dir.join("greeters");
    match fs::remove_dir_all(&all) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
            warn!(folder = %all.display(), %problem, "what greeters left could not be removed");
        }
        _ => {}
    }
}

/// Makes the folder of a greeter session that runs as `uid`, and listens there. Must be called on a
/// tokio runtime. What an earlier broker has left there is replaced.
pub fn listen(
    run_dir: &Path,
    session: SessionId,
    (uid, gid): (u32, u32),
) -> anyhow::Result<(UnixListener, Folder)> {
    let all = run_dir.join("greeters");
    let mine = all.join(session.to_string());
    let make = || {
        match DirBuilder::new().mode(0o711).create(&all) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::set_permissions(&all, Permissions::from_mode(0o711))?,
        }
        match fs::remove_dir_all(&mine) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&mine)
    };
    make().with_context(|| format!("cannot make {}", mine.display()))?;
    let folder = Folder(mine);
    let socket = folder.socket();
    let shown = socket.display();
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("cannot listen on {shown}"))?;
    // The greeter reaches its socket, and makes nothing beside it.
    let give = || {
        fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
        chown(&socket, Some(uid), Some(gid))?;
        chown(&folder.0, None, Some(gid))?;
        fs::set_permissions(&folder.0, Permissions::from_mode(0o710))
    };
    give().with_context(|| format!("cannot give {shown} to the greeter"))?;
    Ok((listener, folder))
}

/// Whether whoever connected is the greeter's user. The permissions of the folder say so already;
/// this says it again for the case that the greeter loosens those of the socket.
pub fn may_log_in(stream: &UnixStream, uid: u32) -> io::Result<bool> {
    Ok(stream.peer_cred()?.uid() == uid)
}

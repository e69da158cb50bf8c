//! An X display's number and socket, held for as long as the session lives.
//!
//! The socket is ours, not Xwayland's: programs may connect before there is an X server, and wait
//! while it starts. Only the person themself gets through its mode.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, getuid, test_kill_process};

/// Numbers that are tried: 0 is left to an X server on the machine's own screen.
const NUMBERS: std::ops::Range<u32> = 1..4096;

/// A display that is ours.
#[derive(Debug)]
pub struct Display {
    /// Its number.
    pub number: u32,
    /// Where clients connect.
    pub listener: UnixListener,
    lock: PathBuf,
    socket: PathBuf,
}

impl Display {
    /// Takes the lowest number that is free.
    ///
    /// # Errors
    /// Where none is free, or where the folder of X sockets is somebody else's.
    pub fn open() -> io::Result<Self> {
        Self::open_in(Path::new("/tmp"))
    }

    fn open_in(tmp: &Path) -> io::Result<Self> {
        let sockets = tmp.join(".X11-unix");
        make_folder(&sockets)?;
        for number in NUMBERS {
            let lock = tmp.join(format!(".X{number}-lock"));
            if !take(&lock)? {
                continue;
            }
            let socket = sockets.join(format!("X{number}"));
            match listen(&socket) {
                Ok(listener) => {
                    return Ok(Self {
                        number,
                        listener,
                        lock,
                        socket,
                    });
                }
                // Another's socket without a lock: that number is not to be had.
                Err(_) => fs::remove_file(&lock)?,
            }
        }
        Err(io::Error::other("every X display number is taken"))
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
        let _ = fs::remove_file(&self.lock);
    }
}

/// The folder of X sockets, which must be root's or ours: whoever owns it can put other sockets in
/// the place of ours.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o1777).create(folder) {
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(0o1777)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(folder)?;
            match found.is_dir() && (found.uid() == 0 || found.uid() == getuid().as_raw()) {
                true => Ok(()),
                false => Err(io::Error::other(format!(
                    "{} belongs to somebody else: make it root's, with mode 1777",
                    folder.display()
                ))),
            }
        }
        Err(error) => Err(error),
    }
}

/// Takes a lock file, as X servers do: it holds the process number in eleven bytes.
fn take(lock: &Path) -> io::Result<bool> {
    for _ in 0..2 {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(lock);
        match made {
            Ok(mut file) => {
                writeln!(file, "{:>10}", std::process::id())?;
                return Ok(true);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // One whose process is gone is nobody's, unless it is another person's file.
                if !is_stale(lock) || fs::remove_file(lock).is_err() {
                    return Ok(false);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn is_stale(lock: &Path) -> bool {
    let mut text = String::new();
    let read = fs::File::open(lock).and_then(|file| file.take(64).read_to_string(&mut text));
    let pid = text
        .trim()
        .parse()
        .ok()
        .filter(|pid| *pid > 0)
        .and_then(Pid::from_raw);
    let gone = |pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH);
    read.is_ok() && pid.is_some_and(gone)
}

fn listen(socket: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o700))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_has_a_number_of_its_own_and_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let first = Display::open_in(folder.path()).unwrap();
        let second = Display::open_in(folder.path()).unwrap();
        assert_eq!((first.number, second.number), (1, 2));
        let socket = folder.path().join(".X11-unix/X1");
        assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o700);
        drop(first);
        assert!(!socket.exists());
        assert_eq!(Display::open_in(folder.path()).unwrap().number, 1);
    }

    #[test]
    fn lock_of_a_dead_process_is_taken_over_and_nonsense_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let lock = |number: u32| folder.path().join(format!(".X{number}-lock"));
        fs::write(lock(1), format!("{:>10}\n", child.id())).unwrap();
        assert_eq!(Display::open_in(folder.path()).unwrap().number, 1);
        fs::write(lock(1), "not a number").unwrap();
        assert_eq!(Display::open_in(folder.path()).unwrap().number, 2);
    }
}

//! Keeps the log of one session: `heliostat-broker keep-log`.
//!
//! A session and its programs write into a pipe, so that none of them holds a file of root's. What
//! reads it is a process of its own: without a reader, writing to the pipe would end them, and they
//! outlive the broker.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

use nix::unistd::setsid;

/// Bytes of a session's log after which it begins anew.
const MAX_LOG: u64 = 4 << 20;

/// Writes standard input, to its end, to the log that is standard output.
pub fn keep_log() -> anyhow::Result<()> {
    // What ends the broker's group, as Ctrl-C does, shall not end this.
    let _ = setsid();
    let said = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let log = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    copy(said, log, MAX_LOG)?;
    Ok(())
}

fn copy(mut said: impl Read, mut log: File, most: u64) -> io::Result<()> {
    let mut length = log.metadata()?.len();
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = match said.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if length + read as u64 > most && log.set_len(0).is_ok() {
            length = 0;
        }
        // Where the disk is full the words are lost: whoever says them must not wait for it.
        if log.write_all(&bytes[..read]).is_ok() {
            length += read as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_begins_anew_rather_than_grow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let open = || File::options().append(true).create(true).open(&path);
        for (said, kept) in [("12345", "12345"), ("67", "1234567"), ("890", "890")] {
            copy(said.as_bytes(), open().unwrap(), 8).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), kept);
        }
    }
}

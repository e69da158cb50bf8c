//! What a window tells of keys, which is how somebody who types knows that it hears them.

use std::fs::{OpenOptions, Permissions, set_permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::Terminal;
use crate::keys::SPACE;

/// A key's code in Linux, and whether it went down.
pub type Key = (u16, bool);

/// The end at which it is heard what `hil-probe keys --tell` tells.
pub struct Told {
    path: PathBuf,
    keys: Receiver<Key>,
}

impl Told {
    /// Makes a pipe at `path` into which everybody may tell.
    pub fn listen(path: PathBuf) -> anyhow::Result<Self> {
        mkfifo(&path, Mode::S_IRWXU)?;
        set_permissions(&path, Permissions::from_mode(0o622))?;
        // Open for both, so that there is no end while nobody tells.
        let pipe = OpenOptions::new().read(true).write(true).open(&path)?;
        let (sender, keys) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let Ok(line) = line else { break };
                let parsed = line
                    .split_once(' ')
                    .and_then(|(code, down)| Some((code.parse().ok()?, down == "1")));
                if parsed.is_none_or(|key: Key| sender.send(key).is_err()) {
                    break;
                }
            }
        });
        Ok(Self { path, keys })
    }

    /// Where the pipe is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Types until a window tells of it: that may open, or get the keyboard, after the first frame.
    ///
    /// # Errors
    /// Where none does within `limit`.
    pub fn until_it_hears(&self, terminal: &mut Terminal, limit: Duration) -> anyhow::Result<()> {
        const ANSWER: Duration = Duration::from_millis(200);
        for _ in 0..limit.as_millis() / ANSWER.as_millis() {
            terminal.press(SPACE)?;
            if self.keys.recv_timeout(ANSWER).is_ok() {
                return Ok(());
            }
        }
        bail!("no window is told of keys")
    }

    /// The next key.
    ///
    /// # Errors
    /// Where none is told of within `limit`.
    pub fn next(&self, limit: Duration) -> anyhow::Result<Key> {
        self.keys.recv_timeout(limit).context("no key is told of")
    }
}

//! pcscd with a virtual reader, for terminals that have their cards through PC/SC.
//!
//! Only in namespaces of one's own: pcscd's socket is in `/run`, and the reader listens on the
//! loopback interface.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hil_card::Card;
use hil_card::vpcd::{self, Inserted};

/// Where Debian's vsmartcard-vpcd says how pcscd finds it.
const READER_CONFIG: &str = "/etc/reader.conf.d/vpcd";
/// Its first slot.
const READER: &str = "127.0.0.1:35963";
const PATIENCE: Duration = Duration::from_secs(30);

/// A running pcscd. Ended when dropped.
pub struct Readers {
    pcscd: Child,
}

impl Readers {
    /// Why there can be none on this machine, if so.
    pub fn missing() -> Option<&'static str> {
        let found = Command::new("which").arg("pcscd").output();
        match found.is_ok_and(|found| found.status.success()) && Path::new(READER_CONFIG).exists() {
            true => None,
            false => Some("no pcscd with a virtual reader (hil-tests/scripts/setup.sh cards)"),
        }
    }

    /// Starts pcscd.
    pub fn start() -> anyhow::Result<Self> {
        let pcscd = Command::new("pcscd")
            .args(["--foreground", "--config", READER_CONFIG])
            .stdout(Stdio::null())
            .spawn()
            .context("start pcscd (package pcscd)")?;
        Ok(Self { pcscd })
    }

    /// Puts a card in, once the reader is there.
    pub fn insert(&self, card: Card) -> anyhow::Result<Inserted> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match vpcd::insert(READER, card.clone()) {
                Ok(inserted) => return Ok(inserted),
                Err(error) if Instant::now() > deadline => bail!("no reader: {error:#}"),
                // A daemon that starts has no event to wait for.
                Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let _ = self.pcscd.kill();
        let _ = self.pcscd.wait();
    }
}

//! pcscd with a virtual reader, for whoever has their cards through PC/SC.
//!
//! Only in namespaces of one's own: pcscd's socket is in `/run`, and the reader listens on the
//! loopback interface. [`inside`] makes such namespaces for one test.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::Card;
use crate::lack::Lack;
use crate::vpcd::{self, Inserted};

/// Set for a test's own process inside its namespaces.
const INSIDE: &str = "HIL_CARD_INSIDE";
/// Where Debian's vsmartcard-vpcd says how pcscd finds it.
const READER_CONFIG: &str = "/etc/reader.conf.d/vpcd";
/// Its first slot.
const READER: &str = "127.0.0.1:35963";
const PATIENCE: Duration = Duration::from_secs(30);

/// A running pcscd with a reader. Ended when dropped.
pub struct Readers {
    pcscd: Child,
}

impl Readers {
    /// Why there can be none on this machine, if so.
    pub fn missing() -> Option<&'static str> {
        match is_installed("pcscd") && Path::new(READER_CONFIG).exists() {
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

/// Runs the test of this name in a process and namespaces of its own, where there is a pcscd. Skips
/// with a word where that, or one of the programs `needed`, cannot be had.
///
/// # Panics
///
/// When the test fails, or there is none of this name, or a program is lacking that is promised to be
/// here, as by `make unit`.
pub fn inside(name: &str, needed: &[&str], test: impl FnOnce(&Readers)) {
    if std::env::var_os(INSIDE).is_some() {
        return test(&settle_in().expect("pcscd in namespaces of one's own"));
    }
    if let Some(lack) = lack(needed) {
        return lack.skip();
    }
    let output = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork"])
        .args(["--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "yes")
        .output()
        .expect("unshare starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "{name}: {said}{wrong}");
    eprint!("{wrong}");
}

fn lack(needed: &[&str]) -> Option<Lack> {
    if !rustix::process::geteuid().is_root() {
        let why = "namespaces of one's own need root";
        return Some(Lack::Machine(why.to_owned()));
    }
    if let Some(why) = Readers::missing() {
        return Some(Lack::Part(why.to_owned()));
    }
    let mut programs = ["unshare", "ip"].iter().chain(needed);
    let missing = programs.find(|program| !is_installed(program))?;
    Some(Lack::Part(format!(
        "there is no {missing} (hil-tests/scripts/setup.sh cards)"
    )))
}

fn is_installed(program: &str) -> bool {
    let found = Command::new("which").arg(program).output();
    found.is_ok_and(|found| found.status.success())
}

fn settle_in() -> anyhow::Result<Readers> {
    for command in ["mount -t tmpfs tmpfs /run", "ip link set lo up"] {
        let mut words = command.split(' ');
        let program = words.next().unwrap_or_default();
        let status = Command::new(program).args(words).status()?;
        ensure!(status.success(), "{command}: {status}");
    }
    Readers::start()
}

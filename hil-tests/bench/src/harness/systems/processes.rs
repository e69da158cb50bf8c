//! Processes of other systems, ended when they are not needed any more.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const STEP: Duration = Duration::from_secs(10);

/// A process with its log. Ended when dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command; what it says goes into a file in `folder`.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = std::fs::File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let name = name.to_owned();
        Ok(Self { name, child, log })
    }

    /// The last that it said.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(4).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("; ")
    }

    /// Waits until `is_up`, while the process runs.
    pub fn wait_until(&mut self, is_up: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + STEP;
        while !is_up() {
            if let Some(status) = self.child.try_wait()? {
                let words = self.last_words();
                bail!("{} ended at once ({status}): {words}", self.name);
            }
            if Instant::now() > deadline {
                let words = self.last_words();
                bail!("{} is not up in {STEP:?}: {words}", self.name);
            }
            // Foreign programs tell nobody when they are ready.
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a program can be found.
pub fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(OsStr::new(name)).is_file())
}

/// Whether somebody listens on a TCP port of the loopback interface.
pub fn listens(port: u16) -> bool {
    let local = format!(":{port:04X} ");
    ["tcp", "tcp6"].iter().any(|table| {
        let text = std::fs::read_to_string(format!("/proc/thread-self/net/{table}"));
        text.is_ok_and(|text| {
            text.lines()
                .any(|line| line.contains(&local) && line.contains(" 0A "))
        })
    })
}

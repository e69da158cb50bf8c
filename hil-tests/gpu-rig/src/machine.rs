//! The machine: QEMU without acceleration, so that it runs wherever tests run.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::lines::{Line, PORT};

/// The longest line that is taken: a picture of a large screen.
const MAX_LINE: usize = 64 << 20;

/// What is started.
#[derive(Debug)]
pub struct Boot<'a> {
    /// The kernel.
    pub kernel: &'a Path,
    /// The archive of all files.
    pub initrd: &'a Path,
    /// Words for process 1.
    pub arguments: &'a [String],
    /// Where the kernel's log and QEMU's go.
    pub folder: &'a Path,
}

/// A machine that is on. Switched off when dropped.
pub struct Machine {
    child: Child,
    lines: Receiver<Result<Line>>,
    console: PathBuf,
    messages: PathBuf,
}

impl Machine {
    /// Switches it on.
    pub fn start(boot: &Boot<'_>) -> Result<Self> {
        std::fs::create_dir_all(boot.folder)?;
        let console = boot.folder.join("console.log");
        let messages = boot.folder.join("qemu.log");
        // Never written to, but open: at its end QEMU would take the host for gone, and the guest would wait.
        let mut child = command(boot, &console)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&messages)?)
            .spawn()
            .context("start qemu-system-x86_64 (package qemu-system-x86)")?;
        let stdout = child.stdout.take().context("QEMU's standard output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut input = BufReader::new(stdout);
            while let Some(line) = next_line(&mut input) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            lines,
            console,
            messages,
        })
    }

    /// The next line, or why there is none before `limit` has passed.
    pub fn next_line(&mut self, limit: Duration) -> Result<Line> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                bail!(
                    "the guest has said nothing for {limit:?}; {}",
                    self.last_words()
                )
            }
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the machine went off before the end; {}", self.last_words())
            }
        }
    }

    /// Waits until it has gone off by itself.
    pub fn wait_off(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        // The other end of the channel goes with QEMU's standard output.
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the machine does not go off; {}", self.last_words())
                }
            }
        }
    }

    /// The end of what the guest's kernel and programs have written, and where the rest is.
    pub fn last_words(&self) -> String {
        let text = |path: &Path| {
            String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
        };
        let console = text(&self.console);
        let lines: Vec<&str> = console.lines().collect();
        let tail = lines[lines.len().saturating_sub(25)..].join("\n    ");
        let qemu = text(&self.messages);
        format!(
            "its console ({}) ends with\n    {tail}\n  QEMU said: {}",
            self.console.display(),
            qemu.trim()
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of the guest's, or what is wrong with it.
fn next_line(input: &mut impl BufRead) -> Option<Result<Line>> {
    let mut bytes = Vec::new();
    let mut limited = std::io::Read::take(&mut *input, MAX_LINE as u64);
    match limited.read_until(b'\n', &mut bytes) {
        Ok(0) | Err(_) => return None,
        Ok(_) => {}
    }
    let line = serde_json::from_slice(&bytes);
    Some(line.with_context(|| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
        format!("the guest said {text:?}")
    }))
}

fn command(boot: &Boot<'_>, console: &Path) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command.args([
        "-M",
        "q35",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "max",
        "-smp",
        "2",
        "-m",
        "2G",
    ]);
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
    ]);
    command
        .arg("-kernel")
        .arg(boot.kernel)
        .arg("-initrd")
        .arg(boot.initrd);
    // Without panic=-1 a machine whose kernel died would spin for ever.
    let mut words = String::from("console=ttyS0 panic=-1 quiet loglevel=5 --");
    for argument in boot.arguments {
        words.push(' ');
        words.push_str(argument);
    }
    command.args(["-append", &words]);
    command
        .arg("-serial")
        .arg(format!("file:{}", console.display()));
    command.args(["-chardev", "stdio,id=lines,signal=off"]);
    command.args(["-device", "virtio-serial-pci", "-device"]);
    command.arg(format!("virtserialport,chardev=lines,name={PORT}"));
    command.args(["-device", "virtio-rng-pci"]);
    // Its render node has timelines; without outputs it is no display.
    command.args(["-device", "virtio-gpu-pci,max_outputs=0"]);
    command
}

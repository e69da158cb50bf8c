//! A terminal process under control: JSON lines in, events out.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// What a terminal said: its line, and when it was read.
#[derive(Debug, Clone)]
pub struct Event {
    /// The JSON object.
    pub value: Value,
    /// CLOCK_MONOTONIC when the line was read here, in microseconds.
    pub read_us: u64,
}

impl Event {
    /// The name of the event.
    pub fn name(&self) -> &str {
        self.value["event"].as_str().unwrap_or("")
    }

    /// A number of the event.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.value[field].as_u64()
    }
}

/// A running terminal with its control lines. Killed when dropped.
pub struct Terminal {
    name: String,
    child: Child,
    stdin: ChildStdin,
    events: mpsc::Receiver<Event>,
    unread: VecDeque<Event>,
    /// The framebuffer file, for the headless back end.
    pub framebuffer: Option<PathBuf>,
}

/// Microseconds of CLOCK_MONOTONIC.
pub fn monotonic_us() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists");
    now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1000
}

impl Terminal {
    /// Starts `command`, a `heliostat-terminal client … --control`.
    pub fn start(
        name: &str,
        command: &mut Command,
        framebuffer: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start heliostat-terminal")?;
        let stdin = child
            .stdin
            .take()
            .context("the terminal's standard input")?;
        let stdout = child
            .stdout
            .take()
            .context("the terminal's standard output")?;
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                let read_us = monotonic_us();
                if let Ok(value) = serde_json::from_str(&line)
                    && sender.send(Event { value, read_us }).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            stdin,
            events,
            unread: VecDeque::new(),
            framebuffer: framebuffer.map(Path::to_owned),
        })
    }

    /// Sends one control line.
    pub fn send(&mut self, line: &Value) -> anyhow::Result<()> {
        let mut text = line.to_string();
        text.push('\n');
        self.stdin
            .write_all(text.as_bytes())
            .with_context(|| format!("terminal {} has gone", self.name))
    }

    /// Inserts a card by its id.
    pub fn insert_card(&mut self, id: &str) -> anyhow::Result<()> {
        self.send(&json!({"card": {"insert": id}}))
    }

    /// Pulls the card.
    pub fn pull_card(&mut self) -> anyhow::Result<()> {
        self.send(&json!({"card": "pull"}))
    }

    /// Presses or releases a key (evdev code).
    pub fn key(&mut self, code: u16, pressed: bool) -> anyhow::Result<()> {
        self.send(&json!({"key": {"code": code, "pressed": pressed}}))
    }

    /// Presses a key, waits up to `patience` until a frame is shown, and lets the key go. Returns the
    /// microseconds from before the key's line was written until the frame was on the screen.
    pub fn time_key(&mut self, code: u16, patience: Duration) -> anyhow::Result<u64> {
        self.drain();
        let start_us = monotonic_us();
        self.key(code, true)?;
        let shown = self.wait_for("changed pixels", patience, |event| {
            event.name() == "frame_shown" && event.number("at_us") > Some(start_us)
        })?;
        self.key(code, false)?;
        Ok(shown.number("at_us").unwrap_or(0) - start_us)
    }

    /// Moves the pointer to a place on the screen, in pixels.
    pub fn pointer(&mut self, x: i32, y: i32) -> anyhow::Result<()> {
        self.send(&json!({"pointer": {"x": x, "y": y}}))
    }

    /// Presses or releases a pointer button (evdev code).
    pub fn button(&mut self, code: u16, pressed: bool) -> anyhow::Result<()> {
        self.send(&json!({"button": {"code": code, "pressed": pressed}}))
    }

    /// The next event, or nothing when `deadline` has passed or the terminal has ended.
    pub fn next_event(&mut self, deadline: Instant) -> Option<Event> {
        if let Some(event) = self.unread.pop_front() {
            return Some(event);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.events.recv_timeout(left).ok()
    }

    /// Forgets all events that have come so far.
    pub fn drain(&mut self) {
        self.unread.clear();
        while self.events.try_recv().is_ok() {}
    }

    /// The first event from now on that `wanted` takes.
    pub fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> anyhow::Result<Event> {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        while let Some(event) = self.next_event(deadline) {
            if wanted(&event) {
                return Ok(event);
            }
            seen.push(event.value.to_string());
        }
        let last = seen
            .iter()
            .rev()
            .take(8)
            .rev()
            .cloned()
            .collect::<Vec<_>>()
            .join("\n  ");
        bail!(
            "terminal {}: no {what} within {limit:?}; it said\n  {last}",
            self.name
        )
    }

    /// Waits for an event by its name.
    pub fn wait_named(&mut self, name: &str, limit: Duration) -> anyhow::Result<Event> {
        self.wait_for(name, limit, |event| event.name() == name)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the terminal ends by itself, as when its window is closed.
    pub fn wait_end(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

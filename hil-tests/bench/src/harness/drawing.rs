//! The harness's end of the wire to the drawing client.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

const STEP: Duration = Duration::from_secs(10);

/// How a run of the drawing client ended.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Frame of the full-screen surface.
    pub base: u32,
    /// Frame of what lies over.
    pub over: u32,
    /// Frames that were drawn.
    pub drawn: u32,
    /// When the last was, in microseconds of CLOCK_MONOTONIC.
    pub at_us: u64,
}

/// The wire.
pub struct Drawing {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    line: String,
}

impl Drawing {
    /// Connects as soon as the client listens.
    pub fn connect(path: &Path) -> anyhow::Result<Self> {
        let deadline = Instant::now() + STEP;
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("hil-draw has not started");
                }
                // The socket appears when the client is there; there is no event to wait on.
                Err(_) => std::thread::park_timeout(Duration::from_millis(20)),
            }
        };
        stream.set_read_timeout(Some(STEP))?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Self {
            stream,
            reader,
            line: String::new(),
        })
    }

    /// Begins a run and returns when it began.
    pub fn go(&mut self, frames: u32) -> anyhow::Result<u64> {
        writeln!(self.stream, "go {frames}")?;
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let at = line
            .trim()
            .strip_prefix("going ")
            .and_then(|at| at.parse().ok());
        self.stream.set_nonblocking(true)?;
        at.with_context(|| format!("hil-draw said {line:?}"))
    }

    /// Draws one frame of the full-screen surface and returns when it was handed to the window
    /// system, in nanoseconds of CLOCK_REALTIME.
    pub fn step(&mut self) -> anyhow::Result<u64> {
        writeln!(self.stream, "step")?;
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let at = line.trim().strip_prefix("stepped ");
        at.and_then(|at| at.parse().ok())
            .with_context(|| format!("hil-draw said {line:?}"))
    }

    /// Ends a run with the frame that is shown.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        Ok(writeln!(self.stream, "stop")?)
    }

    /// How the run ended, once it has.
    pub fn poll_done(&mut self) -> anyhow::Result<Option<Done>> {
        match self.reader.read_line(&mut self.line) {
            Ok(0) => bail!("hil-draw has ended"),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        self.stream.set_nonblocking(false)?;
        let line = std::mem::take(&mut self.line);
        let numbers: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|word| word.parse().ok())
            .collect();
        let [base, over, drawn, at_us] = numbers[..] else {
            bail!("hil-draw said {line:?}");
        };
        let [base, over, drawn] = [base, over, drawn].map(|number| number as u32);
        Ok(Some(Done {
            base,
            over,
            drawn,
            at_us,
        }))
    }
}

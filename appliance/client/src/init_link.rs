//! The socket to PID 1: the terminal's state in, reports out.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use heliostat_terminal_state::{ClientReport, LineReader, TerminalState, encode_line};
use tracing::{debug, warn};

use crate::events::{AppEvent, Post};

/// PID 1's end of the conversation.
pub struct InitLink(File);

impl InitLink {
    /// Reads the state on a thread of its own.
    pub fn open(socket: OwnedFd, post: Post) -> anyhow::Result<Self> {
        let writer = File::from(socket);
        let mut reader = writer.try_clone()?;
        std::thread::Builder::new()
            .name("pid1".to_owned())
            .spawn(move || {
                let mut lines = LineReader::default();
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = reader.read(&mut bytes) {
                    for line in lines.handle_bytes::<TerminalState>(&bytes[..count]) {
                        match line {
                            Ok(state) => post(AppEvent::Terminal(Box::new(state))),
                            Err(error) => warn!(%error, "PID 1 said something unknown"),
                        }
                    }
                }
            })?;
        Ok(Self(writer))
    }

    /// Tells PID 1. It reads quickly or has gone, and neither is worth waiting for.
    pub fn report(&mut self, report: &ClientReport) {
        let line = encode_line(report);
        if let Err(error) = line
            .map_err(std::io::Error::other)
            .and_then(|l| self.0.write_all(&l))
        {
            debug!(%error, "PID 1 does not listen");
        }
    }
}

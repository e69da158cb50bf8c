//! The worker's end of its socket.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use heliostat_control::lines;
use heliostat_control::worker::{FromWorker, MAX_LINE, ToWorker};
use zeroize::Zeroize;

use crate::passing;

/// A blocking socket with the broker at the other end.
#[derive(Debug)]
pub struct Channel {
    socket: Rc<OwnedFd>,
    /// What was read of the next line, which may be part of a password.
    buffer: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Channel {
    /// Speaks over `socket`.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket: Rc::new(socket),
            // Never grown, so that no copy of a password stays behind.
            buffer: Vec::with_capacity(MAX_LINE + 1),
            fds: Vec::new(),
        }
    }

    /// A way to speak while somebody else listens.
    pub fn voice(&self) -> Voice {
        Voice(self.socket.clone())
    }

    /// The broker's next line and the descriptors that came with it; nothing where the broker is
    /// gone or says what it should not.
    pub fn hear(&mut self) -> Option<(ToWorker, Vec<OwnedFd>)> {
        let mut bytes = [0; 4096];
        let end = loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                break end;
            }
            let room = (MAX_LINE + 1 - self.buffer.len()).min(bytes.len());
            if room == 0 {
                return None;
            }
            let length = passing::receive(&*self.socket, &mut bytes[..room], &mut self.fds).ok()?;
            self.buffer.extend_from_slice(&bytes[..length]);
            bytes.zeroize();
            if length == 0 {
                return None;
            }
        };
        let message = serde_json::from_slice(&self.buffer[..end]).ok();
        // One line at a time: the broker says nothing on before it has heard an answer.
        self.buffer.zeroize();
        Some((message?, std::mem::take(&mut self.fds)))
    }
}

/// See [`Channel::voice`].
#[derive(Debug, Clone)]
pub struct Voice(Rc<OwnedFd>);

impl Voice {
    /// Says something to the broker. An error means that it is gone.
    pub fn say(&self, message: &FromWorker) -> io::Result<()> {
        passing::send_all(&*self.0, &lines::encode(message), &[])
    }
}

//! PID 1's end of a JSON line socket. It never waits: what the other end does not read is dropped
//! in favour of the newest line.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use heliostat_terminal_state::{LineError, LineReader, encode_line};
use serde::{Serialize, de::DeserializeOwned};

/// Bytes read at one go, so that a chattering child cannot keep PID 1 from its other work.
const READ_CHUNK: usize = 16 * 1024;

/// A non-blocking line socket; lines out are whole states, of which only the newest matters.
pub struct Channel {
    stream: UnixStream,
    reader: LineReader,
    sending: VecDeque<u8>,
    next: Option<Vec<u8>>,
}

/// What reading brought.
pub struct Received<T> {
    /// The messages that were completed, bad ones as errors.
    pub messages: Vec<Result<T, LineError>>,
    /// The other end has closed the socket.
    pub closed: bool,
}

impl Channel {
    /// A pair: PID 1's end and the child's.
    ///
    /// # Errors
    /// When the kernel has no more sockets.
    pub fn pair() -> io::Result<(Channel, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let channel = Channel {
            stream: ours,
            reader: LineReader::default(),
            sending: VecDeque::new(),
            next: None,
        };
        Ok((channel, theirs))
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// When the socket fails otherwise than by being closed.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Received<T>> {
        let mut chunk = [0; READ_CHUNK];
        match self.stream.read(&mut chunk) {
            Ok(len) => Ok(Received {
                messages: self.reader.handle_bytes(&chunk[..len]),
                closed: len == 0,
            }),
            Err(error) if is_transient(&error) => Ok(Received {
                messages: Vec::new(),
                closed: false,
            }),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Received {
                messages: Vec::new(),
                closed: true,
            }),
            Err(error) => Err(error),
        }
    }

    /// Sends `message`, at once or when there is room, in place of any that still waits.
    ///
    /// # Errors
    /// [`LineError`] when it cannot be put on a line.
    pub fn send<T: Serialize>(&mut self, message: &T) -> Result<(), LineError> {
        self.next = Some(encode_line(message)?);
        self.flush();
        Ok(())
    }

    /// Writes what waits, as far as there is room. A failed socket shows itself on reading.
    pub fn flush(&mut self) {
        loop {
            if self.sending.is_empty() {
                let Some(line) = self.next.take() else { return };
                self.sending = line.into();
            }
            match self.stream.write(self.sending.as_slices().0) {
                Ok(len) => drop(self.sending.drain(..len)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// True when something waits for room.
    pub fn wants_room(&self) -> bool {
        !self.sending.is_empty() || self.next.is_some()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    #[test]
    fn a_reader_that_sleeps_gets_the_newest_line_whole_and_blocks_nobody() {
        let (mut channel, theirs) = Channel::pair().unwrap();
        let last = 4000;
        for number in 0..=last {
            channel
                .send(&format!("{number} {}", "x".repeat(1000)))
                .unwrap();
        }
        assert!(channel.wants_room());
        let mut reader = BufReader::new(theirs);
        let mut newest = 0;
        while newest < last {
            channel.flush();
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let text: String = serde_json::from_str(&line).unwrap();
            let number = text.split_once(' ').unwrap().0.parse().unwrap();
            assert!(newest <= number, "lines came out of order");
            newest = number;
        }
        assert!(!channel.wants_room());
    }

    #[test]
    fn a_closed_end_is_noticed() {
        let (mut channel, theirs) = Channel::pair().unwrap();
        assert!(!channel.receive::<String>().unwrap().closed);
        drop(theirs);
        assert!(channel.receive::<String>().unwrap().closed);
        channel.send(&"into the void").unwrap();
    }
}

//! What services say on their standard output and error: cut into lines, bounded, and passed on
//! with the service's name. A service that talks without end loses lines, and the log says how
//! many.

use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Longest line passed on; longer ones are cut.
const MAX_LINE: usize = 800;
/// Lines passed on in each [`WINDOW`].
const MAX_LINES: u32 = 200;
/// The time over which lines are counted.
const WINDOW: Duration = Duration::from_secs(5);

/// Cuts bytes into lines and counts them. Pure.
#[derive(Debug, Default)]
pub struct LineCutter {
    partial: Vec<u8>,
    window: Option<Instant>,
    passed: u32,
    lost: u32,
}

impl LineCutter {
    /// Takes what was read at `now`; the lines to log.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => lines.extend(self.finish(now)),
                _ if self.partial.len() < MAX_LINE => self.partial.push(*byte),
                _ => {}
            }
        }
        lines
    }

    /// The service ended: what it had begun to say.
    pub fn finish(&mut self, now: Instant) -> Vec<String> {
        let line = std::mem::take(&mut self.partial);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            return Vec::new();
        }
        let mut lines = Vec::new();
        if self
            .window
            .is_none_or(|began| now.saturating_duration_since(began) >= WINDOW)
        {
            let lost = std::mem::take(&mut self.lost);
            lines.extend((lost > 0).then(|| format!("({lost} lines were lost here)")));
            (self.window, self.passed) = (Some(now), 0);
        }
        if self.passed < MAX_LINES {
            self.passed += 1;
            lines.push(line.chars().map(printable).collect());
        } else {
            self.lost += 1;
        }
        lines
    }
}

fn printable(letter: char) -> char {
    if letter.is_control() && letter != '\t' {
        '\u{fffd}'
    } else {
        letter
    }
}

/// The reading end of a service's output.
pub struct LogPipe {
    pipe: PipeReader,
    cutter: LineCutter,
}

impl LogPipe {
    /// Takes the reading end, which has to be non-blocking.
    pub fn new(pipe: PipeReader) -> LogPipe {
        LogPipe {
            pipe,
            cutter: LineCutter::default(),
        }
    }

    /// Reads what is there: the lines, and whether more may come.
    ///
    /// # Errors
    /// When reading fails.
    pub fn receive(&mut self, now: Instant) -> io::Result<(Vec<String>, bool)> {
        let mut chunk = [0; 16 * 1024];
        match self.pipe.read(&mut chunk) {
            Ok(0) => Ok((self.cutter.finish(now), false)),
            Ok(len) => Ok((self.cutter.handle_bytes(now, &chunk[..len]), true)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok((Vec::new(), true)),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok((Vec::new(), true)),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for LogPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_cut_and_control_bytes_do_not_reach_the_console() {
        let now = Instant::now();
        let mut cutter = LineCutter::default();
        assert!(cutter.handle_bytes(now, b"half").is_empty());
        let lines = cutter.handle_bytes(now, b" a line\n\n\x1b[31mred\nrest");
        assert_eq!(lines, ["half a line", "\u{fffd}[31mred"]);
        assert_eq!(cutter.finish(now), ["rest"]);
    }

    #[test]
    fn an_endless_talker_is_cut_short_and_the_loss_is_told() {
        let now = Instant::now();
        let mut cutter = LineCutter::default();
        let lines = cutter.handle_bytes(now, &b"x\n".repeat(10_000));
        assert_eq!(lines.len(), MAX_LINES as usize);
        let later = cutter.handle_bytes(now + WINDOW, b"y\n");
        assert_eq!(later, ["(9800 lines were lost here)", "y"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_long_line_or_a_panic(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 0..8)) {
            let mut cutter = LineCutter::default();
            for chunk in chunks {
                for line in cutter.handle_bytes(Instant::now(), &chunk) {
                    prop_assert!(line.chars().count() <= MAX_LINE);
                }
            }
        }
    }
}

//! The terminal's alternate screen, which is left again in every way out.
//!
//! Signals that would end or stop the program are taken by a thread of their own, so that what was
//! on the terminal before comes back first, also while the broker is waited for.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal, raise};

/// The alternate screen, without a cursor and without lines that run on.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// As it was before.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Of terminals that do not tell their height.
const ROWS: usize = 24;

/// A screen that is drawn over and over.
pub struct Screen {
    /// Whoever writes holds it.
    turn: Arc<Mutex<()>>,
}

impl Screen {
    /// Takes standard output.
    pub fn open() -> anyhow::Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGTSTP,
        ] {
            signals.add(signal);
        }
        signals.thread_block().context("cannot block signals")?;
        let turn = Arc::new(Mutex::new(()));
        let screen = Self { turn: turn.clone() };
        write(ENTER)?;
        std::thread::spawn(move || watch(&signals, &turn));
        Ok(screen)
    }

    /// Draws `text` over what was there, as much of it as there is room for.
    pub fn draw(&self, text: &str) -> io::Result<()> {
        let rows = rustix::termios::tcgetwinsize(io::stdout()).map(|size| size.ws_row);
        let rows = match rows {
            Ok(rows @ 1..) => usize::from(rows),
            _ => ROWS,
        };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        write(&over(text, rows))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = write(LEAVE);
    }
}

/// Lines over those that are there already, without a moment of an empty screen.
fn over(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().take(rows).collect();
    format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"))
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn watch(signals: &SigSet, turn: &Mutex<()>) {
    loop {
        let signal = signals.wait();
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        match signal {
            Ok(Signal::SIGTSTP) => {
                let _ = write(LEAVE);
                // Goes on from here when the shell says so; the next round draws.
                let _ = raise(Signal::SIGSTOP);
                let _ = write(ENTER);
            }
            Ok(_) => {
                let _ = write(LEAVE);
                std::process::exit(0);
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_over_the_old_ones_and_no_further_than_the_last_row() {
        let drawn = over("a\nb\nc\n", 2);
        assert_eq!(drawn, "\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J");
    }
}

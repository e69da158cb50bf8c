//! What PID 1 and the client of a terminal tell each other.
//!
//! Both ends of the `--state-fd` socket speak JSON, one object a line: PID 1 sends a whole
//! [`TerminalState`] whenever anything in it changes, the client sends a [`ClientReport`] for each
//! event of its own. A new client learns everything from the first line it reads.
//!
//! The crate holds types and a bounded line reader, no I/O: PID 1 and the client are two processes
//! that depend on it and not on each other.

#![forbid(unsafe_code)]

mod code;
mod line;
mod report;
mod state;

pub use code::{Code, Symbol, UnknownCode};
pub use line::{LineError, LineReader, MAX_LINE, encode_line};
pub use report::{ClientReport, EXIT_POWEROFF, EXIT_REBOOT};
pub use state::{BootTimes, Link, Stage, TerminalState};

//! heliostat-leave: leave the terminal, lock the session or log out, from within the session.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use heliostat_control::ask::{self, Answer};
use heliostat_control::lines;
use heliostat_control::session::Ask;

/// Leave the terminal, lock the session or log out; from within the session.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// What to do.
    wish: Wish,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wish {
    /// Leave the terminal; everything goes on, and is there at the next one.
    Detach,
    /// Lock the session.
    Lock,
    /// End the session and all of its programs.
    Logout,
}

/// Bytes of an answer.
const MAX_ANSWER: u64 = 4096;
/// A session that lives answers at once.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<()> {
    let ask = match Arguments::parse().wish {
        Wish::Detach => Ask::Detach,
        Wish::Lock => Ask::Lock,
        Wish::Logout => Ask::LogOut,
    };
    let display = std::env::var("WAYLAND_DISPLAY");
    let display =
        display.context("WAYLAND_DISPLAY is not set: start this from within a session")?;
    let path = ask::socket_of(&display)
        .context("XDG_RUNTIME_DIR is not set: start this from within a session")?;
    let mut stream = UnixStream::connect(&path)
        .with_context(|| format!("this is no session of Heliostat's: {}", path.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&lines::encode(&ask))?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_ANSWER))
        .read_line(&mut line)
        .context("the session does not answer")?;
    let answer: Answer = serde_json::from_str(&line).context("the session's answer is none")?;
    match answer.error {
        _ if answer.done => Ok(()),
        Some(error) => bail!("the session refuses: {error}"),
        None => bail!("the session is ending"),
    }
}

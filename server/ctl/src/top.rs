//! `heliostatctl top`: how running desktops do, round after round.

mod rates;
mod screen;
mod table;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Instant;

use anyhow::bail;
use heliostat_control::admin::{Reply, Request};

use crate::arguments::Top;
use crate::ask::{Broker, ask};
use crate::time;
use rates::{Round, Sample};
use screen::Screen;

/// Runs until it is ended, or for one round.
pub fn run(broker: Broker<'_>, options: &Top, json: bool) -> anyhow::Result<()> {
    // A broker that cannot be asked at all is said before the screen is taken.
    let mut before = take(broker)?;
    let mut output = match !json && !options.once && io::stdout().is_terminal() {
        true => Output::Screen(Screen::open()?),
        false => Output::Lines { json },
    };
    if let Output::Screen(_) = output {
        output.show(&Round::new(None, &before))?;
    }
    loop {
        std::thread::sleep(options.interval);
        let shown = match take(broker) {
            Ok(now) => {
                let shown = output.show(&Round::new(Some(&before), &now));
                before = now;
                shown
            }
            Err(error) if options.once => return Err(error),
            // A broker that is started again is worth waiting for.
            Err(error) => output.complain(&format!("heliostatctl: {error:#}\n")),
        };
        match shown {
            Ok(()) if options.once => return Ok(()),
            Ok(()) => {}
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn take(broker: Broker<'_>) -> anyhow::Result<Sample> {
    let status = match ask(broker, &Request::Status)? {
        Reply::Status(status) => status,
        other => bail!("the broker was asked for its status and answered {other:?}"),
    };
    let rows = match ask(broker, &Request::SessionList)? {
        Reply::Sessions(rows) => rows,
        other => bail!("the broker was asked for sessions and answered {other:?}"),
    };
    Ok(Sample {
        at: Instant::now(),
        at_s: time::now_s(),
        status,
        rows,
    })
}

/// A reader that has heard enough, as `head` has, or a terminal that was closed.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe || error.raw_os_error() == Some(nix::libc::EIO)
}

/// Where rounds go.
enum Output {
    /// One over the other.
    Screen(Screen),
    /// One after the other.
    Lines { json: bool },
}

impl Output {
    fn show(&mut self, round: &Round) -> io::Result<()> {
        match self {
            Self::Screen(screen) => screen.draw(&table::text(round)),
            Self::Lines { json: true } => {
                let line = serde_json::to_string(round)?;
                writeln!(io::stdout(), "{line}")
            }
            Self::Lines { json: false } => writeln!(io::stdout(), "{}", table::text(round)),
        }
    }

    fn complain(&mut self, text: &str) -> io::Result<()> {
        match self {
            Self::Screen(screen) => screen.draw(text),
            Self::Lines { .. } => io::stderr().write_all(text.as_bytes()),
        }
    }
}

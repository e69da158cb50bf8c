//! Small Wayland clients that draw what tests and figures look for: deterministic, and without a
//! graphics device.

mod canvas;
mod client;
mod film;
mod sys;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::client::{Drawing, run};

/// A small Wayland client that draws deterministically
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone)]
enum Command {
    /// A window that changes a block of its pixels at every key press
    Keys {
        /// Where each key is told of as it comes: a line of its code in Linux, and of 1 where it went
        /// down
        #[arg(long)]
        tell: Option<PathBuf>,
    },
    /// A window in which a cell of 9×18 pixels blinks twice a second
    Blink,
    /// A window of 800×600 pixels that looks like a photo
    Photo,
    /// A window in which nothing moves
    Static,
    /// A window that is committed 1500 times a second, each time all of it, whether or not the
    /// compositor has shown what came before
    Storm {
        /// Where the storm is told of: a line of the commits so far, for each ten
        #[arg(long)]
        tell: Option<PathBuf>,
    },
    /// A film of 1920×1080 in DMA-BUFs of luma and chroma
    Film {
        /// Pictures a second
        #[arg(long, default_value_t = 30)]
        rate: u32,
    },
}

fn main() -> anyhow::Result<()> {
    let drawing = match Args::parse().command {
        Command::Keys { tell } => return run(Drawing::Keys, tell.as_deref()),
        Command::Blink => Drawing::Blink,
        Command::Photo => Drawing::Photo,
        Command::Static => Drawing::Static,
        Command::Storm { tell } => return run(Drawing::Storm, tell.as_deref()),
        Command::Film { rate } => return film::play(rate),
    };
    run(drawing, None)
}

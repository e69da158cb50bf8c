//! Small Wayland clients that draw what tests and figures look for: deterministic, wl_shm only.

mod canvas;
mod client;
mod sys;

use clap::{Parser, Subcommand};

use crate::client::{Drawing, run};

/// A small Wayland client that draws deterministically
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Copy)]
enum Command {
    /// A window that changes a block of its pixels at every key press
    Keys,
    /// A window in which a cell of 9×18 pixels blinks twice a second
    Blink,
    /// A window of 800×600 pixels that looks like a photo
    Photo,
    /// A window in which nothing moves
    Static,
}

fn main() -> anyhow::Result<()> {
    run(match Args::parse().command {
        Command::Keys => Drawing::Keys,
        Command::Blink => Drawing::Blink,
        Command::Photo => Drawing::Photo,
        Command::Static => Drawing::Static,
    })
}

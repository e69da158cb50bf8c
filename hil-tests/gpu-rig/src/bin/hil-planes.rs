//! Process 1 of the guest, the program that plays its scenarios, and the client that they look at.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use hil_gpu_rig::inside::client::{self, Film};
use hil_gpu_rig::inside::{init, note, scenarios};

/// What runs in the machine that heliostat-zero-copy boots
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays scenarios, by their words, or all
    Play {
        /// The words
        words: Vec<String>,
    },
    /// A window that plays a film
    Film(Film),
    /// A note over everything
    Note,
}

fn main() -> anyhow::Result<()> {
    if std::process::id() == 1 {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        init::run(&arguments);
    }
    match Args::parse().command {
        Command::Play { words } => scenarios::play(&words),
        Command::Film(film) => client::play(film),
        Command::Note => note::show(),
    }
}

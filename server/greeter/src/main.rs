//! `heliostat-greeter`: where a person logs in with name and password.
//!
//! A Wayland client in a session of its own. It speaks greetd's IPC ([`ipc`]) to the broker at
//! `GREETD_SOCK`. What is said and shown is decided by [`login`], which is pure; [`page`] lays it
//! out, [`paint`] draws what has changed, and [`app`] brings window, keys, clock and socket
//! together.
#![forbid(unsafe_code)]

mod access;
mod app;
mod field;
mod ipc;
mod keys;
mod login;
mod page;
mod paint;
mod scene;
mod text;
mod wayland;
mod window;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// The Heliostat greeter: logs a person in with name and password. The broker starts it.
#[derive(Debug, Parser)]
#[command(name = "heliostat-greeter", version)]
struct Arguments {
    /// The broker's socket; `GREETD_SOCK` where absent.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("HELIOSTAT_LOG");
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let socket = arguments.socket;
    let socket = socket.or_else(|| std::env::var_os("GREETD_SOCK").map(PathBuf::from));
    match app::run(socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("heliostat-greeter: {error:#}");
            ExitCode::FAILURE
        }
    }
}

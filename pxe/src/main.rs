//! `heliostat-pxe`: the netboot service.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use heliostat_pxe::config::Config;
use heliostat_pxe::{check, http, run};
use tracing_subscriber::EnvFilter;

/// Boots Heliostat's terminals over the network: DHCP and TFTP by dnsmasq, the image over HTTP.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Subcommands>,
    /// The config file.
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        default_value = "/etc/heliostat/pxe.toml"
    )]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Serve until Ctrl-C; what is done when no command is given.
    Run,
    /// Say what would keep it from serving, without serving.
    Check,
    /// Serve a directory on the socket that is standard input; started by `run`.
    #[command(hide = true)]
    ServeHttp {
        /// The directory.
        root: PathBuf,
        /// The process that starts it, without which it ends.
        parent: u32,
    },
}

fn main() -> ExitCode {
    let filter =
        EnvFilter::try_from_env("HELIOSTAT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(colours)
        .init();
    match act(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("heliostat-pxe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(Arguments { command, config }: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match command.unwrap_or(Subcommands::Run) {
        Subcommands::Run => runtime.block_on(run::run(&Config::load(&config)?)),
        Subcommands::Check => {
            run::report(check::check(&Config::load(&config)?))?;
            println!("nothing keeps it from serving");
            Ok(())
        }
        Subcommands::ServeHttp { root, parent } => {
            runtime.block_on(http::serve_standard_input(&root, parent))
        }
    }
}

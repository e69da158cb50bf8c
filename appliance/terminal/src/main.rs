//! The terminal's one binary: PID 1, and every process of ours that PID 1 starts.

use clap::{Parser, Subcommand};
use heliostat_client::ClientArgs;
use heliostat_init::network::NetworkArgs;

/// A Heliostat terminal
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run as PID 1 of a netbooted terminal (what the kernel starts does so by itself)
    Init,
    /// Configure the network and find the broker (started by PID 1)
    #[command(hide = true)]
    Network(NetworkArgs),
    /// Show a screen, read cards, and bring desktops to this desk
    Client(Box<ClientArgs>),
}

fn main() -> anyhow::Result<()> {
    if heliostat_init::is_pid_one() {
        heliostat_init::run();
    }
    if heliostat_init::modules::is_modprobe(std::env::args_os().next().as_deref()) {
        heliostat_init::console::init_logging(false);
        let loaded = heliostat_init::modules::run_modprobe(std::env::args_os().skip(1));
        std::process::exit(i32::from(!loaded));
    }
    match Args::parse().command {
        Command::Init => anyhow::bail!(
            "init takes the whole machine over and runs as PID 1 only: boot the image with it as /init"
        ),
        Command::Network(args) => {
            heliostat_init::console::init_service_logging();
            heliostat_init::network::run(&args)
        }
        Command::Client(args) => {
            heliostat_init::console::init_service_logging();
            heliostat_client::run(*args)
        }
    }
}

//! The terminal's one binary: PID 1, and every process of ours that PID 1 starts.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use heliostat_client::{ClientArgs, DecoderChoice};
use heliostat_init::network::NetworkArgs;

/// Layers, screens and parts of frames in huge pages: a person waits for them.
#[global_allocator]
static MEMORY: heliostat_memory::Pages = heliostat_memory::Pages;

/// A Heliostat terminal
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Args {
    /// Say what was found of screens, planes and video decoders, and which way videos will take
    #[arg(long)]
    check_display: bool,
    /// With --check-display: the graphics device, such as /dev/dri/card0, if it is not the first
    #[arg(long, requires = "check_display", value_name = "CARD")]
    device: Option<PathBuf>,
    /// With --check-display: what decodes videos, as for the client
    #[arg(long, requires = "check_display", default_value = "auto")]
    decoder: DecoderChoice,
    #[command(subcommand)]
    command: Option<Command>,
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
    let args = Args::parse();
    if args.check_display {
        heliostat_init::console::init_service_logging();
        let is_zero_copy = heliostat_client::check_display(args.device.as_deref(), &args.decoder)?;
        std::process::exit(i32::from(!is_zero_copy));
    }
    let Some(command) = args.command else {
        anyhow::bail!("nothing to do: --help says what there is");
    };
    match command {
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

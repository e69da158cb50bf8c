//! Draws a workload of the bench, deterministically, on Wayland or on X11.

use std::path::PathBuf;

use clap::Parser;
use hil_bench::workload::Workload;

/// Draws a workload of the bench
#[derive(Parser)]
#[command(version)]
struct Args {
    /// What to draw
    #[arg(value_enum)]
    workload: Workload,
    /// Where the harness reaches this client
    #[arg(long)]
    control: PathBuf,
    /// On the X server that DISPLAY names, in place of Wayland
    #[arg(long)]
    x11: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    hil_bench::draw::run(args.workload, &args.control, args.x11)
}

//! A viewer for a headless wlroots compositor with its picture in a file, for the bench.

use std::path::PathBuf;

use clap::Parser;

/// A viewer for a headless wlroots compositor with its picture in a file
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where the picture is to be
    #[arg(long)]
    framebuffer: PathBuf,
}

fn main() -> anyhow::Result<()> {
    hil_bench::screen::run(&Args::parse().framebuffer)
}

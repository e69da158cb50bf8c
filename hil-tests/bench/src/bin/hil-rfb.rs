//! A viewer for VNC servers with its picture in a file, for the bench.

use std::path::PathBuf;

use clap::Parser;

/// A viewer for VNC servers with its picture in a file
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address of the server, such as 127.0.0.1:5900
    server: String,
    /// Where the picture is to be
    #[arg(long)]
    framebuffer: PathBuf,
    /// Quality of JPEG, 0 to 9; without it everything is lossless
    #[arg(long)]
    quality: Option<u8>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    hil_bench::rfb::run(&args.server, &args.framebuffer, args.quality)
}

//! A viewer for a desktop without a screen with its picture in a file, for the bench.

use std::path::PathBuf;

use clap::Parser;

/// A viewer for a desktop without a screen with its picture in a file
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where the picture is to be
    #[arg(long)]
    framebuffer: PathBuf,
    /// Width and height of the screen, such as 1920x1080
    #[arg(long, value_parser = size)]
    size: (u32, u32),
    /// The screen of the X server that DISPLAY names, in place of a compositor's
    #[arg(long)]
    x11: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.x11 {
        true => hil_bench::screen::x11::run(&args.framebuffer, args.size),
        false => hil_bench::screen::run(&args.framebuffer, args.size),
    }
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once('x');
    sides
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)))
        .ok_or_else(|| format!("{text} is no size such as 1920x1080"))
}

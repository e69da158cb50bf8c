//! Process 1 of the guest, and the program that plays its scenarios.
#![forbid(unsafe_code)]

use hil_gpu_rig::inside::{init, scenarios};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if std::process::id() == 1 {
        init::run(&arguments);
    }
    match arguments.split_first() {
        Some((first, words)) if first == "play" => scenarios::play(words),
        _ => anyhow::bail!("this is process 1 of a guest; heliostat-zero-copy boots it"),
    }
}

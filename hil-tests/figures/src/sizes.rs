//! Typing on larger screens: what it costs grows with the pixels that change, which are as many on each.

use anyhow::{Context, ensure};
use hil_bench::harness::measure;
use hil_bench::harness::systems::System;
use hil_bench::link::{Link, Profile};
use hil_bench::workload::Workload;

use crate::Figure;

const KEYS: u32 = 100;
/// The same cell is the same work; the rest is for what a machine does besides. The screens have four
/// and eight times the pixels.
const MOST: f64 = 1.5;

/// What a key takes.
struct Key {
    server_ms: f64,
    p50_ms: f64,
}

fn key_on(workload: Workload) -> anyhow::Result<Key> {
    let link = Link::lay(Profile::Loopback)?;
    let run = measure::measure_keys(System::Heliostat, &link, workload, KEYS)?;
    let key = Key {
        server_ms: run.server_ms_per_frame.context("no key was seen")?,
        p50_ms: run.input_ms.context("no key was seen")?.p50,
    };
    let counted = key.server_ms > 0.0 && key.p50_ms > 0.0;
    ensure!(counted, "the kernel tells no processor time");
    Ok(key)
}

/// Typing at 3840×2160 and at twice that beside 1920×1080.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let small = key_on(Workload::Typing)?;
    let mut figures = Vec::new();
    for (workload, screen, server, p50) in [
        (
            Workload::Typing4k,
            "3840x2160",
            "typing_4k_server_times",
            "typing_4k_p50_times",
        ),
        (
            Workload::Typing2x4k,
            "7680x2160",
            "typing_2x4k_server_times",
            "typing_2x4k_p50_times",
        ),
    ] {
        let large = key_on(workload)?;
        let figure = |name, large: f64, small: f64, what: &str| Figure {
            name,
            value: large / small,
            unit: "times that at 1920x1080",
            target: Some(MOST),
            how: format!(
                "{KEYS} keys, a character each, {screen}, loopback: {large:.2} ms {what}, {small:.2} \
                 at 1920x1080, one run after the other"
            ),
        };
        let of_server = "of the server's processor time a frame";
        figures.push(figure(server, large.server_ms, small.server_ms, of_server));
        let until_seen = "from the key line to the frame shown, p50";
        figures.push(figure(p50, large.p50_ms, small.p50_ms, until_seen));
    }
    Ok(figures)
}

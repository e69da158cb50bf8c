//! Typing over links that are slow, far and lose packets.

use anyhow::Context;
use hil_bench::harness::measure;
use hil_bench::harness::systems::System;
use hil_bench::link::{Link, Profile};
use hil_bench::workload::Workload;

use crate::Figure;

/// Each takes at least a round trip.
const KEYS: u32 = 100;

/// Typing on a link: the name of its figure, and how much longer than the way there and back the 95th
/// of 100 keys may take, in milliseconds.
pub fn measure(
    profile: Profile,
    workload: Workload,
    name: &'static str,
    more_ms: f64,
) -> anyhow::Result<Vec<Figure>> {
    let link = Link::lay(profile).context("skipped: links need namespaces and TUN devices")?;
    let run = measure::measure_keys(System::Heliostat, &link, workload, KEYS)?;
    let times = run.input_ms.context("no key was seen")?;
    let round_trip_ms = profile.round_trip().as_secs_f64() * 1000.0;
    let beside = match workload {
        Workload::TypingPhotos => " beside photos that take more than the link carries",
        _ => "",
    };
    Ok(vec![Figure {
        name,
        value: times.p95,
        unit: "ms",
        target: Some(round_trip_ms + more_ms),
        how: format!(
            "{} of {KEYS} keys seen, a character each{beside}, 1920x1080, {}: 95 of 100 from the key \
             line to the frame shown, of which {round_trip_ms:.0} ms are the way there and back; the \
             median is {:.1} ms",
            run.seen,
            profile.name(),
            times.p50
        ),
    }])
}

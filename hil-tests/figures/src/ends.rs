//! All frames, with a processor for the server and one for the terminal.

use anyhow::{Context, ensure};
use hil_bench::harness::measure;
use hil_bench::harness::pin::Pins;
use hil_bench::harness::systems::System;
use hil_bench::link::{Link, Profile};
use hil_bench::workload::Workload;

use crate::Figure;

/// The frames of a workload that nobody has seen: the name of the figure.
pub fn measure(workload: Workload, name: &'static str) -> anyhow::Result<Vec<Figure>> {
    let pins = Pins::of_this_machine().context("skipped")?;
    let link = Link::lay(Profile::Loopback)?.pinned(Some(pins));
    let run = measure::measure(System::Heliostat, &link, workload)?;
    ensure!(run.asked > 0, "nothing was asked for");
    Ok(vec![Figure {
        name,
        value: f64::from(run.asked - run.seen.min(run.asked)),
        unit: "frames",
        target: Some(0.0),
        how: format!(
            "the bench's {}, 1920x1080, loopback, the server and the application on processor {} and \
             the terminal on processor {}: {} of the {} frames that the clock asked for were drawn, \
             and {} were seen",
            run.workload, pins.server, pins.client, run.drawn, run.asked, run.seen
        ),
    }])
}

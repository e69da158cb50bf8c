//! From the wish to connect to the first complete picture, with a desktop that runs already.

use std::time::Duration;

use anyhow::Context;
use hil_local::terminal::monotonic_us;

use super::{Meter, STEP, Stage};
use crate::harness::figures::{Figures, Times, round};
use crate::harness::systems::System;
use crate::workload::Workload;

const TIMES: u32 = 8;
/// A connection has sent all it has to say after this.
const COMPLETE: Duration = Duration::from_secs(3);

/// Connects several times. `input_ms` is the time to the first whole frame, `exact_after_ms` the
/// median time to the exact picture.
pub fn measure(system: System, link: &str) -> anyhow::Result<Figures> {
    let mut stage = Stage::set(system, Workload::Menu)?;
    let mut figures = Figures::empty(system.name(), link, "connect");
    let expected = stage.play.picture(None);
    let (mut first, mut exact) = (Vec::new(), Vec::new());
    stage = again(stage)?.0;
    let meter = Meter::start(&stage.running)?;
    for _ in 0..TIMES {
        let since;
        (stage, since) = again(stage)?;
        let (at_us, _) = stage.viewer.wait_marker((0, 0), STEP, |_| true)?;
        first.push(at_us.saturating_sub(since) as f64 / 1000.0);
        if let Some(at_us) = stage.viewer.wait_exact(&expected, COMPLETE)? {
            exact.push(at_us.saturating_sub(since) as f64 / 1000.0);
        }
        figures.asked += 1;
        figures.drawn += 1;
        figures.seen += 1;
    }
    meter.stop(&stage.running, &mut figures)?;
    figures.input_ms = Times::of(first);
    let complete = exact.len() as u32 == TIMES;
    figures.exact_after_ms = Times::of(exact)
        .filter(|_| complete)
        .map(|times| round(times.p50));
    if !complete {
        stage.judge(&expected, monotonic_us(), &mut figures)?;
    }
    Ok(figures.per_frame())
}

/// Disconnects and asks for a connection anew; when that was.
fn again(mut stage: Stage) -> anyhow::Result<(Stage, u64)> {
    stage.running.desktop.disconnect(stage.viewer)?;
    let since = monotonic_us();
    let viewer = stage.running.desktop.connect();
    stage.viewer = viewer.context("connect anew")?;
    Ok((stage, since))
}

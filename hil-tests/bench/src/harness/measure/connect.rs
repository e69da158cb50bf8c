//! From the wish to connect to the first complete picture, with a desktop that runs already.

use anyhow::{Context, ensure};
use hil_local::terminal::monotonic_us;

use super::{Meter, Stage, patience, quiet, step};
use crate::harness::figures::{Figures, Times, round};
use crate::harness::systems::{System, start_keeping};
use crate::link::Link;
use crate::workload::Workload;

const TIMES: u32 = 8;

/// Who connects the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewing {
    /// Another viewer.
    Anew,
    /// The same one, which has kept nothing.
    Again,
    /// The same one, with what it has kept.
    Kept,
}

impl Viewing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Anew, Self::Again, Self::Kept];

    /// The name of the workload.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anew => "connect",
            Self::Again => "reattach",
            Self::Kept => "reattach-kept",
        }
    }
}

/// Connects several times. `input_ms` is the time to the first whole frame, `exact_after_ms` the
/// median time to the exact picture.
pub fn measure(system: System, link: &Link, viewing: Viewing) -> anyhow::Result<Figures> {
    let again = viewing != Viewing::Anew;
    if again {
        ensure!(
            system.is_ours(),
            "its viewers keep nothing, so that this is connect"
        );
    }
    let workload = Workload::Menu;
    let mut stage = match viewing {
        Viewing::Kept => Stage::of(start_keeping(system, workload, link)?, link, workload)?,
        Viewing::Anew | Viewing::Again => Stage::set(system, link, workload)?,
    };
    let mut figures = Figures::empty(system.name(), &link.profile().name(), viewing.name());
    let expected = stage.play.picture(None);
    let (mut first, mut exact) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        stage.running.desktop.disconnect(stage.viewer, again)?;
        let meter = Meter::start(link, &stage.running)?;
        let since = monotonic_us();
        let viewer = stage.running.desktop.connect();
        stage.viewer = viewer.context("connect anew")?;
        let (at_us, _) = stage.viewer.wait_marker((0, 0), step(link), |_| true)?;
        first.push(at_us.saturating_sub(since) as f64 / 1000.0);
        // A viewer whose picture was not exact once need not be waited for so long again.
        let patience = match exact.len() + 1 == first.len() {
            true => patience(link),
            false => quiet(link),
        };
        match stage.viewer.wait_exact(&expected, patience)? {
            Some(at_us) => exact.push(at_us.saturating_sub(since) as f64 / 1000.0),
            None => stage.viewer.settle(quiet(link)),
        }
        meter.stop(&stage.running, &mut figures)?;
        figures.asked += 1;
        figures.drawn += 1;
        figures.seen += 1;
    }
    figures.input_ms = Times::of(first);
    let complete = exact.len() as u32 == TIMES;
    figures.exact_after_ms = Times::of(exact)
        .filter(|_| complete)
        .map(|times| round(times.p50));
    if !complete {
        stage.judge(&expected, monotonic_us(), &mut figures)?;
    }
    figures.carrier = stage.running.desktop.carrier()?;
    Ok(figures.per_frame())
}

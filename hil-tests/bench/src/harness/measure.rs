//! One workload on one system.

mod commit;
mod connect;
mod film;
mod meter;
mod runs;

use std::time::{Duration, Instant};

use anyhow::Context;

use super::drawing::Drawing;
use super::figures::Figures;
use super::systems::{Running, System};
use super::viewer::{Viewer, difference, psnr, write_ppm};
use crate::canvas::Canvas;
use crate::link::{Link, Shape};
use crate::play::Play;
use crate::workload::{Pace, Workload};

pub use commit::{Commit, measure as measure_commits};
pub use connect::{Viewing, measure as measure_connect};
pub use meter::Meter;

const STEP: Duration = Duration::from_secs(20);
/// A picture that is not exact by then never will be, on a link that carries it in no time.
const PATIENCE: Duration = Duration::from_secs(4);
/// A picture that is drawn for longer is still coming.
const STILL: Duration = Duration::from_secs(1);
/// What some screens full of photos are, in bits.
const MUCH: u64 = 40_000_000;

/// A desktop that shows frame 0 and is at rest.
pub struct Stage {
    /// The viewer; it ends before its server does.
    pub viewer: Viewer,
    /// What lies between the viewer and the desktop.
    pub link: Link,
    /// The desktop.
    pub running: Running,
    /// The drawing client.
    pub drawing: Drawing,
    /// What should be on the screen.
    pub play: Play,
}

impl Stage {
    /// Starts everything.
    pub fn set(system: System, link: &Link, workload: Workload) -> anyhow::Result<Self> {
        Self::of(system.start(workload, link)?, link, workload)
    }

    fn of(mut running: Running, link: &Link, workload: Workload) -> anyhow::Result<Self> {
        let mut viewer = running.desktop.connect()?;
        let drawing = Drawing::connect(&running.socket)?;
        viewer
            .wait_marker(workload.marker(), step(link), |_| true)
            .context("see the first frame")?;
        // The pointer lies where no workload draws, and the windows have settled.
        let (w, h) = workload.screen();
        viewer.terminal.pointer(w as i32 - 20, h as i32 - 20)?;
        viewer.settle(quiet(link));
        let play = Play::new(workload)?;
        Ok(Self {
            link: link.clone(),
            running,
            viewer,
            drawing,
            play,
        })
    }

    /// Notes when the picture is exactly `expected` and how far off it is if it never is.
    fn judge(
        &mut self,
        expected: &Canvas,
        since_us: u64,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        match self.viewer.wait_exact(expected, patience(&self.link))? {
            Some(at_us) => {
                let after_us = at_us.saturating_sub(since_us);
                figures.exact_after_ms = Some(after_us as f64 / 1000.0);
            }
            None => {
                let Some(picture) = self.viewer.picture_before(Instant::now() + STILL)? else {
                    // It is still coming.
                    return Ok(());
                };
                figures.psnr_db = Some(super::figures::round(psnr(difference(&picture, expected))));
                if let Some(folder) = std::env::var_os("HIL_BENCH_PICTURES") {
                    let folder = std::path::PathBuf::from(folder);
                    let name = format!("{}-{}", figures.system, figures.workload);
                    write_ppm(&picture, &folder.join(format!("{name}.seen.ppm")))?;
                    write_ppm(expected, &folder.join(format!("{name}.expected.ppm")))?;
                }
            }
        }
        Ok(())
    }
}

/// When nothing has happened for so long, nothing is on the way either.
fn quiet(link: &Link) -> Duration {
    Duration::from_millis(500) + 4 * link.profile().round_trip()
}

/// How long a picture may take to become exact.
fn patience(link: &Link) -> Duration {
    let carried = |shape: Shape| Duration::from_millis(MUCH * 1000 / shape.bits);
    PATIENCE + link.profile().shape().map_or(Duration::ZERO, carried)
}

/// How long a frame may take to be seen at all. With losses a peer's TCP has a fraction of the rate.
fn step(link: &Link) -> Duration {
    STEP + 3 * patience(link)
}

/// Runs a workload on a system.
pub fn measure(system: System, link: &Link, workload: Workload) -> anyhow::Result<Figures> {
    measure_keys(system, link, workload, runs::KEYS)
}

/// The same with so many keys, where keys make it go on.
pub fn measure_keys(
    system: System,
    link: &Link,
    workload: Workload,
    keys: u32,
) -> anyhow::Result<Figures> {
    let mut stage = Stage::set(system, link, workload)?;
    let figures = Figures::empty(system.name(), &link.profile().name(), &workload.name());
    let figures = match workload.pace() {
        Pace::Every(interval) => runs::by_the_clock(&mut stage, figures, interval),
        Pace::Keys => runs::by_keys(&mut stage, figures, keys),
        Pace::KeysOverFilm(interval) => {
            runs::by_keys_over_film(&mut stage, figures, interval, keys)
        }
        Pace::Mouse(interval) => runs::by_mouse(&mut stage, figures, interval),
        Pace::Shortcut(interval) => runs::by_shortcut(&mut stage, figures, interval),
        Pace::Still => runs::still(&mut stage, figures),
    };
    let mut figures = figures?.per_frame();
    figures.carrier = stage.running.desktop.carrier()?;
    Ok(figures)
}

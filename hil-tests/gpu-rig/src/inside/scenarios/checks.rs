//! What the programs say of the machine to whoever runs it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use drm::{Device as _, DriverCapability};
use hil_local::programs;

use super::Outcome;
use crate::inside::card::{self, Card};
use crate::inside::report::Report;

/// What is said of the encoder, and why films go this way.
const ENCODER: &[&str] = &[
    "packed headers: sequence, picture, slice",
    "offered besides: ",
    "encoded without a copy: NV12, XR24",
    "way of films: H.264 Main by EncSlice (EncSliceLP is not offered), bounded rate, all headers ours; \
     RGB by VideoProc",
    "the driver is told what has changed, what was left out",
];
/// What becomes of videos on vkms, as docs/hardware.md has it in its table.
const VIDEOS: &[&str] = &[
    "H.264 High, VLD",
    "surfaces: NV12 (linear)",
    "  in a window: zero copy: plane ",
    "  in a window, with something over it: decoded by hardware, then copied: something is over it",
    "  in a window, enlarged: decoded by hardware, then copied: the graphics driver refuses",
    "  on the whole screen: zero copy: the decoder's surface in place of what is drawn",
    "\nzero copy: yes",
];

/// Both programs find what films need, say so, and tell scripts by how they end.
pub fn found(report: &mut Report) -> Result<Outcome> {
    let node = card::nodes("vgem", "renderD")?
        .pop()
        .context("vgem has no render node")?;
    let node = node.to_str().context("a path of ASCII")?;
    for (program, arguments, is_taken, words) in [
        (
            "heliostat-session",
            ["--check-gpu", "--render-node", node],
            true,
            ENCODER,
        ),
        (
            "heliostat-session",
            ["--check-gpu", "--render-node", "off"],
            false,
            &["way of films: the processor encodes them"],
        ),
        (
            "heliostat-terminal",
            ["--check-display", "--decoder", node],
            true,
            VIDEOS,
        ),
        (
            "heliostat-terminal",
            ["--check-display", "--decoder", "software"],
            false,
            &["videos: by the processor, so it was asked for"],
        ),
    ] {
        let output = Command::new(programs::find(program)?)
            .args(arguments)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        report.note(format!(
            "{program} {}: {}",
            arguments.join(" "),
            output.status
        ));
        for line in said.lines() {
            report.note(format!("  {line}"));
        }
        ensure!(
            output.status.success() == is_taken,
            "{program} ends with {}: {errors}",
            output.status
        );
        let missing = words.iter().find(|words| !said.contains(**words));
        ensure!(
            missing.is_none(),
            "{program} does not say {missing:?}: {said}"
        );
    }
    timelines(report)?;
    Ok(Outcome::Held)
}

/// The session says of each device whether clients may synchronise explicitly, and of none that has no timelines.
fn timelines(report: &mut Report) -> Result<()> {
    let vkms = Card::vkms()?.get_driver_capability(DriverCapability::TimelineSyncObj);
    report.note(format!("vkms: timelines {vkms:?}"));
    for (driver, words) in [
        ("vgem", "explicit synchronisation: not offered to clients"),
        ("virtio_gpu", "explicit synchronisation: offered to clients"),
    ] {
        let node = card::nodes(driver, "renderD")?.pop();
        let node = node.with_context(|| format!("{driver} has no render node"))?;
        let output = Command::new(programs::find("heliostat-session")?)
            .arg("--check-gpu")
            .arg("--render-node")
            .arg(node)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = said.lines().find(|line| line.starts_with("explicit"));
        report.note(format!("{driver}: {}", line.unwrap_or("nothing")));
        ensure!(said.contains(words), "of {driver} it says {said}");
    }
    Ok(())
}

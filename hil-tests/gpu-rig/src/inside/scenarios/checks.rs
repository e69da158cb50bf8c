//! What the programs say of the machine to whoever runs it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use drm::{Device as _, DriverCapability};
use hil_local::programs;

use super::Outcome;
use crate::inside::card::{self, Card};
use crate::inside::report::Report;

/// Both programs find what films need, say so, and tell scripts by how they end.
pub fn found(report: &mut Report) -> Result<Outcome> {
    let node = card::nodes("vgem", "renderD")?
        .pop()
        .context("vgem has no render node")?;
    let node = node.to_str().context("a path of ASCII")?;
    for (program, arguments, is_taken) in [
        (
            "heliostat-session",
            ["--check-gpu", "--render-node", node],
            true,
        ),
        (
            "heliostat-session",
            ["--check-gpu", "--render-node", "off"],
            false,
        ),
        (
            "heliostat-terminal",
            ["--check-display", "--decoder", node],
            true,
        ),
        (
            "heliostat-terminal",
            ["--check-display", "--decoder", "software"],
            false,
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
            output.status.success() == is_taken && !said.is_empty(),
            "{program} ends with {}: {errors}",
            output.status
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

//! A film on a display none of whose planes takes NV12: the terminal's device makes RGB of each picture, which a
//! plane shows; and where it stops doing so the film is copied.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Result, bail, ensure};
use drm::buffer::DrmFourcc;
use hil_local::{Event, Site, Terminal};

use super::Outcome;
use super::desktop::STEP;
use super::zero_copy::{self, FAULTS, PICTURES, counted, is_on_plane};
use crate::inside::card::Card;
use crate::inside::init::{self, VA_LOG};
use crate::inside::look;
use crate::inside::report::Report;

/// The conversion that fails, once: well after the film has begun.
const FAULT: &str = "conversion:20";

/// Each picture is converted, and a plane shows that.
pub fn converted(report: &mut Report) -> Result<Outcome> {
    play(report, |site, report| {
        let mut terminal = zero_copy::start(site, &[], report)?;
        without_copies(site, &mut terminal, report)?;
        let numbers = zero_copy::colours_and_numbers(&mut terminal, report)?;
        report.note(format!("numbers seen while it played: {numbers:?}"));
        shows_what_was_converted(report)?;
        zero_copy::end(&mut terminal, report)
    })
}

/// A conversion fails: the same pictures are copied from then on, and nobody is detached.
pub fn stops(report: &mut Report) -> Result<Outcome> {
    play(report, |site, report| {
        let mut terminal = zero_copy::start(site, &[(FAULTS, FAULT)], report)?;
        let mut detached = false;
        let is_copied = |event: &Event| {
            detached |= matches!(event.name(), "detached" | "disconnected");
            event.name() == "video" && event.value["way"] == "copied"
        };
        let first = terminal.wait_for("picture that is copied", STEP, is_copied)?;
        report.note(format!("copied: {}", first.value));
        for _ in 0..PICTURES {
            let event = terminal.wait_for("next picture", STEP, |event: &Event| {
                detached |= matches!(event.name(), "detached" | "disconnected");
                event.name() == "video"
            })?;
            let is_copied =
                event.value["way"] == "copied" && event.number("copied_pixels") > Some(0);
            ensure!(is_copied, "a picture went another way: {}", event.value);
        }
        ensure!(!detached, "the terminal was detached");
        let log = fs::read_to_string(VA_LOG).unwrap_or_default();
        ensure!(
            log.contains("call 20 fails as the list of faults has it"),
            "no conversion has failed: {log}"
        );
        let numbers = zero_copy::colours_and_numbers(&mut terminal, report)?;
        report.note(format!("numbers seen after the fault: {numbers:?}"));
        zero_copy::end(&mut terminal, report)
    })
}

fn play(
    report: &mut Report,
    watch: impl FnOnce(&Site, &mut Report) -> Result<()>,
) -> Result<Outcome> {
    init::without_yuv(|| {
        let planes = Card::vkms()?.planes()?;
        let takes = |format| planes.iter().filter(|plane| plane.takes(format)).count();
        let (nv12, xrgb) = (takes(DrmFourcc::Nv12), takes(DrmFourcc::Xrgb8888));
        report.note(format!("planes that take NV12: {nv12}, XRGB: {xrgb}"));
        ensure!(nv12 == 0 && xrgb > 1, "the display has other planes");
        zero_copy::play("nv12", ("vgem", ""), report, watch)
    })
}

/// Neither the session nor the terminal touches a pixel while pictures go by, each in another surface than it was
/// decoded into.
fn without_copies(site: &Site, terminal: &mut Terminal, report: &mut Report) -> Result<()> {
    let stretch = zero_copy::stretch(site, terminal, report)?;
    let mut shown = BTreeSet::new();
    for event in &stretch.pictures {
        let is_converted = event.value["converted"] == true
            && event.number("decoded_inode") != event.number("scanned_inode");
        ensure!(
            is_on_plane(event) && is_converted && event.number("copied_pixels") == Some(0),
            "a picture is not shown as the device has converted it: {}",
            event.value
        );
        shown.extend(event.number("scanned_inode"));
    }
    stretch.ensure_unread()?;
    let into = converted_into()?;
    ensure!(
        shown.len() > 1 && shown.is_subset(&into),
        "the terminal shows {shown:?}, the driver has converted into {into:?}"
    );
    Ok(())
}

/// Surfaces of the terminal's driver that it has converted into.
fn converted_into() -> Result<BTreeSet<u64>> {
    let counted = counted()?;
    let touched = counted.iter().find(|c| c.lent > 0 || c.copied > 0);
    ensure!(
        touched.is_none(),
        "the driver was asked for pixels: {touched:?}"
    );
    let into = counted
        .iter()
        .filter(|c| c.role == "exported" && c.processed_into > 0);
    Ok(into.map(|counted| counted.inode).collect())
}

/// What the kernel scans out is what was converted, and no copy of it.
fn shows_what_was_converted(report: &mut Report) -> Result<()> {
    let into = converted_into()?;
    let mut planes = look::scanned_out(&Card::vkms()?)?;
    planes.retain(|plane| into.contains(&plane.inode));
    let [plane] = &planes[..] else {
        bail!("one plane is to show the film: {planes:?}, of {into:?}");
    };
    report.note(format!("scanned out: {plane:?}, converted into {into:?}"));
    ensure!(
        plane.format == DrmFourcc::Xrgb8888,
        "the plane shows {:?}",
        plane.format
    );
    Ok(())
}

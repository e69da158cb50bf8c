//! A film on the desktop: which picture is on the screen, and in which colours.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use hil_local::framebuffer::Shot;
use hil_local::{Event, Site, Terminal};

use super::Outcome;
use super::desktop::{CARD, KEY_A, STEP, site, wait_for_picture, with_logs};
use crate::inside::film::{self, Seen};
use crate::inside::report::Report;

/// How far colours may be off while a film plays: a lossy codec at the bit rate of a first second.
pub const WHILE_PLAYING: u8 = 24;
/// How far they may be off in the end: luma and chroma have fewer levels than colours.
const AFTER: u8 = 3;
/// Where it says at which picture it stopped, and which buffers it has.
const LAST: &str = "/run/home/alice/last";
pub const INODES: &str = "/run/home/alice/inodes";

/// What is known of a film that played and stopped.
pub struct Played {
    /// Two looks while it played.
    pub during: [Seen; 2],
    /// One after its end, when nothing came any more.
    pub after: Seen,
}

/// Shows a desktop whose program plays `film`, and watches it to its end.
pub fn watch(terminal: &mut Terminal, report: &mut Report) -> Result<Played> {
    terminal.wait_named("connected", STEP)?;
    terminal.insert_card(CARD)?;
    terminal.wait_named("frame_shown", STEP)?;
    let mut first = None;
    let playing = |shot: &Shot| {
        first = film::find(shot).filter(|seen| seen.number > 1);
        first.is_some()
    };
    let shot = wait_for_picture(terminal, report, "film", playing)?;
    report.picture("film", &shot)?;
    let first = first.context("a film was found")?;
    let mut second = None;
    let later = |shot: &Shot| {
        second = film::find(shot).filter(|seen| seen.number > first.number);
        second.is_some()
    };
    wait_for_picture(terminal, report, "next picture of the film", later)?;
    let second = second.context("a film was found")?;
    let after = stop(terminal, report)?;
    Ok(Played {
        during: [first, second],
        after,
    })
}

/// Stops the film, and waits for its last picture, exact.
pub fn stop(terminal: &mut Terminal, report: &mut Report) -> Result<Seen> {
    terminal.press(KEY_A)?;
    // A look holds the terminal up; the key goes first.
    let arrived = |_: &Event| Path::new(LAST).exists();
    terminal.wait_for("end of the film", STEP, arrived)?;
    let mut exact = None;
    let is_exact = |shot: &Shot| {
        let last = std::fs::read_to_string(LAST).ok();
        let last: Option<u32> = last.and_then(|text| text.parse().ok());
        exact = film::find(shot).filter(|seen| last == Some(seen.number) && seen.off <= AFTER);
        exact.is_some()
    };
    let shot = wait_for_picture(terminal, report, "exact end of the film", is_exact).with_context(
        || {
            let last = std::fs::read_to_string(LAST);
            format!("the film says that it stopped at {last:?}")
        },
    )?;
    report.picture("settled", &shot)?;
    exact.context("a film was found")
}

/// The command of a film, which has not been played yet.
pub fn command(pixels: &str) -> String {
    // What another film has left.
    for file in [INODES, LAST] {
        let _ = std::fs::remove_file(file);
    }
    format!("/usr/bin/hil-planes film --pixels {pixels} --inodes {INODES} --last {LAST}")
}

pub fn software(report: &mut Report) -> Result<Outcome> {
    let site = site(&command("shm"), "")?;
    let result = software_on(&site, report);
    with_logs(&site, report, result)
}

fn software_on(site: &Site, report: &mut Report) -> Result<Outcome> {
    let mut terminal = site.kms("desk", &[])?;
    let played = watch(&mut terminal, report)?;
    for seen in &played.during {
        report.note(format!("while it played: {seen:?}"));
        ensure!(seen.off <= WHILE_PLAYING, "colours are off by {}", seen.off);
        ensure!(seen.at == played.after.at, "the film moved about: {seen:?}");
    }
    Ok(Outcome::Held)
}

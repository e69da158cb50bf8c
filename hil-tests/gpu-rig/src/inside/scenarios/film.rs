//! A film on the desktop: which picture is on the screen, and in which colours.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hil_local::framebuffer::Shot;
use hil_local::{Site, Terminal};

use super::Outcome;
use super::desktop::{CARD, KEY_A, STEP, site, wait_for_picture, with_logs};
use crate::inside::film::{self, Seen};
use crate::inside::look;
use crate::inside::report::Report;

/// How far colours may be off while a film plays: a lossy codec at the bit rate of a first second.
const WHILE_PLAYING: u8 = 24;
/// How far they may be off in the end: luma and chroma have fewer levels than colours.
const AFTER: u8 = 3;
/// How long a film that has stopped may take to be exact.
const SETTLES: Duration = Duration::from_secs(30);
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
    terminal.press(KEY_A)?;
    let after = still(terminal, report)?;
    Ok(Played {
        during: [first, second],
        after,
    })
}

/// The film's last picture, exact.
fn still(terminal: &mut Terminal, report: &mut Report) -> Result<Seen> {
    let deadline = Instant::now() + SETTLES;
    loop {
        let shot = look::picture_of(terminal.pid())?;
        let seen = film::find(&shot);
        let last = std::fs::read_to_string(LAST).ok();
        let last: Option<u32> = last.and_then(|text| text.parse().ok());
        if let (Some(seen), Some(last)) = (&seen, last)
            && seen.number == last
            && seen.off <= AFTER
        {
            report.picture("settled", &shot)?;
            return Ok(seen.clone());
        }
        if terminal.next_event(deadline).is_none() {
            report.picture("missed", &shot)?;
            bail!("the film's end is not shown exactly within {SETTLES:?}: {seen:?}");
        }
    }
}

/// The command of a film.
pub fn command(pixels: &str) -> String {
    format!("/usr/bin/hil-planes film --pixels {pixels} --inodes {INODES} --last {LAST}")
}

pub fn software(report: &mut Report) -> Result<Outcome> {
    let _ = std::fs::remove_file(LAST);
    let site = site(&command("shm"))?;
    let result = software_on(&site, report);
    with_logs(&site, report, result)
}

fn software_on(site: &Site, report: &mut Report) -> Result<Outcome> {
    let mut terminal = site.kms("desk")?;
    let played = watch(&mut terminal, report)?;
    for seen in &played.during {
        report.note(format!("while it played: {seen:?}"));
        ensure!(seen.off <= WHILE_PLAYING, "colours are off by {}", seen.off);
        ensure!(seen.at == played.after.at, "the film moved about: {seen:?}");
    }
    Ok(Outcome::Held)
}

//! A terminal on a real display: broker, session and terminal of the product, joined over loopback.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use hil_local::framebuffer::Shot;
use hil_local::{Site, SiteOptions, Terminal};
use hil_rig::namespaces::PEOPLE;

use super::Outcome;
use crate::inside::look;
use crate::inside::report::Report;

/// Alice's card.
pub const CARD: &str = "piv:00000000000000000000000000000a11";
/// How long anything may take; the processor is emulated.
pub const STEP: Duration = Duration::from_secs(40);
/// The key that the window answers.
pub const KEY_A: u16 = 30;
/// What the probe's window is filled with, and its block after the first key (blue first).
const WINDOW: [u8; 3] = [0x28, 0x20, 0x20];
const ANSWER: [u8; 3] = [0xbd, 0x79, 0x35];
/// How much of a session's log is told.
const LOG_LINES: usize = 40;
/// The block's pixels.
const BLOCK: usize = 64 * 64;

/// A site whose sessions start one program, with further settings of sessions.
pub fn site(program: &str, settings: &str) -> Result<Site> {
    let site = Site::start(&SiteOptions {
        session_toml: format!("autostart = [\"{program}\"]\n{settings}"),
        ..SiteOptions::default()
    })?;
    site.add_card(CARD, PEOPLE[0].name)?;
    Ok(site)
}

/// Tells the end of what the sessions wrote, when a scenario has failed.
pub fn with_logs<T>(site: &Site, report: &mut Report, result: Result<T>) -> Result<T> {
    if result.is_err() {
        for entry in std::fs::read_dir(site.folder().join("state/log"))? {
            let text = String::from_utf8_lossy(&std::fs::read(entry?.path())?).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                report.note(format!("session: {line}"));
            }
        }
    }
    result
}

/// How many pixels have a colour.
pub fn count(shot: &Shot, colour: [u8; 3]) -> usize {
    shot.pixels
        .chunks_exact(4)
        .filter(|pixel| pixel[..3] == colour)
        .count()
}

/// Looks at the screen until it shows what is wanted; after a look in vain, not before something has happened.
pub fn wait_for_picture(
    terminal: &mut Terminal,
    report: &mut Report,
    what: &str,
    mut wanted: impl FnMut(&Shot) -> bool,
) -> Result<Shot> {
    let deadline = Instant::now() + STEP;
    loop {
        // What was said before a look is in it; what is said from now on may not be.
        terminal.drain();
        let started = Instant::now();
        let shot = look::picture_of(terminal.pid())?;
        report.looked(started.elapsed());
        if wanted(&shot) {
            return Ok(shot);
        }
        // The look has held the terminal up: it gets as long to go on, or it would hardly run at all.
        let rested = Instant::now() + started.elapsed();
        let mut has_changed = false;
        while terminal.next_event(rested).is_some() {
            has_changed = true;
        }
        if !has_changed && terminal.next_event(deadline).is_none() || Instant::now() > deadline {
            report.picture("missed", &shot)?;
            bail!("the screen shows no {what} within {STEP:?}");
        }
    }
}

/// Looks at the screen once, and gives the terminal as long to go on as the look has held it up.
pub fn look_once(terminal: &mut Terminal, report: &mut Report) -> Result<Shot> {
    let started = Instant::now();
    let shot = look::picture_of(terminal.pid())?;
    report.looked(started.elapsed());
    let rested = Instant::now() + started.elapsed();
    while terminal.next_event(rested).is_some() {}
    Ok(shot)
}

pub fn software(report: &mut Report) -> Result<Outcome> {
    let site = site("/usr/bin/hil-probe keys", "")?;
    let result = desk(&site, report);
    with_logs(&site, report, result)
}

fn desk(site: &Site, report: &mut Report) -> Result<Outcome> {
    let mut terminal = site.kms("desk", &[])?;
    terminal.wait_named("connected", STEP)?;
    let idle = look::picture_of(terminal.pid())?;
    ensure!(
        count(&idle, WINDOW) == 0,
        "the idle screen has the window's colour"
    );

    let started = Instant::now();
    terminal.insert_card(CARD)?;
    terminal.wait_named("frame_shown", STEP)?;
    let shown = started.elapsed();
    let most = |shot: &Shot| count(shot, WINDOW) > 400_000;
    let desktop = wait_for_picture(&mut terminal, report, "window", most)?;
    report.picture("desktop", &desktop)?;
    report.note(format!(
        "card to first frame {} ms, {}×{}",
        shown.as_millis(),
        desktop.w,
        desktop.h
    ));

    terminal.press(KEY_A)?;
    let answered = |shot: &Shot| count(shot, ANSWER) == BLOCK;
    wait_for_picture(&mut terminal, report, "answer to the key", answered)?;

    terminal.pull_card()?;
    let gone = |shot: &Shot| count(shot, WINDOW) == 0 && count(shot, ANSWER) == 0;
    wait_for_picture(&mut terminal, report, "idle screen", gone)?;
    for plane in look::scanned_out(&crate::inside::card::Card::vkms()?)? {
        report.note(format!("scanned out without a card: {plane:?}"));
    }
    Ok(Outcome::Held)
}

//! The story of a day at two desks, step by step, each verified on the pixels.
//!
//! The demo tells it, the scenarios test it; both call these steps.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::Rig;
use crate::namespaces::PEOPLE;
use crate::screen::{Area, Picture};

/// What foot is before anybody has coloured it.
pub const FOOT: u32 = 0x11_11_11;
/// A step on an emulated, busy machine.
pub const STEP: Duration = Duration::from_secs(60);
/// Share of the screen above which a window is there.
const WINDOW: f64 = 0.04;

/// A person and the colour by which their terminal emulator is known on a screen.
#[derive(Debug, Clone, Copy)]
pub struct Player {
    /// Login name and card.
    pub name: &'static str,
    /// 0xRRGGBB.
    pub colour: u32,
}

/// Alice.
pub const ALICE: Player = Player {
    name: "alice",
    colour: 0x7a_1f_a2,
};
/// Bob.
pub const BOB: Player = Player {
    name: "bob",
    colour: 0x1f_8f_3a,
};

/// Inserts a person's card and waits for a desktop with foot on it. Returns how long that took.
pub fn arrive(rig: &mut Rig, player: Player, desk: &str) -> anyhow::Result<Duration> {
    let start = Instant::now();
    rig.insert(player.name, desk)?;
    rig.machine(desk)?
        .wait_for("window of foot", STEP, |p| p.share(FOOT) > WINDOW)?;
    Ok(start.elapsed())
}

/// Types a command that writes a line and then colours the person's terminal emulator, and waits
/// for the colour: when it is there, so is all that was written before it. The prompt that follows
/// is too short to matter to a comparison.
pub fn colour(rig: &mut Rig, player: Player, desk: &str) -> anyhow::Result<Picture> {
    let machine = rig.machine(desk)?;
    machine.type_text(&format!(
        "PS1='$ '; clear; echo $USER is here, $((6*7)) times; printf '\\033]11;#{:06x}\\007'\n",
        player.colour
    ))?;
    machine.wait_for("colour typed into foot", STEP, |p| {
        p.share(player.colour) > WINDOW
    })
}

/// Inserts a person's card and waits for their coloured window with the text of `before`. Returns
/// the share of pixels that are the same.
pub fn come_back_to(
    rig: &mut Rig,
    player: Player,
    desk: &str,
    before: &Picture,
) -> anyhow::Result<f64> {
    rig.insert(player.name, desk)?;
    let mut verdict = Ok(0.0);
    let waited = rig
        .machine(desk)?
        .wait_for("the text as it was left", STEP, |picture| {
            verdict = same_text(player, before, picture);
            verdict.is_ok()
        });
    // What was different says more than that the time is up.
    let share = verdict?;
    waited.map(|_| share)
}

/// Inserts a person's card and waits for their coloured window.
pub fn come_back(rig: &mut Rig, player: Player, desk: &str) -> anyhow::Result<Picture> {
    rig.insert(player.name, desk)?;
    let colour = player.colour;
    rig.machine(desk)?
        .wait_for("the desktop as it was left", STEP, |p| {
            p.share(colour) > WINDOW
        })
}

/// Pulls the card and waits for the idle screen. Returns how long that took.
pub fn leave(rig: &mut Rig, desk: &str) -> anyhow::Result<Duration> {
    let start = Instant::now();
    rig.pull(desk)?;
    rig.machine(desk)?
        .wait_for("idle screen", STEP, Picture::is_idle)?;
    Ok(start.elapsed())
}

/// Drags a person's window with the mouse and checks that it went along.
pub fn drag(rig: &mut Rig, player: Player, desk: &str) -> anyhow::Result<(Area, Area)> {
    let machine = rig.machine(desk)?;
    let before = machine
        .picture()?
        .bounds(player.colour)
        .context("no window to drag")?;
    let (x, y) = (before.x + before.w / 2, before.y + before.h / 2);
    machine.key("alt", true)?;
    let dragged = machine.drag((x, y), (x + 90, y + 60));
    machine.key("alt", false)?;
    dragged?;
    let moved = |p: &Picture| {
        p.bounds(player.colour)
            .is_some_and(|now| now.x >= before.x + 60 && now.y >= before.y + 40)
    };
    let picture = machine.wait_for("window dragged along", STEP, moved)?;
    Ok((
        before,
        picture
            .bounds(player.colour)
            .context("the window is gone")?,
    ))
}

/// Checks that what a window showed before is what it shows now, wherever it is. The cursor of the
/// terminal emulator blinks, so a little may differ.
pub fn same_text(player: Player, before: &Picture, after: &Picture) -> anyhow::Result<f64> {
    let (a, b) = (before.bounds(player.colour), after.bounds(player.colour));
    let (a, b) = (
        a.context("no window before")?,
        b.context("no window after")?,
    );
    let top = |area: Area| Area {
        w: a.w.min(b.w).min(400),
        h: 60,
        ..area
    };
    let (old, new) = (before.crop(top(a)), after.crop(top(b)));
    ensure!(
        (old.w, old.h) == (new.w, new.h),
        "the window is not all on the screen"
    );
    let text = old
        .pixels
        .iter()
        .filter(|pixel| **pixel != player.colour)
        .count();
    ensure!(text > 100, "there is no text to compare");
    let same = old
        .pixels
        .iter()
        .zip(&new.pixels)
        .filter(|(a, b)| a == b)
        .count();
    let share = same as f64 / old.pixels.len() as f64;
    ensure!(
        share > 0.97,
        "only {:.1} % of the text is the same",
        share * 100.0
    );
    Ok(share)
}

/// Checks that a colour is nowhere on a desk's screen.
pub fn sees_nothing_of(rig: &mut Rig, player: Player, desk: &str) -> anyhow::Result<()> {
    let share = rig.machine(desk)?.picture()?.share(player.colour);
    ensure!(
        share == 0.0,
        "{} pixels of {}'s are on {desk}",
        share,
        player.name
    );
    Ok(())
}

/// The session of a person, as the broker knows it.
pub fn session_of(rig: &Rig, player: Player) -> anyhow::Result<Value> {
    let sessions = rig.site.ctl(&["session", "list"])?;
    let mut all = sessions.as_array().cloned().unwrap_or_default().into_iter();
    all.find(|session| session["person"] == player.name)
        .with_context(|| format!("{} has no session", player.name))
}

/// Checks that foot runs as this person, and returns its process.
pub fn foot_of(player: Player) -> anyhow::Result<u32> {
    let person = PEOPLE.iter().find(|person| person.name == player.name);
    let uid = person.context("nobody of this name")?.uid;
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        if read("comm").trim() != "foot" {
            continue;
        }
        let of_uid = read("status").lines().find_map(|line| {
            line.strip_prefix("Uid:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        });
        if of_uid == Some(uid) {
            let pid = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            return pid.context("a process has a number");
        }
    }
    bail!("no foot runs as {} (user {uid})", player.name)
}

/// The receipts so far, a line each for people.
pub fn receipts(rig: &Rig) -> anyhow::Result<(Value, Vec<String>)> {
    let receipts = rig.site.ctl(&["receipts"])?;
    let rows = receipts
        .as_array()
        .or_else(|| receipts["receipts"].as_array());
    let lines = rows.into_iter().flatten().map(|row| {
        let stages: Vec<String> = row["stages"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|stage| {
                let us = stage[1].as_f64().unwrap_or(0.0);
                format!("{} {:.1}", stage[0].as_str().unwrap_or("?"), us / 1000.0)
            })
            .collect();
        let word = |field: &str| row[field].as_str().unwrap_or("?").to_owned();
        format!(
            "{} at {}: {} ms",
            word("person"),
            word("terminal"),
            stages.join(", ")
        )
    });
    let lines = lines.collect();
    Ok((receipts, lines))
}

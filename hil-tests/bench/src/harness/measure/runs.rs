//! The runs, by what makes the workload go on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hil_local::terminal::monotonic_us;

use super::film::Sampler;
use super::{Meter, STEP, Stage, quiet, step};
use crate::canvas::Canvas;
use crate::harness::drawing::Done;
use crate::harness::figures::{Figures, Times};
use crate::harness::viewer::{Viewer, key};
use crate::marker;
use crate::text::mix;

/// What is typed where nobody asks for more or fewer.
pub const KEYS: u32 = 300;
/// A system that has not shown all keys by then, besides what the link takes, gets no more.
const KEYS_LIMIT: Duration = Duration::from_secs(30);
const RUN: Duration = Duration::from_secs(6);
/// Longer than the keys take, on slow systems and links, too; it is ended with them.
const FILM: Duration = Duration::from_secs(600);
/// What a film or photos need until they use all of the link that they will.
const WARM_UP: Duration = Duration::from_secs(2);
const MOVES: u32 = 240;
/// When nothing was seen for so long after the last step, besides what the link takes, nothing comes.
const MOVES_REST: Duration = Duration::from_millis(400);
const SWITCHES: u32 = 20;
const STILL: Duration = Duration::from_secs(10);
/// Where the mouse takes hold of the window, and how far from the edges it stays.
const GRIP: (i32, i32) = (960, 540);

/// The clock drives the drawing client.
pub fn by_the_clock(
    stage: &mut Stage,
    mut figures: Figures,
    interval: Duration,
) -> anyhow::Result<Figures> {
    let frames = (RUN.as_nanos() / interval.as_nanos()) as u32;
    let place = stage.play.workload().marker();
    let meter = Meter::start(&stage.link, &stage.running)?;
    let start_us = stage.drawing.go(frames)?;
    let mut film = Sampler::of(stage.play.workload());
    let (seen, done) = watch(stage, place, film.as_mut())?;
    meter.note_per_second(&stage.running, &mut figures);
    note_clocked(&mut figures, &seen, &done, start_us, interval, frames);
    stage.play.go_base(done.base);
    stage.play.go_over(done.over);
    let expected = stage.play.picture(None);
    stage.judge(&expected, done.at_us, &mut figures)?;
    meter.stop(&stage.running, &mut figures)?;
    if let Some(film) = film {
        figures.film = film.judge(stage.play.workload())?;
    }
    Ok(figures)
}

/// Watches a run: each frame's number with the first time it was seen.
fn watch(
    stage: &mut Stage,
    place: (u32, u32),
    mut film: Option<&mut Sampler>,
) -> anyhow::Result<(BTreeMap<u32, u64>, Done)> {
    let mut seen = BTreeMap::new();
    let quiet = Duration::from_millis(300) + 4 * stage.link.profile().round_trip();
    let limit = Instant::now() + RUN + step(&stage.link);
    let mut done: Option<(Done, Instant)> = None;
    while Instant::now() < limit {
        let shown = stage
            .viewer
            .next_shown(Instant::now() + Duration::from_millis(5));
        if let (Some(shown), Some(number)) = (shown, stage.viewer.marker(place)) {
            let before = seen.len();
            seen.entry(number).or_insert(shown.at_us);
            if let Some(film) = film.as_mut().filter(|_| seen.len() > before) {
                film.see(&stage.viewer);
            }
        }
        match done {
            None => {
                done = stage
                    .drawing
                    .poll_done()?
                    .map(|done| (done, Instant::now()))
            }
            // The last frame is on its way.
            Some((_, since)) if shown.is_none() && since.elapsed() > quiet => {
                break;
            }
            Some(_) => {}
        }
    }
    let (done, _) = done.context("hil-draw has not said that it is done")?;
    // What was there before.
    seen.remove(&0);
    Ok((seen, done))
}

fn note_clocked(
    figures: &mut Figures,
    seen: &BTreeMap<u32, u64>,
    done: &Done,
    start_us: u64,
    interval: Duration,
    frames: u32,
) {
    figures.asked = frames;
    figures.drawn = done.drawn;
    figures.seen = seen.len() as u32;
    let late = seen.iter().map(|(number, at_us)| {
        let due_us = start_us + u64::from(number - 1) * interval.as_micros() as u64;
        (*at_us as f64 - due_us as f64) / 1000.0
    });
    figures.late_ms = Times::of(late.collect());
}

/// Keys, each with one character.
pub fn by_keys(stage: &mut Stage, mut figures: Figures, keys: u32) -> anyhow::Result<Figures> {
    let meter = Meter::start(&stage.link, &stage.running)?;
    let last_us = type_keys(stage, &mut figures, keys)?;
    meter.note_per_second(&stage.running, &mut figures);
    stage.play.go_base(figures.asked);
    let expected = stage.play.picture(None);
    stage.judge(&expected, last_us, &mut figures)?;
    meter.stop(&stage.running, &mut figures)?;
    Ok(figures)
}

/// Keys while a film plays; frames and bytes are those of both.
pub fn by_keys_over_film(
    stage: &mut Stage,
    mut figures: Figures,
    interval: Duration,
    keys: u32,
) -> anyhow::Result<Figures> {
    let frames = (FILM.as_nanos() / interval.as_nanos()) as u32;
    stage.drawing.go(frames)?;
    let warm = Instant::now() + WARM_UP;
    while stage.viewer.next_shown(warm).is_some() {}
    let meter = Meter::start(&stage.link, &stage.running)?;
    type_keys(stage, &mut figures, keys)?;
    meter.note_per_second(&stage.running, &mut figures);
    meter.stop(&stage.running, &mut figures)?;
    stage.drawing.stop()?;
    let limit = Instant::now() + STEP;
    let done = loop {
        stage
            .viewer
            .next_shown(Instant::now() + Duration::from_millis(50));
        match stage.drawing.poll_done()? {
            Some(done) => break done,
            None => ensure!(Instant::now() < limit, "the film does not end"),
        }
    };
    stage.play.go_base(figures.asked);
    stage.play.go_over(done.over);
    let expected = stage.play.picture(None);
    stage.judge(&expected, done.at_us, &mut figures)?;
    Ok(figures)
}

/// Returns when the last key was pressed.
fn type_keys(stage: &mut Stage, figures: &mut Figures, keys: u32) -> anyhow::Result<u64> {
    let mut times = Vec::new();
    let mut last_us = 0;
    let limit = Instant::now() + KEYS_LIMIT + keys * stage.link.profile().round_trip();
    for number in 1..=keys {
        if Instant::now() > limit {
            break;
        }
        stage.viewer.terminal.drain();
        last_us = monotonic_us();
        stage.viewer.terminal.key(key::A, true)?;
        // A key that is held until a slow system shows it repeats.
        stage.viewer.terminal.key(key::A, false)?;
        let (at_us, _) = stage
            .viewer
            .wait_marker((0, 0), step(&stage.link), |marker| marker == number)
            .with_context(|| format!("key {number}"))?;
        times.push(at_us.saturating_sub(last_us) as f64 / 1000.0);
        // Keys must not fall into step with anybody's clock.
        let pause = 20_000 + mix(number.into()) % 23_000;
        std::thread::sleep(Duration::from_micros(pause));
    }
    let keys = times.len() as u32;
    (figures.asked, figures.drawn, figures.seen) = (keys, keys, keys);
    figures.input_ms = Times::of(times);
    Ok(last_us)
}

/// The mouse moves a window.
pub fn by_mouse(
    stage: &mut Stage,
    mut figures: Figures,
    interval: Duration,
) -> anyhow::Result<Figures> {
    let viewer = &mut stage.viewer;
    let start = find_window(viewer)?;
    viewer.terminal.pointer(GRIP.0, GRIP.1)?;
    viewer.terminal.key(key::ALT, true)?;
    viewer.terminal.button(key::LEFT, true)?;
    // The first movement may raise the window and change the pointer.
    viewer.terminal.pointer(GRIP.0 + 1, GRIP.1)?;
    viewer.settle(quiet(&stage.link));
    let place = |step: u32| {
        let (x, y) = mouse_path(step);
        (start.0 + x - GRIP.0, start.1 + y - GRIP.1)
    };
    let meter = Meter::start(&stage.link, &stage.running)?;
    let rest = MOVES_REST + 4 * stage.link.profile().round_trip();
    let limit = Instant::now() + interval * MOVES + step(&stage.link);
    let viewer = &mut stage.viewer;
    let mut seen = BTreeMap::new();
    let mut sent = Vec::new();
    let begin = Instant::now();
    let mut last = 0;
    loop {
        let step = sent.len() as u32;
        let next = begin + interval * step;
        let all_sent = step == MOVES;
        if !all_sent && Instant::now() >= next {
            sent.push(monotonic_us());
            let (x, y) = mouse_path(step + 1);
            viewer.terminal.pointer(x, y)?;
            continue;
        }
        let deadline = if all_sent {
            Instant::now() + rest
        } else {
            next
        };
        let Some(shown) = viewer.next_shown(deadline) else {
            match all_sent {
                true => break,
                false => continue,
            }
        };
        // The window never goes back to where it was.
        let is_at = |step: &u32| {
            let (x, y) = place(*step);
            viewer.marker((x as u32, y as u32)).is_some()
        };
        if let Some(number) = (last + 1..=step).rev().find(is_at) {
            seen.insert(number, shown.at_us);
            last = number;
        }
        if Instant::now() > limit {
            break;
        }
    }
    let times = seen
        .iter()
        .map(|(number, at_us)| at_us.saturating_sub(sent[*number as usize - 1]) as f64 / 1000.0);
    figures.input_ms = Times::of(times.collect());
    (figures.asked, figures.drawn, figures.seen) = (MOVES, MOVES, seen.len() as u32);
    meter.note_per_second(&stage.running, &mut figures);
    meter.stop(&stage.running, &mut figures)?;
    // Compositors may draw the pointer anew when the button goes up.
    let release_us = monotonic_us();
    stage.viewer.terminal.button(key::LEFT, false)?;
    stage.viewer.terminal.key(key::ALT, false)?;
    let expected = stage.play.picture(Some(place(MOVES)));
    stage.judge(&expected, release_us, &mut figures)?;
    Ok(figures)
}

/// Where the mouse is after so many steps.
fn mouse_path(step: u32) -> (i32, i32) {
    let swing = |n: i32, range: i32| {
        let at = n.rem_euclid(4 * range);
        if at < 2 * range {
            at - range
        } else {
            3 * range - at
        }
    };
    let step = step as i32;
    (
        GRIP.0 + swing(300 + step * 7, 300),
        GRIP.1 + swing(120 + step * 3, 120),
    )
}

/// The corner of the second window: the marker that is not the first one's.
fn find_window(viewer: &Viewer) -> anyhow::Result<(i32, i32)> {
    let picture = viewer.picture()?;
    let block = |x: u32, y: u32| -> Vec<u32> {
        (y..y + marker::H)
            .flat_map(|y| picture.row(x, y, marker::W).iter().copied())
            .collect()
    };
    let is_white = |x: u32, y: u32| picture.pixels[(y * picture.w + x) as usize] & 0xff > 127;
    for y in marker::H..picture.h - marker::H {
        for x in 0..picture.w - marker::W {
            // The first cells are white, black, white, white.
            let begins = is_white(x, y) && !is_white(x + 8, y) && is_white(x + 16, y);
            if begins && marker::read(&block(x, y)).is_some() && is_corner(&picture, x, y) {
                return Ok((x as i32, y as i32));
            }
        }
    }
    anyhow::bail!("the window is not to be seen")
}

/// Whether the whole first cell lies here, and not only a part that reads the same.
fn is_corner(picture: &Canvas, x: u32, y: u32) -> bool {
    let white = 0xffff_ffff;
    let cell = (y..y + 8).all(|y| {
        picture
            .row(x, y, 8)
            .iter()
            .all(|pixel| *pixel | 0x0f0f_0f0f == white)
    });
    let next = picture.row(x + 8, y, 1)[0] & 0xff;
    cell && next < 0x40
}

/// A shortcut makes two full-screen windows take turns.
pub fn by_shortcut(
    stage: &mut Stage,
    mut figures: Figures,
    interval: Duration,
) -> anyhow::Result<Figures> {
    // The first turn shows each window for the first time; what counts is the way back.
    for _ in 0..2 {
        switch(stage)?;
        stage.viewer.settle(quiet(&stage.link));
    }
    let meter = Meter::start(&stage.link, &stage.running)?;
    let mut times = Vec::new();
    let mut last_us = 0;
    for _ in 0..SWITCHES {
        let begin = Instant::now();
        let (ms, at_us) = switch(stage)?;
        times.push(ms);
        last_us = at_us;
        while stage.viewer.next_shown(begin + interval).is_some() {}
    }
    meter.note_per_second(&stage.running, &mut figures);
    figures.input_ms = Times::of(times);
    (figures.asked, figures.drawn, figures.seen) = (SWITCHES, SWITCHES, SWITCHES);
    let expected = match stage.viewer.marker((0, 0)) {
        Some(1) => stage.play.picture(Some((0, 0))),
        _ => stage.play.picture(None),
    };
    stage.judge(&expected, last_us, &mut figures)?;
    meter.stop(&stage.running, &mut figures)?;
    Ok(figures)
}

/// Milliseconds until the other window was seen, and when that was.
fn switch(stage: &mut Stage) -> anyhow::Result<(f64, u64)> {
    let limit = step(&stage.link);
    let viewer = &mut stage.viewer;
    // On a slow link the last turn's picture may still be coming, in pieces.
    let (_, before) = viewer
        .wait_marker((0, 0), limit, |_| true)
        .context("see any window")?;
    viewer.terminal.drain();
    viewer.terminal.key(key::ALT, true)?;
    let since = monotonic_us();
    viewer.terminal.key(key::TAB, true)?;
    // Where it is held until a slow link shows it, it repeats, and the windows turn back.
    viewer.terminal.key(key::TAB, false)?;
    let (at_us, _) = viewer.wait_marker((0, 0), limit, |marker| marker != before)?;
    viewer.terminal.key(key::ALT, false)?;
    Ok((at_us.saturating_sub(since) as f64 / 1000.0, at_us))
}

/// Nothing happens.
pub fn still(stage: &mut Stage, mut figures: Figures) -> anyhow::Result<Figures> {
    let meter = Meter::start(&stage.link, &stage.running)?;
    let deadline = Instant::now() + STILL;
    while stage.viewer.next_shown(deadline).is_some() {
        figures.seen += 1;
    }
    meter.note_per_second(&stage.running, &mut figures);
    meter.stop(&stage.running, &mut figures)?;
    let expected = stage.play.picture(None);
    stage.judge(&expected, monotonic_us(), &mut figures)?;
    Ok(figures)
}

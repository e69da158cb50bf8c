//! People who come anew: the greeter, a new desktop, and many desktops on one broker.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, ensure};
use hil_local::framebuffer::{self, Shot};
use hil_local::terminal::monotonic_us;
use hil_local::{Lent, Site, SiteOptions, Terminal};

use crate::attach::CARD;
use crate::memory::field_kib;
use crate::{Figure, percentile};

const STEP: Duration = Duration::from_secs(30);
const ROUNDS: usize = 20;
const MANY: u32 = 200;

/// From an unknown card to the greeter's page on the screen.
pub fn measure_greeter() -> anyhow::Result<Vec<Figure>> {
    let greeter = Lent::new("heliostat-greeter")?;
    let site = Site::start(&SiteOptions {
        more: format!("[greeter]\ncommand = [{:?}]\n", greeter.path()),
        policy: "default.enrol = \"offer\"\n".to_owned(),
        ..SiteOptions::default()
    })?;
    let mut terminal = site.headless("desk", (1280, 800))?;
    terminal.wait_named("connected", STEP)?;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = monotonic_us();
        terminal.insert_card(CARD)?;
        let shown = shown(&mut terminal, Shot::shows_greeter)?;
        times.push((shown - began) as f64 / 1000.0);
        terminal.pull_card()?;
        terminal.wait_named("detached", STEP)?;
        no_sessions(&site)?;
    }
    times.sort_by(f64::total_cmp);
    Ok(vec![Figure {
        name: "greeter_p50_ms",
        value: percentile(&times, 0.5),
        unit: "ms",
        target: Some(400.0),
        how: format!(
            "median of {ROUNDS} unknown cards at 1280x800, headless, one machine: card line to the \
             frame with the greeter's page shown; worker, session and greeter are all new; the \
             slowest took {:.0} ms",
            times[ROUNDS - 1]
        ),
    }])
}

/// When a frame was first shown that looks so, by its own event.
fn shown(terminal: &mut Terminal, looks: fn(&Shot) -> bool) -> anyhow::Result<u64> {
    let path = terminal.framebuffer.clone().context("it is headless")?;
    let event = terminal.wait_for("picture", STEP, |event| {
        event.name() == "frame_shown" && framebuffer::read(&path).is_ok_and(|shot| looks(&shot))
    })?;
    event.number("at_us").context("a frame has its time")
}

/// When the desktop's panel was first shown, and the receipt's time of the first frame.
fn panel_and_first_frame(terminal: &mut Terminal) -> anyhow::Result<(u64, u64)> {
    let path = terminal.framebuffer.clone().context("it is headless")?;
    let (mut panel, mut first) = (None, None);
    terminal.wait_for("panel and receipt", STEP, |event| {
        match event.name() {
            "receipt" => first = event.value["stages"]["FirstFrameShown"].as_u64(),
            "frame_shown" if panel.is_none() => {
                let there = framebuffer::read(&path).is_ok_and(|shot| shows_panel(&shot));
                panel = event.number("at_us").filter(|_| there);
            }
            _ => {}
        }
        panel.is_some() && first.is_some()
    })?;
    panel.zip(first).context("both were there")
}

/// Whether the desktop that is shipped is there with its panel, by their colours in server/desktop/.
fn shows_panel(shot: &Shot) -> bool {
    let at = |y| shot.pixel(shot.w / 3, y);
    at(shot.h / 2) == [0x5c, 0x41, 0x24] && at(shot.h - 5) == [0x38, 0x2a, 0x1b]
}

/// From the card to the first frame of a desktop that was not there.
pub fn measure_new_session() -> anyhow::Result<Vec<Figure>> {
    let site = Site::start(&SiteOptions {
        desktop: true,
        ..SiteOptions::default()
    })?;
    site.add_card(CARD, "alice")?;
    let mut terminal = site.headless("desk", (1920, 1080))?;
    terminal.wait_named("connected", STEP)?;
    let (mut times, mut panels) = (Vec::with_capacity(ROUNDS), Vec::new());
    for _ in 0..ROUNDS {
        let began = monotonic_us();
        terminal.insert_card(CARD)?;
        let (panel, first_us) = panel_and_first_frame(&mut terminal)?;
        panels.push((panel - began) as f64 / 1000.0);
        times.push(first_us as f64 / 1000.0);
        site.ctl(&["session", "end", "alice"])?;
        no_sessions(&site)?;
        terminal.pull_card()?;
    }
    times.sort_by(f64::total_cmp);
    panels.sort_by(f64::total_cmp);
    let panel = Figure {
        name: "new_session_panel_p50_ms",
        value: percentile(&panels, 0.5),
        unit: "ms",
        target: Some(700.0),
        how: format!(
            "the same, from the card line to the frame in which the panel is there; the slowest took \
             {:.0} ms",
            panels[ROUNDS - 1]
        ),
    };
    let first = Figure {
        name: "new_session_p50_ms",
        value: percentile(&times, 0.5),
        unit: "ms",
        target: Some(700.0),
        how: format!(
            "median of {ROUNDS} new sessions with the desktop that is shipped at 1920x1080, \
             headless, one machine, by PAM and without a proof: CardEdge to FirstFrameShown of the \
             receipts, when the desk is there and its parts are being started; the slowest took \
             {:.0} ms",
            times[ROUNDS - 1]
        ),
    };
    Ok(vec![first, panel])
}

/// The broker's memory with many people's sessions.
pub fn measure_many() -> anyhow::Result<Vec<Figure>> {
    add_many()?;
    let site = Site::start(&SiteOptions {
        session_ports: (4500, 4999),
        more: "max_sessions = 256\n".to_owned(),
        ..SiteOptions::default()
    })?;
    let mut terminal = site.headless("desk", (1280, 800))?;
    terminal.wait_named("connected", STEP)?;
    for number in 0..MANY {
        let card = format!("piv:{number:032x}");
        site.add_card(&card, &name(number))?;
        terminal.insert_card(&card)?;
        terminal.wait_named("attached", STEP)?;
        terminal.pull_card()?;
        terminal.wait_named("detached", STEP)?;
    }
    let sessions = site.ctl(&["session", "list"])?;
    let running = sessions.as_array().map_or(0, Vec::len);
    ensure!(running == MANY as usize, "only {running} sessions run");
    let rss = field_kib(&format!("/proc/{}/status", site.broker_pid()), "VmRSS")?;
    Ok(vec![Figure {
        name: "broker_200_rss_mib",
        value: rss / 1024.0,
        unit: "MiB",
        target: Some(30.0),
        how: format!(
            "VmRSS of heliostat-broker with {MANY} sessions of {MANY} people, each a desktop with \
             foot and its PAM worker, and each attached once"
        ),
    }])
}

fn name(number: u32) -> String {
    format!("many{number:03}")
}

/// Accounts that exist in our namespaces only.
fn add_many() -> anyhow::Result<()> {
    for (file, rest) in [
        ("passwd", "/nonexistent:/bin/sh"),
        ("group", ""),
        ("shadow", ""),
    ] {
        let path = format!("/etc/{file}");
        let mut file_ = OpenOptions::new().append(true).open(&path)?;
        let mut lines = String::new();
        for number in 0..MANY {
            let (name, uid) = (name(number), 63_000 + number);
            lines += &match file {
                "passwd" => format!("{name}:x:{uid}:{uid}::{rest}\n"),
                "shadow" => format!("{name}:!:20000:0:99999:7:::\n"),
                _ => format!("{name}:x:{uid}:\n"),
            };
        }
        file_.write_all(lines.as_bytes()).with_context(|| path)?;
    }
    Ok(())
}

/// Waits until all sessions have ended; there is no event for that.
fn no_sessions(site: &Site) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + STEP;
    loop {
        let sessions = site.ctl(&["session", "list"])?;
        if sessions.as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        ensure!(
            std::time::Instant::now() < deadline,
            "a session does not end"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

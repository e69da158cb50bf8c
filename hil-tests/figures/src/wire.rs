//! Bytes on the wire, with every header, in both directions.
//!
//! Counted on the loopback interface of namespaces in which nothing else talks. It counts 14 bytes
//! of link header a packet, as Ethernet has.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hil_local::framebuffer;
use hil_local::{Event, Site, SiteOptions, Terminal};

use crate::Figure;
use crate::attach::CARD;

const STEP: Duration = Duration::from_secs(20);
const BUTTON_LEFT: u16 = 0x110;
const KEY_LEFT_ALT: u16 = 56;

fn bytes_so_far() -> anyhow::Result<u64> {
    // /sys would show the namespace it was mounted in.
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").context("count bytes on lo")?;
    let row = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"));
    let sent = row.and_then(|row| row.split_whitespace().nth(8)?.parse().ok());
    sent.context("the kernel does not count bytes on lo")
}

fn attach(site: &Site) -> anyhow::Result<Terminal> {
    site.add_card(CARD, "alice")?;
    let mut terminal = site.headless("desk", (1920, 1080))?;
    terminal.wait_named("connected", STEP)?;
    terminal.insert_card(CARD)?;
    terminal.wait_for("a window", STEP, |event| {
        is_frame(event) && event.number("serial") > Some(1)
    })?;
    settle(&mut terminal);
    Ok(terminal)
}

fn is_frame(event: &Event) -> bool {
    event.name() == "frame_shown"
}

/// Waits until nothing has been drawn for a while.
fn settle(terminal: &mut Terminal) {
    let quiet = Duration::from_millis(700);
    let limit = Instant::now() + STEP;
    while Instant::now() < limit && terminal.next_event(Instant::now() + quiet).is_some() {}
}

/// Counts frames and bytes for a time in which nobody does anything.
fn watch(terminal: &mut Terminal, time: Duration) -> anyhow::Result<(u64, u64)> {
    terminal.drain();
    let before = bytes_so_far()?;
    let deadline = Instant::now() + time;
    let mut frames = 0;
    while let Some(event) = terminal.next_event(deadline) {
        frames += u64::from(is_frame(&event));
    }
    Ok((frames, bytes_so_far()? - before))
}

/// A session in which nothing moves but a cursor.
pub fn measure_blink() -> anyhow::Result<Vec<Figure>> {
    let probe = hil_local::Lent::new("hil-probe")?;
    let run = |what: &str| -> anyhow::Result<(u64, u64)> {
        let options = SiteOptions {
            session_toml: format!("autostart = [\"{} {what}\"]\n", probe.path().display()),
            ..SiteOptions::default()
        };
        let site = Site::start(&options)?;
        let mut terminal = attach(&site)?;
        watch(&mut terminal, Duration::from_secs(20))
    };
    let (still_frames, still_bytes) = run("static")?;
    let (frames, bytes) = run("blink")?;
    ensure!(
        still_frames == 0,
        "{still_frames} frames though nothing moved"
    );
    ensure!(frames > 10, "only {frames} blinks in 20 s");
    ensure!(bytes > still_bytes, "no bytes were counted");
    let value = (bytes - still_bytes) as f64 / frames as f64;
    let how = format!(
        "{frames} blinks of a 9x18 cell in 20 s: {bytes} bytes both ways with all headers, less \
         {still_bytes} bytes of keep-alives in 20 s with nothing moving"
    );
    Ok(vec![Figure {
        name: "blink_bytes",
        value,
        unit: "bytes",
        target: Some(300.0),
        how,
    }])
}

/// An 800×600 window dragged across the desktop.
pub fn measure_drag() -> anyhow::Result<Vec<Figure>> {
    const STEPS: i32 = 200;
    let probe = hil_local::Lent::new("hil-probe")?;
    let options = SiteOptions {
        session_toml: format!("autostart = [\"{} photo\"]\n", probe.path().display()),
        ..SiteOptions::default()
    };
    let site = Site::start(&options)?;
    let mut terminal = attach(&site)?;
    let file = terminal
        .framebuffer
        .clone()
        .context("a headless terminal has a file")?;
    let before = framebuffer::digest(&file)?;
    let (x, y) = (960, 540);
    terminal.pointer(x, y)?;
    terminal.key(KEY_LEFT_ALT, true)?;
    terminal.button(BUTTON_LEFT, true)?;
    // The first movement may raise the window and change the pointer.
    terminal.pointer(x + 1, y)?;
    settle(&mut terminal);
    let start = bytes_so_far()?;
    let mut frames = 0u64;
    for step in 0..STEPS {
        terminal.pointer(x - 300 + step * 3, y - 100 + step)?;
        terminal.wait_for("the moved window", STEP, is_frame)?;
        frames += 1;
    }
    let bytes = bytes_so_far()? - start;
    ensure!(bytes > 0, "no bytes were counted");
    terminal.button(BUTTON_LEFT, false)?;
    terminal.key(KEY_LEFT_ALT, false)?;
    ensure!(
        framebuffer::digest(&file)? != before,
        "the window did not move"
    );
    let value = bytes as f64 / frames as f64;
    let how = format!(
        "an 800x600 photo window dragged over {frames} places, a frame each: {bytes} bytes both \
         ways with all headers, input and acknowledgements included"
    );
    Ok(vec![Figure {
        name: "drag_bytes_per_frame",
        value,
        unit: "bytes",
        target: Some(200.0),
        how,
    }])
}

//! From a key at the terminal to a changed pixel on its screen.

use std::time::Duration;

use anyhow::ensure;
use hil_local::framebuffer;
use hil_local::{Site, SiteOptions};

use crate::attach::CARD;
use crate::{Figure, shares};

const STEP: Duration = Duration::from_secs(20);
const KEYS: usize = 300;
const KEY_A: u16 = 30;

/// Many keys into a client that changes its pixels at each.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let probe = hil_local::Lent::new("hil-probe")?;
    let options = SiteOptions {
        session_toml: format!("autostart = [\"{} keys\"]\n", probe.path().display()),
        ..SiteOptions::default()
    };
    let site = Site::start(&options)?;
    site.add_card(CARD, "alice")?;
    let mut terminal = site.headless("desk", (1920, 1080))?;
    terminal.wait_named("connected", STEP)?;
    terminal.insert_card(CARD)?;
    let with_window = |event: &hil_local::Event| {
        event.name() == "frame_shown" && event.number("serial") > Some(1)
    };
    terminal.wait_for("the probe's window", STEP, with_window)?;
    let file = terminal
        .framebuffer
        .clone()
        .expect("a headless terminal has a file");
    let mut times = Vec::with_capacity(KEYS);
    let mut before = framebuffer::digest(&file)?;
    for number in 0..KEYS {
        let took_us = terminal.time_key(KEY_A, STEP)?;
        let now = framebuffer::digest(&file)?;
        ensure!(now != before, "key {number} changed no pixel");
        before = now;
        times.push(took_us as f64 / 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let how = format!(
        "{KEYS} keys into a probe that changes its pixels at each, 1920x1080, loopback: key line \
         written to frame shown, the framebuffer checked to have changed"
    );
    Ok(shares(
        &times,
        &how,
        [("key_p50_ms", 0.5, 3.0), ("key_p99_ms", 0.99, 10.0)],
    ))
}

//! From the card's edge to the first frame on the screen, with a session that runs already.

use std::time::Duration;

use hil_local::{Site, SiteOptions};

use crate::{Figure, percentile};

/// Alice's card.
pub const CARD: &str = "piv:00000000000000000000000000000a11";
const STEP: Duration = Duration::from_secs(20);
const ATTACHES: usize = 200;

/// Receipts of many attaches.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let site = Site::start(&SiteOptions::default())?;
    site.add_card(CARD, "alice")?;
    let mut terminal = site.headless("desk", (1920, 1080))?;
    terminal.wait_named("connected", STEP)?;
    // The first attach starts the session; foot is on the screen when it draws its second frame.
    terminal.insert_card(CARD)?;
    terminal.wait_named("receipt", STEP)?;
    let drawn = |event: &hil_local::Event| event.name() == "frame_shown";
    terminal.wait_for("foot", STEP, |event| {
        drawn(event) && event.number("serial") > Some(1)
    })?;
    let mut times = Vec::with_capacity(ATTACHES);
    for _ in 0..ATTACHES {
        terminal.pull_card()?;
        terminal.wait_named("detached", STEP)?;
        terminal.insert_card(CARD)?;
        let receipt = terminal.wait_named("receipt", STEP)?;
        let us = receipt.value["stages"]["FirstFrameShown"]
            .as_u64()
            .unwrap_or(u64::MAX);
        times.push(us as f64 / 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let how = format!(
        "{ATTACHES} attaches of a running session with foot at 1920x1080, headless, one machine: \
         CardEdge to FirstFrameShown of the receipts"
    );
    let figure = |name, share, target| Figure {
        name,
        value: percentile(&times, share),
        unit: "ms",
        target: Some(target),
        how: how.clone(),
    };
    Ok(vec![
        figure("attach_p50_ms", 0.5, 50.0),
        figure("attach_p99_ms", 0.99, 100.0),
    ])
}

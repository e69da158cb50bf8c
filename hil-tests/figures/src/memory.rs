//! Memory of the server's processes.

use std::time::Duration;

use anyhow::Context;
use hil_local::{Site, SiteOptions};

use crate::Figure;
use crate::attach::CARD;

const STEP: Duration = Duration::from_secs(20);
/// 40 MB of a session, in MiB.
pub const MOST_MIB: f64 = 38.1;

/// A session with foot at 1920×1080, and the broker beside it.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let site = Site::start(&SiteOptions::default())?;
    site.add_card(CARD, "alice")?;
    let mut terminal = site.headless("desk", (1920, 1080))?;
    terminal.wait_named("connected", STEP)?;
    terminal.insert_card(CARD)?;
    terminal.wait_for("foot", STEP, |event| {
        event.name() == "frame_shown" && event.number("serial") > Some(1)
    })?;
    let sessions = site.ctl(&["session", "list"])?;
    let pid = sessions[0]["pid"]
        .as_u64()
        .context("the session has a process")?;
    let private = ["Private_Clean", "Private_Dirty"]
        .iter()
        .map(|field| field_kib(&format!("/proc/{pid}/smaps_rollup"), field))
        .sum::<anyhow::Result<f64>>()?;
    let session = field_kib(&format!("/proc/{pid}/status"), "VmRSS")?;
    let broker = site.broker_pid();
    let rss = field_kib(&format!("/proc/{broker}/status"), "VmRSS")?;
    Ok(vec![
        Figure {
            name: "session_private_mib",
            value: private / 1024.0,
            unit: "MiB",
            target: Some(MOST_MIB),
            how: "smaps_rollup of heliostat-session, attached at 1920x1080 with foot open"
                .to_owned(),
        },
        Figure {
            name: "session_rss_mib",
            value: session / 1024.0,
            unit: "MiB",
            target: Some(MOST_MIB),
            how: "VmRSS of the same, with what it shares with others".to_owned(),
        },
        Figure {
            name: "broker_rss_mib",
            value: rss / 1024.0,
            unit: "MiB",
            target: Some(20.0),
            how: "VmRSS of heliostat-broker with one terminal and one session".to_owned(),
        },
    ])
}

/// A field of a file of /proc, in KiB.
pub fn field_kib(file: &str, field: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let line = text.lines().find(|line| line.starts_with(field));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.with_context(|| format!("{file} has no {field}"))
}

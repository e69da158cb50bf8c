//! A whole attach, broker, session and terminal, on a network that does not pass UDP.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hil_local::terminal::monotonic_us;
use hil_local::{Event, Lent, Site, SiteOptions, Terminal, apart};

const CARD: &str = "piv:00000000000000000000000000000a11";
const STEP: Duration = Duration::from_secs(20);
const KEY_A: u16 = 30;
const KEYS: usize = 50;

fn main() -> anyhow::Result<()> {
    if !apart::enter(&[], || None)? {
        return Ok(());
    }
    swallow_udp()?;
    attach_over_tcp()?;
    println!("a_whole_attach_goes_over_tcp_where_udp_does_not_pass ... ok");
    Ok(())
}

fn swallow_udp() -> anyhow::Result<()> {
    for rule in [
        "rule del pref 0",
        "rule add pref 1 ipproto 17 blackhole",
        "rule add pref 2 table local",
    ] {
        let status = Command::new("ip").args(rule.split(' ')).status();
        let status = status.context("run ip (package iproute2)")?;
        ensure!(status.success(), "ip {rule} failed");
    }
    let probe = std::net::UdpSocket::bind("127.0.0.1:0")?;
    ensure!(
        probe.send_to(b"?", probe.local_addr()?).is_err(),
        "UDP still passes"
    );
    Ok(())
}

fn attach_over_tcp() -> anyhow::Result<()> {
    let probe = Lent::new("hil-probe")?;
    let options = SiteOptions {
        session_toml: format!("autostart = [\"{} keys\"]\n", probe.path().display()),
        ..SiteOptions::default()
    };
    let site = Site::start(&options)?;
    site.add_card(CARD, "alice")?;
    let started = Instant::now();
    let mut terminal = site.headless("desk", (1920, 1080))?;
    terminal.wait_named("connected", STEP)?;
    println!("control link over TCP after {:?}", started.elapsed());
    terminal.insert_card(CARD)?;
    until_it_hears(&mut terminal)?;
    type_keys(&mut terminal)?;
    ensure!(carrier(&site)? == "TCP", "the session link is not over TCP");

    // A running session is back at once: nobody waits for QUIC a second time.
    terminal.pull_card()?;
    terminal.wait_named("detached", STEP)?;
    terminal.insert_card(CARD)?;
    let receipt = terminal.wait_named("receipt", STEP)?;
    let us = receipt.value["stages"]["FirstFrameShown"].as_u64();
    let us = us.context("the receipt tells of the first frame")?;
    println!("attached again over TCP after {} ms", us as f64 / 1000.0);
    ensure!(us < 450_000, "the attach has waited for QUIC: {us} us");
    Ok(())
}

/// Types until the probe answers. Its window may come with the first frame or after it.
fn until_it_hears(terminal: &mut Terminal) -> anyhow::Result<()> {
    const ANSWER: Duration = Duration::from_millis(200);
    let deadline = Instant::now() + STEP;
    let drawn = |event: &Event, after| {
        event.name() == "frame_shown" && event.number("last_input") > Some(after)
    };
    terminal.wait_named("attached", STEP)?;
    while Instant::now() < deadline {
        terminal.press(KEY_A)?;
        if terminal
            .wait_for("answer", ANSWER, |event| drawn(event, 0))
            .is_ok()
        {
            return Ok(());
        }
    }
    bail!("the probe does not answer keys")
}

fn type_keys(terminal: &mut Terminal) -> anyhow::Result<()> {
    let mut times = Vec::with_capacity(KEYS);
    for _ in 0..KEYS {
        terminal.drain();
        let start = monotonic_us();
        terminal.key(KEY_A, true)?;
        let shown = terminal.wait_for("changed pixels", STEP, |event| {
            event.name() == "frame_shown" && event.number("at_us") > Some(start)
        })?;
        times.push(shown.number("at_us").unwrap_or(0) - start);
        terminal.key(KEY_A, false)?;
    }
    times.sort_unstable();
    println!(
        "key to frame shown over TCP: p50 {} us, max {} us",
        times[KEYS / 2],
        times[KEYS - 1]
    );
    Ok(())
}

/// What carries the session link, as heliostatctl tells once the broker has asked the session.
fn carrier(site: &Site) -> anyhow::Result<String> {
    let deadline = Instant::now() + STEP;
    while Instant::now() < deadline {
        let sessions = site.ctl(&["session", "list"])?;
        if let Some(carrier) = sessions[0]["stats"]["link"]["carrier"].as_str() {
            return Ok(carrier.to_owned());
        }
        // The broker asks every few seconds; there is no event to wait on.
        std::thread::park_timeout(Duration::from_millis(100));
    }
    bail!("heliostatctl does not tell of the link")
}

//! A whole attach, broker, session and terminal, on a network that does not pass UDP, or not always.

mod typist;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hil_local::framebuffer::{self, Shot};
use hil_local::{Lent, Site, SiteOptions, Terminal, Told, apart};

use typist::Typist;

const CARD: &str = "piv:00000000000000000000000000000a11";
const STEP: Duration = Duration::from_secs(20);
const KEY_A: u16 = 30;
const KEYS: usize = 50;
/// Pixels that a key changes.
const BLOCK: usize = 64 * 64;

fn main() -> anyhow::Result<()> {
    if !apart::enter(&[], || None)? {
        return Ok(());
    }
    swallow_udp()?;
    attach_over_tcp()?;
    println!("a_whole_attach_goes_over_tcp_where_udp_does_not_pass ... ok");
    go_back_to_quic()?;
    println!("an_attach_goes_back_to_quic_unseen_when_udp_passes_again ... ok");
    Ok(())
}

fn ip(rule: &str) -> anyhow::Result<()> {
    let status = Command::new("ip").args(rule.split(' ')).status();
    let status = status.context("run ip (package iproute2)")?;
    ensure!(status.success(), "ip {rule} failed");
    Ok(())
}

fn swallow_udp() -> anyhow::Result<()> {
    ip("rule del pref 0")?;
    ip("rule add pref 2 table local")?;
    block_udp()
}

fn pass_udp() -> anyhow::Result<()> {
    ip("rule del pref 1")
}

fn block_udp() -> anyhow::Result<()> {
    ip("rule add pref 1 ipproto 17 blackhole")?;
    let probe = std::net::UdpSocket::bind("127.0.0.1:0")?;
    ensure!(
        probe.send_to(b"?", probe.local_addr()?).is_err(),
        "UDP still passes"
    );
    Ok(())
}

/// A site whose desktops show a window that tells of keys.
fn start_site() -> anyhow::Result<(Lent, Told, Site)> {
    let probe = Lent::new("hil-probe")?;
    let told = Told::listen(probe.path().with_file_name("keys"))?;
    let program = format!(
        "{} keys --tell {}",
        probe.path().display(),
        told.path().display()
    );
    let options = SiteOptions {
        session_toml: format!("autostart = [\"{program}\"]\n"),
        ..SiteOptions::default()
    };
    let site = Site::start(&options)?;
    Ok((probe, told, site))
}

fn attach_over_tcp() -> anyhow::Result<()> {
    let (_probe, told, site) = start_site()?;
    site.add_card(CARD, "alice")?;
    let started = Instant::now();
    let mut terminal = site.headless("desk", (1920, 1080))?;
    terminal.wait_named("connected", STEP)?;
    println!("control link over TCP after {:?}", started.elapsed());
    terminal.insert_card(CARD)?;
    terminal.wait_named("attached", STEP)?;
    told.until_it_hears(&mut terminal, STEP)?;
    type_keys(&mut terminal)?;
    until_carried(&site, "TCP")?;

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

fn type_keys(terminal: &mut Terminal) -> anyhow::Result<()> {
    let mut times = Vec::with_capacity(KEYS);
    for _ in 0..KEYS {
        times.push(terminal.time_key(KEY_A, STEP)?);
    }
    times.sort_unstable();
    println!(
        "key to frame shown over TCP: p50 {} us, max {} us",
        times[KEYS / 2],
        times[KEYS - 1]
    );
    Ok(())
}

/// Waits until this carries the session link, as heliostatctl tells once the broker has asked the
/// session.
fn until_carried(site: &Site, wanted: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + STEP;
    let mut carrier = None;
    while Instant::now() < deadline {
        let sessions = site.ctl(&["session", "list"])?;
        carrier = sessions[0]["stats"]["link"]["carrier"]
            .as_str()
            .map(str::to_owned);
        if carrier.as_deref() == Some(wanted) {
            return Ok(());
        }
        // The broker asks every few seconds; there is no event to wait on.
        std::thread::park_timeout(Duration::from_millis(100));
    }
    bail!("{carrier:?} carries the session link, not {wanted}")
}

/// Somebody types all the time, with Shift held down, while UDP comes back; and it goes again.
fn go_back_to_quic() -> anyhow::Result<()> {
    let (_probe, told, site) = start_site()?;
    site.add_card(CARD, "alice")?;
    let mut terminal = site.headless("desk", (1024, 768))?;
    terminal.wait_named("connected", STEP)?;
    terminal.insert_card(CARD)?;
    terminal.wait_named("attached", STEP)?;
    told.until_it_hears(&mut terminal, STEP)?;
    until_carried(&site, "TCP")?;

    let mut typist = Typist::begin(&mut terminal, told)?;
    typist.type_keys(&mut terminal, KEYS)?;
    terminal.drain();
    let before = picture(&terminal)?;
    pass_udp()?;
    let typed = typist.typed();
    let attach = until_changed(&mut terminal, &mut typist, &before)?;
    println!("{} keys typed while QUIC came back", typist.typed() - typed);
    typist.type_keys(&mut terminal, KEYS)?;
    let told = typist.end(&mut terminal)?;
    until_carried(&site, "QUIC")?;

    block_udp()?;
    let parted = terminal.wait_named("detached", STEP)?;
    ensure!(parted.number("attach") == Some(attach), "{}", parted.value);
    terminal.wait_named("attached", STEP)?;
    told.until_it_hears(&mut terminal, STEP)?;
    until_carried(&site, "TCP")
}

fn picture(terminal: &Terminal) -> anyhow::Result<Shot> {
    let path = terminal.framebuffer.as_deref();
    framebuffer::read(path.context("a headless terminal has a framebuffer")?)
}

/// Types until a picture of another attach is on the screen, on which nothing else is seen meanwhile.
/// Returns that attach.
fn until_changed(
    terminal: &mut Terminal,
    typist: &mut Typist,
    before: &Shot,
) -> anyhow::Result<u64> {
    let deadline = Instant::now() + STEP;
    let mut changed = None;
    while Instant::now() < deadline {
        typist.step(terminal)?;
        while let Some(event) = terminal.next_event(Instant::now()) {
            let (name, attach) = (event.name(), event.number("attach"));
            let seen = ["detached", "screen", "disconnected", "error"].contains(&name);
            ensure!(!seen, "that is to be unseen: {}", event.value);
            match name {
                "changed" => changed = attach,
                "frame_shown" if changed.is_some() && attach == changed => {
                    return attach.context("an attach has a number");
                }
                _ => {}
            }
        }
        let now = picture(terminal)?;
        let pixels = now.pixels.chunks(4).zip(before.pixels.chunks(4));
        let others = pixels.filter(|(now, before)| now != before).count();
        ensure!(others <= BLOCK, "{others} pixels are others than before");
    }
    bail!("the desktop does not go back to QUIC")
}

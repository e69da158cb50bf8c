//! From the card's edge to the first frame on the screen, with a session that runs already.

use std::time::Duration;

use anyhow::Context;
use hil_card::Card;
use hil_local::{Readers, Site, SiteOptions};

use crate::{Figure, percentile, shares};

/// Alice's card.
pub const CARD: &str = "piv:00000000000000000000000000000a11";
const STEP: Duration = Duration::from_secs(20);
const ATTACHES: usize = 200;
/// Between two of them: the broker turns away who comes and goes more often than people can.
const BETWEEN: Duration = Duration::from_millis(120);

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
        std::thread::sleep(BETWEEN);
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
    Ok(shares(
        &times,
        &how,
        [("attach_p50_ms", 0.5, 50.0), ("attach_p99_ms", 0.99, 100.0)],
    ))
}

/// The same with a card that proves itself without a PIN (9E), in a reader behind pcscd.
pub fn measure_with_proof() -> anyhow::Result<Vec<Figure>> {
    let readers = Readers::start()?;
    let site = Site::start(&SiteOptions {
        policy: "[default]\nproof = \"card\"\n".to_owned(),
        ..SiteOptions::default()
    })?;
    let id = Card::id_of("alice");
    site.ctl(&["card", "add", &id, "--person", "alice", "--first-use"])?;
    let mut terminal = site.headless_with_reader("desk", (1920, 1080))?;
    terminal.wait_named("connected", STEP)?;
    // The first attach binds the card's key and starts the session.
    let mut inserted = readers.insert(Card::named("alice"))?;
    terminal.wait_named("receipt", STEP)?;
    terminal.wait_for("foot", STEP, |event| {
        event.name() == "frame_shown" && event.number("serial") > Some(1)
    })?;
    let (mut times, mut proofs) = (Vec::with_capacity(ATTACHES), Vec::new());
    for _ in 0..ATTACHES {
        std::thread::sleep(BETWEEN);
        inserted.pull()?;
        terminal.wait_named("detached", STEP)?;
        inserted = readers.insert(Card::named("alice"))?;
        let receipt = terminal.wait_named("receipt", STEP)?;
        let stage = |name| receipt.value["stages"][name].as_u64();
        let us = stage("FirstFrameShown").context("a receipt ends with the first frame")?;
        let made = stage("ProofMade").context("a receipt of a proof has its proof")?;
        let read = stage("IdRead").context("a receipt has its card")?;
        times.push(us as f64 / 1000.0);
        proofs.push((made - read) as f64 / 1000.0);
    }
    inserted.pull()?;
    times.sort_by(f64::total_cmp);
    proofs.sort_by(f64::total_cmp);
    let how = format!(
        "{ATTACHES} attaches of a running session with foot at 1920x1080, headless, one machine: \
         CardEdge to FirstFrameShown of the receipts, of which card id to proof {:.1} ms at the \
         median; a virtual P-256 card behind pcscd and vpcd, whose signature is counted in",
        percentile(&proofs, 0.5)
    );
    Ok(shares(
        &times,
        &how,
        [
            ("attach_proof_p50_ms", 0.5, 60.0),
            ("attach_proof_p99_ms", 0.99, 120.0),
        ],
    ))
}

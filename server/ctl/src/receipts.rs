//! Receipts: what they come to, and whether they are the site's.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use heliostat_control::admin::{ReceiptRow, Receipts, Reply};
use heliostat_control::hex;
use heliostat_piv::EnrolledKey;
use heliostat_wire::id::KeyPin;
use heliostat_wire::receipt::Stage;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::arguments::{Arguments, ReceiptsView};
use crate::ask;
use crate::percentile::percentile;
use crate::show::milliseconds;
use crate::table::Table;
use crate::time::{self, utc};

/// The stages, in order, with the names they are shown by.
const STAGES: [(Stage, &str); 10] = [
    (Stage::CardEdge, "card edge"),
    (Stage::IdRead, "id read"),
    (Stage::Challenged, "challenged"),
    (Stage::ProofMade, "proof made"),
    (Stage::AttachReceived, "attach received"),
    (Stage::LinkUp, "session link up"),
    (Stage::Attached, "attached"),
    (Stage::FirstFrameReceived, "first frame received"),
    (Stage::FirstFrameShown, "first frame shown"),
    (Stage::SettledLossless, "settled lossless"),
];

/// What lies between two stages, where an attach reached both.
const STEPS: [(Stage, Stage, &str); 5] = [
    (Stage::CardEdge, Stage::Challenged, "card edge to challenge"),
    (Stage::Challenged, Stage::ProofMade, "proof by the card"),
    (Stage::ProofMade, Stage::AttachReceived, "proof to attach"),
    (
        Stage::CardEdge,
        Stage::AttachReceived,
        "card edge to attach",
    ),
    (
        Stage::AttachReceived,
        Stage::FirstFrameShown,
        "attach to first frame",
    ),
];

/// Asks for receipts, or reads them from a file, and shows them.
pub fn run(arguments: &Arguments, view: &ReceiptsView<'_>) -> anyhow::Result<String> {
    let receipts = match view.file {
        Some(file) => read(file)?,
        None => match ask::ask(arguments.broker(), &arguments.request(time::now_s())?)? {
            Reply::Receipts(receipts) => receipts,
            Reply::Failed(failure) => return Err(failure.into()),
            other => bail!("the broker was asked for receipts and answered {other:?}"),
        },
    };
    let verified = match view.verify {
        Some(pin) => Some(verify(&receipts, pin)?),
        None => None,
    };
    if arguments.json {
        return Ok(format!("{}\n", json(&receipts)));
    }
    let mut text = text(&receipts.receipts, view.p99);
    if let Some(verified) = verified {
        text.push_str(&format!("\n{verified}\n"));
    }
    Ok(text)
}

fn read(file: &Path) -> anyhow::Result<Receipts> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{shown} is not what heliostatctl --json receipts writes"))
}

/// Checks every signature; says how many there are.
fn verify(receipts: &Receipts, pin: KeyPin) -> anyhow::Result<String> {
    let key = hex::bytes(&receipts.site_key).context("the site key")?;
    let theirs = KeyPin(Sha256::digest(&key).into());
    ensure!(
        theirs == pin,
        "the receipts are of another site, whose key has the pin {theirs}"
    );
    let key = EnrolledKey::from_spki(&key).ok();
    let key = key.context("the site key is no ECDSA P-256 key")?;
    let mut unsigned = 0;
    for row in &receipts.receipts {
        if row.signature.is_empty() {
            unsigned += 1;
            continue;
        }
        let signature = hex::bytes(&row.signature).unwrap_or_default();
        ensure!(
            key.verify(&row.canonical(), &signature).is_ok(),
            "the receipt of attach {} was changed after it was signed",
            row.attach_id
        );
    }
    let signed = receipts.receipts.len() - unsigned;
    Ok(match unsigned {
        0 => format!("{signed} receipts, all signed by {pin}"),
        n => format!("{signed} receipts signed by {pin}; {n} of an older broker, not signed"),
    })
}

/// Receipts for programs.
pub fn json(receipts: &Receipts) -> Value {
    let rows = &receipts.receipts;
    json!({
        "site_key": receipts.site_key,
        "receipts": rows,
        "summary": in_json(summary(rows)),
        "steps": in_json(steps_of(rows)),
    })
}

/// Receipts for people; with `only_stages` no list of them.
pub fn text(rows: &[ReceiptRow], only_stages: bool) -> String {
    let mut list = Table::new(&[
        "attach",
        "when (utc)",
        "person",
        "terminal",
        "session",
        "shown after",
    ]);
    for row in rows.iter().rev().take(20).rev() {
        list.row([
            row.attach_id.to_string(),
            utc(row.at_ms / 1000),
            row.person.clone(),
            row.terminal.clone(),
            match row.started_session {
                true => "started".to_owned(),
                false => "running".to_owned(),
            },
            row.at(Stage::FirstFrameShown)
                .map(milliseconds)
                .unwrap_or("never".to_owned()),
        ]);
    }
    let mut text = list.render("no receipts yet: insert a card at a terminal");
    if only_stages && !rows.is_empty() {
        text.clear();
    }
    let mut stages = Table::new(&["stage", "attaches", "p50", "p99"]);
    for (name, count, p50, p99) in summary(rows) {
        stages.row([
            name.to_owned(),
            count.to_string(),
            milliseconds(p50),
            milliseconds(p99),
        ]);
    }
    if !rows.is_empty() {
        let apart = if only_stages { "" } else { "\n" };
        text.push_str(apart);
        text.push_str("From the card edge, running sessions only:\n");
        text.push_str(&stages.render("no session was running yet"));
        let mut steps = Table::new(&["step", "attaches", "p50", "p99"]);
        for (name, count, p50, p99) in steps_of(rows) {
            steps.row([
                name.to_owned(),
                count.to_string(),
                milliseconds(p50),
                milliseconds(p99),
            ]);
        }
        text.push_str("\nStep by step:\n");
        text.push_str(&steps.render("no session was running yet"));
    }
    text
}

/// For each stage: how many attaches to running sessions reached it, and after how many
/// microseconds.
fn summary(rows: &[ReceiptRow]) -> Vec<(&'static str, usize, u32, u32)> {
    let running: Vec<&ReceiptRow> = rows.iter().filter(|row| !row.started_session).collect();
    let of_stage = |(stage, name): (Stage, &'static str)| {
        let mut times: Vec<u32> = running.iter().filter_map(|row| row.at(stage)).collect();
        let p50 = percentile(&mut times, 50)?;
        let p99 = percentile(&mut times, 99)?;
        Some((name, times.len(), p50, p99))
    };
    STAGES.into_iter().filter_map(of_stage).collect()
}

/// For each step: how many attaches to running sessions took it, and how many microseconds.
fn steps_of(rows: &[ReceiptRow]) -> Vec<(&'static str, usize, u32, u32)> {
    let running: Vec<&ReceiptRow> = rows.iter().filter(|row| !row.started_session).collect();
    let of_step = |(from, to, name): (Stage, Stage, &'static str)| {
        let took = |row: &&ReceiptRow| row.at(to)?.checked_sub(row.at(from)?);
        let mut times: Vec<u32> = running.iter().filter_map(took).collect();
        let p50 = percentile(&mut times, 50)?;
        let p99 = percentile(&mut times, 99)?;
        Some((name, times.len(), p50, p99))
    };
    STEPS.into_iter().filter_map(of_step).collect()
}

fn in_json(rows: Vec<(&str, usize, u32, u32)>) -> Value {
    let one = |(name, count, p50, p99): (&str, usize, u32, u32)| json!({ "stage": name, "attaches": count, "p50_us": p50, "p99_us": p99 });
    rows.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(number: u64, started_session: bool, shown_us: u32) -> ReceiptRow {
        ReceiptRow {
            attach_id: number,
            at_ms: 1_795_235_468_000,
            person: "alice".to_owned(),
            terminal: "a".to_owned(),
            started_session,
            stages: vec![
                (Stage::CardEdge, 0),
                (Stage::Challenged, 10_000),
                (Stage::ProofMade, 12_500),
                (Stage::FirstFrameShown, shown_us),
            ],
            signature: String::new(),
        }
    }

    #[test]
    fn receipts_are_summed_up_over_running_sessions_only() {
        let mut rows: Vec<_> = (1..=99)
            .map(|n| receipt(n, false, n as u32 * 1000))
            .collect();
        rows.push(receipt(100, true, 5_000_000));
        let last = summary(&rows).pop().unwrap();
        assert_eq!(last, ("first frame shown", 99, 50_000, 99_000));
        let shown = text(&rows, false);
        assert!(shown.contains("5000.0 ms"), "{shown}");
        assert!(shown.contains("first frame shown  99"), "{shown}");
        assert!(text(&[], false).contains("insert a card"));
    }

    #[test]
    fn steps_are_between_stages_of_one_attach() {
        let rows = [receipt(1, false, 50_000)];
        assert_eq!(
            steps_of(&rows),
            [
                ("card edge to challenge", 1, 10_000, 10_000),
                ("proof by the card", 1, 2_500, 2_500)
            ]
        );
        let shown = text(&rows, true);
        assert!(shown.contains("proof by the card"), "{shown}");
        assert!(!shown.contains("alice"), "{shown}");
        let receipts = Receipts {
            site_key: String::new(),
            receipts: rows.to_vec(),
        };
        let value = json(&receipts);
        assert_eq!(value["summary"][3]["p50_us"], 50_000);
        assert_eq!(value["steps"][1]["p99_us"], 2_500);
        let again: Receipts = serde_json::from_value(value).unwrap();
        assert_eq!(again, receipts);
    }
}

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
    for row in &receipts.receipts {
        ensure!(
            !row.signature.is_empty(),
            "the receipt of attach {} is not signed: it is of an older broker, or somebody has taken \
             the signature away",
            row.attach_id
        );
        let signature = hex::bytes(&row.signature).unwrap_or_default();
        ensure!(
            key.verify(&row.canonical(), &signature).is_ok(),
            "the receipt of attach {} was changed after it was signed",
            row.attach_id
        );
    }
    let count = receipts.receipts.len();
    Ok(format!("{count} receipts, all signed by {pin}"))
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

    /// Signed by openssl, over the form that the book describes.
    const SIGNED: &str = r#"{"site_key":"3059301306072a8648ce3d020106082a8648ce3d030107034200046b8e67b99cc97abd3b7b609e216564c3c184531d1b20bcb590c12eea2ce3eb060be7c5faf8dc3aaac547d81dcb8316b43b494b69821840ea76b9c898ef9246de","receipts":[{"attach_id":1000001,"at_ms":1795235468000,"person":"alice","terminal":"desk-7","started_session":true,"stages":[["CardEdge",0],["Challenged",20000],["ProofMade",31000],["FirstFrameShown",50000]],"signature":"3046022100a7a3b125d9928cf2ee31a78e02edd293db55e580b874616fdf1820eb8efef9a2022100c5ce31c7c956b440fbedd5102171e081ce748d3a87d66d1361a57c9a6eec4160"}]}"#;
    const PIN: &str = "sha256:158ea158d7009ac740458fea84f110d16fecae6e7201fea13f41c8fc3db2933d";

    #[test]
    fn receipts_of_old_are_verified_and_changed_ones_are_not() {
        let pin: KeyPin = PIN.parse().unwrap();
        let receipts: Receipts = serde_json::from_str(SIGNED).unwrap();
        let said = verify(&receipts, pin).unwrap();
        assert!(
            said.starts_with("1 receipts, all signed by sha256:"),
            "{said}"
        );
        let changes: [fn(&mut ReceiptRow); 6] = [
            |row| row.attach_id += 1,
            |row| row.at_ms += 1,
            |row| row.person = "bob".to_owned(),
            |row| row.terminal.push('0'),
            |row| row.started_session = false,
            |row| row.stages[3].1 -= 1,
        ];
        for change in changes {
            let mut changed = receipts.clone();
            change(&mut changed.receipts[0]);
            let why = verify(&changed, pin).unwrap_err().to_string();
            assert!(why.contains("changed after it was signed"), "{why}");
        }
        let mut unsigned = receipts.clone();
        unsigned.receipts[0].signature.clear();
        let why = verify(&unsigned, pin).unwrap_err().to_string();
        assert!(why.contains("is not signed"), "{why}");
        assert!(verify(&receipts, KeyPin([7; 32])).is_err());
    }
}

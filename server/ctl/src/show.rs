//! Replies as tables and as JSON.

use heliostat_control::admin::{
    AuditRow, CardRow, PersonRow, PolicyAnswer, ReceiptRow, Reply, SessionRow, Status, TerminalRow,
};
use heliostat_control::stats::LinkStats;
use heliostat_wire::receipt::Stage;
use serde_json::json;

use crate::percentile::percentile;
use crate::table::Table;
use crate::time::{ago, span, utc};

/// The stages, in order, with the names they are shown by.
const STAGES: [(Stage, &str); 9] = [
    (Stage::CardEdge, "card edge"),
    (Stage::IdRead, "id read"),
    (Stage::ProofMade, "proof made"),
    (Stage::AttachReceived, "attach received"),
    (Stage::LinkUp, "session link up"),
    (Stage::Attached, "attached"),
    (Stage::FirstFrameReceived, "first frame received"),
    (Stage::FirstFrameShown, "first frame shown"),
    (Stage::SettledLossless, "settled lossless"),
];

/// A reply for programs: the rows themselves, without what wraps them on the socket. Receipts come
/// with their summary.
pub fn json(reply: &Reply) -> anyhow::Result<String> {
    let value = match reply {
        Reply::Done(text) => json!({ "done": text }),
        Reply::Failed(failure) => json!({ "failed": failure }),
        Reply::Status(status) => serde_json::to_value(status)?,
        Reply::Cards(rows) => serde_json::to_value(rows)?,
        Reply::People(rows) => serde_json::to_value(rows)?,
        Reply::Terminals(rows) => serde_json::to_value(rows)?,
        Reply::Sessions(rows) => serde_json::to_value(rows)?,
        Reply::Receipts(rows) => json!({ "receipts": rows, "summary": summary_json(rows) }),
        Reply::Metrics(text) => json!({ "metrics": text }),
        Reply::Audit(rows) => serde_json::to_value(rows)?,
        Reply::Card(row, policy) => json!({ "card": row, "policy": policy }),
        Reply::Policy(answer) => serde_json::to_value(answer)?,
        Reply::Warnings(warnings) => json!({ "warnings": warnings }),
    };
    Ok(format!("{value}\n"))
}

/// A reply for people.
pub fn text(reply: &Reply, now_s: u64) -> String {
    match reply {
        Reply::Done(text) => format!("{text}\n"),
        Reply::Failed(failure) => format!("{failure}\n"),
        Reply::Status(row) => status(row),
        Reply::Cards(rows) => cards(rows, now_s),
        Reply::People(rows) => people(rows),
        Reply::Terminals(rows) => terminals(rows, now_s),
        Reply::Sessions(rows) => sessions(rows, now_s),
        Reply::Receipts(rows) => receipts(rows),
        Reply::Metrics(text) => text.clone(),
        Reply::Audit(rows) => audit(rows),
        Reply::Card(row, answer) => format!("{}\n{}", card(row, now_s), policy(answer)),
        Reply::Policy(answer) => policy(answer),
        Reply::Warnings(warnings) => warned(warnings),
    }
}

fn status(status: &Status) -> String {
    let lines = [
        ("site", status.site.clone()),
        ("site key", status.site_key.clone()),
        ("listening on", format!("{}/udp", status.listen)),
        ("broker", format!("{} (pid {})", status.version, status.pid)),
        ("up", span(status.up_s)),
        ("terminals online", status.terminals_online.to_string()),
        (
            "sessions",
            format!("{}, {} attached", status.sessions, status.attached),
        ),
        ("cards", status.cards.to_string()),
    ];
    let line = |(name, value): (&str, String)| format!("{name:<17} {value}\n");
    lines.into_iter().map(line).collect()
}

fn card(row: &CardRow, now_s: u64) -> String {
    let lines = [
        ("card", row.card.clone()),
        ("person", row.person.clone()),
        ("label", row.label.clone()),
        ("added", ago(row.added_s, now_s)),
        ("standing", row.standing.clone()),
        ("keys", row.keys.join(", ")),
        ("in", row.terminal.clone().unwrap_or_default()),
    ];
    let line = |(name, value): (&str, String)| format!("{name:<10} {value}\n");
    lines.into_iter().map(line).collect()
}

fn policy(answer: &PolicyAnswer) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("person", answer.person.clone()),
        ("groups", answer.groups.join(", ")),
        ("places", answer.places.join(", ")),
    ] {
        if !value.is_empty() {
            text.push_str(&format!("{name:<10} {value}\n"));
        }
    }
    text.push_str(&format!("{:<10} {}\n\n", "so", answer.verdict));
    let mut table = Table::new(&["key", "value", "from"]);
    for (key, value, origin) in &answer.values {
        table.row([key.clone(), value.clone(), origin.clone()]);
    }
    text.push_str(&table.render("nothing is known"));
    text
}

fn warned(warnings: &[String]) -> String {
    match warnings {
        [] => "fine: nobody is shut out\n".to_owned(),
        some => some
            .iter()
            .map(|warning| format!("warning: {warning}\n"))
            .collect(),
    }
}

fn cards(rows: &[CardRow], now_s: u64) -> String {
    let mut table = Table::new(&["card", "person", "label", "added", "in", "standing", "keys"]);
    for row in rows {
        table.row([
            row.card.clone(),
            row.person.clone(),
            row.label.clone(),
            ago(row.added_s, now_s),
            row.terminal.clone().unwrap_or_default(),
            match row.revoked_s {
                Some(s) => format!("revoked {}", ago(s, now_s)),
                None => row.standing.clone(),
            },
            row.keys.join(", "),
        ]);
    }
    table.render("no cards; add one with heliostatctl card add CARD --person NAME")
}

fn people(rows: &[PersonRow]) -> String {
    let mut table = Table::new(&["person", "uid", "cards", "session"]);
    for row in rows {
        table.row([
            row.person.clone(),
            match row.uid {
                Some(uid) => uid.to_string(),
                None => "no account".to_owned(),
            },
            row.cards.to_string(),
            row.session.clone().unwrap_or_default(),
        ]);
    }
    table.render("nobody is known; add someone with heliostatctl person add NAME")
}

fn terminals(rows: &[TerminalRow], now_s: u64) -> String {
    let mut table = Table::new(&[
        "name",
        "id",
        "address",
        "seen",
        "screens",
        "card",
        "person",
        "booted in",
    ]);
    for row in rows {
        let (kernel_ms, init_ms) = row.boot_ms;
        table.row([
            row.name.clone(),
            row.id.clone(),
            row.address.clone().unwrap_or_default(),
            match row.address {
                Some(_) => "online".to_owned(),
                None => ago(row.seen_s, now_s),
            },
            row.outputs.join(", "),
            row.card.clone().unwrap_or_default(),
            row.person.clone().unwrap_or_default(),
            match kernel_ms + init_ms {
                0 => String::new(),
                ms => format!("{:.1} s", f64::from(ms) / 1000.0),
            },
        ]);
    }
    table.render("no terminal has been seen")
}

fn sessions(rows: &[SessionRow], now_s: u64) -> String {
    let mut table = Table::new(&[
        "session",
        "person",
        "uid",
        "pid",
        "started",
        "state",
        "terminal",
        "windows",
        "memory",
        "carrier",
        "rtt",
        "input to photon p50, p99",
    ]);
    for row in rows {
        let stats = row.stats.as_ref();
        let link = stats.and_then(|stats| stats.link.as_ref());
        table.row([
            row.id.clone(),
            row.person.clone(),
            row.uid.to_string(),
            row.pid.to_string(),
            ago(row.started_s, now_s),
            row.state.clone(),
            row.terminal.clone().unwrap_or_default(),
            stats
                .map(|stats| stats.windows.to_string())
                .unwrap_or_default(),
            stats
                .map(|stats| mebibytes(stats.private_bytes))
                .unwrap_or_default(),
            link.map(|link| link.carrier.clone()).unwrap_or_default(),
            link.map(|link| milliseconds(link.rtt_us))
                .unwrap_or_default(),
            link.and_then(input_to_photon).unwrap_or_default(),
        ]);
    }
    table.render("no sessions")
}

fn input_to_photon(link: &LinkStats) -> Option<String> {
    let p50 = milliseconds(link.input_to_photon_p50_us?);
    let p99 = milliseconds(link.input_to_photon_p99_us?);
    Some(format!("{p50}, {p99}"))
}

fn receipts(rows: &[ReceiptRow]) -> String {
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
        text.push_str("\nFrom the card edge, running sessions only:\n");
        text.push_str(&stages.render("no session was running yet"));
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

fn summary_json(rows: &[ReceiptRow]) -> serde_json::Value {
    let stage = |(name, count, p50, p99): (&str, usize, u32, u32)| json!({ "stage": name, "attaches": count, "p50_us": p50, "p99_us": p99 });
    summary(rows).into_iter().map(stage).collect()
}

fn audit(rows: &[AuditRow]) -> String {
    let mut table = Table::new(&[
        "when (utc)",
        "event",
        "person",
        "terminal",
        "card",
        "detail",
    ]);
    for row in rows {
        table.row([
            utc(row.at_ms / 1000),
            row.event.clone(),
            row.person.clone(),
            row.terminal.clone(),
            row.card.clone(),
            row.detail.clone(),
        ]);
    }
    table.render("nothing has happened yet")
}

/// Microseconds as milliseconds.
pub fn milliseconds(us: u32) -> String {
    format!("{:.1} ms", f64::from(us) / 1000.0)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
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
            stages: vec![(Stage::CardEdge, 0), (Stage::FirstFrameShown, shown_us)],
        }
    }

    #[test]
    fn receipts_are_summed_up_over_running_sessions_only() {
        let mut rows: Vec<_> = (1..=99)
            .map(|n| receipt(n, false, n as u32 * 1000))
            .collect();
        rows.push(receipt(100, true, 5_000_000));
        let shown = summary(&rows).pop().unwrap();
        assert_eq!(shown, ("first frame shown", 99, 50_000, 99_000));
        let text = receipts(&rows);
        assert!(text.contains("5000.0 ms"), "{text}");
        assert!(text.contains("first frame shown  99"), "{text}");
        assert!(receipts(&[]).contains("insert a card"));
    }

    #[test]
    fn json_is_the_rows_themselves() {
        let cards = json(&Reply::Cards(vec![])).unwrap();
        assert_eq!(cards, "[]\n");
        let value: serde_json::Value =
            serde_json::from_str(&json(&Reply::Receipts(vec![receipt(1, false, 9)])).unwrap())
                .unwrap();
        assert_eq!(value["summary"][1]["p50_us"], 9);
        assert_eq!(value["receipts"][0]["attach_id"], 1);
    }
}

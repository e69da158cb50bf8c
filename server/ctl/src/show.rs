//! Replies as tables and as JSON.

use heliostat_control::admin::{
    CardRow, Overview, PersonRow, PolicyAnswer, Reply, SessionRow, Status, TerminalRow,
};
use heliostat_control::stats::LinkStats;
use serde_json::json;

use crate::audit;
use crate::receipts;
use crate::table::Table;
use crate::time::{ago, span};

/// A reply for programs: the rows themselves, without what wraps them on the socket. Receipts come
/// with their summary.
pub fn json(reply: &Reply) -> anyhow::Result<String> {
    let value = match reply {
        Reply::Done(text) => json!({ "done": text }),
        Reply::Failed(failure) => json!({ "failed": failure }),
        Reply::Status(status) => serde_json::to_value(status)?,
        Reply::Overview(overview) => serde_json::to_value(overview)?,
        Reply::Cards(rows) => serde_json::to_value(rows)?,
        Reply::People(rows) => serde_json::to_value(rows)?,
        Reply::Terminals(rows) => serde_json::to_value(rows)?,
        Reply::Sessions(rows) => serde_json::to_value(rows)?,
        Reply::Receipts(receipts) => receipts::json(receipts),
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
        Reply::Overview(row) => overview(row),
        Reply::Cards(rows) => cards(rows, now_s),
        Reply::People(rows) => people(rows),
        Reply::Terminals(rows) => terminals(rows, now_s),
        Reply::Sessions(rows) => sessions(rows, now_s),
        Reply::Receipts(receipts) => receipts::text(&receipts.receipts, false),
        Reply::Metrics(text) => text.clone(),
        Reply::Audit(rows) => audit::table(rows),
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

fn overview(overview: &Overview) -> String {
    let mut text = status(&overview.status);
    if let Some(why) = &overview.policy_refused {
        text += &format!("{:<17} {why}; the policy before still holds\n", "refused");
    }
    text
}

fn card(row: &CardRow, now_s: u64) -> String {
    let lines = [
        ("card", row.card.clone()),
        ("person", row.person.clone()),
        ("label", row.label.clone()),
        ("added", ago(row.added_s, now_s)),
        ("standing", row.standing.clone()),
        ("keys", row.keys.join("\n           ")),
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
    let mut table = Table::new(&["card", "person", "label", "in", "standing", "keys"]);
    for row in rows {
        table.row([
            row.card.clone(),
            row.person.clone(),
            row.label.clone(),
            row.terminal.clone().unwrap_or_default(),
            match row.revoked_s {
                Some(s) => format!("revoked {}", ago(s, now_s)),
                None => row.standing.clone(),
            },
            // Their fingerprints are in `card show`.
            row.keys
                .iter()
                .filter_map(|key| key.split(' ').next())
                .collect::<Vec<_>>()
                .join(", "),
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

    #[test]
    fn cards_fit_into_a_hundred_columns() {
        let row = CardRow {
            card: format!("piv:{}", "ab".repeat(16)),
            person: "margaret.hamilton".to_owned(),
            label: "blue".to_owned(),
            added_s: 0,
            revoked_s: None,
            keys: ["9E", "9A"]
                .map(|slot| format!("{slot} sha256:{}", "ab".repeat(32)))
                .to_vec(),
            standing: "first use".to_owned(),
            terminal: Some("ward-3 left".to_owned()),
        };
        let list = cards(std::slice::from_ref(&row), 100);
        assert!(list.contains("9E, 9A"), "{list}");
        let shown = card(&row, 100);
        assert!(shown.contains("abababab"), "{shown}");
        for line in list.lines().chain(shown.lines()) {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn a_policy_that_is_not_the_one_on_the_disk_is_told_of() {
        let mut row = Overview {
            status: Status {
                version: "1".to_owned(),
                site: "Site".to_owned(),
                site_key: String::new(),
                listen: String::new(),
                pid: 1,
                up_s: 1,
                terminals_online: 0,
                sessions: 0,
                attached: 0,
                cards: 0,
            },
            policy_refused: None,
        };
        assert!(!overview(&row).contains("refused"));
        row.policy_refused = Some("policy.toml, line 2: no".to_owned());
        let expected = "refused           policy.toml, line 2: no; the policy before still holds\n";
        assert!(overview(&row).ends_with(expected));
        let program = json(&Reply::Overview(row)).unwrap();
        assert!(program.contains("\"site\":\"Site\""), "{program}");
    }

    #[test]
    fn json_is_the_rows_themselves() {
        let cards = json(&Reply::Cards(vec![])).unwrap();
        assert_eq!(cards, "[]\n");
    }
}

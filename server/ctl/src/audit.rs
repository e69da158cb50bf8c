//! `heliostatctl audit`: what happened, and what happens.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use anyhow::bail;
use heliostat_control::admin::{AuditRow, Reply, Request};

use crate::ask::{Broker, ask};
use crate::table::Table;
use crate::time::utc;

/// Between two looks at what is new.
const LOOK: Duration = Duration::from_millis(500);
/// Lines of one look.
const MOST: u32 = 1000;

/// Prints what `request` asks for, and then what comes, until nobody reads it any more.
pub fn follow(broker: Broker<'_>, mut request: Request, as_json: bool) -> anyhow::Result<()> {
    loop {
        let rows = match ask(broker, &request) {
            Ok(Reply::Audit(rows)) => rows,
            Ok(Reply::Failed(failure)) => return Err(failure.into()),
            Ok(other) => bail!("the broker was asked for its audit and answered {other:?}"),
            // One that is started again is worth waiting for; the first answer has to come.
            Err(error) if !has_begun(&request) => return Err(error),
            Err(_) => Vec::new(),
        };
        let Request::Audit { limit, only } = &mut request else {
            bail!("not a request for the audit");
        };
        *limit = MOST;
        let newest = rows.iter().map(|row| row.number).max().unwrap_or(0);
        only.after = Some(newest.max(only.after.unwrap_or(0)));
        let mut out = std::io::stdout().lock();
        for row in &rows {
            let line = match as_json {
                true => serde_json::to_string(row)?,
                false => line(row),
            };
            match writeln!(out, "{line}").and_then(|()| out.flush()) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                result => result?,
            }
        }
        drop(out);
        std::thread::sleep(LOOK);
    }
}

fn has_begun(request: &Request) -> bool {
    matches!(request, Request::Audit { only, .. } if only.after.is_some())
}

/// Rows below each other.
pub fn table(rows: &[AuditRow]) -> String {
    let headings = [
        "when (utc)",
        "event",
        "outcome",
        "person",
        "terminal",
        "card",
        "by",
        "detail",
    ];
    let mut table = Table::new(&headings);
    for row in rows {
        table.row(cells(row));
    }
    table.render("nothing of the kind has happened")
}

fn cells(row: &AuditRow) -> [String; 8] {
    [
        utc(row.at_ms / 1000),
        row.event.clone(),
        row.outcome.clone(),
        row.person.clone(),
        row.terminal.clone(),
        row.card.clone(),
        row.by.clone(),
        row.detail.clone(),
    ]
}

/// One row alone, where the next ones are not known yet.
fn line(row: &AuditRow) -> String {
    let [when, event, outcome, person, terminal, card, by, detail] = cells(row);
    let mut line = format!("{when}  {event:<18} {outcome:<7}");
    for (name, value) in [
        ("", person),
        ("at ", terminal),
        ("card ", card),
        ("by ", by),
    ] {
        if !value.is_empty() {
            line.push_str(&format!("  {name}{value}"));
        }
    }
    if !detail.is_empty() {
        line.push_str(&format!("  ({detail})"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_is_known_and_no_more() {
        let row = AuditRow {
            event: "card_added".to_owned(),
            outcome: "ok".to_owned(),
            person: "alice".to_owned(),
            by: "root (0)".to_owned(),
            ..AuditRow::default()
        };
        let expected = "1970-01-01 00:00:00  card_added         ok       alice  by root (0)";
        assert_eq!(line(&row), expected);
        let shown = table(&[row]);
        assert!(
            shown.contains("OUTCOME") && shown.contains("root (0)"),
            "{shown}"
        );
    }
}

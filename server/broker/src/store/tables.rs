//! Rows to values and back.

use heliostat_control::admin::{AuditFilter, AuditRow, ReceiptRow};
use heliostat_control::hex;
use heliostat_link::Identity;
use heliostat_wire::id::{AttachId, KeyPin, SessionId};
use heliostat_wire::receipt::Receipt;
use rusqlite::{Connection, OptionalExtension, Result, Row, Transaction, named_params, params};
use tracing::error;

use crate::directory::{
    AttachRecord, Card, Edge, Keys, Over, Record, Remembered, Slot, Standing, Terminal,
};
use crate::policy::Proof;
use crate::proof::EnrolledKey;

/// Attach ids of one run of the broker; the next run begins a thousand thousand higher.
const ATTACHES_A_RUN: u64 = 1_000_000;
/// Attaches that a new run is told of.
const ATTACHES_REMEMBERED: u32 = 256;

/// Rows kept of what grows for ever.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Attaches, beside those that are not over.
    pub attaches: u32,
    /// Sessions, beside those that run and those of an attach that is not over.
    pub sessions: u32,
    /// Receipts.
    pub receipts: u32,
    /// Audit lines.
    pub audit: u32,
}

/// What a broker keeps.
pub const BOUNDS: Bounds = Bounds {
    attaches: 2_000,
    sessions: 2_000,
    receipts: 100_000,
    audit: 100_000,
};

/// Reads what a directory starts from and begins a new run.
pub fn remembered(connection: &mut Connection) -> Result<Remembered> {
    let run = begin_run(connection)?;
    Ok(Remembered {
        next_attach: run * ATTACHES_A_RUN + 1,
        ..known(connection)?
    })
}

/// Reads the same and changes nothing; no attach begins with it.
pub fn known(connection: &Connection) -> Result<Remembered> {
    let mut people = connection.prepare("select person from people")?;
    let people = people.query_map([], |row| row.get(0))?;
    let mut cards = connection.prepare("select * from cards")?;
    let cards = cards.query_map([], card)?;
    let mut terminals = connection.prepare("select * from terminals")?;
    let terminals = terminals.query_map([], terminal)?;
    let mut attaches = connection.prepare(
        "select * from attaches where over = 0
         or attach in (select attach from attaches order by attach desc limit ?)",
    )?;
    let attaches = attaches.query_map([ATTACHES_REMEMBERED], attach)?;
    Ok(Remembered {
        people: people.collect::<Result<_>>()?,
        cards: cards.collect::<Result<_>>()?,
        terminals: terminals.collect::<Result<_>>()?,
        attaches: attaches.collect::<Result<_>>()?,
        next_attach: 0,
    })
}

fn begin_run(connection: &mut Connection) -> Result<u64> {
    let transaction = connection.transaction()?;
    let last: Option<u64> = transaction
        .query_row("select value from meta where key = 'run'", [], |row| {
            row.get(0)
        })
        .optional()?;
    let newest: Option<u64> =
        transaction.query_row("select max(attach) from attaches", [], |row| row.get(0))?;
    let run = last.unwrap_or(0).max(newest.unwrap_or(0) / ATTACHES_A_RUN) + 1;
    transaction.execute("insert or replace into meta values ('run', ?)", [run])?;
    transaction.execute(
        "update sessions set ended_s = 0, ended_how = 'unknown: the broker was away'
         where ended_s is null and session not in (select session from attaches)",
        [],
    )?;
    transaction.execute(
        "update attaches set over = 1 where over = 0
         and session in (select session from sessions where ended_s is not null)",
        [],
    )?;
    prune(&transaction, &BOUNDS)?;
    transaction.commit()?;
    Ok(run)
}

/// Deletes what is older than the rows that are kept.
pub fn prune(transaction: &Transaction<'_>, bounds: &Bounds) -> Result<()> {
    let over = " and over > 0";
    let ended = " and ended_s is not null \
                 and session not in (select session from attaches where over = 0)";
    for (table, number, max, only) in [
        ("attaches", "attach", bounds.attaches, over),
        ("sessions", "rowid", bounds.sessions, ended),
        ("receipts", "attach", bounds.receipts, ""),
        ("audit", "number", bounds.audit, ""),
    ] {
        let oldest_kept =
            format!("select {number} from {table} order by {number} desc limit 1 offset ?");
        let delete = format!("delete from {table} where {number} <= ({oldest_kept}){only}");
        transaction.execute(&delete, [max])?;
    }
    Ok(())
}

/// Keeps one record.
pub fn keep(transaction: &Transaction<'_>, record: &Record, site_key: &Identity) -> Result<()> {
    match record {
        Record::Person(person) => run(
            transaction,
            "insert or ignore into people values (?)",
            params![person],
        ),
        Record::Card(id, card) => keep_card(transaction, id, card),
        Record::Terminal(id, terminal) => keep_terminal(transaction, id, terminal),
        Record::TerminalForgotten(id) => run(
            transaction,
            "delete from terminals where terminal = ?",
            params![id],
        ),
        Record::Attach(record) => keep_attach(transaction, record),
        Record::SessionStarted(session, person, started_s) => run(
            transaction,
            "insert or replace into sessions values (?, ?, ?, null, null)",
            params![session.0, person, started_s],
        ),
        Record::SessionEnded(session, ended_s, how) => run(
            transaction,
            "update sessions set ended_s = ?, ended_how = ? where session = ?",
            params![ended_s, how, session.0],
        ),
        Record::Receipt(record, terminal, receipt) => {
            keep_receipt(transaction, record, terminal, receipt, site_key)
        }
    }
}

fn run(transaction: &Transaction<'_>, sql: &str, values: impl rusqlite::Params) -> Result<()> {
    transaction.prepare_cached(sql)?.execute(values).map(drop)
}

fn keep_card(transaction: &Transaction<'_>, id: &str, card: &Card) -> Result<()> {
    // Their own record may have been lost with a disk that was too slow: without them neither the card
    // nor anything that comes with it would be kept, now or later.
    run(
        transaction,
        "insert or ignore into people (person) values (?)",
        params![card.person],
    )?;
    run(
        transaction,
        "insert or replace into cards values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            id,
            card.person,
            card.label,
            card.added_s,
            card.revoked_s,
            card.keys.card.as_ref().map(EnrolledKey::spki),
            card.keys.owner.as_ref().map(EnrolledKey::spki),
            card.standing as u8,
            card.alias_of,
        ],
    )
}

fn keep_terminal(transaction: &Transaction<'_>, id: &str, terminal: &Terminal) -> Result<()> {
    run(
        transaction,
        "insert or replace into terminals values (?, ?, ?, ?, ?, ?, ?)",
        params![
            id,
            terminal.name,
            terminal.software,
            terminal.boot_ms.0,
            terminal.boot_ms.1,
            terminal.seen_s,
            terminal.key.map(|key| key.0),
        ],
    )
}

fn keep_attach(transaction: &Transaction<'_>, record: &AttachRecord) -> Result<()> {
    run(
        transaction,
        "insert or replace into attaches values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            record.attach.0,
            record.session.0,
            record.person,
            record.terminal,
            record.key.0,
            record.edge.seq,
            record.edge.card,
            record.edge.at_ms,
            record.started_session,
            record.shown.to_string(),
            match record.over {
                None => 0,
                Some(Over::Lost) => 1,
                Some(Over::Wanted) => 2,
            },
        ],
    )
}

fn keep_receipt(
    transaction: &Transaction<'_>,
    record: &AttachRecord,
    terminal: &str,
    receipt: &Receipt,
    site_key: &Identity,
) -> Result<()> {
    let row = ReceiptRow {
        attach_id: record.attach.0,
        at_ms: record.edge.at_ms,
        person: record.person.clone(),
        terminal: terminal.to_owned(),
        started_session: record.started_session,
        stages: receipt.stages.iter().map(|s| (s.stage, s.us)).collect(),
        signature: String::new(),
    };
    let signature = site_key.sign(&row.canonical());
    let signature = signature.inspect_err(|problem| error!(%problem, "a receipt is not signed"));
    let stages = serde_json::to_string(&row.stages).expect("stages have a JSON form");
    run(
        transaction,
        "insert or replace into receipts values (?, ?, ?, ?, ?, ?, ?)",
        params![
            row.attach_id,
            row.at_ms,
            row.person,
            row.terminal,
            row.started_session,
            stages,
            signature.ok(),
        ],
    )
}

/// Keeps one audit line.
pub fn keep_audit(transaction: &Transaction<'_>, row: &AuditRow) -> Result<()> {
    run(
        transaction,
        "insert into audit values (null, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            row.at_ms,
            row.event,
            row.person,
            row.terminal,
            row.card,
            row.detail,
            row.outcome,
            row.by,
        ],
    )
}

/// The newest receipts, oldest first.
pub fn receipts(connection: &Connection, since_ms: u64, limit: u32) -> Result<Vec<ReceiptRow>> {
    let mut rows = connection.prepare_cached(
        "select * from (select * from receipts where at_ms >= ? order by at_ms desc limit ?)
         order by at_ms",
    )?;
    rows.query_map(params![since_ms.min(i64::MAX as u64), limit], receipt)?
        .collect()
}

/// The newest audit lines of those that are asked for, oldest first.
pub fn audit_rows(
    connection: &Connection,
    limit: u32,
    only: &AuditFilter,
) -> Result<Vec<AuditRow>> {
    let mut rows = connection.prepare_cached(
        "select * from (
             select * from audit
             where number > :after and at_ms >= :since_ms
                 and (:person is null or person = :person)
                 and (:terminal is null or terminal = :terminal)
                 and (:card is null or card = :card collate nocase)
                 and (:outcome is null or outcome = :outcome)
                 and (:by is null or asked_by = :by or asked_by like :by || ' (%')
                 and (:events is null or event in (select value from json_each(:events)))
             order by number desc limit :limit
         ) order by number",
    )?;
    let events = match only.events.is_empty() {
        true => None,
        false => serde_json::to_string(&only.events).ok(),
    };
    let values = named_params! {
        ":after": only.after.unwrap_or(0).min(i64::MAX as u64),
        ":since_ms": only.since_ms.unwrap_or(0).min(i64::MAX as u64),
        ":person": only.person,
        ":terminal": only.terminal,
        ":card": only.card,
        ":outcome": only.outcome,
        ":by": only.by,
        ":events": events,
        ":limit": limit,
    };
    rows.query_map(values, audit)?.collect()
}

fn card(row: &Row<'_>) -> Result<(String, Card)> {
    let card = Card {
        person: row.get("person")?,
        label: row.get("label")?,
        added_s: row.get("added_s")?,
        revoked_s: row.get("revoked_s")?,
        keys: Keys {
            card: key(row, "card_key")?,
            owner: key(row, "owner_key")?,
        },
        standing: match row.get::<_, u8>("standing")? {
            1 => Standing::FirstUse,
            2 => Standing::Asked,
            _ => Standing::Good,
        },
        alias_of: row.get("alias_of")?,
    };
    Ok((row.get("card")?, card))
}

/// A key that was kept; one that is none any more is not bound any more.
fn key(row: &Row<'_>, column: &str) -> Result<Option<EnrolledKey>> {
    let spki: Option<Vec<u8>> = row.get(column)?;
    Ok(spki.and_then(|spki| EnrolledKey::from_spki(&spki).ok()))
}

fn terminal(row: &Row<'_>) -> Result<(String, Terminal)> {
    let key: Option<[u8; 32]> = row.get("key")?;
    let terminal = Terminal {
        name: row.get("name")?,
        software: row.get("software")?,
        outputs: Default::default(),
        boot_ms: (row.get("boot_ms_kernel")?, row.get("boot_ms_init")?),
        seen_s: row.get("seen_s")?,
        key: key.map(KeyPin),
        said_id: String::new(),
        said_card: String::new(),
        online: None,
        slot: Slot::Empty,
    };
    Ok((row.get("terminal")?, terminal))
}

fn attach(row: &Row<'_>) -> Result<AttachRecord> {
    Ok(AttachRecord {
        attach: AttachId(row.get("attach")?),
        session: SessionId(row.get("session")?),
        person: row.get("person")?,
        terminal: row.get("terminal")?,
        key: KeyPin(row.get("key")?),
        edge: Edge {
            seq: row.get("seq")?,
            card: row.get("card")?,
            at_ms: row.get("at_ms")?,
        },
        started_session: row.get("started_session")?,
        shown: match row.get::<_, String>("shown")?.as_str() {
            "card" => Proof::Card,
            "card+pin" => Proof::CardPin,
            "password" => Proof::Password,
            _ => Proof::None,
        },
        over: match row.get::<_, u8>("over")? {
            0 => None,
            2 => Some(Over::Wanted),
            _ => Some(Over::Lost),
        },
    })
}

fn receipt(row: &Row<'_>) -> Result<ReceiptRow> {
    let stages: String = row.get("stages")?;
    let signature: Option<Vec<u8>> = row.get("signature")?;
    Ok(ReceiptRow {
        attach_id: row.get("attach")?,
        at_ms: row.get("at_ms")?,
        person: row.get("person")?,
        terminal: row.get("terminal")?,
        started_session: row.get("started_session")?,
        stages: serde_json::from_str(&stages).unwrap_or_default(),
        signature: hex::digits(&signature.unwrap_or_default()),
    })
}

fn audit(row: &Row<'_>) -> Result<AuditRow> {
    Ok(AuditRow {
        number: row.get("number")?,
        at_ms: row.get("at_ms")?,
        event: row.get("event")?,
        outcome: row.get("outcome")?,
        person: row.get("person")?,
        terminal: row.get("terminal")?,
        card: row.get("card")?,
        detail: row.get("detail")?,
        by: row.get("asked_by")?,
        from: None,
    })
}

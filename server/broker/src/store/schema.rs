//! The tables, and the way from older ones.

use rusqlite::{Connection, Result};

/// Each step brings the database from its number to the next; `user_version` counts them.
const STEPS: &[&str] = &[
    "create table meta (key text primary key, value integer not null) strict;
     create table people (person text primary key) strict;
     create table cards (
         card text primary key,
         person text not null references people,
         label text not null,
         added_s integer not null,
         revoked_s integer
     ) strict;
     create table terminals (
         terminal text primary key,
         name text not null,
         software text not null,
         boot_ms_kernel integer not null,
         boot_ms_init integer not null,
         seen_s integer not null,
         key blob
     ) strict;
     create table sessions (
         session blob primary key,
         person text not null,
         started_s integer not null,
         ended_s integer,
         ended_how text
     ) strict;
     create table attaches (
         attach integer primary key,
         session blob not null,
         person text not null,
         terminal text not null,
         key blob not null,
         seq integer not null,
         card text not null,
         at_ms integer not null,
         started_session integer not null
     ) strict;
     create table receipts (
         attach integer primary key,
         at_ms integer not null,
         person text not null,
         terminal text not null,
         started_session integer not null,
         stages text not null
     ) strict;
     create index receipts_at on receipts (at_ms);
     create table audit (
         number integer primary key,
         at_ms integer not null,
         event text not null,
         person text not null,
         terminal text not null,
         card text not null,
         detail text not null
     ) strict;",
    "alter table cards add column card_key blob;
     alter table cards add column owner_key blob;
     alter table cards add column standing integer not null default 0;
     alter table audit add column outcome text not null default '';
     alter table attaches add column shown text not null default 'none';
     alter table attaches add column over integer not null default 1;",
    "alter table receipts add column signature blob;
     alter table audit add column asked_by text not null default '';",
    "alter table cards add column alias_of text;",
    // Ids in one case. Of two that were one the newer terminal stays, and the card as terminals wrote
    // it; a card that was revoked under either stays revoked.
    "update cards set revoked_s = twins.revoked_s from (
         select lower(card) as small, min(revoked_s) as revoked_s from cards
         group by small having count(*) > 1
     ) as twins where lower(cards.card) = twins.small;
     delete from cards where card in (select card from (
         select card, row_number() over (
             partition by lower(card) order by card = lower(card) desc, added_s desc, card
         ) as place from cards
     ) where place > 1);
     update cards set card = lower(card), alias_of = lower(alias_of);
     update cards set alias_of = null where alias_of = card;
     delete from terminals where terminal in (select terminal from (
         select terminal, row_number() over (
             partition by lower(terminal) order by seen_s desc, terminal
         ) as place from terminals
     ) where place > 1);
     update terminals set terminal = lower(terminal);
     update attaches set terminal = lower(terminal), card = lower(card);",
];

/// Sets the connection up and brings the tables up to date.
pub fn prepare(connection: &mut Connection) -> anyhow::Result<()> {
    connection.execute_batch(
        "pragma journal_mode = wal;
         pragma synchronous = full;
         pragma foreign_keys = on;
         pragma cache_size = -512;
         pragma journal_size_limit = 1048576;
         pragma wal_autocheckpoint = 200;",
    )?;
    connection.set_prepared_statement_cache_capacity(16);
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    anyhow::ensure!(
        version <= STEPS.len(),
        "it was written by a newer broker (version {version}, this one knows {}): \
         update this broker, or restore the store from a backup",
        STEPS.len()
    );
    for (number, step) in STEPS.iter().enumerate().skip(version) {
        apply(connection, step, number + 1)?;
    }
    Ok(())
}

/// Whether the tables are those of this broker.
pub fn is_current(connection: &Connection) -> Result<bool> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(version == STEPS.len())
}

fn apply(connection: &mut Connection, step: &str, version: usize) -> Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(step)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

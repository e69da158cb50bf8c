use std::collections::BTreeSet;

use heliostat_wire::id::{AttachId, KeyPin, SessionId};
use heliostat_wire::receipt::{Receipt, Stage, StageTime};

use super::*;
use crate::directory::{AttachRecord, Card, Edge, Keys, Standing};
use crate::policy::Proof;

fn attach(number: u64) -> AttachRecord {
    AttachRecord {
        attach: AttachId(number),
        session: SessionId([7; 16]),
        person: "alice".to_owned(),
        terminal: "t".to_owned(),
        key: KeyPin([9; 32]),
        edge: Edge {
            seq: 3,
            card: "piv:00".to_owned(),
            at_ms: 1_000 + number,
        },
        shown: Proof::CardPin,
        over: Some(crate::directory::Over::Wanted),
        started_session: true,
    }
}

fn flush(store: &Store) {
    store.flushed().blocking_recv().unwrap().unwrap();
}

#[test]
fn what_was_kept_is_remembered_by_the_next_run_and_attach_ids_never_repeat() {
    let dir = tempfile::tempdir().unwrap();
    let card = Card {
        person: "alice".to_owned(),
        label: "blue".to_owned(),
        added_s: 5,
        revoked_s: Some(6),
        keys: Keys::default(),
        standing: Standing::Asked,
    };
    let (store, first) = Store::open(dir.path()).unwrap();
    assert!(first.cards.is_empty());
    store.keep(Record::Person("alice".to_owned()));
    store.keep(Record::Card("piv:00".to_owned(), card.clone()));
    store.keep(Record::Attach(attach(first.next_attach)));
    drop(store);
    let (_store, second) = Store::open(dir.path()).unwrap();
    assert_eq!(second.people, BTreeSet::from(["alice".to_owned()]));
    assert_eq!(second.cards["piv:00"], card);
    assert_eq!(second.attaches, [attach(first.next_attach)]);
    assert!(second.next_attach > first.next_attach + 100_000);
}

#[test]
fn a_receipt_that_comes_again_takes_the_place_of_its_first_form() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let stages = |n: u32| {
        (0..n).map(|us| StageTime {
            stage: Stage::CardEdge,
            us,
        })
    };
    for (number, n) in [(1, 1), (2, 1), (1, 3)] {
        let receipt = Receipt {
            attach_id: AttachId(number),
            stages: heliostat_wire::List::truncated(stages(n).collect()),
        };
        store.keep(Record::Receipt(attach(number), "A".to_owned(), receipt));
    }
    let rows = store.receipts(0, 10).blocking_recv().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].attach_id, rows[0].stages.len()), (1, 3));
    let newest = store.receipts(0, 1).blocking_recv().unwrap();
    assert_eq!(newest[0].attach_id, 2);
    assert!(store.receipts(1_003, 9).blocking_recv().unwrap().is_empty());
}

#[test]
fn audit_lines_are_in_the_store_and_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    for at_ms in 0..5 {
        store.audit(AuditRow {
            at_ms,
            outcome: "ok".to_owned(),
            event: "attach".to_owned(),
            person: "alice".to_owned(),
            terminal: "a".to_owned(),
            card: "piv:00".to_owned(),
            detail: "line\nbreak".to_owned(),
        });
    }
    flush(&store);
    let rows = store.audit_rows(2).blocking_recv().unwrap();
    assert_eq!(rows.iter().map(|row| row.at_ms).collect::<Vec<_>>(), [3, 4]);
    let file = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    assert_eq!(file.lines().count(), 5);
    let last: AuditRow = serde_json::from_str(file.lines().last().unwrap()).unwrap();
    assert_eq!(last, rows[1]);
}

#[test]
fn the_store_of_a_newer_broker_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let path = dir.path().join("broker.sqlite");
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = format!("{:#}", Store::open(dir.path()).unwrap_err());
    assert!(error.contains("newer broker"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("broker.sqlite"), "x".repeat(4096)).unwrap();
    let error = format!("{:#}", Store::open(dir.path()).unwrap_err());
    assert!(error.contains("broker.sqlite"), "{error}");
}

#[test]
fn a_record_that_the_disk_refuses_is_not_promised_and_is_kept_when_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    // Somebody else holds the database, which is how a disk refuses that tests can make and mend.
    let other = Connection::open(dir.path().join("broker.sqlite")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    store.keep(Record::Person("alice".to_owned()));
    let refused = store.flushed().blocking_recv().unwrap();
    assert!(refused.is_err(), "{refused:?}");
    other.execute_batch("ROLLBACK").unwrap();
    store.keep(Record::Person("bob".to_owned()));
    flush(&store);
    drop(store);
    let (_store, second) = Store::open(dir.path()).unwrap();
    let both = ["alice".to_owned(), "bob".to_owned()];
    assert_eq!(second.people, BTreeSet::from(both));
}

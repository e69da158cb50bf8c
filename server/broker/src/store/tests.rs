use std::collections::BTreeSet;

use heliostat_wire::id::{AttachId, KeyPin, SessionId};
use heliostat_wire::receipt::{Receipt, Stage, StageTime};

use super::tables::{BOUNDS, Bounds};
use super::*;
use crate::directory::{AttachRecord, Card, Edge, Keys, Standing};
use crate::policy::Proof;
use crate::proof::EnrolledKey;

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

/// With a key of its own; what is signed is looked at where that matters.
fn open(dir: &Path) -> anyhow::Result<(Store, Remembered)> {
    Store::open(dir, &Identity::generate()?)
}

fn flush(store: &Store) {
    store.flushed().blocking_recv().unwrap().unwrap();
}

fn alices() -> Card {
    Card {
        person: "alice".to_owned(),
        label: "blue".to_owned(),
        added_s: 5,
        revoked_s: Some(6),
        keys: Keys::default(),
        standing: Standing::Asked,
        alias_of: Some("piv:01".to_owned()),
    }
}

#[test]
fn card_of_somebody_whose_own_record_was_lost_is_kept_with_all_that_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    store.keep(Record::Card("piv:00".to_owned(), alices()));
    flush(&store);
    store.keep(Record::Person("bob".to_owned()));
    flush(&store);
    drop(store);
    let (_store, second) = open(dir.path()).unwrap();
    assert_eq!(second.cards["piv:00"], alices());
    let both = ["alice".to_owned(), "bob".to_owned()];
    assert_eq!(second.people, BTreeSet::from(both));
}

#[test]
fn what_was_kept_is_remembered_by_the_next_run_and_attach_ids_never_repeat() {
    let dir = tempfile::tempdir().unwrap();
    let card = alices();
    let (store, first) = open(dir.path()).unwrap();
    assert!(first.cards.is_empty());
    store.keep(Record::Person("alice".to_owned()));
    store.keep(Record::Card("piv:00".to_owned(), card.clone()));
    store.keep(Record::Attach(attach(first.next_attach)));
    drop(store);
    let (_store, second) = open(dir.path()).unwrap();
    assert_eq!(second.people, BTreeSet::from(["alice".to_owned()]));
    assert_eq!(second.cards["piv:00"], card);
    assert_eq!(second.attaches, [attach(first.next_attach)]);
    assert!(second.next_attach > first.next_attach + 100_000);
}

#[test]
fn a_receipt_that_comes_again_takes_the_place_of_its_first_form() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
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
    let rows = store.receipts(0, 10).blocking_recv().unwrap().receipts;
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].attach_id, rows[0].stages.len()), (1, 3));
    let newest = store.receipts(0, 1).blocking_recv().unwrap().receipts;
    assert_eq!(newest[0].attach_id, 2);
    assert!(
        store
            .receipts(1_003, 9)
            .blocking_recv()
            .unwrap()
            .receipts
            .is_empty()
    );
}

#[test]
fn audit_lines_are_in_the_store_and_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    for at_ms in 0..5 {
        store.audit(AuditRow {
            at_ms,
            outcome: "ok".to_owned(),
            event: "attach".to_owned(),
            person: "alice".to_owned(),
            terminal: "a".to_owned(),
            card: "piv:00".to_owned(),
            by: "root (0)".to_owned(),
            detail: "line\nbreak".to_owned(),
            ..AuditRow::default()
        });
    }
    flush(&store);
    let rows = audit_rows(&store, 2, AuditFilter::default());
    assert_eq!(rows.iter().map(|row| row.at_ms).collect::<Vec<_>>(), [3, 4]);
    let file = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    assert_eq!(file.lines().count(), 5);
    let last: AuditRow = serde_json::from_str(file.lines().last().unwrap()).unwrap();
    assert_eq!(
        last,
        AuditRow {
            number: 0,
            ..rows[1].clone()
        }
    );
}

fn audit_rows(store: &Store, limit: u32, only: AuditFilter) -> Vec<AuditRow> {
    store.audit_rows(limit, only).blocking_recv().unwrap()
}

#[test]
fn audit_lines_are_found_by_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    let line = |at_ms, event: &str, person: &str, by: &str| AuditRow {
        at_ms,
        event: event.to_owned(),
        outcome: "ok".to_owned(),
        person: person.to_owned(),
        by: by.to_owned(),
        ..AuditRow::default()
    };
    store.audit(line(1, "attach", "alice", ""));
    store.audit(line(2, "card_added", "alice", "ann (1000)"));
    store.audit(line(3, "attach", "bob", ""));
    store.audit(line(4, "detached", "bob", ""));
    flush(&store);
    let found = |only| -> Vec<u64> {
        let rows = audit_rows(&store, 10, only);
        rows.iter().map(|row| row.at_ms).collect()
    };
    let any = AuditFilter::default;
    assert_eq!(found(any()), [1, 2, 3, 4]);
    let events = vec!["attach".to_owned(), "detached".to_owned()];
    assert_eq!(found(AuditFilter { events, ..any() }), [1, 3, 4]);
    let person = Some("bob".to_owned());
    let since_ms = Some(4);
    let of_bob = AuditFilter { person, ..any() };
    assert_eq!(found(of_bob.clone()), [3, 4]);
    assert_eq!(found(AuditFilter { since_ms, ..of_bob }), [4]);
    for (by, expected) in [("ann", vec![2]), ("ann (1000)", vec![2]), ("an", vec![])] {
        let by = Some(by.to_owned());
        assert_eq!(found(AuditFilter { by, ..any() }), expected);
    }
    let third = audit_rows(&store, 10, any())[2].number;
    let after = Some(third);
    assert_eq!(found(AuditFilter { after, ..any() }), [4]);
}

#[test]
fn receipts_are_signed_by_the_site_key() {
    let dir = tempfile::tempdir().unwrap();
    let site_key = Identity::generate().unwrap();
    let (store, _) = Store::open(dir.path(), &site_key).unwrap();
    let stages = [StageTime {
        stage: Stage::Challenged,
        us: 7,
    }];
    let receipt = Receipt {
        attach_id: AttachId(1),
        stages: heliostat_wire::List::new(stages.to_vec()).unwrap(),
    };
    store.keep(Record::Receipt(attach(1), "desk a".to_owned(), receipt));
    flush(&store);
    let receipts = store.receipts(0, 10).blocking_recv().unwrap();
    let key = hex::bytes(&receipts.site_key).unwrap();
    assert_eq!(key, site_key.public_key());
    let key = EnrolledKey::from_spki(&key).unwrap();
    let row = &receipts.receipts[0];
    let signature = hex::bytes(&row.signature).unwrap();
    assert_eq!(key.verify(&row.canonical(), &signature), Ok(()));
    let mut other = row.clone();
    other.terminal = "desk b".to_owned();
    assert!(key.verify(&other.canonical(), &signature).is_err());
}

#[test]
fn the_store_of_a_newer_broker_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let path = dir.path().join("broker.sqlite");
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = format!("{:#}", open(dir.path()).unwrap_err());
    assert!(error.contains("newer broker"), "{error}");
}

#[test]
fn ids_of_an_older_broker_are_put_in_one_case_and_stay_revoked() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let connection = Connection::open(dir.path().join("broker.sqlite")).unwrap();
    connection
        .execute_batch(
            "insert into people values ('alice');
             insert into cards (card, person, label, added_s, revoked_s, alias_of) values
                 ('PIV:00AB', 'alice', 'large', 1, 5, null),
                 ('piv:00ab', 'alice', 'small', 2, null, 'PIV:00AB'),
                 ('UID:0C', 'alice', 'other', 3, null, 'PIV:00AB');
             insert into terminals values
                 ('AA:01', 'old', '1', 0, 0, 1, null), ('aa:01', 'new', '1', 0, 0, 2, null);
             pragma user_version = 4;",
        )
        .unwrap();
    drop(connection);
    let (_store, known) = open(dir.path()).unwrap();
    assert_eq!(known.cards.len(), 2);
    let card = &known.cards["piv:00ab"];
    assert_eq!(
        (card.label.as_str(), card.revoked_s, &card.alias_of),
        ("small", Some(5), &None)
    );
    let other = known.cards["uid:0c"].alias_of.as_deref();
    assert_eq!(other, Some("piv:00ab"));
    assert_eq!(known.terminals.len(), 1);
    assert_eq!(known.terminals["aa:01"].name, "new");
}

#[test]
fn a_file_that_is_no_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("broker.sqlite"), "x".repeat(4096)).unwrap();
    let error = format!("{:#}", open(dir.path()).unwrap_err());
    assert!(error.contains("broker.sqlite"), "{error}");
}

#[test]
fn a_record_that_the_disk_refuses_is_not_promised_and_is_kept_when_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
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
    let (_store, second) = open(dir.path()).unwrap();
    let both = ["alice".to_owned(), "bob".to_owned()];
    assert_eq!(second.people, BTreeSet::from(both));
}

#[test]
fn a_record_that_was_lost_is_told_of_once_and_what_comes_later_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    let other = Connection::open(dir.path().join("broker.sqlite")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // One batch waits for the disk, another queue is full behind it, and the rest is lost.
    for number in 0..MAX_WAITING + 2 * MAX_BATCH {
        store.keep(Record::Person(format!("person {number}")));
    }
    assert!(store.flushed().blocking_recv().is_err(), "no room for it");
    other.execute_batch("ROLLBACK").unwrap();
    // There is room again once the thread has taken a batch, of which no event tells.
    let told = loop {
        if let Ok(told) = store.flushed().blocking_recv() {
            break told;
        }
        std::thread::yield_now();
    };
    assert!(told.unwrap_err().contains("make it again"));
    store.keep(Record::Person("alice".to_owned()));
    flush(&store);
    drop(store);
    let (_store, second) = open(dir.path()).unwrap();
    assert!(second.people.contains("alice"));
}

#[test]
fn tables_are_pruned_once_in_so_many_writes() {
    let mut unpruned = Unpruned::default();
    assert!(!unpruned.is_due_after(PRUNE_AFTER - 1));
    assert!(!unpruned.is_due_after(0));
    assert!(unpruned.is_due_after(1));
    assert!(!unpruned.is_due_after(1), "it has just been done");
    // After a time without a disk more comes at once than the tables are looked at for.
    assert!(unpruned.is_due_after(3 * PRUNE_AFTER));
    assert!(!unpruned.is_due_after(PRUNE_AFTER - 1));
}

/// The numbers that a table has.
fn numbers(connection: &Connection, query: &str) -> Vec<u64> {
    let mut rows = connection.prepare(query).unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn the_newest_rows_are_kept_and_whatever_is_not_over() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    for number in 1..=9 {
        let session = SessionId([number as u8; 16]);
        let record = AttachRecord {
            session,
            over: (number != 2).then_some(crate::directory::Over::Lost),
            ..attach(number)
        };
        store.keep(Record::SessionStarted(session, "alice".to_owned(), number));
        store.keep(Record::Attach(record.clone()));
        if number != 1 {
            store.keep(Record::SessionEnded(session, number, String::new()));
        }
        let stages = heliostat_wire::List::default();
        let receipt = Receipt {
            attach_id: record.attach,
            stages,
        };
        store.keep(Record::Receipt(record, "A".to_owned(), receipt));
        store.audit(AuditRow {
            at_ms: number,
            ..AuditRow::default()
        });
    }
    drop(store);
    let mut connection = Connection::open(dir.path().join("broker.sqlite")).unwrap();
    let transaction = connection.transaction().unwrap();
    let bounds = Bounds {
        attaches: 4,
        sessions: 3,
        receipts: 2,
        audit: 1,
    };
    tables::prune(&transaction, &bounds).unwrap();
    let left = |query| numbers(&transaction, query);
    assert_eq!(left("select attach from attaches"), [2, 6, 7, 8, 9]);
    // The first still runs, and the second's end is what tells a restart that its attach is over.
    assert_eq!(left("select started_s from sessions"), [1, 2, 7, 8, 9]);
    assert_eq!(left("select attach from receipts"), [8, 9]);
    assert_eq!(left("select at_ms from audit"), [9]);
}

#[test]
fn a_broker_that_is_never_restarted_keeps_its_tables_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    let written = u64::from(BOUNDS.attaches) + 3 * PRUNE_AFTER as u64;
    for number in 1..=written {
        store.keep(Record::Attach(attach(number)));
    }
    drop(store);
    // The next start would prune as well.
    let connection = Connection::open(dir.path().join("broker.sqlite")).unwrap();
    let left = numbers(&connection, "select attach from attaches");
    let most = BOUNDS.attaches as usize + PRUNE_AFTER + MAX_BATCH;
    assert!(left.len() <= most, "{} rows", left.len());
    assert!(left.len() >= BOUNDS.attaches as usize);
    assert_eq!(left.last(), Some(&written));
}

//! Leaving, locking and logging out from within, and locking when nobody is there.

use hil_local::keys;

use crate::Test;
use crate::desk::{IDLE, People};

pub const TESTS: &[Test] = &[
    (
        "a_person_leaves_locks_and_logs_out_from_within",
        a_person_leaves_locks_and_logs_out_from_within,
    ),
    (
        "a_locked_desktop_comes_back_by_what_the_policy_asks_for",
        a_locked_desktop_comes_back_by_what_the_policy_asks_for,
    ),
    (
        "a_desktop_at_which_nobody_types_is_locked",
        a_desktop_at_which_nobody_types_is_locked,
    ),
];

const CARD: &str = "piv:00000000000000000000000000000c03";

fn a_person_leaves_locks_and_logs_out_from_within() {
    let people = People::start("default.proof = \"none\"");
    people.site.add_card(CARD, "alice").unwrap();
    let mut desk = people.desk("desk-1");
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_desktop("alice");
    let session = people.sessions()[0]["id"].clone();
    for (wish, headline) in [
        ("detach", "Your desktop runs on"),
        ("lock", "Your desktop is locked"),
    ] {
        let output = people.leave("alice", wish);
        assert!(output.status.success(), "{output:?}");
        desk.until_headline(headline);
        desk.picture(wish);
        desk.press(keys::ENTER);
        desk.until_desktop("alice");
    }
    assert_eq!(people.sessions()[0]["id"], session);
    let output = people.leave("alice", "logout");
    assert!(output.status.success(), "{output:?}");
    desk.until_headline("You are logged out");
    people.until("its end", |people| people.sessions().is_empty());

    // Without a card, leaving leaves nothing at the terminal.
    desk.terminal.pull_card().unwrap();
    desk.until_headline(IDLE);
    desk.log_in(&people, "alice");
    assert!(people.leave("alice", "detach").status.success());
    desk.until_headline(IDLE);
    assert_eq!(people.sessions_of("alice").len(), 1);
    people.end();
}

fn a_locked_desktop_comes_back_by_what_the_policy_asks_for() {
    let people = People::start("default.proof = \"password\"");
    people.site.add_card(CARD, "alice").unwrap();
    let mut desk = people.desk("desk-1");
    let unlock = |desk: &mut crate::desk::Desk, asked: usize| {
        desk.until_greeter(&people);
        desk.until_asked(&people, asked);
        desk.enter("alice");
        desk.until_desktop("alice");
    };
    let asked = people.asked();
    desk.terminal.insert_card(CARD).unwrap();
    unlock(&mut desk, asked);
    let session = people.sessions_of("alice")[0]["id"].clone();

    // By the key, by the administrator: somebody has to type the password again.
    let asked = people.asked();
    desk.chord(&[keys::LEFTMETA], keys::L);
    unlock(&mut desk, asked);
    let asked = people.asked();
    people.site.ctl(&["session", "lock", "alice"]).unwrap();
    unlock(&mut desk, asked);
    assert_eq!(people.sessions_of("alice")[0]["id"], session);
    let why = people.audited("locked");
    assert_eq!(why.len(), 2, "{why:?}");
    people.end();
}

fn a_desktop_at_which_nobody_types_is_locked() {
    let people = People::start("[default]\nproof = \"password\"\nidle = \"2s\"");
    people.site.add_card(CARD, "alice").unwrap();
    let mut desk = people.desk("desk-1");
    let asked = people.asked();
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_greeter(&people);
    desk.until_asked(&people, asked);
    let asked = people.asked();
    desk.enter("alice");
    desk.until_desktop("alice");
    let began = std::time::Instant::now();
    desk.until_greeter(&people);
    assert!(began.elapsed() > std::time::Duration::from_millis(1500));
    assert_eq!(people.audited("locked")[0]["detail"], "nobody there");
    desk.until_asked(&people, asked);
    desk.picture("locked");
    desk.enter("alice");
    desk.until_desktop("alice");
    people.end();
}

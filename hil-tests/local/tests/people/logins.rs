//! By name and password, without a card and with one that is not known.

use hil_local::keys;

use crate::Test;
use crate::desk::{IDLE, People};

pub const TESTS: &[Test] = &[
    (
        "a_person_without_a_card_logs_in_and_their_desktop_follows_them",
        a_person_without_a_card_logs_in_and_their_desktop_follows_them,
    ),
    (
        "an_unknown_card_is_offered_and_one_without_keys_lets_its_person_in_by_password",
        an_unknown_card_is_offered_and_one_without_keys_lets_its_person_in_by_password,
    ),
    (
        "a_keyless_card_becomes_somebodys_who_need_not_say_their_name_again",
        a_keyless_card_becomes_somebodys_who_need_not_say_their_name_again,
    ),
    (
        "a_card_that_wants_approval_opens_nothing_before_it_has_it",
        a_card_that_wants_approval_opens_nothing_before_it_has_it,
    ),
    (
        "where_nobody_may_log_in_without_a_card_no_greeter_is_started",
        where_nobody_may_log_in_without_a_card_no_greeter_is_started,
    ),
];

const CARD: &str = "piv:00000000000000000000000000000c01";
const KEYLESS: &str = "uid:04a1b2c3d4e5f6";

fn a_person_without_a_card_logs_in_and_their_desktop_follows_them() {
    let people = People::start("");
    let mut first = people.desk("desk-1");
    first.log_in_as_far_as_the_password(&people, "alice");
    let asked = people.asked();
    first.enter("wrong");
    // In PAM's words, after PAM's delay, and PAM asks again.
    first.until_asked(&people, asked);
    first.picture("wrong-password");
    let failed = people.audited("login_failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["person"], "alice");
    assert_eq!(failed[0]["detail"], "Authentication failure");
    first.enter("alice");
    first.until_desktop("alice");
    let session = people.sessions_of("alice")[0]["id"].clone();
    // The greeter has gone with the login.
    people.until("the greeter to end", |people| people.sessions().len() == 1);

    // At a second desk they get the very same desktop, and the first one says so.
    let mut second = people.desk("desk-2");
    second.log_in(&people, "alice");
    assert_eq!(people.sessions_of("alice")[0]["id"], session);
    first.until_headline("Your desktop is now at desk-2");

    // Somebody else takes the first desk.
    first.log_in(&people, "bob");
    assert_eq!(people.sessions_of("bob").len(), 1);
    assert_eq!(second.attached.as_deref(), Some("alice"));
    people.end();
}

/// Chooses to use the card from now on, and comes back to the name.
fn agree(desk: &mut crate::desk::Desk) {
    for key in [keys::TAB, keys::SPACE, keys::TAB, keys::TAB] {
        desk.press(key);
    }
}

fn an_unknown_card_is_offered_and_one_without_keys_lets_its_person_in_by_password() {
    let people = People::start("default.enrol = \"offer\"");
    let mut desk = people.desk("desk-1");
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_greeter(&people);
    desk.picture("unknown-card");
    agree(&mut desk);
    desk.name(&people, "alice");
    desk.enter("alice");
    // Cards of control lines cannot prove anything; the password has.
    desk.until_desktop("alice");
    assert!(!people.audited("no_proof").is_empty());
    assert!(people.audited("card_bound").is_empty());
    desk.terminal.pull_card().unwrap();
    desk.until_headline(IDLE);
    people.end();
}

fn a_keyless_card_becomes_somebodys_who_need_not_say_their_name_again() {
    let people = People::start("[default]\nenrol = \"offer\"\nkeyless = true");
    let mut desk = people.desk("desk-1");
    desk.terminal.insert_card(KEYLESS).unwrap();
    desk.until_greeter(&people);
    agree(&mut desk);
    desk.name(&people, "alice");
    desk.enter("alice");
    desk.until_desktop("alice");
    assert_eq!(people.audited("card_bound")[0]["card"], KEYLESS);
    desk.terminal.pull_card().unwrap();
    desk.until_headline(IDLE);
    let asked = people.asked();
    desk.terminal.insert_card(KEYLESS).unwrap();
    desk.until_greeter(&people);
    desk.until_asked(&people, asked);
    desk.picture("known-card");
    desk.enter("alice");
    desk.until_desktop("alice");
    people.end();
}

fn a_card_that_wants_approval_opens_nothing_before_it_has_it() {
    let people = People::start("[default]\nenrol = \"approval\"\nkeyless = true");
    let mut desk = people.desk("desk-1");
    desk.terminal.insert_card(KEYLESS).unwrap();
    desk.until_greeter(&people);
    agree(&mut desk);
    desk.name(&people, "alice");
    desk.enter("alice");
    desk.until_desktop("alice");
    desk.terminal.pull_card().unwrap();
    desk.until_headline(IDLE);
    desk.terminal.insert_card(KEYLESS).unwrap();
    desk.until_headline("This card may not be used here");
    assert!(desk.detail.contains("administrator"), "{}", desk.detail);
    people.site.ctl(&["card", "approve", KEYLESS]).unwrap();
    let asked = people.asked();
    desk.press(keys::ENTER);
    desk.until_greeter(&people);
    desk.until_asked(&people, asked);
    desk.enter("alice");
    desk.until_desktop("alice");
    people.end();
}

fn where_nobody_may_log_in_without_a_card_no_greeter_is_started() {
    let people = People::start("default.login = false");
    let mut desk = people.desk("desk-1");
    desk.press(keys::ENTER);
    // What the key did is done by the time that the card is answered.
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_headline("This card is not known here");
    assert!(people.audited("greeter").is_empty());
    assert!(people.sessions().is_empty());
    desk.terminal.pull_card().unwrap();
    desk.until_headline(IDLE);
    // Once they may, the terminal knows; it has heard so by the time that a card is answered.
    people.policy("");
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_headline("This card is not known here");
    desk.terminal.pull_card().unwrap();
    desk.until_headline(IDLE);
    desk.press(keys::ENTER);
    desk.until_greeter(&people);
    people.end();
}

//! Greeters that are left, that are many, that lose their broker, and that cannot be had.

use hil_local::keys;

use crate::Test;
use crate::desk::{IDLE, People};

pub const TESTS: &[Test] = &[
    (
        "a_greeter_that_is_left_ends_and_leaves_an_idle_terminal",
        a_greeter_that_is_left_ends_and_leaves_an_idle_terminal,
    ),
    (
        "who_is_at_the_greeter_begins_anew_when_the_broker_does",
        who_is_at_the_greeter_begins_anew_when_the_broker_does,
    ),
    (
        "three_people_log_in_at_once_and_a_fourth_is_told_to_wait",
        three_people_log_in_at_once_and_a_fourth_is_told_to_wait,
    ),
    (
        "a_greeter_that_cannot_be_started_is_said_and_not_started_over_and_over",
        a_greeter_that_cannot_be_started_is_said_and_not_started_over_and_over,
    ),
];

const CARD: &str = "piv:00000000000000000000000000000c02";

fn a_greeter_that_is_left_ends_and_leaves_an_idle_terminal() {
    let people = People::start("default.enrol = \"offer\"");
    let mut desk = people.desk("desk-1");
    let gone = |people: &People| people.until("its end", |people| people.sessions().is_empty());

    // Escape: first what was begun, then the greeter.
    desk.log_in_as_far_as_the_password(&people, "alice");
    desk.press(keys::ESC);
    desk.press(keys::ESC);
    desk.until_headline(IDLE);
    gone(&people);

    // The terminal's own chord.
    desk.press(keys::ENTER);
    desk.until_greeter(&people);
    desk.chord(&[keys::LEFTCTRL, keys::LEFTALT], keys::PAUSE);
    desk.until_headline(IDLE);
    gone(&people);

    // A card that is pulled.
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_greeter(&people);
    desk.terminal.pull_card().unwrap();
    desk.until_headline(IDLE);
    gone(&people);

    // With the card still there, the terminal says what Enter does.
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_greeter(&people);
    desk.press(keys::ESC);
    desk.until_headline("You are not logged in");
    gone(&people);
    desk.press(keys::ENTER);
    desk.until_greeter(&people);
    people.end();
}

fn who_is_at_the_greeter_begins_anew_when_the_broker_does() {
    let mut people = People::start("");
    let mut desk = people.desk("desk-1");
    desk.log_in_as_far_as_the_password(&people, "alice");
    let before = people.sessions()[0]["id"].clone();
    people.site.restart_broker().unwrap();
    people.until("another greeter", |people| {
        let sessions = people.sessions();
        sessions.len() == 1 && sessions[0]["id"] != before && sessions[0]["state"] == "running"
    });
    desk.until_greeter(&people);
    desk.name(&people, "alice");
    desk.enter("alice");
    desk.until_desktop("alice");
    people.end();
}

fn three_people_log_in_at_once_and_a_fourth_is_told_to_wait() {
    let people = People::with_greeter("", None, "max = 3\n");
    let mut desks: Vec<_> = (1..=4).map(|n| people.desk(&format!("desk-{n}"))).collect();
    for desk in &mut desks[..3] {
        desk.press(keys::ENTER);
    }
    for desk in &mut desks[..3] {
        desk.until_greeter(&people);
    }
    let fourth = &mut desks[3];
    fourth.press(keys::ENTER);
    fourth.until_headline("The server is full");
    assert!(fourth.detail.contains("logging in"), "{}", fourth.detail);
    // Their words do not mix.
    desks[0].name(&people, "alice");
    desks[1].name(&people, "bob");
    desks[1].enter("bob");
    desks[0].enter("alice");
    desks[0].until_desktop("alice");
    desks[1].until_desktop("bob");
    let fourth = &mut desks[3];
    people.until("a free place", |people| people.sessions().len() == 3);
    fourth.press(keys::ENTER);
    fourth.until_greeter(&people);
    people.end();
}

fn a_greeter_that_cannot_be_started_is_said_and_not_started_over_and_over() {
    for command in ["/nonexistent/greeter", "/bin/false"] {
        let people = People::with_greeter("", Some(command), "");
        let mut desk = people.desk("desk-1");
        desk.press(keys::ENTER);
        desk.until_headline("Your desktop did not start");
        assert!(
            desk.detail
                .starts_with("The page for logging in has crashed"),
            "{}",
            desk.detail
        );
        desk.picture("no-greeter");
        assert_eq!(people.audited("greeter").len(), 1);
        assert!(people.log().contains("times in a row"), "{}", people.log());
        // Nobody else has to suffer: a card works.
        people.policy("default.proof = \"none\"");
        people.site.add_card(CARD, "alice").unwrap();
        desk.terminal.insert_card(CARD).unwrap();
        desk.until_desktop("alice");
    }
}

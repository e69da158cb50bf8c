//! Greeters that are left, that are many, that lose their broker, and that cannot be had.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use hil_local::keys;
use nix::unistd::{Group, User};
use serde_json::Value;

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
    (
        "a_greeter_that_is_taken_over_reaches_no_other",
        a_greeter_that_is_taken_over_reaches_no_other,
    ),
    (
        "greeters_users_are_found_again_by_a_later_broker",
        greeters_users_are_found_again_by_a_later_broker,
    ),
];

const CARD: &str = "piv:00000000000000000000000000000c02";

/// What a greeter's user, in its groups, reaches of the session of which these are the process and
/// the runtime folder: the names of what it reached.
fn reaches(session: &Value, as_user: u32) -> Vec<String> {
    let gid = Group::from_name("heliostat-greeter").unwrap().unwrap().gid;
    let pid = session["pid"].as_u64().unwrap();
    let (uid, id) = (session["uid"].as_u64().unwrap(), session["id"].as_str());
    let display = session["wayland_display"].as_str().unwrap();
    let run = session["run"].as_str().unwrap();
    let runtime = format!("{run}/user/{uid}-{}", id.unwrap());
    let greetd = format!("{run}/greeters/{}/greetd.sock", id.unwrap());
    let tries = [
        ("its folder", format!("ls {runtime}")),
        ("its environment", format!("cat /proc/{pid}/environ")),
        ("its memory", format!("cat /proc/{pid}/maps")),
        ("its files", format!("ls /proc/{pid}/fd")),
        ("its life", format!("kill -0 {pid}")),
        ("its screen", connects(&format!("{runtime}/{display}"))),
        ("its logins", connects(&greetd)),
    ];
    let reached = tries.into_iter().filter(|(_, script)| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]).uid(as_user).gid(gid.as_raw());
        shell
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        shell.status().unwrap().success()
    });
    reached.map(|(name, _)| name.to_owned()).collect()
}

/// A command that connects to a socket.
fn connects(path: &str) -> String {
    format!("perl -MIO::Socket::UNIX -e 'exit !IO::Socket::UNIX->new(Peer => \"{path}\")'")
}

fn a_greeter_that_is_taken_over_reaches_no_other() {
    let people = People::start("");
    let mut desks = ["desk-1", "desk-2"].map(|name| people.desk(name));
    for desk in &mut desks {
        desk.press(keys::ENTER);
        desk.until_greeter(&people);
    }
    let mut sessions = people.sessions();
    let run = people.site.folder().join("run");
    for session in &mut sessions {
        session["run"] = run.to_str().unwrap().into();
    }
    let [one, other] = &sessions[..] else {
        panic!("{sessions:?}");
    };
    let uid = |session: &Value| session["uid"].as_u64().unwrap() as u32;
    assert_ne!(uid(one), uid(other));
    // What is tried can be done at all: each reaches itself.
    assert_eq!(
        reaches(one, uid(one)).len(),
        7,
        "{:?}",
        reaches(one, uid(one))
    );
    assert_eq!(reaches(one, uid(other)), [""; 0]);
    assert_eq!(reaches(other, uid(one)), [""; 0]);
    // They are nobody's account, and what they leave is gone with them.
    assert!(User::from_uid(uid(one).into()).unwrap().is_none());
    for desk in &mut desks {
        desk.press(keys::ESC);
        desk.until_headline(IDLE);
    }
    people.until("their end", |people| people.sessions().is_empty());
    people.until("empty folders", |_| {
        std::fs::read_dir(run.join("user")).unwrap().count() == 0
    });
    people.end();
}

fn greeters_users_are_found_again_by_a_later_broker() {
    let mut people = People::start(
        "[[rule]]\nwhen = { terminal = \"lobby-*\" }\n\
         kiosk = [\"/bin/sleep\", \"1000\"]\n",
    );
    let _lobby = people.desk_as_it_comes("lobby-1");
    let running = |people: &People| {
        let sessions = people.sessions();
        sessions.len() == 1 && sessions[0]["state"] == "running"
    };
    people.until("the kiosk", running);
    let kiosk = people.sessions()[0]["uid"].clone();
    people.site.restart_broker().unwrap();
    people.until("the kiosk again", running);
    assert_eq!(people.sessions()[0]["uid"], kiosk);
    // Others get other numbers, and its folder goes with it.
    let mut desk = people.desk("desk-1");
    desk.press(keys::ENTER);
    desk.until_greeter(&people);
    let sessions = people.sessions();
    let uids: BTreeSet<_> = sessions.iter().map(|row| row["uid"].as_u64()).collect();
    assert_eq!(uids.len(), 2);
    let ended = sessions.iter().find(|row| row["uid"] == kiosk).unwrap();
    let id = ended["id"].as_str().unwrap();
    people.policy("");
    people.site.ctl(&["session", "end", id]).unwrap();
    let folder = people.site.folder().join(format!("run/user/{kiosk}-{id}"));
    assert!(folder.exists());
    people.until("its folder's end", |_| !folder.exists());
    people.end();
}

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

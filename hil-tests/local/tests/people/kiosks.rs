//! Terminals and cards that are bound to one program.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use hil_local::keys;

use crate::Test;
use crate::desk::{Desk, IDLE, People};

pub const TESTS: &[Test] = &[
    (
        "a_kiosk_is_there_by_itself_and_nothing_else_can_be_reached",
        a_kiosk_is_there_by_itself_and_nothing_else_can_be_reached,
    ),
    (
        "a_card_is_bound_to_a_program_of_its_own",
        a_card_is_bound_to_a_program_of_its_own,
    ),
    (
        "a_program_that_keeps_ending_is_started_ever_more_rarely",
        a_program_that_keeps_ending_is_started_ever_more_rarely,
    ),
];

const CARD: &str = "piv:00000000000000000000000000000c04";
const USER: &str = "heliostat-kiosk";

/// A policy under which these terminals and cards show the probe's photo.
fn showing(people: &People, when: &str) -> String {
    format!(
        "[[rule]]\nwhen = {{ {when} }}\nproof = \"none\"\nkiosk = [{:?}, \"photo\"]\n",
        people.probe.path()
    )
}

/// The probe's window has no border of one colour; the desk behind it has.
fn is_photo(desk: &Desk) -> bool {
    desk.attached.as_deref() == Some(USER)
        && desk.pixel(500) != desk.pixel(640)
        && desk.pixel(640) != desk.pixel(700)
}

/// The process of a program that a kiosk's user runs.
fn pid_of(name: &str) -> Option<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut found = processes.filter_map(|process| {
        let comm = std::fs::read_to_string(process.path().join("comm")).ok()?;
        let pid = process.file_name().to_str()?.parse().ok()?;
        (comm.trim() == name).then_some(pid)
    });
    found.next()
}

fn a_kiosk_is_there_by_itself_and_nothing_else_can_be_reached() {
    let people = People::start("");
    // It becomes one while it is on: nobody has to restart it.
    let mut desk = people.desk("lobby-1");
    people.policy(&showing(&people, "terminal = \"lobby-*\""));
    desk.until("photo", is_photo);
    desk.picture("kiosk");
    let sessions = people.sessions();
    assert_eq!((sessions.len(), &sessions[0]["person"]), (1, &USER.into()));
    let uid = sessions[0]["uid"].as_u64().unwrap();
    let pid = pid_of("hil-probe").unwrap();
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{pid}")).unwrap());
    assert_eq!(u64::from(owner), uid);

    let started = |people: &People| people.log().matches(" started: ").count();
    assert_eq!(started(&people), 1);
    for (modifier, key) in [
        (keys::LEFTALT, keys::F4),
        (keys::LEFTALT, keys::TAB),
        (keys::LEFTMETA, keys::ENTER),
        (keys::LEFTMETA, keys::D),
        (keys::LEFTMETA, keys::DOWN),
    ] {
        desk.chord(&[modifier], key);
    }
    // The terminal's own chord leaves the kiosk for the kiosk.
    desk.chord(&[keys::LEFTCTRL, keys::LEFTALT], keys::PAUSE);
    desk.until("detach", |desk| desk.attached.is_none());
    desk.until("photo", is_photo);
    assert_eq!((started(&people), pid_of("hil-probe")), (1, Some(pid)));

    // It is started again when it ends, and the session when that does.
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    people.until("the program again", |people| started(people) == 2);
    desk.until("photo", is_photo);
    let session = people.sessions()[0]["pid"].as_i64().unwrap();
    kill(Pid::from_raw(session as i32), Signal::SIGKILL).unwrap();
    desk.until("detach", |desk| desk.attached.is_none());
    desk.until("photo", is_photo);
    assert_ne!(people.sessions()[0]["pid"].as_i64(), Some(session));
}

fn a_card_is_bound_to_a_program_of_its_own() {
    let people = People::start("");
    people.policy(&showing(&people, &format!("card = \"{CARD}\"")));
    people.site.add_card(CARD, "alice").unwrap();
    let mut desk = people.desk("desk-1");
    desk.terminal.insert_card(CARD).unwrap();
    desk.until("photo", is_photo);
    let session = people.sessions_of(USER)[0]["id"].clone();
    desk.terminal.pull_card().unwrap();
    desk.until_headline(IDLE);
    // It is the card's, wherever that is.
    let mut other = people.desk("desk-2");
    other.terminal.insert_card(CARD).unwrap();
    other.until("photo", is_photo);
    assert_eq!(people.sessions_of(USER)[0]["id"], session);
    people.end();
}

fn a_program_that_keeps_ending_is_started_ever_more_rarely() {
    let people =
        People::start("[[rule]]\nwhen = { terminal = \"lobby-*\" }\nkiosk = [\"/bin/false\"]\n");
    let mut desk = people.desk_as_it_comes("lobby-1");
    desk.until("session", |desk| desk.attached.is_some());
    let began = Instant::now();
    people.until("five starts", |people| {
        people.log().matches(" started: ").count() == 5
    });
    // Half a second, one, two and four.
    assert!(began.elapsed() > Duration::from_secs(6));
    assert_eq!(people.sessions().len(), 1);
    people.end();
}

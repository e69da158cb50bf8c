//! Commands that are run as a person when they come and go.

use std::time::{Duration, Instant};

use crate::Test;
use crate::desk::{IDLE, People};

pub const TESTS: &[Test] = &[
    (
        "hooks_run_as_the_person_who_comes_and_goes_in_that_order",
        hooks_run_as_the_person_who_comes_and_goes_in_that_order,
    ),
    (
        "a_hook_that_hangs_or_fails_holds_nothing_up_and_is_audited",
        a_hook_that_hangs_or_fails_holds_nothing_up_and_is_audited,
    ),
];

const CARD: &str = "piv:00000000000000000000000000000c05";
const NOTES: &str = "/run/home/alice/notes";

fn notes() -> Vec<String> {
    let text = std::fs::read_to_string(NOTES).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until the broker knows of so many arrivals: who leaves before has not been there.
fn until_arrived(people: &People, times: usize) {
    people.until("arrival", |people| {
        people.audited("first_frame").len() == times
    });
}

fn hooks_run_as_the_person_who_comes_and_goes_in_that_order() {
    let _ = std::fs::remove_file(NOTES);
    let note = "echo $(id -un) $HOME $HELIOSTAT_EVENT $HELIOSTAT_PERSON $HELIOSTAT_TERMINAL_NAME \
                $HELIOSTAT_PLACES $HELIOSTAT_ADDRESS >> $HOME/notes";
    // The way away takes longer than the way here, and comes first all the same.
    let slow = format!("sleep 0.5; {note}");
    let people = People::start(&format!(
        "[default]\nproof = \"none\"\n\
         on_attach = [\"/bin/sh\", \"-c\", {note:?}]\non_detach = [\"/bin/sh\", \"-c\", {slow:?}]\n\
         [place]\nward = \"desk-1\"\nlobby = \"desk-2\"\n"
    ));
    people.site.add_card(CARD, "alice").unwrap();
    let mut first = people.desk("desk-1");
    first.terminal.insert_card(CARD).unwrap();
    first.until_desktop("alice");
    until_arrived(&people, 1);
    let mut second = people.desk("desk-2");
    second.terminal.insert_card(CARD).unwrap();
    second.until_desktop("alice");
    until_arrived(&people, 2);
    second.terminal.pull_card().unwrap();
    second.until_headline(IDLE);
    people.until("all hooks", |_| notes().len() >= 4);
    let line = |event, place| format!("alice /run/home/alice {event} alice {place} 127.0.0.1");
    let expected = [
        line("attach", "desk-1 ward"),
        line("detach", "desk-1 ward"),
        line("attach", "desk-2 lobby"),
        line("detach", "desk-2 lobby"),
    ];
    assert_eq!(notes(), expected);
    assert!(people.audited("hook_failed").is_empty());
    people.end();
}

fn a_hook_that_hangs_or_fails_holds_nothing_up_and_is_audited() {
    let people = People::start(
        "[default]\nproof = \"none\"\non_attach = [\"/bin/sleep\", \"600\"]\non_detach = [\"/bin/false\"]\n",
    );
    people.site.add_card(CARD, "alice").unwrap();
    let mut desk = people.desk("desk-1");
    let began = Instant::now();
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_desktop("alice");
    until_arrived(&people, 1);
    desk.terminal.pull_card().unwrap();
    desk.until_headline(IDLE);
    assert!(began.elapsed() < Duration::from_secs(10), "held up");
    people.until("both failures", |people| {
        people.audited("hook_failed").len() == 2
    });
    let failed = people.audited("hook_failed");
    let said = |at: usize| failed[at]["detail"].as_str().unwrap().to_owned();
    assert!(
        said(0).starts_with("attach: /bin/sleep took longer"),
        "{}",
        said(0)
    );
    assert!(
        said(1).starts_with("detach: /bin/false ended with"),
        "{}",
        said(1)
    );
    assert!(failed.iter().all(|row| row["person"] == "alice"));
    assert!(!sleeps(), "it still runs");
    // Nothing of it is the desktop's business.
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_desktop("alice");
    people.end();
}

fn sleeps() -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.map(|process| std::fs::read(process.path().join("cmdline")));
    let sleep = b"/bin/sleep\x00600\x00";
    lines.flatten().any(|line| line == sleep)
}

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
    (
        "a_hook_counts_as_its_session_and_ends_with_it",
        a_hook_counts_as_its_session_and_ends_with_it,
    ),
    (
        "what_a_hook_leaves_running_ends_with_it_however_it_hides",
        what_a_hook_leaves_running_ends_with_it_however_it_hides,
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
    assert!(!sleeps("600"), "it still runs");
    // Nothing of it is the desktop's business.
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_desktop("alice");
    people.end();
}

/// The control group of version 2 that this text of `/proc/PID/cgroup` names.
fn group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

fn a_hook_counts_as_its_session_and_ends_with_it() {
    const GROUP: &str = "/run/home/alice/group";
    let _ = std::fs::remove_file(NOTES);
    let _ = std::fs::remove_file(GROUP);
    let stay = "cat /proc/self/cgroup > $HOME/partial; mv $HOME/partial $HOME/group; \
                setsid -f sleep 601; exec /bin/sleep 600";
    let people = People::start(&format!(
        "[default]\nproof = \"none\"\non_attach = [\"/bin/sh\", \"-c\", {stay:?}]\n\
         on_detach = [\"/bin/sh\", \"-c\", \"echo $HELIOSTAT_EVENT >> $HOME/notes\"]\n"
    ));
    people.site.add_card(CARD, "alice").unwrap();
    let mut desk = people.desk("desk-1");
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_desktop("alice");
    people.until("the hook", |_| sleeps("600") && sleeps("601"));
    let pid = people.sessions_of("alice")[0]["pid"].as_u64().unwrap();
    let of_session = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let of_hook = std::fs::read_to_string(GROUP).unwrap();
    match (group(&of_session), group(&of_hook)) {
        (Some(session), Some(hook)) if session.contains("/session-") => {
            assert!(hook.starts_with(session), "{hook} is not within {session}");
        }
        _ => eprintln!("no control groups here: {of_session}"),
    }
    // It has ten seconds, and the session ends before.
    let began = Instant::now();
    people.site.ctl(&["session", "end", "alice"]).unwrap();
    people.until("its end", |_| !sleeps("600") && !sleeps("601"));
    assert!(began.elapsed() < Duration::from_secs(8), "it outlived");
    people.until("the failure", |people| {
        people.audited("hook_failed").len() == 1
    });
    // To leave by the session's end is to leave.
    people.until("the other hook", |_| notes() == ["detach"]);
    people.end();
}

fn what_a_hook_leaves_running_ends_with_it_however_it_hides() {
    const PID: &str = "/run/home/alice/pid";
    let _ = std::fs::remove_file(PID);
    let hides = "setsid -f sh -c 'echo $$ > $HOME/partial; mv $HOME/partial $HOME/pid; \
                 exec /bin/sleep 602' & until [ -e $HOME/pid ]; do :; done";
    let people = People::start(&format!(
        "[default]\nproof = \"none\"\non_attach = [\"/bin/sh\", \"-c\", {hides:?}]\n"
    ));
    people.site.add_card(CARD, "alice").unwrap();
    let mut desk = people.desk("desk-1");
    desk.terminal.insert_card(CARD).unwrap();
    desk.until_desktop("alice");
    people.until("the hook", |_| std::path::Path::new(PID).exists());
    people.until("its end", |_| !sleeps("602"));
    assert!(people.audited("hook_failed").is_empty());
    // The desktop is not what was ended.
    assert_eq!(people.sessions_of("alice").len(), 1);
    people.end();
}

/// Whether somebody sleeps for so long.
fn sleeps(seconds: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.map(|process| std::fs::read(process.path().join("cmdline")));
    let end = format!("sleep\0{seconds}\0");
    lines.flatten().any(|line| line.ends_with(end.as_bytes()))
}

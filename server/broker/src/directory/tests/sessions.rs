//! Sessions from their start to their end, and to whom they go.

use super::*;

#[test]
fn the_first_card_starts_a_session_and_the_next_one_finds_it() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    let session = start_of(&actions).expect("a start");
    assert!(matches!(
        said(&actions)[..],
        [(link, ToTerminal::Starting { seq: 1, .. })] if link == a
    ));
    let actions = site.ready(session, None);
    let offer = offer_of(&actions).expect("an offer");
    assert_eq!((offer.link, offer.seq, offer.session), (a, 1, session));
    assert_eq!((offer.port, offer.pin), (4500, KeyPin([1; 32])));
    assert_eq!(offer.terminal_key, KeyPin([1; 32]));
    assert_eq!(offer.keep_pixels_s, 300);

    let actions = site.says(a, ToBroker::CardRemoved { seq: 1 });
    assert!(matches!(
        told(&actions, session)[..],
        [ToSession::Detach { attach_id: Some(id), reason: DetachReason::CardRemoved }]
            if *id == offer.attach
    ));
    let actions = site.insert(a, 2, "c-alice-2");
    assert_eq!(start_of(&actions), None);
    let again = offer_of(&actions).expect("an offer");
    assert_eq!(again.session, session);
    assert!(again.attach > offer.attach);
}

#[test]
fn the_newer_terminal_wins_and_the_older_is_told_where_the_desktop_went() {
    let mut site = Site::new();
    let (a, session, attach) = site.attached("a", 1, "c-alice");
    let (b, _) = site.online("b", 2);
    let actions = site.insert(b, 1, "c-alice");
    assert_eq!(offer_of(&actions).expect("an offer").session, session);
    let moved = DetachReason::MovedElsewhere {
        terminal: "desk b".into(),
    };
    assert_eq!(detach(&actions), Some((a, attach, moved.clone())));
    // Its session link ends as a consequence, which is no reason to call the desktop back.
    let actions = site.says(a, link_ended(attach, moved));
    assert_eq!(offer_of(&actions), None);
    // The person may.
    let actions = site.says(a, ToBroker::Retry { seq: 1 });
    assert_eq!(offer_of(&actions).expect("an offer").link, a);
    assert_eq!(detach(&actions).expect("a detach").0, b);
}

#[test]
fn of_two_terminals_that_wait_for_one_session_the_newer_gets_it() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let (b, _) = site.online("b", 2);
    let session = start_of(&site.insert(a, 1, "c-alice")).expect("a start");
    let actions = site.insert(b, 1, "c-alice-2");
    assert_eq!(start_of(&actions), None);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Busy)));
    let offer = offer_of(&site.ready(session, None)).expect("an offer");
    assert_eq!(offer.link, b);
}

#[test]
fn who_leaves_has_left_however_the_session_ends_and_its_end_ends_no_hook_of_that() {
    type Leaving = fn(&mut Site, LinkId, SessionId) -> Vec<Action>;
    let table: &[(&str, Leaving, bool)] = &[
        (
            "the card",
            |site, link, _| site.says(link, ToBroker::CardRemoved { seq: 1 }),
            true,
        ),
        (
            "a log-out",
            |site, _, session| {
                let message = FromSession::Asks(Ask::LogOut);
                site.event(Event::Session { session, message })
            },
            false,
        ),
        (
            "an administrator",
            |site, _, session| {
                let id = session.to_string();
                site.admin(|directory, now| directory.end_session(now, &id))
            },
            false,
        ),
        (
            "a crash",
            |site, _, session| site.gone(session, Gone::Died("x".to_owned())),
            false,
        ),
    ];
    for (what, leave, goes_on) in table {
        let policy = "default.proof = \"none\"\ndefault.on_detach = [\"/bin/gone\"]";
        let mut site = Site::with(policy, Remembered::default());
        let (link, session, _) = site.attached("a", 1, "c-alice");
        let hooks = |actions: Vec<Action>| {
            let hooks = actions.into_iter().filter_map(|action| match action {
                Action::Hook(hook) => Some((hook.person, hook.event, hook.within)),
                _ => None,
            });
            hooks.collect::<Vec<_>>()
        };
        let expected = [("alice".to_owned(), "detach", *goes_on)];
        assert_eq!(hooks(leave(&mut site, link, session)), expected, "{what}");
        // Once: what comes of it later is no second leaving.
        assert_eq!(hooks(site.gone(session, Gone::Exited)), [], "{what}");
    }
}

#[test]
fn a_session_that_dies_is_not_started_again_before_somebody_asks() {
    let mut site = Site::new();
    let (a, session, attach) = site.attached("a", 1, "c-alice");
    let actions = site.gone(session, Gone::Died("signal 11".to_owned()));
    let crashed = DetachReason::SessionCrashed;
    assert_eq!(detach(&actions), Some((a, attach, crashed)));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
    assert_eq!(start_of(&actions), None);
    assert_eq!(site.directory.next_deadline(), None);
    let ended = site.says(a, link_ended(attach, DetachReason::LinkLost));
    assert_eq!(start_of(&ended), None);
    let retried = site.says(a, ToBroker::Retry { seq: 1 });
    assert!(start_of(&retried).is_some());
}

#[test]
fn a_session_that_crashes_on_start_says_so_and_counts() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let mut session = start_of(&site.insert(a, 1, "c-alice")).expect("a start");
    for _ in 0..2 {
        let actions = site.gone(session, Gone::Died("exit code 1".to_owned()));
        assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
        assert!(refusal_text(&actions).ends_with("Try again."));
        session = start_of(&site.says(a, ToBroker::Retry { seq: 1 })).expect("a start");
    }
    let actions = site.gone(session, Gone::Died("exit code 1".to_owned()));
    assert!(refusal_text(&actions).contains("3 times"));
}

#[test]
fn a_session_that_never_gets_ready_is_ended_at_its_deadline() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let session = start_of(&site.insert(a, 1, "c-alice")).expect("a start");
    site.ms = site.directory.next_deadline().expect("a deadline");
    let actions = site.event(Event::Tick);
    assert!(actions.contains(&Action::Kill(session)));
    let actions = site.gone(session, Gone::Died("signal 9".to_owned()));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
}

#[test]
fn a_full_server_says_so() {
    let mut site = Site::new();
    site.admin(|directory, now| {
        directory.add_card(now, "c-carol", "carol", "", Standing::Good, Keys::default())
    });
    site.admin(|directory, now| {
        directory.add_card(now, "c-dave", "dave", "", Standing::Good, Keys::default())
    });
    for (id, card) in [("a", "c-alice"), ("b", "c-bob"), ("c", "c-carol")] {
        site.attached(id, 1, card);
    }
    let (d, _) = site.online("d", 1);
    let actions = site.insert(d, 1, "c-dave");
    assert_eq!(refusal(&actions), Some((d, CardRefusal::Busy)));
}

#[test]
fn sessions_that_begin_in_one_event_have_ids_of_their_own() {
    let policy = "[[rule]]\nwhen.group = \"staff\"\nusb = true\n";
    let mut site = Site::with(policy, Remembered::default());
    for (terminal, card) in [("a", "c-alice"), ("b", "c-alice-2"), ("c", "c-bob")] {
        let (link, _) = site.online(terminal, 1);
        assert!(start_of(&site.insert(link, 1, card)).is_none());
    }
    let groups = ["alice", "bob"].map(|person| (person.to_owned(), Some(Vec::new())));
    let actions = site.event(Event::Groups(groups.into()));
    let ids: BTreeSet<SessionId> = started(&actions).map(|start| start.session).collect();
    // Two greeters are the most at once here.
    assert_eq!((ids.len(), started(&actions).count()), (2, 2));
}

#[test]
fn a_session_that_does_not_end_when_asked_is_ended_and_again_until_it_is_gone() {
    let mut site = Site::new();
    let (_, session, _) = site.attached("a", 1, "c-alice");
    site.admin(|directory, now| directory.end_session(now, "alice"));
    for _ in 0..2 {
        site.ms = site.directory.next_deadline().expect("a deadline");
        let actions = site.event(Event::Tick);
        assert!(actions.contains(&Action::Kill(session)), "{actions:?}");
    }
}

#[test]
fn ending_a_session_tells_the_terminal_and_a_new_edge_starts_another() {
    let mut site = Site::new();
    let (a, session, attach) = site.attached("a", 1, "c-alice");
    let actions = site.admin(|directory, now| directory.end_session(now, "alice"));
    let reason = DetachReason::ByAdmin;
    assert_eq!(detach(&actions), Some((a, attach, reason.clone())));
    assert_eq!(told(&actions, session), [&ToSession::End { reason }]);
    let actions = site.insert(a, 2, "c-alice");
    assert_ne!(start_of(&actions).expect("a start"), session);
    // One that does not end is ended.
    site.ms = site.directory.next_deadline().expect("a deadline");
    let actions = site.event(Event::Tick);
    assert!(actions.contains(&Action::Kill(session)));
    let now = site.now();
    assert!(site.directory.end_session(now, "nobody").is_err());
}

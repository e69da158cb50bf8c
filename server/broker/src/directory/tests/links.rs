//! What becomes of a desktop when the links of its terminal break and come back.

use super::*;

#[test]
fn a_broken_session_link_is_offered_again_but_not_for_ever() {
    let mut site = Site::new();
    let (a, session, mut attach) = site.attached("a", 1, "c-alice");
    for _ in 0..5 {
        let actions = site.says(a, link_ended(attach, DetachReason::LinkLost));
        let offer = offer_of(&actions).expect("an offer");
        assert!(offer.attach > attach);
        attach = offer.attach;
        site.attached_says(session, attach);
    }
    let actions = site.says(a, link_ended(attach, DetachReason::LinkLost));
    assert_eq!(offer_of(&actions), None);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
    let actions = site.says(a, ToBroker::Retry { seq: 1 });
    assert!(offer_of(&actions).is_some());
}

/// Both links broke with the cable; the terminal noticed first and could not say so.
#[test]
fn a_session_link_that_broke_unsaid_is_offered_again() {
    let mut site = Site::new();
    let (a, session, attach_id) = site.attached("a", 1, "c-alice");
    let lost = || Event::Session {
        session,
        message: FromSession::Detached {
            attach_id,
            reason: DetachReason::LinkLost,
        },
    };
    site.event(Event::LinkDown { link: a });
    let (a, _) = site.online("a", 1);
    assert_eq!(offer_of(&site.insert(a, 1, "c-alice")), None);
    assert_eq!(offer_of(&site.event(lost())), None);
    site.ms = site.directory.next_deadline().expect("a deadline");
    let offer = offer_of(&site.event(Event::Tick)).expect("an offer");
    assert_eq!((offer.link, offer.seq), (a, 1));
    site.attached_says(session, offer.attach);
    assert_eq!(site.directory.next_deadline(), None);
}

/// A ticket lives longer than the attach that it was made for.
#[test]
fn a_terminal_that_comes_when_its_attach_is_off_is_parted_again() {
    let mut site = Site::new();
    let (a, session, attach) = site.attached("a", 1, "c-alice");
    site.says(a, ToBroker::CardRemoved { seq: 1 });
    let actions = site.event(Event::Session {
        session,
        message: FromSession::Attached(Attached {
            attach_id: attach,
            terminal: "a".to_owned(),
        }),
    });
    let part = ToSession::Detach {
        attach_id: Some(attach),
        reason: DetachReason::LinkLost,
    };
    assert_eq!(told(&actions, session), [&part]);
    let actions = site.ready(session, Some(attach));
    assert_eq!(told(&actions, session), [&part]);
}

#[test]
fn a_terminal_that_never_shows_its_ticket_gives_the_session_up() {
    let mut site = Site::with("", Remembered::default());
    let (a, _) = site.online("a", 1);
    let actions = site.says(a, ToBroker::Login { seq: 1 });
    let greeter = start_of(&actions).expect("a greeter");
    assert!(offer_of(&site.ready(greeter, None)).is_some());
    site.event(Event::LinkDown { link: a });
    site.ms = site.directory.next_deadline().expect("a deadline");
    let actions = site.event(Event::Tick);
    let ended = told(&actions, greeter)
        .iter()
        .any(|order| matches!(order, ToSession::End { .. }));
    assert!(ended, "{actions:?}");
}

#[test]
fn a_lock_is_not_undone_by_a_link_that_breaks() {
    let mut site = Site::new();
    let (a, _, _) = site.attached("a", 1, "c-alice");
    site.admin(|directory, now| directory.lock_session(now, "alice"));
    site.event(Event::LinkDown { link: a });
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    assert_eq!(offer_of(&actions), None);
    assert!(refusal(&actions).is_some());
    let actions = site.says(a, ToBroker::Retry { seq: 1 });
    assert!(offer_of(&actions).is_some());
}

#[test]
fn a_terminal_whose_control_link_came_back_keeps_its_desktop() {
    let mut site = Site::new();
    let (a, _session, attach) = site.attached("a", 1, "c-alice");
    site.event(Event::LinkDown { link: a });
    let (again, _) = site.online("a", 1);
    let actions = site.insert(again, 1, "c-alice");
    assert_eq!(said(&actions), []);
    assert_eq!(offer_of(&actions), None);
    let actions = site.says(again, link_ended(attach, DetachReason::LinkLost));
    assert!(offer_of(&actions).is_some());
}

#[test]
fn a_terminal_that_was_power_cut_gets_a_new_attach() {
    let mut site = Site::new();
    let (old, session, attach) = site.attached("a", 1, "c-alice");
    site.event(Event::LinkDown { link: old });
    let (new, actions) = site.online("a", 2);
    assert_eq!(told(&actions, session).len(), 1);
    let offer = offer_of(&site.insert(new, 1, "c-alice")).expect("an offer");
    assert!(offer.attach > attach);
    assert_eq!(offer.terminal_key, KeyPin([2; 32]));
}

#[test]
fn a_stranger_that_names_a_terminals_id_does_not_take_its_place() {
    let mut site = Site::new();
    let (victim, session, _) = site.attached("a", 1, "c-alice");
    let (stranger, actions) = site.online("a", 2);
    assert!(matches!(
        &actions[..],
        [Action::Close(link, CloseCode::IdTaken, _)] if *link == stranger
    ));
    assert_eq!(told(&actions, session).len(), 0);
    assert_eq!(said(&site.insert(stranger, 1, "c-alice")), []);
    // Its own next link does, and the old link's end is old news.
    let (again, actions) = site.online("a", 1);
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Close(link, CloseCode::Superseded, _) if *link == victim
    )));
    site.event(Event::LinkDown { link: victim });
    assert!(site.directory.terminal_rows()[0].address.is_some());
    let _ = again;
}

#[test]
fn an_edge_that_is_repeated_does_not_call_a_desktop_back_that_has_moved() {
    let mut site = Site::new();
    let (a, ..) = site.attached("a", 1, "c-alice");
    let (b, _) = site.online("b", 2);
    site.insert(b, 1, "c-alice-2");
    site.event(Event::LinkDown { link: a });
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    assert_eq!(offer_of(&actions), None);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Busy)));
    assert!(refusal_text(&actions).contains("desk b"));
    // A new edge does.
    site.says(a, ToBroker::CardRemoved { seq: 1 });
    assert!(offer_of(&site.insert(a, 2, "c-alice")).is_some());
}

#[test]
fn a_receipt_is_kept_for_the_terminal_whose_attach_it_is() {
    let mut site = Site::new();
    let (a, _, attach_id) = site.attached("a", 1, "c-alice");
    let (b, _) = site.online("b", 2);
    let receipt = Receipt {
        attach_id,
        stages: heliostat_wire::List::truncated(vec![StageTime {
            stage: Stage::CardEdge,
            us: 0,
        }]),
    };
    let kept = |actions: &[Action]| {
        actions
            .iter()
            .any(|action| matches!(action, Action::Keep(Record::Receipt(..))))
    };
    let actions = site.says(a, ToBroker::Receipt(receipt.clone()));
    assert!(kept(&actions));
    let actions = site.says(b, ToBroker::Receipt(receipt));
    assert!(!kept(&actions));
}

#[test]
fn a_second_hello_on_one_link_is_a_violation() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let hello = Hello {
        terminal_id: "b".into(),
        name: "b".into(),
        software: "1".into(),
        outputs: Default::default(),
        boot_ms: (0, 0),
    };
    let actions = site.says(a, ToBroker::Hello(hello));
    assert!(matches!(
        actions[..],
        [Action::Close(link, CloseCode::ProtocolViolation, _)] if link == a
    ));
}

#[test]
fn an_impostor_in_another_case_has_a_taken_id_and_an_id_is_explained_before_a_name() {
    let mut site = Site::with(
        "[[rule]]\nwhen.terminal = \"52:54:00:CD:00:01\"\nusb = true",
        Remembered::default(),
    );
    let (desk, _) = site.online("52:54:00:cd:00:01", 1);
    let (impostor, actions) = site.online("52:54:00:CD:00:01", 2);
    let taken = |action: &Action| matches!(action, Action::Close(link, CloseCode::IdTaken, _) if *link == impostor);
    assert!(actions.iter().any(taken), "{actions:?}");
    assert_eq!(site.directory.links.len(), 1);
    // The same machine in another case is a newer link of itself.
    let (again, actions) = site.online("52:54:00:CD:00:01", 1);
    let superseded = |action: &Action| matches!(action, Action::Close(link, CloseCode::Superseded, _) if *link == desk);
    assert!(actions.iter().any(superseded), "{actions:?}");
    assert_eq!(site.directory.links[&again], "52:54:00:cd:00:01");

    let (_, _) = site.online("00", 3);
    let known = site.directory.terminals.get_mut("00").unwrap();
    known.name = "52:54:00:cd:00:01".to_owned();
    let answer = site
        .directory
        .explain(None, None, Some("52:54:00:CD:00:01"));
    let usb = answer.values.iter().find(|(key, ..)| key == "usb").unwrap();
    assert_eq!(usb.1, "true");
}

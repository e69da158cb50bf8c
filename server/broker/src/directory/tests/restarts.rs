//! What a broker that was started again makes of the sessions and terminals that it finds.

use super::*;

/// What a second broker starts from after the first has died.
fn remembered(attaches: &[AttachRecord]) -> Remembered {
    let mut remembered = Remembered {
        attaches: attaches.to_vec(),
        next_attach: 2_000_001,
        ..Remembered::default()
    };
    for record in attaches {
        let mut site = Site::new();
        let key = record.key.0[0];
        site.online(&record.terminal, key);
        let mut terminal = site.directory.terminals[&record.terminal].clone();
        terminal.online = None;
        let id = record.terminal.clone();
        remembered.terminals.insert(id, terminal);
    }
    remembered
}

fn restarted(site: &Site, session: SessionId) -> Site {
    let attaches: Vec<_> = site.directory.attaches.values().cloned().collect();
    let mut second = Site::with("default.proof = \"none\"", remembered(&attaches));
    second.links = 100;
    let owner = Owner {
        kind: Kind::Desktop,
        person: "alice".to_owned(),
        uid: 1000,
        pid: 42,
        pid_start: 1,
        started_s: 1,
        ..Owner::default()
    };
    let now = second.now();
    assert_eq!(second.directory.adopt(now, session, &owner), []);
    second.directory.check();
    second
}

#[test]
fn a_locked_desktop_is_not_given_back_by_a_later_broker() {
    let mut site = Site::new();
    let (_, session, _) = site.attached("a", 1, "c-alice");
    site.admin(|directory, now| directory.lock_session(now, "alice"));
    let mut second = restarted(&site, session);
    let (a, _) = second.online("a", 1);
    let actions = second.insert(a, 1, "c-alice");
    let more = second.ready(session, None);
    assert_eq!((offer_of(&actions), offer_of(&more)), (None, None));
}

#[test]
fn a_session_that_is_found_running_and_never_answers_is_ended_and_the_next_card_starts_another() {
    let mut site = Site::new();
    let (_, session, _) = site.attached("a", 1, "c-alice");
    let mut second = restarted(&site, session);
    let (b, _) = second.online("b", 2);
    assert_eq!(start_of(&second.insert(b, 1, "c-alice")), None);
    second.ms = second.directory.next_deadline().expect("a deadline");
    let actions = second.event(Event::Tick);
    assert!(actions.contains(&Action::Kill(session)), "{actions:?}");
    let actions = second.gone(session, Gone::Died("gone".to_owned()));
    assert_eq!(refusal(&actions), Some((b, CardRefusal::SessionFailed)));
    let actions = second.says(b, ToBroker::Retry { seq: 1 });
    assert!(start_of(&actions).is_some());
}

#[test]
fn of_two_sessions_of_one_person_that_are_found_the_older_is_ended() {
    let mut site = Site::new();
    let (_, session, _) = site.attached("a", 1, "c-alice");
    let mut second = restarted(&site, session);
    let older = SessionId([200; 16]);
    let owner = Owner {
        kind: Kind::Desktop,
        person: "alice".to_owned(),
        uid: 1000,
        pid: 43,
        pid_start: 1,
        started_s: 0,
        ..Owner::default()
    };
    let now = second.now();
    let actions = second.directory.adopt(now, older, &owner);
    second.directory.check();
    assert!(matches!(told(&actions, older)[..], [ToSession::End { .. }]));
    second.ready(older, None);
    let (b, _) = second.online("b", 2);
    second.ready(session, None);
    assert_eq!(
        offer_of(&second.insert(b, 1, "c-alice")).unwrap().session,
        session
    );
}

#[test]
fn a_desktop_that_is_found_running_stays_as_long_as_its_persons_groups_say() {
    let policy = "default.proof = \"none\"\ndefault.detached = \"1h\"\n\
                  [[rule]]\nwhen.group = \"nurses\"\ndetached = \"never\"\n";
    for (groups, stays) in [(vec!["nurses".to_owned()], true), (Vec::new(), false)] {
        let mut site = Site::with(policy, Remembered::default());
        let now = site.now();
        let (id, owner) = (SessionId([9; 16]), owner_of("alice"));
        let actions = site.directory.adopt(now, id, &owner);
        assert!(actions.contains(&Action::LookUp("alice".to_owned())));
        site.ready(id, None);
        // Until they are known nothing of hers is ended.
        assert_eq!(site.directory.next_deadline(), None);
        let known = [("alice".to_owned(), Some(groups))];
        site.event(Event::Groups(known.into()));
        assert_eq!(site.directory.next_deadline().is_none(), stays);
    }
}

#[test]
fn a_restarted_broker_leaves_an_attached_desktop_where_it_is() {
    let mut site = Site::new();
    let (_, session, attach) = site.attached("a", 1, "c-alice");
    for terminal_first in [true, false] {
        let mut second = restarted(&site, session);
        let mut actions = Vec::new();
        if !terminal_first {
            actions.extend(second.ready(session, Some(attach)));
        }
        let (a, _) = second.online("a", 1);
        actions.extend(second.insert(a, 1, "c-alice"));
        if terminal_first {
            actions.extend(second.ready(session, Some(attach)));
        }
        assert_eq!(said(&actions), []);
        assert_eq!(offer_of(&actions), None);
        let now = second.now();
        let rows = second.directory.session_rows(now);
        assert_eq!(rows[0].terminal.as_deref(), Some("desk a"));
    }
}

#[test]
fn who_stays_over_a_restart_of_the_broker_has_come_once_and_leaves_as_anybody() {
    let mut site = Site::new();
    let (_, session, attach) = site.attached("a", 1, "c-alice");
    let mut second = restarted(&site, session);
    let policy = "[default]\nproof = \"none\"\non_attach = [\"/bin/a\"]\non_detach = [\"/bin/d\"]";
    let policy = Policy::parse("policy.toml", policy).unwrap();
    second.event(Event::Policy(Box::new(policy)));
    let (a, _) = second.online("a", 1);
    let mut actions = second.insert(a, 1, "c-alice");
    actions.extend(second.ready(session, Some(attach)));
    actions.extend(second.says(a, ToBroker::CardRemoved { seq: 1 }));
    let hooks = actions.iter().filter_map(|action| match action {
        Action::Hook(hook) => Some((hook.event, hook.placed.terminal_name.as_str())),
        _ => None,
    });
    assert_eq!(hooks.collect::<Vec<_>>(), [("detach", "desk a")]);
}

#[test]
fn a_restarted_broker_offers_anew_what_was_lost_meanwhile() {
    let mut site = Site::new();
    let (_, session, attach) = site.attached("a", 1, "c-alice");
    let mut second = restarted(&site, session);
    let (a, _) = second.online("a", 1);
    assert_eq!(offer_of(&second.insert(a, 1, "c-alice")), None);
    let offer = offer_of(&second.ready(session, None)).expect("an offer");
    assert_eq!(offer.link, a);
    assert!(offer.attach > attach);
}

#[test]
fn a_terminal_that_restarted_with_the_broker_gets_its_desktop_once_the_session_answers() {
    let mut site = Site::new();
    let (_, session, attach) = site.attached("a", 1, "c-alice");
    let mut second = restarted(&site, session);
    let (a, _) = second.online("a", 9);
    let actions = second.insert(a, 1, "c-alice");
    assert_eq!((start_of(&actions), offer_of(&actions)), (None, None));
    let offer = offer_of(&second.ready(session, Some(attach))).expect("an offer");
    assert_eq!(offer.terminal_key, KeyPin([9; 32]));
}

//! Which cards open what, and who may give them and take them back.

use super::*;

/// What terminals are told of logins without a card.
fn offered(actions: &[Action]) -> Vec<(LinkId, LoginOffer)> {
    let offers = said(actions)
        .into_iter()
        .filter_map(|(link, message)| match message {
            ToTerminal::Welcome { login, .. } | ToTerminal::Login(login) => Some((link, *login)),
            _ => None,
        });
    offers.collect()
}

#[test]
fn cards_that_open_nothing_say_why() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-stranger");
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Unknown)));
    assert!(refusal_text(&actions).contains("c-stranger"));
    site.admin(|directory, now| directory.revoke_card(now, "c-bob"));
    let actions = site.insert(a, 2, "c-bob");
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Revoked)));
}

#[test]
fn a_card_that_is_revoked_opens_nothing_by_any_of_its_ids() {
    let (piv, uid, other) = ("c-alice", "uid:04112233445566", "c-newer");
    for named in [piv, uid, other] {
        let mut site = Site::new();
        site.admin(|directory, now| directory.alias_card(now, piv, uid));
        // The other id of another id is one of the first's.
        site.admin(|directory, now| directory.alias_card(now, uid, other));
        let (a, session, _) = site.attached("a", 1, other);
        let now = site.now();
        let (text, actions) = site.directory.revoke_card(now, named).unwrap();
        let kept: BTreeSet<_> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Keep(Record::Card(id, card)) => card.revoked_s.map(|_| id.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(kept, BTreeSet::from([piv, uid, other]), "{named}");
        assert!(
            [piv, uid, other].iter().all(|id| text.contains(id)),
            "{text}"
        );
        // It lay in a reader by another of its ids.
        assert_eq!(detach(&actions).map(|detach| detach.0), Some(a), "{named}");
        for (seq, id) in (2..).zip([piv, uid, other]) {
            let actions = site.insert(a, seq, id);
            assert_eq!(refusal(&actions), Some((a, CardRefusal::Revoked)), "{id}");
        }
        // Alice's other card is another one, and her desktop goes on.
        let offer = offer_of(&site.insert(a, 9, "c-alice-2")).expect("an offer");
        assert_eq!(offer.session, session);
    }
}

#[test]
fn an_id_that_is_given_anew_after_a_revocation_is_a_card_of_its_own() {
    let mut site = Site::new();
    site.admin(|directory, now| directory.alias_card(now, "c-alice", "c-other"));
    let again = site.now();
    for (card, alias) in [
        ("c-alice", "c-other"),
        ("c-other", "c-alice"),
        ("c-bob", "c-bob"),
    ] {
        assert!(site.directory.alias_card(again, card, alias).is_err());
    }
    site.admin(|directory, now| directory.revoke_card(now, "c-other"));
    site.admin(|directory, now| {
        directory.add_card(now, "c-other", "bob", "", Standing::Good, Keys::default())
    });
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Revoked)));
    let actions = site.insert(a, 2, "c-other");
    assert_eq!(started(&actions).next().expect("a start").person, "bob");
    // What becomes of the first one later is nothing to it.
    site.admin(|directory, now| directory.revoke_card(now, "c-alice"));
    assert!(site.directory.cards["c-other"].revoked_s.is_none());
}

#[test]
fn another_policy_reaches_terminals_that_are_there_where_it_changes_what_they_offer() {
    let mut site = Site::with("default.login = false", Remembered::default());
    let (a, actions) = site.online("a", 1);
    assert_eq!(offered(&actions), [(a, LoginOffer::None)]);
    let (b, _) = site.online("b", 1);
    let (gone, _) = site.online("c", 1);
    site.event(Event::LinkDown { link: gone });
    let policy = |site: &mut Site, text: &str| {
        let policy = Policy::parse("policy.toml", text).unwrap();
        offered(&site.event(Event::Policy(Box::new(policy))))
    };
    let kiosk = "[[rule]]\nwhen = { terminal = \"b\" }\nkiosk = [\"/bin/map\"]\n";
    let offers = policy(&mut site, kiosk);
    assert_eq!(offers, [(a, LoginOffer::Offered), (b, LoginOffer::Now)]);
    // Nothing new is nothing to say.
    let other = format!("default.grace = \"1h\"\n{kiosk}");
    assert_eq!(policy(&mut site, &other), []);
    let offers = policy(
        &mut site,
        "[[rule]]\nwhen = { terminal = \"a\" }\nlogin = false\n",
    );
    assert_eq!(offers, [(a, LoginOffer::None), (b, LoginOffer::Offered)]);
    // What the policy forbids is refused even to who has not heard of it.
    let actions = site.says(a, ToBroker::Login { seq: 1 });
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Forbidden)));
    // A new link has it from its welcome.
    let (a, actions) = site.online("a", 1);
    assert_eq!(offered(&actions), [(a, LoginOffer::None)]);
    assert_eq!(
        policy(&mut site, "default.login = false"),
        [(b, LoginOffer::None)]
    );
}

#[test]
fn cards_without_bound_keys_open_a_greeter_and_nothing_else() {
    let mut site = Site::with("", Remembered::default());
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    let started: Vec<_> = started(&actions).map(|start| start.kind.clone()).collect();
    assert_eq!(started, [Kind::Greeter]);
}

#[test]
fn an_unknown_card_in_a_reader_opens_as_soon_as_it_is_added() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    site.insert(a, 1, "c-new");
    let actions = site.admin(|directory, now| {
        directory.add_card(now, "c-new", "carol", "", Standing::Good, Keys::default())
    });
    assert!(start_of(&actions).is_some());
}

#[test]
fn a_revoked_card_parts_its_terminal_at_once() {
    let mut site = Site::new();
    let (a, session, attach) = site.attached("a", 1, "c-alice");
    let actions = site.admin(|directory, now| directory.revoke_card(now, "c-alice"));
    let reason = DetachReason::CardRevoked;
    assert_eq!(detach(&actions), Some((a, attach, reason.clone())));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Revoked)));
    let wanted = ToSession::Detach {
        attach_id: Some(attach),
        reason,
    };
    assert_eq!(told(&actions, session), [&wanted]);
}

#[test]
fn a_card_is_not_given_to_another_person_in_passing() {
    let mut site = Site::new();
    let now = site.now();
    let taken = site
        .directory
        .add_card(now, "c-alice", "bob", "", Standing::Good, Keys::default());
    assert!(taken.unwrap_err().text.contains("alice"));
    site.admin(|directory, now| directory.revoke_card(now, "c-alice"));
    site.admin(|directory, now| {
        directory.add_card(now, "c-alice", "bob", "", Standing::Good, Keys::default())
    });
    for (card, person) in [
        ("", "x"),
        ("a b", "x"),
        ("c", ""),
        ("c", "../x"),
        ("c", "-x"),
    ] {
        let bad = site
            .directory
            .add_card(now, card, person, "", Standing::Good, Keys::default());
        assert!(bad.is_err(), "{card:?} {person:?}");
    }
}

#[test]
fn a_person_without_an_account_is_told_so() {
    let mut site = Site::new();
    let (a, _) = site.online("a", 1);
    let session = start_of(&site.insert(a, 1, "c-alice")).expect("a start");
    let actions = site.gone(session, Gone::NoAccount("no account".to_owned()));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::NoAccount)));
}

#[test]
fn nobody_is_let_in_whose_groups_cannot_be_found() {
    let policy =
        "default.proof = \"none\"\n[[rule]]\nwhen.group = \"staff\"\nproof = \"password\"\n";
    let mut site = Site::with(policy, Remembered::default());
    let (a, _) = site.online("a", 1);
    let actions = site.insert(a, 1, "c-alice");
    assert!(actions.contains(&Action::LookUp("alice".to_owned())));
    // Bob's groups are nothing to her.
    let bobs = [("bob".to_owned(), Some(Vec::new()))];
    assert_eq!(site.event(Event::Groups(bobs.into())), []);
    let unknown = [("alice".to_owned(), None)];
    let actions = site.event(Event::Groups(unknown.into()));
    assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
    // Nor does she wait for ever.
    site.says(a, ToBroker::Retry { seq: 1 });
    site.ms = site.directory.next_deadline().expect("a deadline");
    let actions = site.event(Event::Tick);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::SessionFailed)));
    site.says(a, ToBroker::Retry { seq: 1 });
    let staff = [("alice".to_owned(), Some(vec!["staff".to_owned()]))];
    let actions = site.event(Event::Groups(staff.into()));
    let kinds: Vec<_> = started(&actions).map(|start| start.kind.clone()).collect();
    assert_eq!(kinds, [Kind::Greeter]);
}

#[test]
fn a_revoked_card_in_another_case_stays_revoked() {
    let mut site = Site::new();
    site.admin(|directory, now| {
        directory.add_card(now, "piv:00ab", "bob", "", Standing::Good, Keys::default())
    });
    site.admin(|directory, now| directory.revoke_card(now, "piv:00ab"));
    let (a, _) = site.online("a", 1);
    let refused = site.insert(a, 1, "PIV:00AB");
    assert_eq!(refusal(&refused), Some((a, CardRefusal::Revoked)));
}

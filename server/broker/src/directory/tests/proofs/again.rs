//! When a proof still counts, and when it is asked for again.

use super::*;

#[test]
fn locked_desktop_is_asked_for_again_before_anything_of_it_is_shown() {
    for (policy, by_key) in [(CARD, true), (PIN, false)] {
        let mut site = Site::bound(policy);
        let (recipe, id) = alice();
        let (a, session, attach) = site.proven();
        let actions = site.asks(session, Ask::Lock);
        assert_eq!(detach(&actions), Some((a, attach, DetachReason::Locked)));
        assert!(matches!(
            told(&actions, session)[..],
            [ToSession::Detach {
                reason: DetachReason::Locked,
                ..
            }]
        ));
        assert_eq!(offer_of(&actions), None);
        let actions = match by_key {
            true => {
                assert_eq!(refusal(&actions), Some((a, CardRefusal::Locked)));
                site.says(a, ToBroker::Retry { seq: 1 })
            }
            false => actions,
        };
        let asked = asked(&actions, "a", &id).expect("a challenge");
        assert_eq!(offer_of(&actions), None);
        let offer = offer_of(&site.answer(&asked, &recipe)).expect("an offer");
        assert_eq!((offer.session, offer.link), (session, a));
    }
}

#[test]
fn desktop_that_is_locked_while_its_terminal_is_away_is_asked_for_when_that_is_back() {
    let mut site = Site::bound(PIN);
    let (recipe, id) = alice();
    let (a, session, _) = site.proven();
    // Only the control link is gone: the desktop is still on the screen.
    site.event(Event::LinkDown { link: a });
    let actions = site.asks(session, Ask::Lock);
    assert!(matches!(
        told(&actions, session)[..],
        [ToSession::Detach {
            reason: DetachReason::Locked,
            ..
        }]
    ));
    let (a, _) = site.online("a", 1);
    let asked = site.challenged(a, 1, &id);
    assert_eq!(asked.challenge.key, ProofKey::PivAuthentication);
    let offer = offer_of(&site.answer(&asked, &recipe)).expect("an offer");
    assert_eq!((offer.link, offer.session), (a, session));
}

#[test]
fn grace_counts_for_a_while_and_ends_with_a_lock_a_policy_or_a_revocation() {
    let (with_pin, without) = (ProofKey::PivAuthentication, ProofKey::CardAuthentication);
    type Between = fn(&mut Site, SessionId);
    let table: &[(&str, Between, ProofKey)] = &[
        ("nothing", |_, _| (), without),
        ("half an hour", |site, _| site.ms += HOUR_MS / 2, without),
        ("two hours", |site, _| site.ms += 2 * HOUR_MS, with_pin),
        (
            "the same policy anew",
            |site, _| drop(site.policy(GRACE)),
            with_pin,
        ),
        (
            "the card was lost and found",
            |site, _| {
                let id = alice().1;
                site.admin(|directory, now| directory.revoke_card(now, &id));
                site.admin(|directory, now| {
                    directory.add_card(now, &id, "alice", "", Standing::Good, Keys::default())
                });
            },
            with_pin,
        ),
    ];
    for (what, between, key) in table {
        let mut site = Site::bound(GRACE);
        let (recipe, id) = alice();
        let (a, session, _) = site.proven();
        assert_eq!(site.shown("a"), Some(Proof::CardPin));
        site.says(a, ToBroker::CardRemoved { seq: 1 });
        between(&mut site, session);
        let asked = site.challenged(a, 2, &id);
        assert_eq!(asked.challenge.key, *key, "{what}");
        let offer = offer_of(&site.answer(&asked, &recipe)).expect(what);
        assert_eq!(offer.session, session, "{what}");
    }
    // A lock, while it is used and in the grace of an earlier PIN.
    let mut site = Site::bound(GRACE);
    let (recipe, id) = alice();
    let (a, session, _) = site.proven();
    site.says(a, ToBroker::CardRemoved { seq: 1 });
    let asked = site.challenged(a, 2, &id);
    site.answer(&asked, &recipe);
    assert_eq!(site.shown("a"), Some(Proof::Card));
    let actions = site.asks(session, Ask::Idle);
    let asked = super::proofs::asked(&actions, "a", &id).expect("a challenge");
    assert_eq!(asked.challenge.key, with_pin);
}

#[test]
fn grace_counts_where_both_places_give_it() {
    let policy = "[default]\nproof = \"card+pin\"\ngrace = \"1h\"\n\
                  [[rule]]\nwhen = { terminal = \"lobby*\" }\ngrace = \"0s\"\n";
    for (terminal, key) in [
        ("ward", ProofKey::CardAuthentication),
        ("lobby", ProofKey::PivAuthentication),
    ] {
        let mut site = Site::bound(policy);
        let id = alice().1;
        let (a, _, _) = site.proven();
        site.says(a, ToBroker::CardRemoved { seq: 1 });
        let (b, _) = site.online(terminal, 2);
        let asked = site.challenged(b, 1, &id);
        assert_eq!(asked.challenge.key, key, "{terminal}");
    }
}

#[test]
fn proof_under_way_is_worth_what_the_policy_of_its_end_says() {
    // While the card signs.
    let mut site = Site::bound(CARD);
    let (recipe, id) = alice();
    let (a, _) = site.online("a", 1);
    let first = site.challenged(a, 1, &id);
    site.policy(PIN);
    let actions = site.answer(&first, &recipe);
    assert_eq!((start_of(&actions), offer_of(&actions)), (None, None));
    let second = asked(&actions, "a", &id).expect("a PIN is asked for");
    assert_eq!(second.challenge.key, ProofKey::PivAuthentication);
    let session = start_of(&site.answer(&second, &recipe)).expect("a start");
    site.ready(session, None);
    assert_eq!(site.shown("a"), Some(Proof::CardPin));

    // While the desktop starts.
    let mut site = Site::bound(CARD);
    let (a, _) = site.online("a", 1);
    let first = site.challenged(a, 1, &id);
    let session = start_of(&site.answer(&first, &recipe)).expect("a start");
    site.policy(PIN);
    let actions = site.ready(session, None);
    assert_eq!(offer_of(&actions), None);
    let second = asked(&actions, "a", &id).expect("a PIN is asked for");
    let offer = offer_of(&site.answer(&second, &recipe)).expect("an offer");
    assert_eq!((offer.link, offer.session), (a, session));
}

#[test]
fn kiosk_takes_no_card_for_its_desktop_and_opens_without_one() {
    let policy = "default.proof = \"card\"\n[[rule]]\nwhen = { terminal = \"a\" }\n\
                  kiosk = [\"/bin/map\"]\nkiosk_user = \"map\"\n";
    let mut site = Site::bound(policy);
    let (recipe, id) = alice();
    let (a, _) = site.online("a", 1);
    let actions = site.says(a, ToBroker::Login { seq: 1 });
    let kiosk = started(&actions).next().expect("a kiosk").clone();
    assert_eq!(
        (&kiosk.kind, kiosk.person.as_str()),
        (&Kind::Kiosk("terminal a".to_owned()), "map")
    );
    // A card has to prove itself even there.
    let asked = site.challenged(a, 2, &id);
    let actions = site.answer(&asked, &recipe);
    let started: Vec<_> = started(&actions).map(|start| start.kind.clone()).collect();
    assert_eq!(started, [Kind::Kiosk(format!("card {id}"))]);
}

#[test]
fn desktop_that_nobody_comes_back_to_is_ended() {
    let mut site = Site::bound("default.proof = \"card\"\ndefault.detached = \"1h\"");
    let (a, session, _) = site.proven();
    assert_eq!(site.directory.next_deadline(), None);
    site.says(a, ToBroker::CardRemoved { seq: 1 });
    site.ms += HOUR_MS - 1000;
    assert!(told(&site.event(Event::Tick), session).is_empty());
    site.ms += 2000;
    let actions = site.event(Event::Tick);
    let reason = DetachReason::ByPolicy;
    assert_eq!(told(&actions, session), [&ToSession::End { reason }]);
}

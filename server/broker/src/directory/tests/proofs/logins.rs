//! Logins at greeters, and the cards that they bind or ask for.

use super::*;

/// A terminal `a` with an unknown card and its greeter on the screen.
fn greeted(site: &mut Site, card: &str) -> (LinkId, SessionId) {
    let (a, _) = site.online("a", 1);
    let greeter = start_of(&site.insert(a, 1, card)).expect("a greeter");
    let offer = offer_of(&site.ready(greeter, None)).expect("an offer");
    site.attached_says(greeter, offer.attach);
    (a, greeter)
}

#[test]
fn login_at_the_greeter_binds_the_card_and_starts_the_desktop_by_that_login() {
    let mut site = Site::with(
        "default.proof = \"card\"\ndefault.enrol = \"offer\"",
        Remembered::default(),
    );
    let (recipe, id) = alice();
    let (a, greeter) = greeted(&mut site, &id);
    let actions = site.log_in(greeter, "alice", 7, true);
    let asked = asked(&actions, "a", &id).expect("a challenge");
    assert_eq!(asked.sort(), (Purpose::Enrol, ProofKey::CardAuthentication));
    assert_eq!(detach(&actions).map(|detach| detach.0), None);
    let actions = site.answer(&asked, &recipe);
    let start = started(&actions).next().expect("a start").clone();
    assert_eq!(
        (start.person.as_str(), start.login),
        ("alice", Some(LoginId(7)))
    );
    assert_eq!(dropped(&actions), []);
    assert_eq!(site.directory.cards[&id].person, "alice");
    assert_eq!(site.keys(&id), ["9E"]);
    let offer = offer_of(&site.ready(start.session, None)).expect("an offer");
    assert_eq!((offer.link, offer.person.as_str()), (a, "alice"));
    assert_eq!(site.shown("a"), Some(Proof::Password));
}

#[test]
fn login_whose_card_binds_nothing_still_has_its_desktop() {
    type Answer = fn(&mut Site, &Asked) -> Vec<Action>;
    let answers: &[(&str, Answer)] = &[
        ("no key", |site, asked| {
            let actions = site.no_proof(asked, ProofFailure::NoKey);
            let next = super::proofs::asked(&actions, "a", &asked.card).expect("the other key");
            assert_eq!(next.challenge.key, ProofKey::PivAuthentication);
            site.no_proof(&next, ProofFailure::NoPin)
        }),
        ("a broken card", |site, asked| {
            site.no_proof(asked, ProofFailure::CardFailed)
        }),
        ("another's key", |site, asked| {
            let copy = Recipe::new("mallory").certificates_of("alice");
            site.answer(asked, &copy)
        }),
        ("nothing", |site, _| {
            site.ms = site.directory.next_deadline().expect("a deadline");
            site.event(Event::Tick)
        }),
    ];
    for (what, answer) in answers {
        let mut site = Site::with(
            "default.proof = \"card\"\ndefault.enrol = \"offer\"",
            Remembered::default(),
        );
        let id = alice().1;
        let (_, greeter) = greeted(&mut site, &id);
        let actions = site.log_in(greeter, "alice", 7, true);
        let asked = asked(&actions, "a", &id).expect("a challenge");
        let actions = answer(&mut site, &asked);
        let start = started(&actions).next().expect(what);
        assert_eq!(start.login, Some(LoginId(7)), "{what}");
        assert!(!site.directory.cards.contains_key(&id), "{what}");
    }
}

/// A card that is bound by the key that needs no PIN, where the policy wants the PIN by now.
fn bound_without_pin(policy: &str) -> (Site, SessionId) {
    let mut site = Site::bound(policy);
    let id = alice().1;
    site.directory.cards.get_mut(&id).unwrap().keys.owner = None;
    let (_, greeter) = greeted(&mut site, &id);
    (site, greeter)
}

#[test]
fn login_binds_the_key_with_a_pin_once_the_policy_wants_it() {
    let (mut site, greeter) = bound_without_pin(PIN);
    let (recipe, id) = alice();
    let actions = site.log_in(greeter, "alice", 7, false);
    let first = asked(&actions, "a", &id).expect("a challenge");
    assert_eq!(first.challenge.key, ProofKey::CardAuthentication);
    let actions = site.answer(&first, &recipe);
    let second = asked(&actions, "a", &id).expect("the other key");
    assert_eq!(second.challenge.key, ProofKey::PivAuthentication);
    assert!(start_of(&site.answer(&second, &recipe)).is_some());
    assert_eq!(site.keys(&id), ["9E", "9A"]);
}

#[test]
fn password_beside_a_copied_id_opens_nothing_where_nobody_may_log_in_without_a_card() {
    for (login, opens) in [(false, false), (true, true)] {
        let (mut site, greeter) = bound_without_pin(&format!("{PIN}\ndefault.login = {login}"));
        let id = alice().1;
        let actions = site.log_in(greeter, "alice", 7, false);
        let first = asked(&actions, "a", &id).expect("a challenge");
        let actions = site.answer(&first, &Recipe::new("mallory").id_of("alice"));
        assert_eq!(start_of(&actions).is_some(), opens, "login = {login}");
        assert_eq!(dropped(&actions).is_empty(), opens);
        assert_eq!(site.keys(&id), ["9E"]);
    }
}

#[test]
fn login_goes_with_the_card_that_is_pulled_while_it_is_bound() {
    let mut site = Site::with(
        "default.proof = \"card\"\ndefault.enrol = \"offer\"",
        Remembered::default(),
    );
    let id = alice().1;
    let (a, greeter) = greeted(&mut site, &id);
    site.log_in(greeter, "alice", 7, true);
    let actions = site.says(a, ToBroker::CardRemoved { seq: 1 });
    assert_eq!(dropped(&actions), [LoginId(7)]);
}

#[test]
fn login_whose_terminal_is_away_leads_nowhere() {
    let mut site = Site::with(
        "default.proof = \"card\"\ndefault.enrol = \"offer\"",
        Remembered::default(),
    );
    let (a, greeter) = greeted(&mut site, &alice().1);
    site.event(Event::LinkDown { link: a });
    let actions = site.log_in(greeter, "alice", 7, true);
    assert_eq!(dropped(&actions), [LoginId(7)]);
}

#[test]
fn card_that_has_to_be_approved_opens_once_it_is() {
    let mut site = Site::with(
        "default.proof = \"card\"\ndefault.enrol = \"approval\"",
        Remembered::default(),
    );
    let (recipe, id) = alice();
    let (a, greeter) = greeted(&mut site, &id);
    let actions = site.log_in(greeter, "alice", 7, true);
    let first = asked(&actions, "a", &id).expect("a challenge");
    let actions = site.answer(&first, &recipe);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Forbidden)));
    assert_eq!(dropped(&actions), [LoginId(7)]);
    assert_eq!(site.directory.cards[&id].standing, Standing::Asked);
    let actions = site.says(a, ToBroker::Retry { seq: 1 });
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Forbidden)));
    let actions = site.admin(|directory, now| directory.approve_card(now, &id));
    let second = asked(&actions, "a", &id).expect("a challenge");
    assert_eq!(second.sort(), attach_keys());
    assert!(start_of(&site.answer(&second, &recipe)).is_some());
}

#[test]
fn approval_that_one_desk_asks_for_is_not_given_by_another() {
    // Whoever may enrol at b without asking may not so enrol what a has sent to an administrator.
    let policy = "default.proof = \"card\"\ndefault.enrol = \"approval\"\n\
                  default.keyless = true\n\
                  [[rule]]\nwhen = { terminal = \"b\" }\nenrol = \"offer\"\n";
    let keyless = "uid:04aabbccddee80";
    for id in [alice().1.as_str(), keyless] {
        let (recipe, with_key) = (alice().0, id != keyless);
        let mut site = Site::with(policy, Remembered::default());
        let at = |site: &mut Site, link, seq| {
            let actions = site.insert(link, seq, id);
            let greeter = start_of(&actions)?;
            let offer = offer_of(&site.ready(greeter, None)).expect("an offer");
            site.attached_says(greeter, offer.attach);
            let actions = site.log_in(greeter, "alice", u64::from(seq), true);
            Some(match with_key {
                true => {
                    let asked = asked(&actions, "a", id).expect("a challenge");
                    site.answer(&asked, &recipe)
                }
                false => actions,
            })
        };
        let (a, _) = site.online("a", 1);
        let first = at(&mut site, a, 1).expect("a greeter");
        assert_eq!(site.directory.cards[id].standing, Standing::Asked, "{id}");
        assert_eq!(refusal(&first).is_some(), with_key, "{id}");
        site.says(a, ToBroker::CardRemoved { seq: 1 });
        let (b, _) = site.online("b", 1);
        // There is no greeter for it there, so nothing could make it good.
        assert_eq!(at(&mut site, b, 2), None, "{id}");
        let actions = site.says(b, ToBroker::Retry { seq: 2 });
        assert_eq!(refusal(&actions), Some((b, CardRefusal::Forbidden)), "{id}");
        assert_eq!(site.directory.cards[id].standing, Standing::Asked, "{id}");
    }
}

#[test]
fn desk_that_offers_a_card_makes_good_no_other_desks_request() {
    let policy = "default.proof = \"card\"\ndefault.enrol = \"approval\"\n\
                  [[rule]]\nwhen = { terminal = \"b\" }\nenrol = \"offer\"\n";
    let mut site = Site::with(policy, Remembered::default());
    let (recipe, id) = alice();
    // At both desks at once: the login at b began while nobody knew the card.
    let (a, at_a) = greeted(&mut site, &id);
    let (b, _) = site.online("b", 2);
    let at_b = start_of(&site.insert(b, 1, &id)).expect("a greeter");
    let offer = offer_of(&site.ready(at_b, None)).expect("an offer");
    site.attached_says(at_b, offer.attach);
    let said = site.log_in(at_b, "alice", 2, true);
    let asked_b = asked(&said, "b", &id).expect("a challenge");
    let said = site.log_in(at_a, "alice", 1, true);
    let asked_a = asked(&said, "a", &id).expect("a challenge");
    let actions = site.answer(&asked_a, &recipe);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::Forbidden)));
    let actions = site.answer(&asked_b, &recipe);
    assert_eq!(refusal(&actions), Some((b, CardRefusal::Forbidden)));
    assert_eq!(start_of(&actions), None);
    assert_eq!(site.directory.cards[&id].standing, Standing::Asked);
}

#[test]
fn card_that_was_given_to_another_meanwhile_is_not_bound() {
    let mut site = Site::with(
        "default.proof = \"card\"\ndefault.enrol = \"offer\"",
        Remembered::default(),
    );
    // Mallory's card claims an id that an administrator is just giving to bob.
    let id = Plastic::id_of("bob");
    let (a, greeter) = greeted(&mut site, &id);
    let actions = site.log_in(greeter, "mallory", 7, true);
    let asked = asked(&actions, "a", &id).expect("a challenge");
    site.admin(|directory, now| {
        directory.add_card(now, &id, "bob", "", Standing::FirstUse, Keys::default())
    });
    let actions = site.answer(&asked, &Recipe::new("mallory").id_of("bob"));
    assert_eq!(start_of(&actions), None);
    assert_eq!(refusal(&actions), Some((a, CardRefusal::NotProven)));
    assert_eq!(dropped(&actions), [LoginId(7)]);
    assert_eq!(site.keys(&id), [""; 0]);
    assert_eq!(site.directory.cards[&id].standing, Standing::FirstUse);
}

#[test]
fn one_address_leaves_greeters_for_the_others() {
    let mut site = Site::with(CARD, Remembered::default());
    site.directory.setup.max_greeters = 8;
    let mut greeters = 0;
    for number in 0..20 {
        let (link, _) = site.online(&format!("t{number}"), 1);
        greeters += started(&site.says(link, ToBroker::Login { seq: 1 })).count();
    }
    assert_eq!(greeters, 6);
    // Of IPv6 it has an address for each, and still the network beside it has the rest.
    let mut site = Site::with(CARD, Remembered::default());
    site.directory.setup.max_greeters = 8;
    for (network, most) in [("2001:db8:1:2", 7), ("2001:db8:1:3", 1)] {
        let mut greeters = 0;
        for number in 0..20 {
            let address = format!("[{network}::{number:x}]:1").parse().unwrap();
            let id = format!("t{network}{number}");
            let (link, _) = site.online_from(address, &id, 1);
            greeters += started(&site.says(link, ToBroker::Login { seq: 1 })).count();
        }
        assert_eq!(greeters, most);
    }
    // One terminal has its greeter, and the one before while that ends.
    let mut site = Site::with(CARD, Remembered::default());
    site.directory.setup.max_greeters = 8;
    let (link, _) = site.online("a", 1);
    let starts = (1..=20).map(|seq| started(&site.says(link, ToBroker::Login { seq })).count());
    assert_eq!(starts.sum::<usize>(), 2);
}

#[test]
fn logins_without_end_start_no_more_greeters_than_there_may_be() {
    let mut site = Site::with(CARD, Remembered::default());
    let (a, _) = site.online("a", 1);
    let mut greeters = 0;
    for seq in 1..=1000 {
        let actions = site.says(a, ToBroker::Login { seq });
        greeters += started(&actions).count();
        let refused = refusal(&actions).is_some();
        assert!(refused || started(&actions).count() == 1, "{actions:?}");
    }
    assert_eq!(greeters, site.directory.setup.max_greeters);
}

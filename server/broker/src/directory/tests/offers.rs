//! Offers that may have been lost with the control link that they were made on.

use proptest::prelude::*;

use super::*;
use crate::directory::offers::TAKE_UP_MS;

const CARD: &str = "c-alice";

/// A desktop that goes on being shown at terminal `a`, and the offer of another link to it.
fn offered_another() -> (Site, LinkId, SessionId, Offer) {
    let mut site = Site::new();
    let (a, session, attach) = site.attached("a", 1, CARD);
    let actions = site.says(a, link_ended(attach, DetachReason::LinkLost));
    let offer = offer_of(&actions).expect("an offer");
    (site, a, session, offer)
}

/// The control link of terminal `a` breaks and is there again; the card has not been said yet.
fn flap(site: &mut Site, link: LinkId) -> LinkId {
    site.event(Event::LinkDown { link });
    site.online("a", 1).0
}

/// What happens at the next deadline.
fn at_the_deadline(site: &mut Site) -> Vec<Action> {
    // The clock goes on by one with each event.
    site.ms = site.directory.next_deadline().expect("a deadline") - 1;
    site.event(Event::Tick)
}

#[test]
fn an_offer_that_was_lost_with_its_control_link_is_made_again() {
    let (mut site, a, session, lost) = offered_another();
    let made_ms = site.ms;
    let a = flap(&mut site, a);
    assert_eq!(offer_of(&site.insert(a, 1, CARD)), None, "it is young");
    let offer = offer_of(&at_the_deadline(&mut site)).expect("another offer");
    assert_eq!(site.ms, made_ms + TAKE_UP_MS);
    assert!(offer.attach > lost.attach);
    assert_eq!((offer.link, offer.session, offer.seq), (a, session, 1));
    site.attached_says(session, offer.attach);
    // What the session says of the link before says nothing of the desktop.
    let message = FromSession::Detached {
        attach_id: lost.attach,
        reason: DetachReason::LinkLost,
    };
    site.event(Event::Session { session, message });
    assert_eq!(site.directory.next_deadline(), None);
}

#[test]
fn an_offer_that_could_have_been_taken_up_is_made_again_at_once() {
    let (mut site, a, _, lost) = offered_another();
    site.ms += TAKE_UP_MS;
    let a = flap(&mut site, a);
    let offer = offer_of(&site.insert(a, 1, CARD)).expect("another offer");
    assert!(offer.attach > lost.attach);
}

#[test]
fn an_offer_that_is_being_taken_up_is_not_made_again() {
    let (mut site, a, session, offer) = offered_another();
    let a = flap(&mut site, a);
    assert_eq!(offer_of(&site.insert(a, 1, CARD)), None);
    assert_eq!(offer_of(&site.attached_says(session, offer.attach)), None);
    assert_eq!(site.directory.next_deadline(), None);
    site.ms += 60_000;
    assert_eq!(offer_of(&site.event(Event::Tick)), None);
}

#[test]
fn who_could_not_open_what_is_in_doubt_has_another_at_once() {
    let (mut site, a, session, offer) = offered_another();
    let a = flap(&mut site, a);
    site.insert(a, 1, CARD);
    let actions = site.says(a, link_ended(offer.attach, DetachReason::LinkLost));
    let another = offer_of(&actions).expect("another offer");
    site.attached_says(session, another.attach);
    assert_eq!(site.directory.next_deadline(), None);
}

#[test]
fn a_card_that_is_pulled_takes_the_doubt_with_it() {
    let (mut site, a, session, offer) = offered_another();
    let a = flap(&mut site, a);
    site.insert(a, 1, CARD);
    let actions = site.says(a, ToBroker::CardRemoved { seq: 1 });
    let part = ToSession::Detach {
        attach_id: Some(offer.attach),
        reason: DetachReason::CardRemoved,
    };
    assert_eq!(told(&actions, session), [&part]);
    assert_eq!(site.directory.next_deadline(), None);
}

#[test]
fn another_card_edge_does_not_wait() {
    for (seq, card) in [(2, CARD), (1, "c-alice-2"), (2, "c-alice-2")] {
        let (mut site, a, session, _) = offered_another();
        let a = flap(&mut site, a);
        let offer = offer_of(&site.insert(a, seq, card)).expect("an offer");
        assert_eq!((offer.session, offer.seq), (session, seq));
        let (mut site, a, _, _) = offered_another();
        let a = flap(&mut site, a);
        site.insert(a, 1, CARD);
        let offer = offer_of(&site.insert(a, seq, card)).expect("an offer");
        assert_eq!((offer.link, offer.seq), (a, seq));
    }
}

#[test]
fn another_terminal_does_not_wait() {
    let (mut site, a, session, offer) = offered_another();
    let a = flap(&mut site, a);
    site.insert(a, 1, CARD);
    let (b, _) = site.online("b", 2);
    let actions = site.insert(b, 1, CARD);
    let there = offer_of(&actions).expect("an offer");
    assert_eq!((there.link, there.session), (b, session));
    assert_eq!(
        detach(&actions).map(|told| (told.0, told.1)),
        Some((a, offer.attach))
    );
}

#[test]
fn a_terminal_that_is_away_when_the_doubt_ends_has_another_offer_when_it_is_back() {
    let (mut site, a, session, lost) = offered_another();
    let a = flap(&mut site, a);
    site.insert(a, 1, CARD);
    site.event(Event::LinkDown { link: a });
    assert_eq!(offer_of(&at_the_deadline(&mut site)), None);
    let (a, _) = site.online("a", 1);
    let offer = offer_of(&site.insert(a, 1, CARD)).expect("another offer");
    assert!(offer.attach > lost.attach);
    site.event(Event::LinkDown { link: a });
    at_the_deadline(&mut site);
    assert_eq!(
        site.directory.sessions[&session].holder, None,
        "it never came"
    );
}

#[test]
fn a_terminal_that_is_away_for_good_is_not_waited_for_longer_than_before() {
    let (mut site, a, session, _) = offered_another();
    let a = flap(&mut site, a);
    site.insert(a, 1, CARD);
    site.event(Event::LinkDown { link: a });
    // Nobody looked for so long.
    site.ms += 60_000;
    site.event(Event::Tick);
    assert_eq!(site.directory.sessions[&session].holder, None);
    assert!(site.directory.next_deadline().is_none_or(|at| at > site.ms));
}

#[test]
fn a_terminal_that_takes_nothing_up_is_refused_after_a_few_offers_however_often_it_comes_back() {
    let (mut site, mut a, _, _) = offered_another();
    let mut offers = 0;
    for _ in 0..200 {
        a = flap(&mut site, a);
        for actions in [site.insert(a, 1, CARD), site.event(Event::Tick)] {
            if refusal(&actions).is_some() {
                // The first of the five breaks is that of the link that it had.
                return assert_eq!(offers, 4);
            }
            offers += u32::from(offer_of(&actions).is_some());
        }
        site.ms += 100;
    }
    panic!("it goes on for ever, {offers} times so far");
}

/// What happens at one desk.
#[derive(Debug, Clone, Copy)]
enum Op {
    Flap,
    Insert,
    Pull,
    TakeUp,
    CannotTakeUp,
    Breaks,
    Later(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Flap),
        4 => Just(Op::Insert),
        1 => Just(Op::Pull),
        2 => Just(Op::TakeUp),
        1 => Just(Op::CannotTakeUp),
        1 => Just(Op::Breaks),
        4 => (0..2_500u16).prop_map(Op::Later),
    ]
}

proptest! {
    /// No offer comes while the one before may be taken up: for that it has to be old enough, or
    /// known to have failed, or its card edge is over. And whatever has happened, a terminal that
    /// is there with its card has an offer or a refusal soon.
    #[test]
    fn there_are_never_two_offers_and_always_one(ops in proptest::collection::vec(op(), 1..60)) {
        let (mut site, mut a, session, offer) = offered_another();
        let mut seq = 1;
        let mut open = Some((offer.attach, site.ms));
        let mut newest = offer.attach;
        for op in ops {
            let actions = match op {
                Op::Flap => {
                    a = flap(&mut site, a);
                    Vec::new()
                }
                Op::Insert => site.insert(a, seq, CARD),
                Op::Pull => {
                    open = None;
                    seq += 1;
                    site.says(a, ToBroker::CardRemoved { seq: seq - 1 })
                }
                Op::TakeUp => {
                    if open.take().is_none() {
                        continue;
                    }
                    site.attached_says(session, newest)
                }
                Op::CannotTakeUp => {
                    open = None;
                    site.says(a, link_ended(newest, DetachReason::LinkLost))
                }
                Op::Breaks => {
                    if open.is_some() {
                        continue;
                    }
                    let message = FromSession::Detached {
                        attach_id: newest,
                        reason: DetachReason::LinkLost,
                    };
                    site.event(Event::Session { session, message })
                }
                Op::Later(ms) => {
                    site.ms += u64::from(ms);
                    let actions = site.event(Event::Tick);
                    let next = site.directory.next_deadline();
                    prop_assert!(next.is_none_or(|next| next > site.ms), "it passes twice");
                    actions
                }
            };
            let offers = actions.iter().filter(|action| matches!(action, Action::Offer(_)));
            prop_assert!(offers.count() <= 1);
            if let Some(offer) = offer_of(&actions) {
                if let Some((attach, since_ms)) = open {
                    let age_ms = site.ms - since_ms;
                    prop_assert!(age_ms >= TAKE_UP_MS, "{attach} was offered {age_ms} ms ago");
                }
                newest = offer.attach;
                open = Some((newest, site.ms));
            }
            let over = site.directory.attaches[&newest].over.is_some();
            open.take_if(|_| over);
        }
        let a = flap(&mut site, a);
        let mut actions = site.insert(a, seq, CARD);
        site.ms += TAKE_UP_MS;
        actions.extend(site.event(Event::Tick));
        let is_live = site.directory.sessions[&session]
            .holder
            .as_ref()
            .is_some_and(|holder| holder.phase == Phase::Live);
        let told = offer_of(&actions).is_some_and(|offer| offer.link == a)
            || refusal(&actions).is_some();
        let is_parked = matches!(site.directory.terminals["a"].slot, Slot::Parked(_));
        prop_assert!(is_live || told || is_parked, "{:?}", site.directory.terminals["a"].slot);
    }
}

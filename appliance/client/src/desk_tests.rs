use heliostat_wire::List;
use heliostat_wire::card::CardKind;
use heliostat_wire::id::{KeyPin, Ticket};
use heliostat_wire::proof::{Algorithm, ProofKey, Purpose};
use proptest::prelude::*;

use super::*;

fn card(n: u8) -> Card {
    Card {
        id: format!("piv:{n:032x}").as_str().into(),
        kind: CardKind::Piv,
        atr: List::default(),
    }
}

fn attach(seq: u32, id: u64) -> Attach {
    Attach {
        seq,
        attach_id: AttachId(id),
        addresses: List::default(),
        pin: KeyPin([0; 32]),
        ticket: Ticket([0; 32]),
        person: "alice".into(),
        keep_pixels_s: 0,
    }
}

fn handle(desk: &mut Desk, event: DeskEvent) -> Vec<Action> {
    let mut actions = Vec::new();
    desk.handle(event, &mut actions);
    actions
}

fn edge() -> DeskEvent {
    DeskEvent::CardEdge {
        reader: "reader".to_owned(),
    }
}

/// A desk with a desktop on the screen.
fn attached() -> Desk {
    let mut desk = Desk::default();
    for event in [
        DeskEvent::ControlUp,
        edge(),
        DeskEvent::CardRead(Box::new(card(1))),
        DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, 7)))),
        DeskEvent::SessionAttached(AttachId(7)),
    ] {
        handle(&mut desk, event);
    }
    assert!(matches!(desk.stage(), Stage::Attached { .. }));
    desk
}

#[test]
fn pulled_card_blanks_the_screen_before_the_network_hears_of_it() {
    let actions = handle(&mut attached(), DeskEvent::CardGone);
    assert_eq!(
        actions,
        [
            Action::Leave(DetachReason::CardRemoved),
            Action::Send(ToBroker::CardRemoved { seq: 1 })
        ]
    );
}

#[test]
fn desktop_stays_while_the_broker_restarts_and_the_card_is_announced_again() {
    let mut desk = attached();
    assert_eq!(
        handle(&mut desk, DeskEvent::ControlDown("gone".to_owned())),
        []
    );
    assert!(matches!(desk.stage(), Stage::Attached { .. }));
    let actions = handle(&mut desk, DeskEvent::ControlUp);
    assert!(
        matches!(
            &actions[..],
            [Action::Send(ToBroker::CardInserted { seq: 1, .. })]
        ),
        "{actions:?}"
    );
}

#[test]
fn card_pulled_while_the_broker_is_away_still_blanks_the_screen() {
    let mut desk = attached();
    handle(&mut desk, DeskEvent::ControlDown("gone".to_owned()));
    let actions = handle(&mut desk, DeskEvent::CardGone);
    assert_eq!(actions, [Action::Leave(DetachReason::CardRemoved)]);
    assert_eq!(handle(&mut desk, DeskEvent::ControlUp), []);
}

#[test]
fn answer_to_an_earlier_card_is_ignored() {
    let mut desk = Desk::default();
    handle(&mut desk, DeskEvent::ControlUp);
    for n in 1..=2 {
        handle(&mut desk, edge());
        handle(&mut desk, DeskEvent::CardRead(Box::new(card(n))));
    }
    let late = DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, 7))));
    assert_eq!(handle(&mut desk, late), []);
    let timely = DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(2, 8))));
    assert_eq!(handle(&mut desk, timely).len(), 2);
}

#[test]
fn session_that_moved_is_not_asked_for_again_by_itself() {
    let mut desk = attached();
    let moved = DetachReason::MovedElsewhere {
        terminal: "b".into(),
    };
    let actions = handle(
        &mut desk,
        DeskEvent::SessionEnded(AttachId(7), moved.clone()),
    );
    assert_eq!(actions[1], Action::Leave(moved));
    handle(&mut desk, DeskEvent::ControlDown(String::new()));
    assert_eq!(handle(&mut desk, DeskEvent::ControlUp), []);
    // But the person may.
    let actions = handle(&mut desk, DeskEvent::Retry);
    assert!(matches!(
        actions[1],
        Action::Send(ToBroker::CardInserted { seq: 2, .. })
    ));
}

#[test]
fn failed_session_is_tried_again_only_when_the_person_asks() {
    let mut desk = Desk::default();
    for event in [
        DeskEvent::ControlUp,
        edge(),
        DeskEvent::CardRead(Box::new(card(1))),
    ] {
        handle(&mut desk, event);
    }
    let refused = ToTerminal::CardRefused {
        seq: 1,
        reason: CardRefusal::SessionFailed,
        text: "the desktop did not start".into(),
    };
    assert_eq!(
        handle(&mut desk, DeskEvent::FromBroker(Box::new(refused))),
        [Action::Forget],
        "nothing of an earlier session stays where a card is refused"
    );
    assert!(matches!(desk.stage(), Stage::Refused { .. }));
    let retry = handle(&mut desk, DeskEvent::Retry);
    assert_eq!(retry, [Action::Send(ToBroker::Retry { seq: 1 })]);
}

fn challenge(seq: u32) -> Challenge {
    Challenge {
        seq,
        nonce: [7; 32],
        purpose: Purpose::Attach,
        key: ProofKey::PivAuthentication,
        want_certificate: false,
    }
}

/// A desk whose card is asked for a proof.
fn proving() -> Desk {
    let mut desk = Desk::default();
    let prove = DeskEvent::FromBroker(Box::new(ToTerminal::Prove(challenge(1))));
    for event in [
        DeskEvent::ControlUp,
        edge(),
        DeskEvent::CardRead(Box::new(card(1))),
    ] {
        handle(&mut desk, event);
    }
    let actions = handle(&mut desk, prove);
    assert!(
        matches!(
            &actions[..],
            [
                Action::Mark(ReceiptStage::Challenged),
                Action::Prove { number: 1, .. }
            ]
        ),
        "{actions:?}"
    );
    desk
}

fn pin_wanted(desk: &mut Desk, wrong: bool) {
    let (number, tries) = (1, 3);
    let wanted = DeskEvent::PinWanted {
        number,
        tries,
        wrong,
    };
    assert_eq!(handle(desk, wanted), []);
    assert!(desk.proving().pin().is_some());
}

fn no_proof(why: ProofFailure) -> Action {
    Action::Send(ToBroker::NoProof { seq: 1, why })
}

#[test]
fn pin_goes_to_the_card_and_the_proof_to_the_broker() {
    let mut desk = proving();
    pin_wanted(&mut desk, false);
    let keys = [1, 2, 3, 4, 5].map(PinKey::Digit);
    for key in keys {
        assert_eq!(handle(&mut desk, DeskEvent::PinKey(key)), []);
    }
    // Too short for any card.
    assert_eq!(handle(&mut desk, DeskEvent::PinKey(PinKey::Enter)), []);
    assert!(desk.proving().pin().unwrap().was_short());
    handle(&mut desk, DeskEvent::PinKey(PinKey::Digit(6)));
    let actions = handle(&mut desk, DeskEvent::PinKey(PinKey::Enter));
    let mut pin = Pin::default();
    (1..=6).for_each(|digit| pin.push(digit));
    assert_eq!(actions, [Action::GivePin { number: 1, pin }]);
    let proof = Box::new(Proof {
        seq: 1,
        algorithm: Algorithm::EcdsaP256Sha256,
        signature: List::default(),
        certificate: List::default(),
    });
    let made = |number| DeskEvent::Proved {
        number,
        result: Ok(proof.clone()),
    };
    assert_eq!(handle(&mut desk, made(2)), [], "of another challenge");
    let actions = handle(&mut desk, made(1));
    let sent = Action::Send(ToBroker::Proof(*proof.clone()));
    assert_eq!(actions, [Action::Mark(ReceiptStage::ProofMade), sent]);
    assert_eq!(handle(&mut desk, made(1)), [], "once");
}

#[test]
fn person_who_gives_no_pin_is_reported_and_can_say_so_after_a_wrong_one() {
    for (wrong, why) in [(false, ProofFailure::NoPin), (true, ProofFailure::PinWrong)] {
        let mut desk = proving();
        pin_wanted(&mut desk, wrong);
        let actions = handle(&mut desk, DeskEvent::GiveUp);
        assert_eq!(actions, [Action::StopProof, no_proof(why)]);
    }
}

#[test]
fn card_pulled_while_it_proves_itself_ends_that_and_nothing_is_answered() {
    let mut desk = proving();
    pin_wanted(&mut desk, false);
    let actions = handle(&mut desk, DeskEvent::CardGone);
    let gone = Action::Send(ToBroker::CardRemoved { seq: 1 });
    assert_eq!(actions, [Action::StopProof, gone]);
}

#[test]
fn broken_control_link_ends_a_proof_that_was_made_for_it() {
    let mut desk = proving();
    let down = DeskEvent::ControlDown(String::new());
    assert_eq!(handle(&mut desk, down), [Action::StopProof]);
    let actions = handle(&mut desk, DeskEvent::ControlUp);
    assert!(matches!(
        &actions[..],
        [Action::Send(ToBroker::CardInserted { seq: 1, .. })]
    ));
}

#[test]
fn card_on_the_screen_of_a_session_can_prove_itself_without_parting() {
    let mut desk = attached();
    let prove = DeskEvent::FromBroker(Box::new(ToTerminal::Prove(challenge(1))));
    assert!(matches!(
        handle(&mut desk, prove)[..],
        [Action::Mark(ReceiptStage::Challenged), Action::Prove { .. }]
    ));
    pin_wanted(&mut desk, false);
    assert!(matches!(desk.stage(), Stage::Attached { .. }));
}

#[test]
fn digits_are_where_they_are_on_every_keyboard() {
    let row = [11, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    let keypad = [82, 79, 80, 81, 75, 76, 77, 71, 72, 73];
    for (digit, (row, keypad)) in row.into_iter().zip(keypad).enumerate() {
        for code in [row, keypad] {
            assert!(
                PinKey::from_code(code) == Some(PinKey::Digit(digit as u8)),
                "{code}"
            );
        }
    }
    let digits = (0..768).filter(|code| matches!(PinKey::from_code(*code), Some(PinKey::Digit(_))));
    assert_eq!(digits.count(), 20);
    assert_eq!(format!("{:?}", PinKey::Digit(7)), "PinKey(…)");
}

/// A desk at which somebody without a card is in the middle of it.
fn logged_in() -> Desk {
    let mut desk = Desk::default();
    handle(&mut desk, DeskEvent::ControlUp);
    let actions = handle(&mut desk, DeskEvent::Login);
    assert_eq!(
        actions,
        [
            Action::BeginReceipt,
            Action::Send(ToBroker::Login { seq: 1 })
        ]
    );
    desk
}

#[test]
fn person_without_a_card_logs_in_and_leaves() {
    let mut desk = logged_in();
    let gone = Action::Send(ToBroker::CardRemoved { seq: 1 });
    let actions = handle(&mut desk.clone(), DeskEvent::GiveUp);
    assert_eq!(actions[..], [gone.clone()][..]);
    handle(
        &mut desk,
        DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, 7)))),
    );
    handle(&mut desk, DeskEvent::SessionAttached(AttachId(7)));
    // The person's session takes the place of the one in which they logged in.
    let next = DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, 8))));
    assert_eq!(
        handle(&mut desk, next)[0],
        Action::Leave(DetachReason::LinkLost)
    );
    handle(&mut desk, DeskEvent::SessionAttached(AttachId(8)));
    // Escape is the session's, and there is no card that could go.
    assert_eq!(handle(&mut desk, DeskEvent::GiveUp), []);
    assert_eq!(handle(&mut desk, DeskEvent::CardGone), []);
    let actions = handle(&mut desk, DeskEvent::LeaveSession);
    assert_eq!(actions, [Action::Leave(DetachReason::ByPerson), gone]);
    assert_eq!(desk.stage(), &Stage::Empty);
}

#[test]
fn desktop_that_comes_back_by_itself_has_a_receipt_of_its_own() {
    let begins = |actions: &[Action]| actions.contains(&Action::MendReceipt);
    let offer = |id| DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, id))));
    let mut desk = logged_in();
    // The first attach is of the edge's own receipt.
    assert!(!begins(&handle(&mut desk, offer(7))));
    assert!(!begins(&handle(
        &mut desk,
        DeskEvent::SessionAttached(AttachId(7))
    )));
    // From the moment that the link is lost.
    let lost = DeskEvent::SessionEnded(AttachId(7), DetachReason::LinkLost);
    assert!(begins(&handle(&mut desk, lost)));
    assert!(!begins(&handle(&mut desk, offer(8))));
    handle(&mut desk, DeskEvent::SessionAttached(AttachId(8)));
    // The session has noticed before we have.
    assert!(begins(&handle(&mut desk, offer(9))));
    handle(&mut desk, DeskEvent::SessionAttached(AttachId(9)));
    // What somebody wanted is mended by nobody.
    let ended = DeskEvent::SessionEnded(AttachId(9), DetachReason::SessionEnded);
    assert!(!begins(&handle(&mut desk, ended)));
}

#[test]
fn person_who_leaves_from_within_leaves_an_idle_terminal() {
    let mut desk = logged_in();
    handle(
        &mut desk,
        DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, 7)))),
    );
    handle(&mut desk, DeskEvent::SessionAttached(AttachId(7)));
    let reason = DetachReason::ByPerson;
    let gone = [
        Action::Leave(reason.clone()),
        Action::Send(ToBroker::CardRemoved { seq: 1 }),
    ];
    let attach_id = AttachId(7);
    let by_broker = ToTerminal::Detach { attach_id, reason };
    let mut other = desk.clone();
    let by_broker = DeskEvent::FromBroker(Box::new(by_broker));
    assert_eq!(handle(&mut desk, by_broker), gone);
    assert_eq!(desk.stage(), &Stage::Empty);
    // The session's own word for it may come first.
    let by_session = DeskEvent::SessionEnded(attach_id, DetachReason::ByPerson);
    assert_eq!(handle(&mut other, by_session)[1..], gone);
    assert_eq!(other.stage(), &Stage::Empty);
}

#[test]
fn session_that_ends_under_a_login_waits_for_what_the_broker_makes_of_it() {
    let mut desk = logged_in();
    handle(
        &mut desk,
        DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, 7)))),
    );
    handle(
        &mut desk,
        DeskEvent::SessionEnded(AttachId(7), DetachReason::SessionEnded),
    );
    let next = DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, 8))));
    let actions = handle(&mut desk, next);
    assert!(matches!(actions[1], Action::Join(_)), "{actions:?}");
}

#[test]
fn card_takes_the_place_of_a_person_without_one() {
    let mut desk = logged_in();
    handle(
        &mut desk,
        DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, 7)))),
    );
    let actions = handle(&mut desk, edge());
    assert_eq!(actions[0], Action::Leave(DetachReason::CardRemoved));
    let late = DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, 8))));
    assert_eq!(handle(&mut desk, late), []);
}

#[test]
fn desktop_that_its_person_left_comes_back_when_they_ask() {
    let mut desk = attached();
    let actions = handle(&mut desk, DeskEvent::LeaveSession);
    let reason = DetachReason::ByPerson;
    let (attach_id, why) = (AttachId(7), reason.clone());
    let told = Action::Send(ToBroker::LinkEnded {
        attach_id,
        reason: why,
    });
    assert_eq!(actions, [Action::Leave(reason), told]);
    // Not by itself, even when the broker comes anew.
    assert_eq!(handle(&mut desk, DeskEvent::ControlUp), []);
    let actions = handle(&mut desk, DeskEvent::Retry);
    assert!(matches!(
        actions[1],
        Action::Send(ToBroker::CardInserted { seq: 2, .. })
    ));
}

#[test]
fn desktop_goes_over_to_a_better_link_without_leaving_the_screen() {
    let mut desk = attached();
    let (attach_id, reason) = (AttachId(7), DetachReason::LinkLost);
    let ask = Action::Send(ToBroker::LinkEnded { attach_id, reason });
    assert_eq!(handle(&mut desk, DeskEvent::BetterLink(AttachId(6))), []);
    assert_eq!(handle(&mut desk, DeskEvent::BetterLink(AttachId(7))), [ask]);
    let another = || DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, 8))));
    let actions = handle(&mut desk, another());
    assert_eq!(
        actions,
        [
            Action::MendReceipt,
            Action::Mark(ReceiptStage::AttachReceived),
            Action::Change(Box::new(attach(1, 8))),
        ]
    );
    // Keys go on being the session's, whatever the new link is doing.
    assert!(matches!(desk.stage(), Stage::Attached { .. }));
    assert_eq!(desk.attach(), Some(AttachId(8)));
    assert_eq!(
        handle(&mut desk, DeskEvent::SessionAttached(AttachId(8))),
        [Action::Mark(ReceiptStage::Attached)]
    );
    // The end of the former link is nobody's business, that of the new one is.
    let ended = |id| DeskEvent::SessionEnded(AttachId(id), DetachReason::LinkLost);
    assert_eq!(handle(&mut desk, ended(7)), []);
    assert!(handle(&mut desk, ended(8)).contains(&Action::Leave(DetachReason::LinkLost)));
}

#[test]
fn attach_that_was_asked_for_a_better_link_is_an_ordinary_one_where_the_first_has_broken() {
    let mut desk = attached();
    handle(&mut desk, DeskEvent::BetterLink(AttachId(7)));
    let ended = DeskEvent::SessionEnded(AttachId(7), DetachReason::LinkLost);
    assert!(handle(&mut desk, ended).contains(&Action::Leave(DetachReason::LinkLost)));
    let another = |id| DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, id))));
    let joins = |actions: &[Action]| matches!(actions.last(), Some(Action::Join(_)));
    assert!(joins(&handle(&mut desk, another(8))));
    handle(&mut desk, DeskEvent::SessionAttached(AttachId(8)));
    // That wish is of the past.
    let actions = handle(&mut desk, another(9));
    assert!(joins(&actions) && actions.contains(&Action::Leave(DetachReason::LinkLost)));
}

#[test]
fn better_link_waits_for_the_broker_and_for_a_proof() {
    let mut desk = attached();
    handle(&mut desk, DeskEvent::ControlDown("gone".to_owned()));
    assert_eq!(handle(&mut desk, DeskEvent::BetterLink(AttachId(7))), []);
    handle(&mut desk, DeskEvent::ControlUp);
    let prove = DeskEvent::FromBroker(Box::new(ToTerminal::Prove(challenge(1))));
    handle(&mut desk, prove);
    assert_eq!(handle(&mut desk, DeskEvent::BetterLink(AttachId(7))), []);
}

fn any_event() -> impl Strategy<Value = DeskEvent> {
    let reason = prop_oneof![
        Just(DetachReason::LinkLost),
        Just(DetachReason::SessionEnded),
        Just(DetachReason::MovedElsewhere {
            terminal: "b".into()
        }),
    ];
    let from_broker = |message| DeskEvent::FromBroker(Box::new(message));
    prop_oneof![
        Just(DeskEvent::ControlUp),
        Just(DeskEvent::ControlDown("x".to_owned())),
        Just(edge()),
        (0u8..3).prop_map(|n| DeskEvent::CardRead(Box::new(card(n)))),
        Just(DeskEvent::CardUnreadable(Unreadable::Mute)),
        Just(DeskEvent::CardGone),
        (0u32..5, 0u64..5)
            .prop_map(move |(seq, id)| { from_broker(ToTerminal::Attach(attach(seq, id))) }),
        (0u32..5).prop_map(move |seq| {
            from_broker(ToTerminal::Starting {
                seq,
                person: "alice".into(),
            })
        }),
        (0u64..5, reason.clone()).prop_map(move |(id, reason)| {
            from_broker(ToTerminal::Detach {
                attach_id: AttachId(id),
                reason,
            })
        }),
        (0u64..5).prop_map(|id| DeskEvent::SessionAttached(AttachId(id))),
        (0u64..5).prop_map(|id| DeskEvent::BetterLink(AttachId(id))),
        (0u64..5, reason).prop_map(|(id, reason)| DeskEvent::SessionEnded(AttachId(id), reason)),
        Just(DeskEvent::Retry),
        Just(DeskEvent::Login),
        Just(DeskEvent::GiveUp),
        Just(DeskEvent::LeaveSession),
        (0u32..5).prop_map(move |seq| from_broker(ToTerminal::Prove(challenge(seq)))),
        (0u32..5, 2u8..4).prop_map(|(number, tries)| DeskEvent::PinWanted {
            number,
            tries,
            wrong: false
        }),
        (0u32..5).prop_map(|number| DeskEvent::Proved {
            number,
            result: Err(ProofFailure::CardFailed)
        }),
        (0u8..12).prop_map(|key| DeskEvent::PinKey(match key {
            10 => PinKey::Erase,
            11 => PinKey::Enter,
            digit => PinKey::Digit(digit),
        })),
    ]
}

proptest! {
    #[test]
    fn no_session_is_ever_left_open_without_a_card(
        events in prop::collection::vec(any_event(), 0..60)
    ) {
        let mut desk = Desk::default();
        let mut joined = false;
        for event in events {
            let person = desk.present() == Some(&Present::Person);
            let pulled = event == DeskEvent::CardGone && !person;
            for action in handle(&mut desk, event) {
                match action {
                    Action::Join(_) => {
                        prop_assert!(!joined, "a second session beside the first");
                        joined = true;
                    }
                    Action::Change(_) => prop_assert!(joined, "nothing to change"),
                    Action::Leave(_) => {
                        prop_assert!(joined, "nothing to leave");
                        joined = false;
                    }
                    Action::Send(_) => prop_assert!(desk.control().is_ok()),
                    Action::Prove { .. } => {
                        prop_assert_ne!(desk.present().unwrap_or(&Present::Person), &Present::Person);
                    }
                    Action::GivePin { .. } => prop_assert_ne!(desk.proving(), &Proving::No),
                    Action::StopProof => {}
                    Action::Mark(_)
                    | Action::BeginReceipt
                    | Action::MendReceipt
                    | Action::Forget => {}
                }
            }
            prop_assert_eq!(joined, desk.attach().is_some());
            if desk.proving() != &Proving::No {
                prop_assert_ne!(desk.present().unwrap_or(&Present::Person), &Present::Person);
                prop_assert!(desk.control().is_ok(), "a proof is good on one link only");
            }
            if pulled {
                prop_assert_eq!(desk.stage(), &Stage::Empty);
                prop_assert!(!joined);
            }
        }
    }
}

#[test]
fn desktop_that_was_offered_again_while_its_person_left_stays_left() {
    let mut desk = attached();
    let left = handle(&mut desk, DeskEvent::LeaveSession);
    assert!(
        left.contains(&Action::Leave(DetachReason::ByPerson)),
        "{left:?}"
    );
    let before = desk.stage().clone();
    let late = DeskEvent::FromBroker(Box::new(ToTerminal::Attach(attach(1, 8))));
    let actions = handle(&mut desk, late);
    let (attach_id, reason) = (AttachId(8), DetachReason::ByPerson);
    assert_eq!(
        actions,
        [Action::Send(ToBroker::LinkEnded { attach_id, reason })]
    );
    assert_eq!(desk.stage(), &before);
}

use heliostat_wire::List;
use heliostat_wire::card::CardKind;
use heliostat_wire::id::{KeyPin, Ticket};
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
        (0u64..5, reason).prop_map(|(id, reason)| DeskEvent::SessionEnded(AttachId(id), reason)),
        Just(DeskEvent::Retry),
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
            let pulled = event == DeskEvent::CardGone;
            for action in handle(&mut desk, event) {
                match action {
                    Action::Join(_) => {
                        prop_assert!(!joined, "a second session beside the first");
                        joined = true;
                    }
                    Action::Leave(_) => {
                        prop_assert!(joined, "nothing to leave");
                        joined = false;
                    }
                    Action::Send(_) => prop_assert!(desk.control().is_ok()),
                    Action::Mark(_) | Action::BeginReceipt | Action::Forget => {}
                }
            }
            prop_assert_eq!(joined, desk.attach().is_some());
            if pulled {
                prop_assert_eq!(desk.stage(), &Stage::Empty);
                prop_assert!(!joined);
            }
        }
    }
}

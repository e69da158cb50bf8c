use heliostat_wire::control::{LoginOffer, ToTerminal};
use heliostat_wire::proof::{Challenge, ProofKey, Purpose};

use super::*;
use crate::card::card_from_id;
use crate::compose::Target;
use crate::desk::{DeskEvent, PinKey};
use crate::geometry::Rect;
use crate::text::Fonts;

fn around() -> Surroundings {
    Surroundings {
        terminal: TerminalState {
            stage: BootStage::Ready,
            ..TerminalState::default()
        },
        name: "desk-a".to_owned(),
        site: "Lab".to_owned(),
        control: None,
        readers: Some(1),
        card_service: true,
        another_card: false,
        login: LoginOffer::None,
    }
}

fn desk(events: Vec<DeskEvent>) -> Desk {
    let mut desk = Desk::default();
    for event in events {
        desk.handle(event, &mut Vec::new());
    }
    desk
}

fn with_card(answer: ToTerminal) -> Desk {
    desk(vec![
        DeskEvent::ControlUp,
        DeskEvent::CardEdge {
            reader: "r".to_owned(),
        },
        DeskEvent::CardRead(Box::new(card_from_id("piv:00"))),
        DeskEvent::FromBroker(Box::new(answer)),
    ])
}

#[test]
fn idle_screen_asks_for_a_card() {
    let screen = plan(&desk(vec![DeskEvent::ControlUp]), &around());
    assert_eq!(screen.headline, "Insert your card");
    assert_eq!((screen.code, screen.picture), (None, Picture::InsertCard));
    assert!(screen.online);
}

#[test]
fn card_in_a_second_reader_is_spoken_of_where_the_first_is_of_no_use() {
    let both = Surroundings {
        another_card: true,
        ..around()
    };
    let refused = |around| {
        let answer = ToTerminal::CardRefused {
            seq: 1,
            reason: CardRefusal::Unknown,
            text: "Ask.".into(),
        };
        plan(&with_card(answer), around).detail
    };
    assert!(refused(&both).contains("second reader"));
    assert!(!refused(&around()).contains("second reader"));
    let idle = plan(&desk(vec![DeskEvent::ControlUp]), &both);
    assert!(!idle.detail.contains("second reader"));
}

#[test]
fn every_obstacle_has_its_code() {
    let booting = |stage, code| {
        let mut around = around();
        around.terminal.stage = stage;
        around.terminal.code = code;
        plan(&Desk::default(), &around)
    };
    let cable = booting(BootStage::Cable, Some(Code::NoCable));
    assert_eq!(cable.code, Some(Code::NoCable));
    assert!(!cable.online && !cable.detail.is_empty());
    let key = booting(BootStage::Failed, Some(Code::NoSiteKey));
    assert_eq!(key.headline, "No site key");
    let mut wrong = around();
    wrong.control = Some((Code::VersionMismatch, "update the older one".to_owned()));
    assert_eq!(
        plan(&Desk::default(), &wrong).code,
        Some(Code::VersionMismatch)
    );
    let mut dead = around();
    dead.card_service = false;
    let idle = desk(vec![DeskEvent::ControlUp]);
    assert_eq!(plan(&idle, &dead).code, Some(Code::NoCardService));
    let mut bare = around();
    bare.readers = Some(0);
    assert_eq!(plan(&idle, &bare).code, Some(Code::NoReader));
}

#[test]
fn refusals_offer_a_retry_only_where_one_may_help() {
    let refused = |reason| {
        let text = "ask the desk".into();
        plan(
            &with_card(ToTerminal::CardRefused {
                seq: 1,
                reason,
                text,
            }),
            &around(),
        )
    };
    assert!(refused(CardRefusal::SessionFailed).detail.contains("Enter"));
    assert!(!refused(CardRefusal::Unknown).detail.contains("Enter"));
    assert_eq!(refused(CardRefusal::Unknown).code, Some(Code::CardUnknown));
}

fn asking_for_a_pin(wrong: bool, digits: u8) -> Desk {
    let challenge = Challenge {
        seq: 1,
        nonce: [0; 32],
        purpose: Purpose::Attach,
        key: ProofKey::PivAuthentication,
        want_certificate: false,
    };
    let mut desk = with_card(ToTerminal::Prove(challenge));
    let (number, tries) = (1, if wrong { 2 } else { 3 });
    let wanted = DeskEvent::PinWanted {
        number,
        tries,
        wrong,
    };
    desk.handle(wanted, &mut Vec::new());
    for digit in 1..=digits {
        let key = DeskEvent::PinKey(PinKey::Digit(digit));
        desk.handle(key, &mut Vec::new());
    }
    desk
}

#[test]
fn screen_for_a_pin_shows_how_many_digits_there_are_and_how_many_tries() {
    let screen = plan(&asking_for_a_pin(false, 4), &around());
    assert_eq!(
        (screen.headline.as_str(), screen.digits),
        ("Type your PIN", Some(4))
    );
    assert!(screen.detail.contains("2 tries"), "{}", screen.detail);
    let empty = plan(&asking_for_a_pin(false, 0), &around());
    assert_ne!(screen, empty);
    assert_eq!(screen.without_digits(), empty.without_digits());
    let wrong = plan(&asking_for_a_pin(true, 0), &around());
    assert!(wrong.detail.contains("wrong") && wrong.detail.contains("one try"));
}

#[test]
fn card_is_said_to_be_checked_also_under_a_locked_desktop() {
    let locked = ToTerminal::CardRefused {
        seq: 1,
        reason: CardRefusal::Locked,
        text: "Your desktop is locked".into(),
    };
    let mut desk = with_card(locked);
    assert_eq!(plan(&desk, &around()).headline, "Your desktop is locked");
    let challenge = Challenge {
        seq: 1,
        nonce: [0; 32],
        purpose: Purpose::Attach,
        key: ProofKey::PivAuthentication,
        want_certificate: false,
    };
    let asked = DeskEvent::FromBroker(Box::new(ToTerminal::Prove(challenge)));
    desk.handle(asked, &mut Vec::new());
    assert_eq!(plan(&desk, &around()).headline, "Checking your card");
}

#[test]
fn login_is_offered_only_where_the_broker_does() {
    let offering = Surroundings {
        login: LoginOffer::Offered,
        ..around()
    };
    let idle = desk(vec![DeskEvent::ControlUp]);
    assert!(plan(&idle, &offering).hint.contains("log in"));
    assert!(!plan(&idle, &around()).hint.contains("log in"));
    let readerless = Surroundings {
        readers: Some(0),
        ..offering.clone()
    };
    assert!(plan(&idle, &readerless).hint.contains("log in"));
    assert_eq!(plan(&Desk::default(), &offering).hint, "");
}

#[test]
fn every_screen_fits_every_size() {
    let text = "a rather long sentence that has to be broken into several lines ".repeat(6);
    let long = ToTerminal::CardRefused {
        seq: 1,
        reason: CardRefusal::SessionFailed,
        text: text.as_str().into(),
    };
    let fonts = Fonts::load();
    for desk in [
        Desk::default(),
        desk(vec![DeskEvent::ControlUp]),
        with_card(long),
        asking_for_a_pin(true, 5),
        desk(vec![DeskEvent::ControlUp, DeskEvent::Login]),
    ] {
        let screen = plan(&desk, &around());
        for (w, h) in [(1, 1), (64, 48), (640, 480), (480, 800), (1920, 1080)] {
            let mut pixels = vec![0x12_34_56_78; (w * h) as usize];
            let bounds = Rect::of_size(w, h);
            draw(
                &screen,
                &fonts,
                &mut Target {
                    pixels: &mut pixels,
                    stride: w as usize,
                    bounds,
                },
            );
            assert!(
                pixels.iter().all(|pixel| *pixel != 0x12_34_56_78),
                "all of it is painted"
            );
        }
    }
}

use heliostat_control::greetd::{GreeterContext, Request, Response};

use super::*;
use crate::login::Key;
use crate::scene::Pixels;

fn asked(context: GreeterContext, typed: &str) -> Login {
    let mut login = Login::default();
    login.set_context(context);
    login.connected();
    login.answered(Response::Success);
    if login.context.person.is_none() {
        login.key(Key::Text("ann".to_owned()));
        login.key(Key::Enter);
    }
    login.answered(Response::AuthMessage {
        auth_message_type: heliostat_control::greetd::AuthMessageType::Secret,
        auth_message: "Password:".to_owned(),
    });
    login.key(Key::Text(typed.to_owned()));
    login.set_caps_lock(true);
    login
}

fn full() -> GreeterContext {
    GreeterContext {
        site: "St. Ægidius' Klinik, Haus 7, 病院, بيت".to_owned(),
        terminal: "reception-desk-with-a-long-name-17".to_owned(),
        card: CardState::Unknown,
        enrol: Enrol::Approval,
        person: Some("Frau Dr. Wolfeschlegelsteinhausenbergerdorff-Müller".to_owned()),
        message: Some("The desktop asks for your password again. ".repeat(3)),
        desktops: vec!["plain".to_owned(), "full".to_owned()],
        layouts: vec!["us".to_owned(), "de".to_owned()],
    }
}

fn around() -> Around {
    Around {
        time: "17:45".to_owned(),
        date: "Saturday, 21 November".to_owned(),
        step: 0,
    }
}

#[test]
fn everything_is_on_the_screen_however_small_it_is() {
    let mut fonts = Fonts::new();
    for (size, scale) in [
        ((1920, 1080), 1.0),
        ((800, 600), 1.0),
        ((800, 600), 2.0),
        ((640, 480), 1.0),
        ((3840, 2160), 2.0),
        ((1080, 1920), 1.25),
        ((320, 200), 1.0),
        ((1, 1), 1.0),
    ] {
        let login = asked(full(), "secret");
        let page = lay_out(&login, &around(), size, scale, &mut fonts);
        let (w, h) = (size.0 as f32 + 0.5, size.1 as f32 + 0.5);
        assert_eq!(page.targets.len(), login.controls().len());
        for (control, area) in &page.targets {
            let inside = area.x >= 0.0 && area.y >= 0.0 && area.x + area.w <= w;
            let inside = inside && area.y + area.h <= h;
            assert!(
                inside || size == (1, 1),
                "{control:?} at {area:?} of {size:?}"
            );
        }
    }
}

#[test]
fn targets_are_large_enough_and_apart() {
    let mut fonts = Fonts::new();
    let login = asked(full(), "");
    let page = lay_out(&login, &around(), (1920, 1200), 1.0, &mut fonts);
    for (control, area) in &page.targets {
        let least = if *control == Control::Reveal {
            30.0
        } else {
            44.0
        };
        assert!(area.h >= least && area.w >= 44.0, "{control:?}: {area:?}");
    }
    for (at, (one, a)) in page.targets.iter().enumerate() {
        for (other, b) in &page.targets[at + 1..] {
            let apart =
                a.y + a.h <= b.y || b.y + b.h <= a.y || a.x + a.w <= b.x || b.x + b.w <= a.x;
            let within = (*one, *other) == (Control::Answer, Control::Reveal);
            assert!(apart || within, "{one:?} and {other:?}");
        }
    }
}

#[test]
fn a_password_is_in_none_of_the_words() {
    let mut fonts = Fonts::new();
    let login = asked(GreeterContext::default(), "hunter2");
    let page = lay_out(&login, &around(), (1280, 800), 1.0, &mut fonts);
    let shown = format!("{page:?}");
    assert!(!shown.contains("hunter2"));
    assert!(shown.contains(&"•".repeat(7)));
}

#[test]
fn a_letter_more_changes_little() {
    let mut fonts = Fonts::new();
    let screen = (1920, 1080);
    let before = lay_out(&asked(full(), "secre"), &around(), screen, 1.0, &mut fonts);
    let after = lay_out(&asked(full(), "secret"), &around(), screen, 1.0, &mut fonts);
    let changed = crate::scene::changed(&before.things, &after.things, screen).unwrap();
    assert!(changed.w() < 500 && changed.h() < 60, "{changed:?}");
}

#[test]
fn long_text_keeps_its_caret_in_the_field() {
    let mut fonts = Fonts::new();
    for text in [
        "a".repeat(200),
        "م".repeat(200),
        "語".repeat(100),
        "aم".repeat(90),
    ] {
        let mut login = Login::default();
        login.connected();
        login.key(Key::Text(text));
        for key in [Key::End, Key::Left, Key::Home] {
            login.key(key);
            let page = lay_out(&login, &around(), (1280, 800), 1.0, &mut fonts);
            let field = page.targets[0].1;
            let caret = page.things.iter().rev().find_map(|thing| match thing {
                Thing::Box {
                    area, fill: SUN, ..
                } if area.w < 4.0 => Some(*area),
                _ => None,
            });
            let caret = caret.expect("the field has the focus");
            assert!(field.contains(caret.x, caret.y), "{caret:?} in {field:?}");
        }
    }
}

#[test]
fn scripts_of_all_directions_are_painted() {
    let mut fonts = Fonts::new();
    let screen = (800, 600);
    let login = asked(full(), "x");
    let page = lay_out(&login, &around(), screen, 1.0, &mut fonts);
    let pixels = crate::paint::paint(&page.things, screen, Pixels::all(screen), &mut fonts);
    assert_eq!(pixels.len(), 800 * 600);
    let pale = pixels.iter().filter(|pixel| **pixel == PALE).count();
    assert!(pale > 100, "{pale}");
    let effects = { login }.effects();
    assert!(effects.iter().all(|effect| !matches!(
        effect,
        crate::login::Effect::Send(Request::HeliostatContext { .. })
    )));
}

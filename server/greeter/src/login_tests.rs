use heliostat_control::greetd::{CardState, Choices};
use proptest::prelude::*;

use super::*;

fn at_name() -> Login {
    let mut login = Login::default();
    login.connected();
    assert_eq!(login.effects(), [Effect::Send(Request::CancelSession)]);
    login.answered(Response::Success);
    login
}

fn of(context: GreeterContext) -> Login {
    let mut login = Login::default();
    login.set_context(context);
    login.connected();
    login.effects();
    login.answered(Response::Success);
    login
}

fn typed(login: &mut Login, text: &str) -> Vec<Effect> {
    login.key(Key::Text(text.to_owned()));
    login.key(Key::Enter);
    login.effects()
}

fn create(name: &str) -> Effect {
    let username = name.to_owned();
    Effect::Send(Request::CreateSession { username })
}

fn post(text: Option<&str>) -> Effect {
    let response = text.map(|text| Secret::new(text.to_owned()));
    Effect::Send(Request::PostAuthMessageResponse { response })
}

fn says(kind: AuthMessageType, text: &str) -> Response {
    Response::AuthMessage {
        auth_message_type: kind,
        auth_message: text.to_owned(),
    }
}

fn refuses(error_type: ErrorType, text: &str) -> Response {
    Response::Error {
        error_type,
        description: text.to_owned(),
    }
}

fn at_password() -> Login {
    let mut login = at_name();
    assert_eq!(typed(&mut login, "ann"), [create("ann")]);
    login.answered(says(AuthMessageType::Secret, "Password: "));
    let stage = Stage::Asked {
        prompt: "Password".to_owned(),
        secret: true,
    };
    assert_eq!(login.stage, stage);
    login
}

fn words(login: &Login) -> Vec<&str> {
    login.notices.iter().map(|notice| &*notice.text).collect()
}

#[test]
fn name_and_password_lead_to_the_desktop_with_what_was_chosen() {
    let mut login = at_password();
    login.set_context(GreeterContext {
        card: CardState::Unknown,
        enrol: Enrol::Offer,
        ..GreeterContext::default()
    });
    assert_eq!(typed(&mut login, "secret"), [post(Some("secret"))]);
    assert!(login.answer.text().is_empty());
    login.enrol = true;
    login.answered(Response::Success);
    let effects = login.effects();
    let [Effect::Send(Request::StartSession { heliostat, .. })] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert!(heliostat.as_ref().unwrap().enrol);
    login.answered(Response::Success);
    assert_eq!(login.stage, Stage::Welcome);
    login.lost("gone");
    assert_eq!(login.stage, Stage::Welcome);
}

#[test]
fn wrong_password_is_said_in_the_words_of_pam_and_asked_for_again() {
    let mut login = at_password();
    typed(&mut login, "wrong");
    login.answered(refuses(ErrorType::AuthError, "Authentication failure"));
    assert_eq!(login.effects(), [create("ann")]);
    login.answered(says(AuthMessageType::Secret, "Password: "));
    assert_eq!(words(&login), ["Authentication failure"]);
    assert_eq!(login.focus, Control::Answer);
    assert!(login.answer.text().is_empty());
    // The next answer takes it away.
    typed(&mut login, "right");
    assert!(login.notices.is_empty());
}

#[test]
fn refusal_without_a_question_is_not_asked_for_again() {
    let mut login = at_name();
    typed(&mut login, "bob");
    login.answered(refuses(ErrorType::AuthError, "Only ann may log in here."));
    assert_eq!(login.effects(), []);
    assert_eq!(login.stage, Stage::Name);
    assert_eq!(words(&login), ["Only ann may log in here."]);
    assert_eq!(login.name.text(), "bob");
}

#[test]
fn words_that_want_no_answer_are_shown_with_the_question_that_comes() {
    let mut login = at_password();
    typed(&mut login, "old");
    login.answered(says(
        AuthMessageType::Info,
        "You must change your password.",
    ));
    assert_eq!(login.effects(), [post(None)]);
    login.answered(says(AuthMessageType::Secret, "New password: "));
    assert_eq!(words(&login), ["You must change your password."]);
    assert_eq!(typed(&mut login, "new"), [post(Some("new"))]);
    login.answered(says(AuthMessageType::Error, "It is too short."));
    assert_eq!(login.effects(), [post(None)]);
    assert_eq!(login.notices[0].tone, Tone::Bad);
}

#[test]
fn escape_starts_over_and_late_answers_are_passed_over() {
    let mut login = at_password();
    typed(&mut login, "secret");
    login.key(Key::Escape);
    assert_eq!(login.effects(), [Effect::Send(Request::CancelSession)]);
    assert_eq!(login.stage, Stage::Name);
    assert!(login.name.text().is_empty());
    assert_eq!(typed(&mut login, "bob"), [create("bob")]);
    // What ann's login has come to, the cancel, then bob's question.
    login.answered(Response::Success);
    login.answered(Response::Success);
    assert_eq!(login.effects(), []);
    assert!(login.is_waiting());
    login.answered(says(AuthMessageType::Visible, "Code"));
    let prompt = "Code".to_owned();
    let secret = false;
    assert_eq!(login.stage, Stage::Asked { prompt, secret });
}

#[test]
fn escape_leaves_where_there_is_nothing_to_start_over() {
    let mut login = at_password();
    login.key(Key::Escape);
    assert_eq!(login.effects(), [Effect::Send(Request::CancelSession)]);
    login.key(Key::Escape);
    assert_eq!(login.effects(), [Effect::Leave]);
    // Somebody who need not say who they are leaves from the first question.
    let ann = GreeterContext {
        person: Some("ann".to_owned()),
        ..GreeterContext::default()
    };
    let mut login = Login::default();
    login.set_context(ann);
    login.connected();
    login.answered(Response::Success);
    login.answered(says(AuthMessageType::Secret, "Password: "));
    login.effects();
    login.key(Key::Text("x".to_owned()));
    login.key(Key::Escape);
    let again = [Effect::Send(Request::CancelSession), create("ann")];
    assert_eq!(login.effects(), again);
    login.answered(Response::Success);
    login.answered(says(AuthMessageType::Secret, "Password: "));
    login.key(Key::Escape);
    let leaves = [Effect::Send(Request::CancelSession), Effect::Leave];
    assert_eq!(login.effects(), leaves);
}

#[test]
fn fixed_person_is_not_asked_for_a_name() {
    let ann = GreeterContext {
        person: Some("ann".to_owned()),
        ..GreeterContext::default()
    };
    let mut login = Login::default();
    login.set_context(ann.clone());
    login.connected();
    let effects = login.effects();
    assert_eq!(
        effects,
        [Effect::Send(Request::CancelSession), create("ann")]
    );
    login.answered(Response::Success);
    // Refused before anything was asked: only a person goes on from here.
    login.answered(refuses(ErrorType::AuthError, "Locked."));
    assert_eq!(login.effects(), []);
    assert_eq!(login.controls(), [Control::Go]);
    login.key(Key::Enter);
    assert_eq!(login.effects(), [create("ann")]);
    // It also holds for a context that comes late.
    let mut login = at_name();
    login.set_context(ann);
    assert_eq!(login.effects(), [create("ann")]);
}

#[test]
fn lost_socket_is_said_and_the_next_one_begins_anew() {
    let mut login = at_password();
    login.key(Key::Text("sec".to_owned()));
    login.lost("closed");
    assert_eq!(login.stage, Stage::Offline("closed".to_owned()));
    assert!(login.answer.text().is_empty());
    assert_eq!(typed(&mut login, "x"), []);
    login.connected();
    assert_eq!(login.stage, Stage::Name);
}

#[test]
fn tab_goes_round_what_there_is() {
    let mut login = of(GreeterContext {
        enrol: Enrol::Offer,
        desktops: vec!["plain".to_owned(), "full".to_owned()],
        layouts: vec!["us".to_owned(), "de".to_owned()],
        ..GreeterContext::default()
    });
    let all = login.controls();
    assert_eq!(
        all,
        [
            Control::Name,
            Control::Enrol,
            Control::Desktop,
            Control::Layout,
            Control::Go
        ]
    );
    for control in all.iter().skip(1).chain(&all[..1]) {
        login.key(Key::Tab);
        assert_eq!(login.focus, *control);
    }
    login.key(Key::BackTab);
    login.key(Key::BackTab);
    assert_eq!(login.focus, Control::Layout);
    login.key(Key::Right);
    assert_eq!(login.effects(), [Effect::Layout("de".to_owned())]);
    login.key(Key::Right);
    assert_eq!(login.effects(), [Effect::Layout("us".to_owned())]);
    login.key(Key::BackTab);
    login.key(Key::Left);
    login.key(Key::BackTab);
    login.key(Key::Text(" ".to_owned()));
    let chosen = Choices {
        enrol: true,
        desktop: Some("full".to_owned()),
        layout: Some("us".to_owned()),
    };
    assert_eq!(login.choices(), chosen);
    // Another card is another question.
    let context = login.context.clone();
    login.set_context(GreeterContext {
        card: CardState::Unknown,
        ..context
    });
    assert!(!login.enrol);
}

#[test]
fn password_can_be_looked_at_and_is_hidden_again() {
    let mut login = at_password();
    login.key(Key::Tab);
    assert_eq!(login.focus, Control::Reveal);
    login.key(Key::Enter);
    assert!(login.revealed);
    login.set_focus(Control::Answer);
    typed(&mut login, "secret");
    assert!(!login.revealed);
    assert!(!format!("{login:?}").contains("secret"));
}

proptest! {
    #[test]
    fn no_order_of_keys_and_answers_breaks_it(
        steps in proptest::collection::vec((0u8..16, ".{0,3}"), 0..80),
    ) {
        let mut login = Login::default();
        let mut unanswered = 0i64;
        for (step, text) in steps {
            match step {
                0 => {
                    login.connected();
                    unanswered = 0;
                }
                1 => {
                    login.lost(&text);
                    unanswered = 0;
                }
                2 => login.key(Key::Text(text)),
                3 | 4 => login.key(Key::Enter),
                5 => login.key(Key::Tab),
                6 => login.key(Key::Escape),
                7 => login.key(Key::Backspace),
                8 => login.set_context(GreeterContext {
                    person: (!text.is_empty()).then_some(text),
                    enrol: Enrol::Offer,
                    ..GreeterContext::default()
                }),
                9 => login.act(Control::Go),
                10 => login.act(Control::Reveal),
                _ if unanswered == 0 => {}
                _ => {
                    unanswered -= 1;
                    login.answered(match step {
                        11 => Response::Success,
                        12 => says(AuthMessageType::Secret, &text),
                        13 => says(AuthMessageType::Info, &text),
                        14 => refuses(ErrorType::AuthError, &text),
                        _ => refuses(ErrorType::Error, &text),
                    });
                }
            }
            let sent = login.effects().into_iter();
            unanswered += sent.filter(|effect| matches!(effect, Effect::Send(_))).count() as i64;
            // Whatever is waited for is on its way.
            prop_assert!(!login.is_waiting() || unanswered > 0);
            prop_assert_eq!(login.unanswered.len() as i64, unanswered);
        }
    }
}

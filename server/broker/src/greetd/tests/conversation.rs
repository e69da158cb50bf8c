use std::time::{Duration, Instant};

use heliostat_control::greetd::{Enrol, GreeterContext};
use proptest::prelude::*;

use super::super::conversation::{
    AFTER_CANCEL, ANSWER_WITHIN, Conversation, Input, Output, START_WITHIN,
};
use super::*;

/// A conversation with a clock and a context.
struct Desk {
    conversation: Conversation,
    context: GreeterContext,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        Self {
            conversation: Conversation::default(),
            context: GreeterContext::default(),
            now: Instant::now(),
        }
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.conversation.handle(self.now, &self.context, input)
    }

    fn ask(&mut self, request: Request) -> Vec<Output> {
        self.input(Input::Request(1, request))
    }

    fn hear(&mut self, word: FromWorker) -> Vec<Output> {
        self.input(Input::Worker(word))
    }

    /// As far as the question for the password.
    fn asked(&mut self) {
        assert_eq!(self.ask(create("ann")), [begun("ann")]);
        let asked = self.hear(password());
        assert_eq!(
            asked,
            [told(message(AuthMessageType::Secret, "Password: "))]
        );
    }

    /// As far as the worker's consent.
    fn let_in(&mut self) {
        self.asked();
        self.ask(post("secret"));
        assert_eq!(self.hear(authenticated("ann")), [told(Response::Success)]);
    }
}

fn begun(name: &str) -> Output {
    Output::Start(name.to_owned())
}

fn told(response: Response) -> Output {
    Output::Answer(1, response)
}

fn refused(text: &str) -> Output {
    told(refusal(ErrorType::Error, text))
}

fn denied(text: &str) -> Output {
    told(refusal(ErrorType::AuthError, text))
}

fn lost(text: &str) -> Output {
    Output::Failed {
        person: "ann".to_owned(),
        text: text.to_owned(),
    }
}

fn cancelled() -> Output {
    Output::Cancelled {
        person: "ann".to_owned(),
    }
}

fn answer(text: &str) -> Output {
    Output::Tell(Some(Secret::new(text.to_owned())))
}

#[test]
fn a_right_password_leads_to_the_desktop() {
    let mut desk = Desk::new();
    desk.asked();
    assert_eq!(desk.ask(post("secret")), [answer("secret")]);
    let success = [told(Response::Success)];
    assert_eq!(desk.hear(authenticated("ann")), success);
    let outputs = desk.ask(start());
    let logged_in = Output::LoggedIn {
        person: "ann".to_owned(),
        choices: Choices::default(),
    };
    assert_eq!(outputs, [told(Response::Success), logged_in]);
    // It happens once.
    let again = desk.ask(start());
    assert_eq!(again, [refused("nobody has logged in yet")]);
    let again = desk.ask(create("bob"));
    assert_eq!(again, [refused("somebody is logged in here already")]);
}

#[test]
fn a_wrong_password_ends_the_login_in_the_words_of_pam_and_the_next_may_begin() {
    let mut desk = Desk::new();
    desk.asked();
    desk.ask(post("wrong"));
    let outputs = desk.hear(failed("Authentication failure"));
    let words = "Authentication failure";
    assert_eq!(outputs, [Output::Stop, denied(words), lost(words)]);
    assert_eq!(desk.ask(start()), [refused("nobody has logged in yet")]);
    assert_eq!(desk.ask(create("ann")), [begun("ann")]);
}

#[test]
fn words_of_pam_are_read_before_the_login_fails_and_nothing_is_answered_to_them() {
    let mut desk = Desk::new();
    desk.asked();
    desk.ask(post("right"));
    let notice = prompt(Style::Error, "Your account has expired.");
    let shown = message(AuthMessageType::Error, "Your account has expired.");
    assert_eq!(desk.hear(notice), [told(shown)]);
    assert_eq!(desk.hear(failed("User account has expired")), []);
    let read = desk.ask(Request::PostAuthMessageResponse { response: None });
    let words = "User account has expired";
    assert_eq!(read, [Output::Stop, denied(words), lost(words)]);
}

#[test]
fn an_expired_password_is_changed_by_as_many_questions_as_pam_has() {
    let mut desk = Desk::new();
    desk.asked();
    assert_eq!(desk.ask(post("old")), [answer("old")]);
    let notice = prompt(Style::Info, "You are required to change your password.");
    assert_eq!(desk.hear(notice).len(), 1);
    // The worker does not wait for the notice to be read.
    assert_eq!(desk.hear(prompt(Style::Secret, "New password: ")), []);
    let asked = desk.ask(Request::PostAuthMessageResponse { response: None });
    assert_eq!(
        asked,
        [told(message(AuthMessageType::Secret, "New password: "))]
    );
    assert_eq!(desk.ask(post("new")), [answer("new")]);
    let again = desk.hear(prompt(Style::Secret, "Retype new password: "));
    assert_eq!(again.len(), 1);
    assert_eq!(desk.ask(post("new")), [answer("new")]);
    let done = [told(Response::Success)];
    assert_eq!(desk.hear(authenticated("ann")), done);
}

#[test]
fn a_login_that_is_given_up_costs_what_a_wrong_password_costs() {
    let mut desk = Desk::new();
    desk.asked();
    desk.ask(post("guess"));
    let outputs = desk.ask(Request::CancelSession);
    let why = refused("the login was cancelled");
    let done = told(Response::Success);
    assert_eq!(outputs, [Output::Stop, why, cancelled(), done]);
    assert_eq!(desk.ask(create("ann")), []);
    desk.now += AFTER_CANCEL - Duration::from_millis(1);
    assert_eq!(desk.input(Input::Tick), []);
    desk.now = desk.conversation.deadline().unwrap();
    assert_eq!(desk.input(Input::Tick), [begun("ann")]);
}

#[test]
fn a_greeter_that_ends_while_pam_is_at_work_leaves_the_delay_to_the_next_one() {
    let mut desk = Desk::new();
    desk.asked();
    desk.ask(post("guess"));
    desk.input(Input::Gone);
    let until = desk.conversation.not_before().unwrap();
    assert_eq!(until, desk.now + AFTER_CANCEL);
    let mut next = Desk::new();
    next.now = desk.now;
    next.conversation.hold(until);
    assert_eq!(next.ask(create("ann")), []);
    assert_eq!(next.conversation.deadline(), Some(until));
    next.now = until;
    assert_eq!(next.input(Input::Tick), [begun("ann")]);
}

#[test]
fn a_login_that_is_given_up_while_pam_asks_costs_nothing() {
    let mut desk = Desk::new();
    desk.asked();
    let outputs = desk.ask(Request::CancelSession);
    let done = told(Response::Success);
    assert_eq!(outputs, [Output::Stop, cancelled(), done]);
    assert_eq!(desk.ask(create("ann")), [begun("ann")]);
}

#[test]
fn a_notice_is_no_way_around_the_delay_of_pam() {
    let mut desk = Desk::new();
    desk.asked();
    desk.ask(post("guess"));
    desk.hear(prompt(Style::Error, "Wrong."));
    desk.ask(Request::CancelSession);
    assert_eq!(desk.ask(create("ann")), []);
}

#[test]
fn where_the_person_is_fixed_nobody_else_gets_in() {
    let mut desk = Desk::new();
    desk.context.person = Some("ann".to_owned());
    let outputs = desk.ask(create("bob"));
    assert!(
        matches!(
            &outputs[..],
            [Output::Failed { person, .. }, Output::Answer(1, Response::Error { .. })] if person == "bob"
        ),
        "{outputs:?}"
    );
    // Nor by a module that takes one name for another.
    desk.asked();
    desk.ask(post("secret"));
    let outputs = desk.hear(authenticated("bob"));
    let words = "Somebody else is expected here.";
    assert_eq!(outputs, [Output::Stop, denied(words), lost(words)]);
    assert_eq!(desk.ask(start()), [refused("nobody has logged in yet")]);
}

#[test]
fn choices_are_those_that_were_offered() {
    let mut desk = Desk::new();
    desk.context.desktops = vec!["plain".to_owned()];
    desk.context.layouts = vec!["de".to_owned(), "us".to_owned()];
    desk.let_in();
    let outputs = desk.ask(start_with(Choices {
        enrol: true,
        desktop: Some("../../bin/sh".to_owned()),
        layout: Some("us".to_owned()),
    }));
    let choices = Choices {
        enrol: false,
        desktop: None,
        layout: Some("us".to_owned()),
    };
    let person = "ann".to_owned();
    assert_eq!(outputs[1], Output::LoggedIn { person, choices });

    let mut desk = Desk::new();
    desk.context.enrol = Enrol::Offer;
    desk.let_in();
    let enrol = Choices {
        enrol: true,
        ..Choices::default()
    };
    let outputs = desk.ask(start_with(enrol.clone()));
    let person = "ann".to_owned();
    let choices = enrol;
    assert_eq!(outputs[1], Output::LoggedIn { person, choices });
}

#[test]
fn logins_that_nobody_goes_on_with_end() {
    let mut desk = Desk::new();
    desk.asked();
    desk.now += ANSWER_WITHIN;
    assert_eq!(desk.conversation.deadline(), Some(desk.now));
    assert_eq!(desk.input(Input::Tick), [Output::Stop, cancelled()]);
    let late = desk.ask(post("secret"));
    assert_eq!(late, [refused("The login took too long: begin it anew.")]);

    let mut desk = Desk::new();
    desk.let_in();
    desk.now += START_WITHIN;
    assert_eq!(desk.input(Input::Tick), [Output::Stop, cancelled()]);
    assert_eq!(desk.ask(start()), [refused("nobody has logged in yet")]);
}

#[test]
fn a_greeter_may_open_a_connection_for_each_request() {
    let mut desk = Desk::new();
    desk.asked();
    desk.input(Input::Closed(1));
    let outputs = desk.input(Input::Request(2, post("secret")));
    assert_eq!(outputs, [answer("secret")]);
    let outputs = desk.hear(authenticated("ann"));
    assert_eq!(outputs, [Output::Answer(2, Response::Success)]);
    desk.input(Input::Closed(2));
    let outputs = desk.input(Input::Request(3, start()));
    assert!(matches!(outputs[1], Output::LoggedIn { .. }));
}

#[test]
fn a_login_of_a_greeter_that_died_makes_room_and_one_that_lives_does_not() {
    let mut desk = Desk::new();
    desk.asked();
    let refusal = desk.input(Input::Request(2, create("bob")));
    assert!(matches!(
        refusal[..],
        [Output::Answer(2, Response::Error { .. })]
    ));
    desk.input(Input::Closed(1));
    let outputs = desk.input(Input::Request(2, create("bob")));
    assert_eq!(outputs, [Output::Stop, cancelled(), begun("bob")]);
    // While PAM is at work nobody is left to hear of it.
    let outputs = desk.input(Input::Closed(2));
    assert_eq!(outputs[0], Output::Stop);
}

#[test]
fn a_late_cancel_of_another_connection_ends_no_login() {
    let mut desk = Desk::new();
    desk.asked();
    desk.ask(post("wrong"));
    desk.hear(failed("Authentication failure"));
    desk.input(Input::Request(2, create("ann")));
    assert_eq!(desk.ask(Request::CancelSession), [told(Response::Success)]);
    desk.input(Input::Closed(1));
    let asked = desk.hear(password());
    assert!(matches!(asked[..], [Output::Answer(2, _)]), "{asked:?}");
}

#[test]
fn a_worker_that_goes_astray_ends_the_login() {
    let gone = || Input::WorkerGone("It did not come back.".to_owned());
    let words = "It did not come back.";
    let mut desk = Desk::new();
    desk.ask(create("ann"));
    let outputs = desk.input(gone());
    assert_eq!(outputs, [Output::Stop, denied(words), lost(words)]);

    // While it asks, the greeter learns it with its answer, which goes nowhere.
    let mut desk = Desk::new();
    desk.asked();
    assert_eq!(desk.input(gone()), []);
    let outputs = desk.ask(post("secret"));
    assert_eq!(outputs, [Output::Stop, denied(words), lost(words)]);

    let mut desk = Desk::new();
    desk.let_in();
    assert_eq!(desk.input(gone())[0], Output::Stop);
    assert_eq!(desk.ask(start()), [refused("nobody has logged in yet")]);

    let mut desk = Desk::new();
    desk.asked();
    let mut outputs = Vec::new();
    for _ in 0..1000 {
        outputs.extend(desk.hear(password()));
    }
    assert_eq!(outputs.first(), Some(&Output::Stop));
}

#[test]
fn names_and_answers_that_can_be_none_go_no_further() {
    let mut desk = Desk::new();
    for name in ["", "-f", "a\nb", "a\0", &"x".repeat(257)] {
        assert_eq!(
            desk.ask(create(name)),
            [denied("Type your name.")],
            "{name:?}"
        );
    }
    for text in ["a\0b".to_owned(), "x".repeat(512)] {
        let mut desk = Desk::new();
        desk.asked();
        assert_eq!(desk.ask(post(&text))[0], Output::Stop);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Ask(u64, Request),
    Close(u64),
    Hear(FromWorker),
    Gone,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let request = prop_oneof![
        "(ann|bob|)".prop_map(|name| create(&name)),
        "hunter[a-z]{0,4}".prop_map(|text| post(&text)),
        Just(Request::PostAuthMessageResponse { response: None }),
        Just(start()),
        Just(Request::CancelSession),
        Just(Request::HeliostatContext { after: None }),
    ];
    let style = prop_oneof![
        Just(Style::Visible),
        Just(Style::Secret),
        Just(Style::Info),
        Just(Style::Error)
    ];
    let word = prop_oneof![
        (style, ".{0,5}").prop_map(|(style, text)| prompt(style, &text)),
        "(ann|bob)".prop_map(|name| authenticated(&name)),
        ".{0,5}".prop_map(|text| failed(&text)),
    ];
    let step = prop_oneof![
        4 => (0u64..3, request).prop_map(|(from, request)| Step::Ask(from, request)),
        1 => (0u64..3).prop_map(Step::Close),
        4 => word.prop_map(Step::Hear),
        1 => Just(Step::Gone),
        1 => (0u64..400).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..60)
}

/// What is true of every run: nobody gets in without the worker of that login having said so, each
/// request is answered once, there is one worker at most, and only that is told answers.
#[derive(Default)]
struct Watchman {
    /// Whom the present worker has let in.
    let_in: Option<Option<String>>,
    unanswered: [i32; 3],
    logged_in: bool,
}

impl Watchman {
    fn watch(&mut self, output: &Output) {
        match output {
            Output::Answer(to, _) => self.unanswered[*to as usize] -= 1,
            Output::Start(_) => {
                assert!(self.let_in.is_none(), "two workers");
                self.let_in = Some(None);
            }
            Output::Stop => {
                assert!(self.let_in.is_some(), "no worker to stop");
                self.let_in = None;
            }
            Output::Tell(_) => assert!(self.let_in.is_some(), "no worker to tell"),
            Output::LoggedIn { person, .. } => {
                assert!(!self.logged_in, "twice");
                assert_eq!(self.let_in, Some(Some(person.clone())));
                self.logged_in = true;
            }
            Output::Failed { .. } | Output::Cancelled { .. } => {}
        }
    }
}

proptest! {
    #[test]
    fn in_no_order_of_words_does_anybody_get_in_unbidden(
        steps in steps(),
        fixed in proptest::option::of(Just("ann".to_owned())),
    ) {
        let mut desk = Desk::new();
        desk.context.person = fixed.clone();
        let mut watchman = Watchman::default();
        for step in steps {
            let outputs = match step {
                Step::Ask(from, request) => {
                    watchman.unanswered[from as usize] += 1;
                    desk.input(Input::Request(from, request))
                }
                Step::Close(connection) => desk.input(Input::Closed(connection)),
                // Nothing is heard of a worker that is not there, nor of one that is handed over.
                Step::Hear(_) | Step::Gone if watchman.let_in.is_none() || watchman.logged_in => {
                    continue;
                }
                Step::Hear(word) => {
                    if let FromWorker::Authenticated { person } = &word {
                        let let_in = watchman.let_in.as_mut().expect("looked at above");
                        let_in.get_or_insert_with(|| person.clone());
                    }
                    desk.input(Input::Worker(word))
                }
                Step::Gone => desk.input(Input::WorkerGone("gone".to_owned())),
                Step::Wait(seconds) => {
                    desk.now += Duration::from_secs(seconds);
                    desk.input(Input::Tick)
                }
            };
            for output in &outputs {
                watchman.watch(output);
                if let (Output::LoggedIn { person, .. }, Some(fixed)) = (output, &fixed) {
                    prop_assert_eq!(person, fixed);
                }
            }
            prop_assert!(watchman.unanswered.iter().all(|count| *count >= 0));
            let shown = format!("{:?}", desk.conversation);
            prop_assert!(!shown.contains("hunter"));
        }
        // Whoever waits is answered when the login is given up.
        if !watchman.logged_in {
            for from in 0..3 {
                watchman.unanswered[from as usize] += 1;
                for output in desk.input(Input::Request(from, Request::CancelSession)) {
                    watchman.watch(&output);
                }
            }
            prop_assert_eq!(watchman.unanswered, [0; 3]);
            prop_assert_eq!(watchman.let_in, None);
        }
    }
}

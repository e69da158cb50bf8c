//! One greeter's logins, one after the other.
//!
//! ```text
//!          create_session              prompt                  authenticated
//! Idle ───────────────────► Working ───────────► Asking            │
//!  ▲ ▲     (Held first,      │  ▲ ▲                │               ▼
//!  │ │  after a cancel)      │  │ └────────────────┘   Working ─► Ready ─► Over
//!  │ └───── failed ──────────┘  │  post_auth_message_response      start_session
//!  └──────── cancel_session, too late, closed ───────────────────────┘
//! ```
//!
//! The greeter answers every word of PAM's, the worker wants answers to its questions only; what it
//! says meanwhile waits for its turn, so that a person reads PAM's words before they are told that
//! the login has failed.
//!
//! A login belongs to the greeter, not to a connection, since some greeters open a connection for
//! each request. Whoever has asked is answered once, in turn.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use heliostat_control::greetd::{
    AuthMessageType, Choices, Enrol, ErrorType, GreeterContext, Request, Response, cut,
};
use heliostat_control::worker::{FromWorker, MAX_ANSWER, Secret, Style};

/// Bytes of a name. Linux allows 32, directories more.
const MAX_NAME: usize = 256;
/// Bytes of a word of PAM's that is passed on.
const MAX_WORDS: usize = 8 << 10;
/// Words of a worker that may wait for the greeter.
const MAX_WAITING: usize = 64;
/// What a person is told when the worker goes astray.
const LOST: &str = "The login is lost: begin it anew.";
/// A question that nobody answers for this long ends the login, so that no worker waits at an empty
/// desk for ever.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(300);
/// A login that has succeeded is gone after this long without a desktop having been asked for.
pub const START_WITHIN: Duration = Duration::from_secs(120);
/// How long the next login waits after one that was given up while PAM was at work. Without it a
/// greeter could escape the delay that PAM puts after a wrong password.
pub const AFTER_CANCEL: Duration = Duration::from_secs(3);

/// A connection of the greeter.
pub type ConnectionId = u64;

/// What happens to a conversation.
#[derive(Debug)]
pub enum Input {
    /// The greeter asks. Not for requests about the context.
    Request(ConnectionId, Request),
    /// A connection of the greeter is closed.
    Closed(ConnectionId),
    /// The worker of the present login says something.
    Worker(FromWorker),
    /// The worker of the present login could not be started; why.
    WorkerGone(String),
    /// The deadline has passed.
    Tick,
    /// The greeter has ended, and its worker with it.
    Gone,
}

/// What a conversation wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Answer the oldest request of a connection that is unanswered.
    Answer(ConnectionId, Response),
    /// Start a worker for this person; there is no other one now.
    Start(String),
    /// Tell the worker what was typed.
    Tell(Option<Secret>),
    /// End the worker; nothing of it is to be heard any more.
    Stop,
    /// The login failed.
    Failed {
        /// Who it was to be.
        person: String,
        /// Why.
        text: String,
    },
    /// The login was given up.
    Cancelled {
        /// Who it was to be.
        person: String,
    },
    /// The person of the worker is logged in. Comes once, and last.
    LoggedIn {
        /// As the worker has it.
        person: String,
        /// What they chose.
        choices: Choices,
    },
}

#[derive(Debug)]
enum State {
    /// Nobody logs in.
    Idle,
    /// A login begins when its predecessor has been paid for.
    Held { login: Login, asker: ConnectionId },
    /// It is the worker's turn.
    Working { login: Login, asker: ConnectionId },
    /// It is the greeter's turn.
    Asking {
        login: Login,
        /// Whether the worker waits for what is answered.
        question: bool,
        until: Instant,
    },
    /// The worker has let the person in.
    Ready {
        login: Login,
        person: String,
        until: Instant,
    },
    /// Somebody is logged in here.
    Over,
}

#[derive(Debug)]
struct Login {
    /// Who it is to be.
    name: String,
    /// The connection on which it began.
    by: ConnectionId,
    /// Whether that is closed.
    deserted: bool,
}

/// What a worker has said last.
#[derive(Debug)]
enum Word {
    Prompt(Style, String),
    Authenticated(String),
    Failed(String),
}

/// See the module.
#[derive(Debug)]
pub struct Conversation {
    state: State,
    /// What the worker has said and nobody has taken in yet.
    heard: VecDeque<Word>,
    /// No worker is started before.
    not_before: Option<Instant>,
    out: Vec<Output>,
}

impl Default for Conversation {
    fn default() -> Self {
        Self {
            state: State::Idle,
            heard: VecDeque::new(),
            not_before: None,
            out: Vec::new(),
        }
    }
}

impl Conversation {
    /// Takes what happens and says what is to be done, in this order.
    pub fn handle(&mut self, now: Instant, context: &GreeterContext, input: Input) -> Vec<Output> {
        match input {
            Input::Request(from, request) => self.request(now, context, from, request),
            Input::Closed(connection) => self.closed(now, connection),
            Input::Worker(FromWorker::Prompt { style, text }) => {
                self.hear(Word::Prompt(style, cut(&text, MAX_WORDS).to_owned()));
            }
            Input::Worker(FromWorker::Authenticated { person }) => {
                self.hear(Word::Authenticated(person));
            }
            Input::Worker(FromWorker::Failed { text, .. }) => self.hear(Word::Failed(text)),
            Input::Worker(FromWorker::Started { .. } | FromWorker::Ended { .. }) => {
                self.hear(Word::Failed(LOST.to_owned()));
            }
            Input::WorkerGone(why) => self.hear(Word::Failed(why)),
            Input::Tick => self.tick(now),
            Input::Gone => self.give_up(now, "the greeter is gone"),
        }
        self.take_in(now, context);
        std::mem::take(&mut self.out)
    }

    /// No login begins before. Outlives the greeter, see [`super::delays`].
    pub fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// An earlier greeter at this terminal has left a login to be paid for.
    pub fn hold(&mut self, until: Instant) {
        self.not_before = self.not_before.max(Some(until));
    }

    /// When to say [`Input::Tick`].
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Held { .. } => self.not_before,
            State::Asking { until, .. } | State::Ready { until, .. } => Some(*until),
            State::Idle | State::Working { .. } | State::Over => None,
        }
    }

    fn request(
        &mut self,
        now: Instant,
        context: &GreeterContext,
        from: ConnectionId,
        request: Request,
    ) {
        match request {
            Request::CreateSession { username } => self.create(now, context, from, username),
            Request::PostAuthMessageResponse { response } => self.post(from, response),
            Request::StartSession { heliostat, .. } => {
                self.start(context, from, heliostat.unwrap_or_default());
            }
            Request::CancelSession => {
                if self.is_of(from) {
                    self.give_up(now, "the login was cancelled");
                }
                self.answer(from, Response::Success);
            }
            Request::HeliostatContext { .. } => {
                self.refuse(from, "the context is asked for elsewhere");
            }
        }
    }

    fn create(&mut self, now: Instant, context: &GreeterContext, from: ConnectionId, name: String) {
        match &self.state {
            State::Over => return self.refuse(from, "somebody is logged in here already"),
            State::Idle => {}
            // Left behind by a greeter that has died, or that opens connections as it goes.
            State::Asking { login, .. } | State::Ready { login, .. } if login.deserted => {
                self.give_up(now, "another login began");
            }
            _ => return self.refuse(from, "a login is under way already: cancel it first"),
        }
        if !is_name(&name) {
            return self.refuse_login(from, "Type your name.");
        }
        if let Some(person) = context
            .person
            .as_ref()
            .filter(|_| !is_meant(context, &name))
        {
            let text = format!("Only {person} may log in here.");
            self.out.push(Output::Failed {
                person: name,
                text: text.clone(),
            });
            return self.refuse_login(from, &text);
        }
        debug_assert!(self.heard.is_empty());
        let login = Login {
            name,
            by: from,
            deserted: false,
        };
        self.state = State::Held { login, asker: from };
        self.tick(now);
    }

    fn post(&mut self, from: ConnectionId, response: Option<Secret>) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Asking {
                login, question, ..
            } => {
                self.state = State::Working { login, asker: from };
                if response.as_ref().is_some_and(|text| !is_answer(text)) {
                    return self.fail("What was typed is too long.");
                }
                // A worker that has gone on does not wait for it any more.
                if question && self.heard.is_empty() {
                    self.out.push(Output::Tell(response));
                }
            }
            other => {
                self.state = other;
                self.refuse(from, "The login took too long: begin it anew.");
            }
        }
    }

    fn start(&mut self, context: &GreeterContext, from: ConnectionId, choices: Choices) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Ready { person, .. } => {
                self.state = State::Over;
                self.answer(from, Response::Success);
                let choices = allowed(context, choices);
                self.out.push(Output::LoggedIn { person, choices });
            }
            other => {
                self.state = other;
                self.refuse(from, "nobody has logged in yet");
            }
        }
    }

    /// Whether a connection may cancel the present login. tuigreet cancels a failed login on one
    /// connection and begins the next on another: the cancel may come last, and is not meant for it.
    fn is_of(&self, connection: ConnectionId) -> bool {
        match &self.state {
            State::Held { login, .. }
            | State::Working { login, .. }
            | State::Asking { login, .. }
            | State::Ready { login, .. } => login.by == connection || login.deserted,
            State::Idle | State::Over => false,
        }
    }

    fn closed(&mut self, now: Instant, connection: ConnectionId) {
        match &mut self.state {
            // Nobody waits for this login any more.
            State::Held { asker, .. } | State::Working { asker, .. } if *asker == connection => {
                self.give_up(now, "the greeter is gone");
            }
            State::Held { login, .. }
            | State::Working { login, .. }
            | State::Asking { login, .. }
            | State::Ready { login, .. } => login.deserted |= login.by == connection,
            State::Idle | State::Over => {}
        }
    }

    fn hear(&mut self, word: Word) {
        match &self.state {
            State::Working { .. } | State::Asking { .. } => self.heard.push_back(word),
            // Once it has let the person in, it waits; all it can do is go.
            State::Ready { .. } => self.fail(LOST),
            State::Idle | State::Held { .. } | State::Over => {}
        }
        if self.heard.len() > MAX_WAITING {
            self.fail("The login said too much.");
        }
    }

    /// Takes in what the worker has said, as long as it is its turn.
    fn take_in(&mut self, now: Instant, context: &GreeterContext) {
        if !matches!(self.state, State::Working { .. }) {
            return;
        }
        let Some(word) = self.heard.pop_front() else {
            return;
        };
        let State::Working { login, asker } = std::mem::replace(&mut self.state, State::Idle)
        else {
            unreachable!("it was just looked at");
        };
        match word {
            Word::Prompt(style, auth_message) => {
                self.state = State::Asking {
                    login,
                    question: matches!(style, Style::Visible | Style::Secret),
                    until: now + ANSWER_WITHIN,
                };
                let auth_message_type = shown_as(style);
                let message = Response::AuthMessage {
                    auth_message_type,
                    auth_message,
                };
                self.answer(asker, message);
            }
            // It has nothing to say after this but that it is gone.
            Word::Authenticated(_) if !self.heard.is_empty() => {
                self.state = State::Working { login, asker };
                self.fail(LOST);
            }
            Word::Authenticated(person) if is_meant(context, &person) => {
                let until = now + START_WITHIN;
                self.state = State::Ready {
                    login,
                    person,
                    until,
                };
                self.answer(asker, Response::Success);
            }
            Word::Authenticated(_) => {
                self.state = State::Working { login, asker };
                self.fail("Somebody else is expected here.");
            }
            Word::Failed(text) => {
                self.state = State::Working { login, asker };
                self.fail(&text);
            }
        }
    }

    /// The login is over, by PAM or by the worker. Whoever waits is told; whoever is to answer
    /// learns it then.
    fn fail(&mut self, text: &str) {
        let (login, asker) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Working { login, asker } | State::Held { login, asker } => (login, Some(asker)),
            State::Asking { login, .. } | State::Ready { login, .. } => (login, None),
            quiet @ (State::Idle | State::Over) => return self.state = quiet,
        };
        let text = cut(text, MAX_WORDS).to_owned();
        self.heard.clear();
        self.out.push(Output::Stop);
        if let Some(asker) = asker {
            self.refuse_login(asker, &text);
        }
        let person = login.name;
        self.out.push(Output::Failed { person, text });
    }

    fn give_up(&mut self, now: Instant, why: &str) {
        self.heard.clear();
        let (login, asker) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Held { login, asker } => (login, Some(asker)),
            State::Working { login, asker } => {
                self.not_before = Some(now + AFTER_CANCEL);
                self.out.push(Output::Stop);
                (login, Some(asker))
            }
            // While PAM waits for an answer it is not at work.
            State::Asking {
                login, question, ..
            } => {
                if !question {
                    self.not_before = Some(now + AFTER_CANCEL);
                }
                self.out.push(Output::Stop);
                (login, None)
            }
            State::Ready { login, .. } => {
                self.out.push(Output::Stop);
                (login, None)
            }
            quiet @ (State::Idle | State::Over) => return self.state = quiet,
        };
        if let Some(asker) = asker {
            self.refuse(asker, why);
        }
        let person = login.name;
        self.out.push(Output::Cancelled { person });
    }

    fn tick(&mut self, now: Instant) {
        match &self.state {
            State::Held { .. } if self.not_before.is_none_or(|time| time <= now) => {}
            State::Asking { until, .. } if *until <= now => {
                return self.give_up(now, "The login took too long: begin it anew.");
            }
            State::Ready { until, .. } if *until <= now => {
                return self.give_up(now, "The login took too long: begin it anew.");
            }
            _ => return,
        }
        if let State::Held { login, asker } = std::mem::replace(&mut self.state, State::Idle) {
            self.not_before = None;
            self.out.push(Output::Start(login.name.clone()));
            self.state = State::Working { login, asker };
        }
    }

    fn answer(&mut self, to: ConnectionId, response: Response) {
        self.out.push(Output::Answer(to, response));
    }

    fn refuse(&mut self, to: ConnectionId, description: &str) {
        self.error(to, ErrorType::Error, description);
    }

    fn refuse_login(&mut self, to: ConnectionId, description: &str) {
        self.error(to, ErrorType::AuthError, description);
    }

    fn error(&mut self, to: ConnectionId, error_type: ErrorType, description: &str) {
        let description = description.to_owned();
        let error = Response::Error {
            error_type,
            description,
        };
        self.answer(to, error);
    }
}

/// Whether this can be the name of a person at all.
fn is_name(name: &str) -> bool {
    let fits = (1..=MAX_NAME).contains(&name.len());
    fits && !name.contains(char::is_control) && !name.starts_with('-')
}

/// Whether PAM can take this as an answer.
fn is_answer(text: &Secret) -> bool {
    text.reveal().len() <= MAX_ANSWER && !text.reveal().contains('\0')
}

/// Whether this person may log in here.
fn is_meant(context: &GreeterContext, person: &str) -> bool {
    context
        .person
        .as_deref()
        .is_none_or(|fixed| fixed == person)
}

/// What of the choices the context allows.
fn allowed(context: &GreeterContext, choices: Choices) -> Choices {
    let one_of = |choice: Option<String>, offered: &[String]| {
        choice.filter(|choice| offered.contains(choice))
    };
    Choices {
        enrol: choices.enrol && context.enrol != Enrol::No,
        desktop: one_of(choices.desktop, &context.desktops),
        layout: one_of(choices.layout, &context.layouts),
    }
}

fn shown_as(style: Style) -> AuthMessageType {
    match style {
        Style::Visible => AuthMessageType::Visible,
        Style::Secret => AuthMessageType::Secret,
        Style::Info => AuthMessageType::Info,
        Style::Error => AuthMessageType::Error,
    }
}

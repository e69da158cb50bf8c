//! What the person and the broker say to each other, and what of it is on the screen.
//!
//! ```text
//! Offline ◄──────────── the socket is lost, from anywhere
//!    │ connected
//!    ▼        name                question
//!  Name ───────────► Waiting ◄──────────────► Asked
//!    ▲                  │   answer               │
//!    └── refused ───────┤                        │
//!    └── Escape ────────┼────────────────────────┘
//!                       └─► Welcome
//! ```
//!
//! Escape where there is nothing to start over leaves the terminal.

mod choosing;
mod words;

use std::collections::VecDeque;

use heliostat_control::greetd::{
    AuthMessageType, Enrol, ErrorType, GreeterContext, Request, Response, cut,
};
use heliostat_control::worker::Secret;

use crate::field::Field;

pub use words::{Control, Effect, Key, Notice, Stage, Tone};

/// Notices that are kept; with more the oldest go.
const MAX_NOTICES: usize = 5;
/// Bytes of a notice that is shown.
const MAX_NOTICE: usize = 400;

/// See the module.
#[derive(Debug)]
pub struct Login {
    pub(crate) stage: Stage,
    pub(crate) context: GreeterContext,
    pub(crate) name: Field,
    pub(crate) answer: Field,
    pub(crate) revealed: bool,
    pub(crate) caps_lock: bool,
    pub(crate) notices: Vec<Notice>,
    pub(crate) enrol: bool,
    pub(crate) desktop: usize,
    pub(crate) layout: usize,
    pub(crate) focus: Control,
    /// Whether PAM has asked anything in this login.
    asked: bool,
    /// Whether PAM has let the person in, and the desktop was asked for.
    asked_to_start: bool,
    /// For each request that is unanswered, oldest first, whether its answer still matters.
    unanswered: VecDeque<bool>,
    effects: Vec<Effect>,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            stage: Stage::Offline(String::new()),
            context: GreeterContext::default(),
            name: Field::default(),
            answer: Field::default(),
            revealed: false,
            caps_lock: false,
            notices: Vec::new(),
            enrol: false,
            desktop: 0,
            layout: 0,
            focus: Control::Name,
            asked: false,
            asked_to_start: false,
            unanswered: VecDeque::new(),
            effects: Vec::new(),
        }
    }
}

impl Login {
    /// What is to be done since this was asked last.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether the broker is worked with and something is waited for.
    pub fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting)
    }

    /// The broker is there.
    pub fn connected(&mut self) {
        self.unanswered.clear();
        self.notices.clear();
        // Whatever a predecessor has left.
        self.send(Request::CancelSession, false);
        self.start_over();
    }

    /// The broker is not there.
    pub fn lost(&mut self, why: &str) {
        self.unanswered.clear();
        self.answer.clear();
        if self.stage != Stage::Welcome {
            self.stage = Stage::Offline(why.to_owned());
        }
    }

    /// Caps lock is on or off.
    pub fn set_caps_lock(&mut self, on: bool) {
        self.caps_lock = on;
    }

    /// The broker says what is to be shown.
    pub fn set_context(&mut self, context: GreeterContext) {
        let before = std::mem::replace(&mut self.context, context);
        let context = &self.context;
        if before.desktops != context.desktops {
            self.desktop = 0;
        }
        if before.layouts != context.layouts {
            self.layout = 0;
            self.effects.extend(self.layout_effect());
        }
        if before.card != context.card || context.enrol == Enrol::No {
            self.enrol = false;
        }
        if before.person != self.context.person && self.stage != Stage::Welcome {
            match self.stage {
                Stage::Offline(_) => {}
                _ => self.escape(),
            }
        }
        self.mend_focus();
    }

    /// The broker has answered.
    pub fn answered(&mut self, response: Response) {
        if self.unanswered.pop_front() != Some(true) {
            return;
        }
        match response {
            Response::AuthMessage {
                auth_message_type,
                auth_message,
            } => self.asked_by_pam(auth_message_type, auth_message),
            Response::Success if self.stage == Stage::Waiting => self.succeeded(),
            Response::Error {
                error_type,
                description,
            } => self.refused(error_type, &description),
            Response::Success | Response::HeliostatContext(_) => {}
        }
    }

    fn asked_by_pam(&mut self, kind: AuthMessageType, text: String) {
        let tone = match kind {
            AuthMessageType::Visible | AuthMessageType::Secret => {
                self.asked = true;
                self.answer.clear();
                self.revealed = false;
                let secret = kind == AuthMessageType::Secret;
                let prompt = text.trim().trim_end_matches(':').to_owned();
                self.stage = Stage::Asked { prompt, secret };
                return self.focus = Control::Answer;
            }
            AuthMessageType::Info => Tone::Plain,
            AuthMessageType::Error => Tone::Bad,
        };
        self.notice(tone, &text);
        self.send(Request::PostAuthMessageResponse { response: None }, true);
    }

    fn succeeded(&mut self) {
        if self.asked_to_start {
            self.stage = Stage::Welcome;
            return;
        }
        self.asked_to_start = true;
        let heliostat = Some(self.choices());
        let (cmd, env) = (vec!["heliostat-session".to_owned()], Vec::new());
        self.send(
            Request::StartSession {
                cmd,
                env,
                heliostat,
            },
            true,
        );
    }

    fn refused(&mut self, error_type: ErrorType, description: &str) {
        self.answer.clear();
        self.notice(Tone::Bad, description);
        // Where PAM has asked, it asks again; otherwise that would go round for ever.
        let again = error_type == ErrorType::AuthError && self.asked;
        match again {
            true => self.begin(),
            false => self.ask_for_name(),
        }
    }

    /// A key was pressed.
    pub fn key(&mut self, key: Key) {
        match (key, self.focus) {
            (Key::Escape, _) if self.is_untouched() => self.leave(),
            (Key::Escape, _) => self.escape(),
            (Key::Tab, _) => self.step(1),
            (Key::BackTab, _) => self.step(-1),
            (Key::Enter, Control::Name | Control::Answer) => self.act(Control::Go),
            (Key::Enter, control) => self.act(control),
            (key, Control::Name | Control::Answer) => self.edit(key),
            (Key::Left, Control::Desktop | Control::Layout) => self.choose(-1),
            (Key::Right, Control::Desktop | Control::Layout) => self.choose(1),
            (Key::Text(text), control) if text == " " => self.act(control),
            _ => {}
        }
    }

    fn edit(&mut self, key: Key) {
        let Some(field) = self.field() else { return };
        match key {
            Key::Text(text) => field.insert(&text),
            Key::Backspace => field.backspace(),
            Key::Delete => field.delete(),
            Key::Left => field.back(),
            Key::Right => field.on(),
            Key::Home => field.home(),
            Key::End => field.end(),
            Key::Clear => field.clear(),
            Key::Enter | Key::Tab | Key::BackTab | Key::Escape => {}
        }
    }

    /// The field that is on the screen.
    fn field(&mut self) -> Option<&mut Field> {
        match &self.stage {
            Stage::Name if self.context.person.is_none() => Some(&mut self.name),
            Stage::Asked { .. } => Some(&mut self.answer),
            _ => None,
        }
    }

    /// Puts a text into the field, as a screen reader's keyboard does.
    pub fn set_text(&mut self, text: &str) {
        if let Some(field) = self.field() {
            field.replace(text);
        }
    }

    /// Does what a control does, as a click or Enter on it.
    pub fn act(&mut self, control: Control) {
        if !self.controls().contains(&control) {
            return;
        }
        match control {
            Control::Name | Control::Answer => self.focus = control,
            Control::Reveal => self.revealed = !self.revealed,
            Control::Enrol => self.enrol = !self.enrol,
            Control::Desktop | Control::Layout => {
                self.focus = control;
                self.choose(1);
            }
            Control::Over => self.escape(),
            Control::Go => self.go(),
        }
    }

    fn go(&mut self) {
        match self.stage {
            Stage::Name => {
                self.notices.clear();
                if self.person().is_empty() {
                    self.focus = Control::Name;
                    return self.notice(Tone::Plain, "Type your name first.");
                }
                self.begin();
            }
            Stage::Asked { .. } => {
                self.notices.clear();
                let text = Secret::new(self.answer.text().to_owned());
                self.answer.clear();
                self.revealed = false;
                self.stage = Stage::Waiting;
                let response = Some(text);
                self.send(Request::PostAuthMessageResponse { response }, true);
            }
            Stage::Offline(_) | Stage::Waiting | Stage::Welcome => {}
        }
    }

    /// Who logs in.
    pub fn person(&self) -> &str {
        let typed = || self.name.text().trim();
        self.context.person.as_deref().unwrap_or_else(typed)
    }

    fn begin(&mut self) {
        self.stage = Stage::Waiting;
        self.asked = false;
        self.asked_to_start = false;
        let username = self.person().to_owned();
        self.send(Request::CreateSession { username }, true);
    }

    fn escape(&mut self) {
        if matches!(self.stage, Stage::Offline(_) | Stage::Welcome) {
            return;
        }
        self.give_up();
        self.start_over();
    }

    fn give_up(&mut self) {
        self.notices.clear();
        if self.stage != Stage::Name {
            self.unanswered
                .iter_mut()
                .for_each(|matters| *matters = false);
            self.send(Request::CancelSession, false);
        }
    }

    /// Whether starting over would bring nothing but the same page again.
    fn is_untouched(&self) -> bool {
        match &self.stage {
            Stage::Name => self.name.text().is_empty() || self.context.person.is_some(),
            Stage::Asked { .. } => self.context.person.is_some() && self.answer.text().is_empty(),
            Stage::Offline(_) | Stage::Waiting | Stage::Welcome => false,
        }
    }

    fn leave(&mut self) {
        self.give_up();
        self.ask_for_name();
        self.effects.push(Effect::Leave);
    }

    fn start_over(&mut self) {
        self.name.clear();
        self.ask_for_name();
        // There is nothing to ask for.
        if self.context.person.is_some() {
            self.begin();
        }
    }

    fn ask_for_name(&mut self) {
        self.answer.clear();
        self.revealed = false;
        self.stage = Stage::Name;
        self.focus = match self.context.person {
            Some(_) => Control::Go,
            None => Control::Name,
        };
    }

    fn notice(&mut self, tone: Tone, text: &str) {
        let text = cut(text.trim(), MAX_NOTICE).to_owned();
        let notice = Notice { tone, text };
        if !notice.text.is_empty() && !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
        if self.notices.len() > MAX_NOTICES {
            self.notices.remove(0);
        }
    }

    fn send(&mut self, request: Request, matters: bool) {
        self.unanswered.push_back(matters);
        self.effects.push(Effect::Send(request));
    }
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;

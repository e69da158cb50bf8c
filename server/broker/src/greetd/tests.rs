//! The conversation in tables and at random, and the task with a real socket.

mod conversation;
mod serve;

use heliostat_control::greetd::{AuthMessageType, Choices, ErrorType, Request, Response};
use heliostat_control::worker::{Failure, FromWorker, Secret, Style};

fn create(name: &str) -> Request {
    Request::CreateSession {
        username: name.to_owned(),
    }
}

fn post(text: &str) -> Request {
    Request::PostAuthMessageResponse {
        response: Some(Secret::new(text.to_owned())),
    }
}

fn start() -> Request {
    start_with(Choices::default())
}

fn start_with(choices: Choices) -> Request {
    Request::StartSession {
        cmd: vec!["anything".to_owned()],
        env: Vec::new(),
        heliostat: Some(choices),
    }
}

fn prompt(style: Style, text: &str) -> FromWorker {
    FromWorker::Prompt {
        style,
        text: text.to_owned(),
    }
}

fn password() -> FromWorker {
    prompt(Style::Secret, "Password: ")
}

fn authenticated(person: &str) -> FromWorker {
    FromWorker::Authenticated {
        person: person.to_owned(),
    }
}

fn failed(text: &str) -> FromWorker {
    FromWorker::Failed {
        why: Failure::Denied,
        text: text.to_owned(),
    }
}

fn message(auth_message_type: AuthMessageType, text: &str) -> Response {
    Response::AuthMessage {
        auth_message_type,
        auth_message: text.to_owned(),
    }
}

fn refusal(error_type: ErrorType, text: &str) -> Response {
    Response::Error {
        error_type,
        description: text.to_owned(),
    }
}

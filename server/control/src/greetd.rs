//! Between a greeter and the broker: greetd's IPC, with additions of ours.
//!
//! Each message is its length as a `u32` in the machine's own byte order, then as many bytes of
//! JSON ([`frame`]). The greeter asks and the broker answers, in turn, on as many connections as
//! the greeter likes. What is ours begins with `heliostat` and is left out by other greeters; the
//! rest is as greetd has it, so that they work.

pub mod frame;

use serde::{Deserialize, Serialize};

use crate::worker::Secret;

/// From the greeter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Begin a login.
    CreateSession {
        /// Who it is to be.
        username: String,
    },
    /// Answer the question that came last.
    PostAuthMessageResponse {
        /// What was typed; nothing where nothing was asked for.
        #[serde(default)]
        response: Option<Secret>,
    },
    /// Go to the desktop, once the login has succeeded.
    StartSession {
        /// What greetd would run. The desktop is the site's and the person's choice here, so this
        /// is passed over.
        #[serde(default)]
        cmd: Vec<String>,
        /// Passed over likewise.
        #[serde(default)]
        env: Vec<String>,
        /// What the person has chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heliostat: Option<Choices>,
    },
    /// Give the login up.
    CancelSession,
    /// Ask what is to be shown around the login. Ours.
    HeliostatContext {
        /// Answer when the context is no longer the one of this revision; at once where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
}

/// What a person chose at the greeter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Choices {
    /// The card in the reader shall be theirs from now on.
    pub enrol: bool,
    /// One of the desktops of the context.
    pub desktop: Option<String>,
    /// One of the layouts of the context.
    pub layout: Option<String>,
}

/// From the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Response {
    /// It is done.
    Success,
    /// It is not.
    Error {
        /// What kind of error.
        error_type: ErrorType,
        /// Words for the person.
        description: String,
    },
    /// The login asks or says something; to be answered in any case.
    AuthMessage {
        /// How it is to be shown.
        auth_message_type: AuthMessageType,
        /// PAM's words.
        auth_message: String,
    },
    /// What is to be shown around the login. Ours.
    HeliostatContext(ContextAnswer),
}

/// Whose error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The login was refused.
    AuthError,
    /// Anything else.
    Error,
}

/// How a word of PAM's is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMessageType {
    /// A question; the answer may be seen.
    Visible,
    /// A question; the answer may not be seen.
    Secret,
    /// No question.
    Info,
    /// No question, and bad news.
    Error,
}

/// The context, with the number by which it is told from an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextAnswer {
    /// Grows with each change.
    pub revision: u64,
    /// The context.
    #[serde(flatten)]
    pub context: GreeterContext,
}

/// What a greeter knows of its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GreeterContext {
    /// The site's name.
    pub site: String,
    /// The terminal's name.
    pub terminal: String,
    /// What is known of the card in the reader.
    pub card: CardState,
    /// Whether that card may be bound to whoever logs in.
    pub enrol: Enrol,
    /// Only this person may log in.
    pub person: Option<String>,
    /// A word of the broker's to the person.
    pub message: Option<String>,
    /// Desktops to choose from; the first is the usual one.
    pub desktops: Vec<String>,
    /// Keyboard layouts to choose from (XKB, such as `de` or `us(intl)`); the first is the usual.
    pub layouts: Vec<String>,
}

/// What is known of the card in the reader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardState {
    /// There is no card.
    #[default]
    None,
    /// It is nobody's.
    Unknown,
    /// It is somebody's.
    Known,
}

/// Whether the card in the reader may be bound to whoever logs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enrol {
    /// It may not.
    #[default]
    No,
    /// It may, at once.
    Offer,
    /// It may once an administrator has agreed.
    Approval,
}

/// As much of a text as fits into this many bytes.
pub fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Request {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn requests_of_other_greeters_are_understood() {
        assert_eq!(
            request(r#"{"type":"create_session","username":"ann"}"#),
            Request::CreateSession {
                username: "ann".to_owned()
            }
        );
        for json in [
            r#"{"type":"post_auth_message_response"}"#,
            r#"{"type":"post_auth_message_response","response":null}"#,
        ] {
            let nothing = Request::PostAuthMessageResponse { response: None };
            assert_eq!(request(json), nothing);
        }
        // Older ones send no environment.
        let start = Request::StartSession {
            cmd: vec!["sway".to_owned()],
            env: Vec::new(),
            heliostat: None,
        };
        assert_eq!(request(r#"{"type":"start_session","cmd":["sway"]}"#), start);
        assert_eq!(
            request(r#"{"type":"cancel_session"}"#),
            Request::CancelSession
        );
    }

    #[test]
    fn answers_have_the_forms_that_other_greeters_expect() {
        let error = Response::Error {
            error_type: ErrorType::AuthError,
            description: "no".to_owned(),
        };
        let message = Response::AuthMessage {
            auth_message_type: AuthMessageType::Secret,
            auth_message: "Password: ".to_owned(),
        };
        for (response, json) in [
            (Response::Success, r#"{"type":"success"}"#),
            (
                error,
                r#"{"type":"error","error_type":"auth_error","description":"no"}"#,
            ),
            (
                message,
                r#"{"type":"auth_message","auth_message_type":"secret","auth_message":"Password: "}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&response).unwrap(), json);
        }
    }

    #[test]
    fn a_context_has_the_form_of_the_book() {
        let context = GreeterContext {
            site: "Clinic".to_owned(),
            terminal: "desk-1".to_owned(),
            card: CardState::Unknown,
            enrol: Enrol::Offer,
            layouts: vec!["de".to_owned()],
            ..GreeterContext::default()
        };
        let answer = Response::HeliostatContext(ContextAnswer {
            revision: 3,
            context,
        });
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(
            json,
            r#"{"type":"heliostat_context","revision":3,"site":"Clinic","terminal":"desk-1","card":"unknown","enrol":"offer","person":null,"message":null,"desktops":[],"layouts":["de"]}"#
        );
        assert_eq!(serde_json::from_str::<Response>(&json).unwrap(), answer);
    }

    #[test]
    fn a_password_is_in_no_debug_text() {
        let post =
            request(r#"{"type":"post_auth_message_response","response":"correct \"horse\""}"#);
        assert!(!format!("{post:?}").contains("horse"));
    }

    #[test]
    fn a_text_is_cut_between_its_letters() {
        assert_eq!(cut("häß", 10), "häß");
        assert_eq!(cut("häß", 4), "hä");
        assert_eq!(cut("häß", 2), "h");
        assert_eq!(cut("語", 2), "");
    }
}

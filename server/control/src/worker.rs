//! Between the broker and the PAM worker of one login.
//!
//! A worker is a process of its own, root's where the broker is, so that a PAM module may block,
//! crash or sleep without anybody else noticing. It is started with one end of a socket pair as
//! standard input and speaks JSON lines on it:
//!
//! ```text
//! broker                                     worker
//!   Begin ─────────────────────────────────►   pam_start, pam_authenticate (not with a card), …
//!   ◄──────────────────── Prompt (any number)
//!   Answer (to Visible and Secret only) ────►
//!   ◄──────── Authenticated, or Failed and the end of the worker
//!   Start (with two file descriptors) ──────►  pam_open_session, the session's program
//!   ◄──────── Started, or Failed and the end of the worker
//!                     the session runs; the broker may go and come back
//!   ◄─────────────────────────────── Ended    everything of the session is dead by now
//!                                              pam_close_session; the worker ends
//! ```
//!
//! One worker is one attempt: whoever mistypes a password gets another worker. A broker that
//! closes the socket before the session runs ends the login; after that the worker lives as long as
//! the session does.

use std::fmt;
use std::path::PathBuf;

use heliostat_wire::id::SessionId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// Bytes of a line either way. The longest honest one is a prompt of a talkative module, or a
/// session's environment.
pub const MAX_LINE: usize = 64 << 10;
/// Bytes of an answer; what PAM itself takes at most, without its end.
pub const MAX_ANSWER: usize = 511;

/// From the broker to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToWorker {
    /// Who comes, and how; the first line, said once.
    Begin(Begin),
    /// The answer to the latest [`Style::Visible`] or [`Style::Secret`] prompt. The other styles
    /// are not answered.
    Answer {
        /// What was typed, at most [`MAX_ANSWER`] bytes without a NUL; nothing where the person
        /// gave up, which ends the login.
        text: Option<Secret>,
    },
    /// Open the PAM session and run the session in it; once, after
    /// [`FromWorker::Authenticated`]. Two file descriptors come with the line's first byte: the
    /// session's listening socket, and where the session writes its log.
    Start(Box<StartSession>),
}

/// Who comes, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The PAM service.
    pub service: String,
    /// The name of the account; PAM asks for it where there is none.
    pub person: Option<String>,
    /// What they show for it.
    pub by: Credential,
    /// PAM_RHOST: the address of the terminal.
    pub rhost: String,
    /// PAM_TTY: the terminal's name.
    pub tty: String,
}

/// What somebody shows to be who they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// Whatever PAM asks for.
    Password,
    /// A card, of which the broker has seen the proof: PAM authenticates nobody, and does all else,
    /// as it does for keys that a secure shell has checked.
    Card,
    /// Nothing: greeters and kiosks, whose accounts the broker chose. PAM is used as with a card.
    None,
}

/// Words that PAM wants from a person. They are wiped from memory when they are not needed any
/// more, and never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// What was typed.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A person's desktop.
    Desktop,
    /// Where a person logs in.
    Greeter,
    /// One program and nothing else.
    Kiosk,
}

/// A session to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartSession {
    /// Its id.
    pub session: SessionId,
    /// What it is for.
    pub session_kind: SessionKind,
    /// Whose it is in the broker's words, which need not be the account's name.
    pub person: String,
    /// The card or terminal that a kiosk is bound to; empty for others.
    #[serde(default)]
    pub bound_to: String,
    /// Accounts with a lower number are refused; 0 for greeters and kiosks.
    pub min_uid: u32,
    /// The user that it runs as in place of the account's own, in the account's groups.
    #[serde(default)]
    pub uid: Option<u32>,
    /// The folder of the broker's that holds its socket; `owner.json` is written there.
    pub folder: PathBuf,
    /// The folder in which a runtime folder is made where PAM gives none.
    pub runtime_dirs: PathBuf,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Environment beyond PAM's and the ordinary.
    pub environment: Vec<(String, String)>,
    /// What it may use.
    pub limits: Limits,
}

/// What a session and everything in it may use; without limit where absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of memory; with more, programs of the session are killed.
    pub memory_max: Option<u64>,
    /// Bytes of memory from which the session is slowed.
    pub memory_high: Option<u64>,
    /// Share of the processors, 1 to 10000; 100 is everybody's.
    pub cpu_weight: Option<u16>,
    /// Processes and threads.
    pub tasks_max: Option<u32>,
    /// Share of the disks, 1 to 10000; 100 is everybody's.
    pub io_weight: Option<u16>,
}

/// From a worker to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromWorker {
    /// PAM says something to the person.
    Prompt {
        /// Whether and how it is to be answered.
        style: Style,
        /// In PAM's own words.
        text: String,
    },
    /// The person is who they say, their account is in order, and the worker can start a session.
    Authenticated {
        /// The account's name, which PAM modules may have mapped.
        person: String,
    },
    /// It came to nothing. The worker ends.
    Failed {
        /// What kind of thing is in the way.
        why: Failure,
        /// Words for the person.
        text: String,
    },
    /// The session's program runs.
    Started {
        /// Its process.
        pid: u32,
        /// The user it runs as.
        uid: u32,
        /// What it has to do without on this machine, in words for the administrator.
        without: Vec<String>,
    },
    /// The session's program is gone, and so is everything that it left. The PAM session is closed
    /// after this, and then the worker ends.
    Ended {
        /// Its exit code, where it exited.
        code: Option<i32>,
        /// The signal that ended it, where one did.
        signal: Option<i32>,
    },
}

/// How a prompt is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// To be answered; what is typed may be seen.
    Visible,
    /// To be answered; what is typed may not be seen.
    Secret,
    /// To be shown; the worker goes on at once.
    Info,
    /// To be shown as something that went wrong; the worker goes on at once.
    Error,
}

/// Why a login came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Wrong password, or nobody of that name: which of the two is not told.
    Denied,
    /// The account is locked, or may not log in here or now.
    Locked,
    /// The account has expired.
    Expired,
    /// The password has expired and was not changed.
    PasswordChange,
    /// Too many attempts.
    TooMany,
    /// The person gave up.
    Cancelled,
    /// Whoever knows the answer cannot be asked at present, or PAM is not set up.
    Unavailable,
    /// The session could not be started.
    NotStarted,
    /// A PAM module did not come back; the broker has killed the worker.
    Hung,
    /// The worker died, as it does with a PAM module that crashes.
    Crashed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines;

    fn line<T: Serialize>(message: &T) -> String {
        String::from_utf8(lines::encode(message)).unwrap()
    }

    #[test]
    fn messages_have_the_forms_that_the_other_side_may_rely_on() {
        let begin = ToWorker::Begin(Begin {
            service: "heliostat".to_owned(),
            person: None,
            by: Credential::Password,
            rhost: "192.0.2.7".to_owned(),
            tty: "desk 7".to_owned(),
        });
        assert_eq!(
            line(&begin),
            "{\"kind\":\"begin\",\"service\":\"heliostat\",\"person\":null,\"by\":\"password\",\
             \"rhost\":\"192.0.2.7\",\"tty\":\"desk 7\"}\n"
        );
        let cancelled = ToWorker::Answer { text: None };
        assert_eq!(line(&cancelled), "{\"kind\":\"answer\",\"text\":null}\n");
        let typed = ToWorker::Answer {
            text: Some(Secret::new("tree".to_owned())),
        };
        assert_eq!(line(&typed), "{\"kind\":\"answer\",\"text\":\"tree\"}\n");
        let prompt = FromWorker::Prompt {
            style: Style::Secret,
            text: "Password: ".to_owned(),
        };
        assert_eq!(
            line(&prompt),
            "{\"kind\":\"prompt\",\"style\":\"secret\",\"text\":\"Password: \"}\n"
        );
        let ended = FromWorker::Ended {
            code: Some(0),
            signal: None,
        };
        assert_eq!(
            line(&ended),
            "{\"kind\":\"ended\",\"code\":0,\"signal\":null}\n"
        );
    }

    #[test]
    fn what_was_typed_is_in_no_debug_output() {
        let typed = ToWorker::Answer {
            text: Some(Secret::new("correct horse".to_owned())),
        };
        assert!(!format!("{typed:?}").contains("horse"));
    }

    #[test]
    fn a_session_to_be_started_comes_through_whole() {
        let start = ToWorker::Start(Box::new(StartSession {
            session: SessionId([7; 16]),
            session_kind: SessionKind::Kiosk,
            bound_to: String::new(),
            person: "anna".to_owned(),
            min_uid: 1000,
            uid: None,
            folder: "/run/heliostat/sessions/07".into(),
            runtime_dirs: "/run/heliostat/user".into(),
            command: vec!["/usr/bin/heliostat-session".to_owned()],
            environment: vec![("A".to_owned(), "b=c".to_owned())],
            limits: Limits {
                memory_max: Some(1 << 33),
                ..Limits::default()
            },
        }));
        let read: ToWorker = serde_json::from_str(&line(&start)).unwrap();
        assert_eq!(read, start);
    }

    #[test]
    fn a_misspelt_limit_is_refused() {
        assert!(serde_json::from_str::<Limits>("{\"memory_max\":1}").is_ok());
        let error = serde_json::from_str::<Limits>("{\"memroy_max\":1}").unwrap_err();
        assert!(error.to_string().contains("memory_max"), "{error}");
    }
}

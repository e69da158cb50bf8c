//! PAM, as a login uses it: one handle from the first prompt to the end of the session.
//!
//! See [ADR 0013](../../../docs/adr/0013-people-are-pams.md) for why the binding is our own.

use std::ffi::{CStr, CString};
use std::fmt;
use std::path::Path;

use heliostat_control::worker::{Failure, Style};

mod sys;

pub use sys::{Call, Handle};

/// A result of PAM's other than success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub i32);

impl Code {
    /// The password has to be changed before anything else.
    pub const NEW_PASSWORD_NEEDED: Self = Self(12);

    /// What a person is told of it.
    pub fn failure(self) -> Failure {
        match self.0 {
            // Wrong password, unknown user and an empty password look alike on purpose.
            7 | 8 | 10 => Failure::Denied,
            6 => Failure::Locked,
            11 => Failure::TooMany,
            12 | 20 | 27 => Failure::PasswordChange,
            13 | 16 => Failure::Expired,
            _ => Failure::Unavailable,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PAM error {}", self.0)
    }
}

/// What a handle knows of the login, as strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Item {
    /// The account's name; modules may change it.
    User = 2,
    /// Which terminal.
    Tty = 3,
    /// Where the terminal is.
    RemoteHost = 4,
}

/// Whom the modules speak with.
pub trait Talk {
    /// Says `text`, in PAM's number of a style.
    fn say(&mut self, style: i32, text: &str) -> Spoken;
}

/// What comes of saying something.
#[derive(Debug)]
pub enum Spoken {
    /// It has been said; no answer is wanted.
    Nothing,
    /// The answer.
    Answer(CString),
    /// There will be none; the login is over.
    GaveUp,
}

/// What PAM's number of a style means; nothing where we do not speak it, such as binary prompts.
pub fn style(number: i32) -> Option<Style> {
    match number {
        1 => Some(Style::Secret),
        2 => Some(Style::Visible),
        3 => Some(Style::Error),
        4 => Some(Style::Info),
        _ => None,
    }
}

/// Begins a transaction of `service` for `person`; `folder` is another than /etc/pam.d.
pub fn start<T: Talk>(
    service: &str,
    person: Option<&str>,
    folder: Option<&Path>,
    talk: T,
) -> Result<Handle<T>, Code> {
    // PAM's "bad item": none of these can hold a NUL.
    let text = |text: &str| CString::new(text).map_err(|_| Code(29));
    let service = text(service)?;
    let person = person.map(text).transpose()?;
    let folder = folder
        .map(|path| text(&path.to_string_lossy()))
        .transpose()?;
    Handle::start(&service, person.as_deref(), folder.as_deref(), talk)
}

impl<T: Talk> Handle<T> {
    /// The account's name as it is now.
    pub fn user(&self) -> Option<String> {
        self.get(Item::User)?.into_string().ok()
    }

    /// The environment that modules made; what is not UTF-8 is left out.
    pub fn environment(&mut self) -> Vec<(String, String)> {
        let variables = self.variables();
        variables.iter().filter_map(|both| variable(both)).collect()
    }
}

fn variable(both: &CStr) -> Option<(String, String)> {
    let (name, value) = both.to_str().ok()?.split_once('=')?;
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

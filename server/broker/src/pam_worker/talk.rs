//! What PAM modules say to the person, and what the person answers, by way of the broker.

use std::ffi::CString;

use heliostat_control::worker::{FromWorker, MAX_ANSWER, Style, ToWorker};
use zeroize::Zeroize;

use super::channel::Channel;
use crate::pam::{Spoken, Talk, style};

/// Bytes of a prompt that are passed on.
const MAX_PROMPT: usize = 4096;

/// The modules' way to the person.
#[derive(Debug)]
pub struct Messenger {
    channel: Option<Channel>,
    /// What a module last said as an error.
    complaint: Option<String>,
    gave_up: bool,
}

impl Messenger {
    /// Speaks over `channel`.
    pub fn new(channel: Channel) -> Self {
        Self {
            channel: Some(channel),
            complaint: None,
            gave_up: false,
        }
    }

    /// Ends the conversation: from now on nothing is answered.
    pub fn leave(&mut self) -> Option<Channel> {
        self.channel.take()
    }

    /// Whether the person, or the broker, did not want to go on.
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// What a module last said as an error, once.
    pub fn complaint(&mut self) -> Option<String> {
        self.complaint.take()
    }

    fn ask(&mut self) -> Option<CString> {
        let (message, _) = self.channel.as_mut()?.hear()?;
        let ToWorker::Answer { text: Some(text) } = message else {
            return None;
        };
        let typed = text.reveal();
        if typed.len() > MAX_ANSWER {
            return None;
        }
        CString::new(typed)
            .map_err(|error| error.into_vec().zeroize())
            .ok()
    }
}

impl Talk for Messenger {
    fn say(&mut self, number: i32, text: &str) -> Spoken {
        let Some(style) = style(number) else {
            // A module that wants something else than words cannot be helped.
            return Spoken::GaveUp;
        };
        let text = shortened(text);
        if style == Style::Error {
            self.complaint = Some(text.clone());
        }
        let said = FromWorker::Prompt { style, text };
        let heard = match &self.channel {
            Some(channel) => channel.voice().say(&said).is_ok(),
            None => false,
        };
        match style {
            // Modules say things to nobody when a session is closed, too.
            Style::Info | Style::Error => Spoken::Nothing,
            Style::Visible | Style::Secret => match heard.then(|| self.ask()).flatten() {
                Some(answer) => Spoken::Answer(answer),
                None => {
                    self.gave_up = true;
                    Spoken::GaveUp
                }
            },
        }
    }
}

fn shortened(text: &str) -> String {
    let end = (0..=MAX_PROMPT.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_of_any_length_is_cut_between_letters() {
        assert_eq!(shortened("Password: "), "Password: ");
        let long = "é".repeat(MAX_PROMPT);
        assert_eq!(shortened(&long).len(), MAX_PROMPT);
        assert_eq!(shortened(&format!("a{long}")).len(), MAX_PROMPT - 1);
    }
}

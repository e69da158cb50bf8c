//! The terminal's own screens: what is shown while no desktop is.
//!
//! [`plan`] is pure and decides what to say; [`draw`] paints it.

mod paint;
mod patience;

use heliostat_terminal_state::{Code, Stage as BootStage, TerminalState};
use heliostat_wire::card::Unreadable;
use heliostat_wire::control::{CardRefusal, DetachReason, LoginOffer};

use crate::desk::{Desk, PinEntry, Present, Proving, Stage};

pub use paint::draw;
pub use patience::Patience;

/// What a screen says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// The large line.
    pub headline: String,
    /// A sentence under it; may be empty.
    pub detail: String,
    /// Digits of a PIN that have been typed, where one is asked for.
    pub digits: Option<usize>,
    /// What keys do here, in a line near the bottom; may be empty.
    pub hint: String,
    /// What is wrong, if something is.
    pub code: Option<Code>,
    /// Faults that are no obstacle.
    pub also: Vec<Code>,
    /// The picture in the middle.
    pub picture: Picture,
    /// Whether the broker is there.
    pub online: bool,
    /// The terminal's name.
    pub name: String,
    /// The site's name, once known.
    pub site: String,
}

impl Screen {
    /// The same, as it is before a PIN is typed.
    pub fn without_digits(&self) -> Self {
        Self {
            digits: self.digits.map(|_| 0),
            ..self.clone()
        }
    }
}

/// The picture in the middle of a screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Picture {
    /// A card above its reader.
    #[default]
    InsertCard,
    /// A card in its reader.
    CardIn,
    /// Something has to be waited for.
    Waiting,
    /// Something is wrong.
    Trouble,
}

/// What the terminal knows besides its desk.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// What PID 1 said.
    pub terminal: TerminalState,
    /// The name the broker gave, or the terminal's own.
    pub name: String,
    /// The site, once known.
    pub site: String,
    /// Why there is no control link.
    pub control: Option<(Code, String)>,
    /// Card readers found; nothing where cards do not come through readers.
    pub readers: Option<usize>,
    /// Whether the card service answers.
    pub card_service: bool,
    /// Whether another card waits in a second reader.
    pub another_card: bool,
    /// Whether the broker offers a login without a card.
    pub login: LoginOffer,
}

/// What to show.
pub fn plan(desk: &Desk, around: &Surroundings) -> Screen {
    let online = desk.control().is_ok();
    let pin = desk.proving().pin();
    let person = desk.present() == Some(&Present::Person);
    let (headline, detail, code, picture) = match desk.stage() {
        _ if !online => offline(around),
        _ if pin.is_some() => pin.map(type_pin).unwrap_or_default(),
        // Also of a desktop that was locked, whose card is still there.
        _ if matches!(desk.proving(), Proving::Working(_)) => waiting("Checking your card", ""),
        Stage::Empty => empty(around),
        Stage::Reading { .. } => waiting("Reading your card", ""),
        Stage::Unreadable { why, .. } => unreadable(*why),
        Stage::Asked { starting: None, .. } => waiting("One moment", ""),
        Stage::Asked {
            starting: Some(person),
            ..
        } => waiting("Starting your desktop", &format!("Welcome, {person}")),
        // The session in which a person logs in is nobody's.
        Stage::Attaching { person, .. } | Stage::Attached { person, .. } if person.is_empty() => {
            waiting("One moment", "")
        }
        Stage::Attaching { person, .. } | Stage::Attached { person, .. } => {
            waiting("Your desktop is coming", &format!("Welcome, {person}"))
        }
        Stage::Refused { reason, text, .. } => refused(*reason, text, person),
        Stage::Parted {
            reason,
            person: whose,
            ..
        } => match person {
            true => parted_person(reason),
            false if whose.is_empty() => parted_nobody(reason),
            false => parted(reason),
        },
    };
    let hint = match (desk.stage(), picture) {
        _ if !online => "",
        _ if pin.is_some() => "Enter: go on     Backspace: take a digit back     Escape: give up",
        (Stage::Empty, Picture::InsertCard) if around.login == LoginOffer::Offered => {
            "No card? Press Enter to log in.     Ctrl+Alt+Pause leaves a desktop."
        }
        (Stage::Empty, Picture::InsertCard) => "Ctrl+Alt+Pause leaves a desktop.",
        (Stage::Empty, _) if around.login == LoginOffer::Offered => {
            "Press Enter to log in without a card."
        }
        (Stage::Attached { .. }, _) => "",
        _ if person => "Escape: back",
        _ => "",
    };
    let useless = matches!(
        desk.stage(),
        Stage::Unreadable { .. } | Stage::Refused { .. } | Stage::Parted { .. }
    );
    let detail = match online && useless && around.another_card {
        true => {
            format!("{detail} Another card is in a second reader: take this one out to use it.")
        }
        false => detail,
    };
    let also = around
        .terminal
        .also
        .iter()
        .copied()
        .filter(|other| Some(*other) != code)
        .collect();
    let (name, site) = (around.name.clone(), around.site.clone());
    Screen {
        headline,
        detail,
        digits: pin.map(PinEntry::typed),
        hint: hint.to_owned(),
        code,
        also,
        picture,
        online,
        name,
        site,
    }
}

type Words = (String, String, Option<Code>, Picture);

fn waiting(headline: &str, detail: &str) -> Words {
    (
        headline.to_owned(),
        detail.to_owned(),
        None,
        Picture::Waiting,
    )
}

fn trouble(headline: &str, detail: &str, code: Code) -> Words {
    (
        headline.to_owned(),
        detail.to_owned(),
        Some(code),
        Picture::Trouble,
    )
}

fn offline(around: &Surroundings) -> Words {
    let state = &around.terminal;
    if let (Some(code), true) = (state.code, state.stage != BootStage::Ready) {
        let detail = if state.text.is_empty() {
            code.advice()
        } else {
            &state.text
        };
        return trouble(&capital(code.title()), detail, code);
    }
    match (state.stage, &around.control) {
        (BootStage::Cable, _) => waiting("Looking for the network", ""),
        (BootStage::Dhcp, _) => waiting("Asking for an address", ""),
        (BootStage::Ready, Some((code, why))) => trouble(&capital(code.title()), why, *code),
        _ => waiting("Looking for the server", ""),
    }
}

fn empty(around: &Surroundings) -> Words {
    if !around.card_service && around.readers.is_some() {
        let code = Code::NoCardService;
        return trouble(&capital(code.title()), "It is being started again.", code);
    }
    if around.readers == Some(0) {
        let code = Code::NoReader;
        return trouble(&capital(code.title()), code.advice(), code);
    }
    (
        "Insert your card".to_owned(),
        String::new(),
        None,
        Picture::InsertCard,
    )
}

fn unreadable(why: Unreadable) -> Words {
    let detail = match why {
        Unreadable::Mute => "The card does not answer. Is it the right way round?",
        Unreadable::Nameless => "This kind of card is not known here.",
        Unreadable::TornOut => "The card was taken out while it was being read. Insert it again.",
        Unreadable::ReaderFailed => "The card reader failed. Insert the card again.",
    };
    trouble("This card cannot be read", detail, Code::CardUnreadable)
}

fn type_pin(entry: &PinEntry) -> Words {
    let detail = match entry {
        entry if entry.was_short() => "A PIN has six to eight digits.",
        entry if entry.was_wrong() => "That PIN was wrong.",
        _ => "Your card asks for it. It goes to your card and nowhere else.",
    };
    let tries = match entry.tries() {
        1 => "You have one try here.".to_owned(),
        tries => format!("You have {tries} tries here."),
    };
    (
        "Type your PIN".to_owned(),
        format!("{detail} {tries}"),
        None,
        Picture::CardIn,
    )
}

fn refused(reason: CardRefusal, text: &str, person: bool) -> Words {
    if reason == CardRefusal::Locked {
        return (
            text.to_owned(),
            "Press Enter.".to_owned(),
            None,
            Picture::CardIn,
        );
    }
    let (headline, code) = match reason {
        CardRefusal::Unknown | CardRefusal::Revoked | CardRefusal::Forbidden if person => {
            ("You cannot log in here", Code::CardRefused)
        }
        CardRefusal::Unknown => ("This card is not known here", Code::CardUnknown),
        CardRefusal::Revoked => ("This card has been revoked", Code::CardRefused),
        CardRefusal::Forbidden => ("This card may not be used here", Code::CardRefused),
        CardRefusal::NoAccount => ("There is no account for this card", Code::CardRefused),
        CardRefusal::SessionFailed => ("Your desktop did not start", Code::SessionFailed),
        CardRefusal::Busy => ("The server is full", Code::SessionFailed),
        CardRefusal::NotProven | CardRefusal::Locked => {
            ("Your card could not be checked", Code::CardRefused)
        }
    };
    let retry = matches!(
        reason,
        CardRefusal::SessionFailed | CardRefusal::Busy | CardRefusal::NotProven
    );
    let hint = if retry { " (Press Enter.)" } else { "" };
    trouble(headline, &format!("{text}{hint}"), code)
}

fn parted(reason: &DetachReason) -> Words {
    let plain = |headline: &str, detail: &str| {
        (
            headline.to_owned(),
            detail.to_owned(),
            None,
            Picture::CardIn,
        )
    };
    match reason {
        DetachReason::MovedElsewhere { terminal } => plain(
            &format!("Your desktop is now at {terminal}"),
            "Press Enter to have it here, or take your card.",
        ),
        DetachReason::SessionEnded => plain(
            "You are logged out",
            "Take your card, or press Enter to start a new desktop.",
        ),
        DetachReason::ByAdmin => plain(
            "Your desktop was detached by an administrator",
            "Press Enter to ask for it.",
        ),
        DetachReason::ByPerson => plain(
            "Your desktop runs on",
            "Press Enter to have it here again, or take your card.",
        ),
        DetachReason::Locked => plain("Your desktop is locked", "Press Enter to unlock it."),
        DetachReason::ByPolicy => plain(
            "Your desktop was ended after a long time away",
            "Take your card, or press Enter to start a new desktop.",
        ),
        DetachReason::CardRevoked => trouble(
            "This card has been revoked",
            "Ask your administrator.",
            Code::CardRefused,
        ),
        DetachReason::SessionCrashed => trouble(
            "Your desktop has stopped",
            "Press Enter to start it again.",
            Code::SessionFailed,
        ),
        DetachReason::LinkLost | DetachReason::ProtocolViolation | DetachReason::CardRemoved => {
            trouble(
                "The link to your desktop is broken",
                "It runs on, and this terminal is trying to reach it. Press Enter to ask again.",
                Code::SessionUnreachable,
            )
        }
    }
}

/// A card's person left the page for logging in, or what is bound to the card.
fn parted_nobody(reason: &DetachReason) -> Words {
    match reason {
        DetachReason::SessionEnded | DetachReason::ByPerson => (
            "You are not logged in".to_owned(),
            "Press Enter to go on, or take your card.".to_owned(),
            None,
            Picture::CardIn,
        ),
        _ => parted(reason),
    }
}

/// Who came without a card is not there any more, as far as the terminal knows.
fn parted_person(reason: &DetachReason) -> Words {
    let headline = match reason {
        DetachReason::SessionEnded => "You are logged out",
        DetachReason::ByPerson => "You have left your desktop",
        _ => return parted(reason),
    };
    let detail = "Insert your card, or press Enter to log in.";
    (
        headline.to_owned(),
        detail.to_owned(),
        None,
        Picture::InsertCard,
    )
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

#[cfg(test)]
#[path = "screens_tests.rs"]
mod tests;

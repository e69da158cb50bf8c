//! What a login is made of.

use heliostat_control::greetd::Request;

/// Where a login is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// There is no broker to talk to; why, or nothing while that is not known yet.
    Offline(String),
    /// A name is asked for.
    Name,
    /// It is the broker's turn.
    Waiting,
    /// PAM asks.
    Asked {
        /// In its words.
        prompt: String,
        /// Whether the answer may not be seen.
        secret: bool,
    },
    /// The desktop comes.
    Welcome,
}

/// What can have the focus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Control {
    /// The field of the name.
    Name,
    /// The field of an answer.
    Answer,
    /// Shows what is typed unseen.
    Reveal,
    /// Binds the card.
    Enrol,
    /// Chooses the desktop.
    Desktop,
    /// Chooses the keyboard.
    Layout,
    /// Goes on.
    Go,
    /// Starts over.
    Over,
}

/// How a notice is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// News.
    Plain,
    /// Bad news.
    Bad,
}

/// A word to the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How it is meant.
    pub tone: Tone,
    /// The word.
    pub text: String,
}

/// A key, by what it does here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Types a text.
    Text(String),
    /// Goes on, or does what has the focus.
    Enter,
    /// To the next control.
    Tab,
    /// To the previous control.
    BackTab,
    /// Starts over.
    Escape,
    /// Takes a letter away.
    Backspace,
    /// Takes the next letter away.
    Delete,
    /// To the left.
    Left,
    /// To the right.
    Right,
    /// To the start.
    Home,
    /// To the end.
    End,
    /// Empties the field.
    Clear,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Say this to the broker.
    Send(Request),
    /// Type with this layout from now on.
    Layout(String),
    /// Leave the terminal to whoever comes next.
    Leave,
}

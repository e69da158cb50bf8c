//! What a policy settles, key by key: written once, for the file, the outcome and its explanation.

use serde::Deserialize;

use super::values::{Command, Direction, Enrol, Proof, Size, Span, Timeout, Weight};

/// Where a value comes from, for `policy explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nothing in the file says anything else.
    BuiltIn,
    /// The `[default]` table.
    Default,
    /// A rule: its number counted from 1, the line it begins at, and its name, if it has one.
    Rule(usize, usize, Option<String>),
}

/// One value of an outcome, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The key as the file has it.
    pub key: &'static str,
    /// The value as the file would have it.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident : $type:ty = $builtin:expr;)*) => {
        /// What a table of the file sets; nothing where it is silent.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        /// A `[[rule]]` as the file has it: whom it concerns, and what it sets.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct RuleTable {
            pub name: Option<String>,
            pub when: super::file::When,
            $(pub $name: Option<$type>,)*
        }

        impl RuleTable {
            pub fn settings(self) -> Settings {
                Settings { $($name: self.$name,)* }
            }
        }

        /// What holds for one card, person and terminal.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Outcome {
            $($(#[$doc])* pub $name: $type,)*
            origins: Origins,
        }

        #[derive(Debug, Clone, PartialEq, Eq)]
        struct Origins {
            $($name: Origin,)*
        }

        impl Default for Outcome {
            fn default() -> Self {
                Self {
                    $($name: $builtin,)*
                    origins: Origins { $($name: Origin::BuiltIn,)* },
                }
            }
        }

        impl Outcome {
            /// Takes over what `settings` says.
            pub(super) fn overlay(&mut self, settings: &Settings, origin: &Origin) {
                $(if let Some(value) = &settings.$name {
                    self.$name = value.clone();
                    self.origins.$name = origin.clone();
                })*
            }

            /// Every key, its value, and where that comes from.
            pub fn explain(&self) -> Vec<Explained> {
                vec![$(Explained {
                    key: stringify!($name),
                    value: self.$name.to_string(),
                    origin: self.origins.$name.clone(),
                },)*]
            }
        }
    };
}

settings! {
    /// What must be shown before the desktop is.
    proof: Proof = Proof::Card;
    /// How long after a detach the same card opens the desktop again with no more than `card`,
    /// where more is asked for otherwise.
    grace: Span = Span(std::time::Duration::ZERO);
    /// Whether people may log in by name and password without a card.
    login: bool = true;
    /// Whether somebody who has logged in may bind the unknown card in the reader.
    enrol: Enrol = Enrol::No;
    /// Whether cards without a key (contactless UIDs, cards known by their answer-to-reset) may be
    /// used; a password is asked for always.
    keyless: bool = false;
    /// Without input for so long the desktop is locked.
    idle: Timeout = Timeout(None);
    /// Without a terminal for so long the session is ended.
    detached: Timeout = Timeout(None);
    /// How long a terminal may keep what it showed, to have it back sooner.
    keep_pixels: Span = Span(std::time::Duration::ZERO);
    /// What a new session runs; nothing means what session.toml says.
    desktop: Command = Command(Vec::new());
    /// The one command that a card or terminal is bound to; nothing means desktops.
    kiosk: Command = Command(Vec::new());
    /// The user that the kiosk's command runs as.
    kiosk_user: String = "heliostat-kiosk".to_owned();
    /// Which way the clipboard may go.
    clipboard: Direction = Direction::Both;
    /// Whether USB devices of the terminal reach the session.
    usb: bool = false;
    /// Which way sound may go.
    audio: Direction = Direction::Both;
    /// The only server that has the desktop; any where empty.
    server: String = String::new();
    /// Memory of a session.
    memory: Size = Size(None);
    /// Processes and threads of a session.
    tasks: u32 = 4096;
    /// A session's share of the processors.
    cpu: Weight = Weight(100);
    /// A session's share of the disks.
    disk: Weight = Weight(100);
    /// Run as the person when their desktop appears at a terminal.
    on_attach: Command = Command(Vec::new());
    /// Run as the person when it has left a terminal.
    on_detach: Command = Command(Vec::new());
}

//! session.toml: what a site and a person choose for their sessions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::Error as _;
use tracing::warn;

use crate::keys::{Action, Chord, Shortcuts};

/// What a session is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Commands started with the session.
    pub autostart: Vec<String>,
    /// The colour of the desk, 0xRRGGBB.
    pub background: u32,
    /// The command of the terminal emulator.
    pub terminal: String,
    /// No pixel is ever shown otherwise than it was drawn: no films as videos, no likenesses of
    /// photographs.
    pub always_exact: bool,
    /// Whether X11 programs find a display, where Xwayland is installed.
    pub xwayland: bool,
    /// The keyboard.
    pub keyboard: Keyboard,
    /// The mouse pointer.
    pub cursor: Cursor,
    /// The keys that the session keeps.
    pub shortcuts: Shortcuts,
}

/// The keyboard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keyboard {
    /// XKB layout such as `de` or `us,de`; the terminal's where absent.
    pub layout: Option<String>,
    /// XKB variant.
    pub variant: Option<String>,
    /// XKB options such as `compose:caps`.
    pub options: Option<String>,
    /// Milliseconds until a held key repeats.
    pub repeat_delay: Option<u16>,
    /// Repetitions a second.
    pub repeat_rate: Option<u16>,
}

/// The mouse pointer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cursor {
    /// An installed XCursor theme.
    pub theme: Option<String>,
    /// Its size in logical pixels.
    pub size: Option<u8>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            autostart: vec!["foot".to_owned()],
            background: 0x2e_4057,
            terminal: "foot".to_owned(),
            always_exact: false,
            xwayland: true,
            keyboard: Keyboard::default(),
            cursor: Cursor::default(),
            shortcuts: Shortcuts::default(),
        }
    }
}

/// What one file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    autostart: Option<Vec<String>>,
    background: Option<Colour>,
    terminal: Option<String>,
    always_exact: Option<bool>,
    xwayland: Option<bool>,
    keyboard: Keyboard,
    cursor: Cursor,
    shortcuts: BTreeMap<Action, Chords>,
}

/// `#RRGGBB`.
#[derive(Debug, Clone, Copy)]
struct Colour(u32);

impl<'de> Deserialize<'de> for Colour {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let colour = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let wrong = || D::Error::custom(format!("{text:?} is no colour: expected \"#RRGGBB\""));
        colour.map(Self).ok_or_else(wrong)
    }
}

/// One chord or several.
#[derive(Debug)]
struct Chords(Vec<Chord>);

impl<'de> Deserialize<'de> for Chords {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a chord such as \"Super+Return\", or a list of them"
        )]
        enum OneOrMore {
            One(String),
            More(Vec<String>),
        }
        let texts = match OneOrMore::deserialize(deserializer)? {
            OneOrMore::One(text) => vec![text],
            OneOrMore::More(texts) => texts,
        };
        let chords: Result<_, _> = texts
            .iter()
            .map(|text| text.parse().map_err(D::Error::custom))
            .collect();
        Ok(Self(chords?))
    }
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It says something wrong; line, key and what was expected are named.
    #[error("{path}: {source}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// The defaults, then the site's file, then the person's. A file that is wrong is passed over
    /// with a warning: a slip of the pen must not cost a person their session.
    pub fn load(site: Option<&Path>) -> Self {
        let mut config = Self::default();
        let site = site.unwrap_or(Path::new("/etc/heliostat/session.toml"));
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let person = home.map(|home| home.join(".config/heliostat/session.toml"));
        for path in std::iter::once(site).chain(person.as_deref()) {
            match config.clone().with_file(path) {
                Ok(with) => config = with,
                Err(error) => warn!("this file is not used: {error}"),
            }
        }
        config
    }

    /// This with what a file says; a file that does not exist says nothing.
    pub fn with_file(self, path: &Path) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(self),
            Err(source) => {
                return Err(ConfigError::Unreadable {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        self.with_text(&text).map_err(|source| ConfigError::Wrong {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    fn with_text(mut self, text: &str) -> Result<Self, toml::de::Error> {
        let file: File = toml::from_str(text)?;
        fn take<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        take(&mut self.autostart, file.autostart);
        take(&mut self.background, file.background.map(|colour| colour.0));
        take(&mut self.terminal, file.terminal);
        take(&mut self.always_exact, file.always_exact);
        take(&mut self.xwayland, file.xwayland);
        let (own, theirs) = (&mut self.keyboard, file.keyboard);
        own.layout = theirs.layout.or(own.layout.take());
        own.variant = theirs.variant.or(own.variant.take());
        own.options = theirs.options.or(own.options.take());
        own.repeat_delay = theirs.repeat_delay.or(own.repeat_delay);
        own.repeat_rate = theirs.repeat_rate.or(own.repeat_rate);
        self.cursor.theme = file.cursor.theme.or(self.cursor.theme);
        self.cursor.size = file.cursor.size.or(self.cursor.size);
        let chords = file
            .shortcuts
            .into_iter()
            .map(|(action, chords)| (action, chords.0));
        self.shortcuts = self.shortcuts.with(&chords.collect());
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_changes_what_it_names_and_nothing_else() {
        let config = Config::default()
            .with_text("background = \"#102030\"\n[keyboard]\nlayout = \"de\"\n[shortcuts]\nclose = \"Super+q\"")
            .unwrap();
        assert_eq!(config.background, 0x10_2030);
        assert_eq!(config.keyboard.layout.as_deref(), Some("de"));
        assert_eq!(config.autostart, ["foot"]);
        assert_ne!(config.shortcuts, Shortcuts::default());
        let config = config
            .with_text("autostart = []\n[keyboard]\nvariant = \"neo\"")
            .unwrap();
        assert!(config.autostart.is_empty());
        assert_eq!(config.keyboard.layout.as_deref(), Some("de"));
    }

    #[test]
    fn slip_of_the_pen_is_named_with_line_key_and_what_was_expected() {
        for (text, expected) in [
            (
                "\nautostrat = [\"foot\"]",
                ["line 2", "autostrat", "autostart"],
            ),
            ("background = \"blue\"", ["line 1", "background", "#RRGGBB"]),
            (
                "[shortcuts]\nclose = \"Alt+F444\"",
                ["line 2", "F444", "XKB name"],
            ),
            (
                "[shortcuts]\nclsoe = \"Alt+F4\"",
                ["line 2", "clsoe", "close"],
            ),
            ("[cursor]\nsize = \"big\"", ["line 2", "size", "u8"]),
        ] {
            let error = Config::default().with_text(text).unwrap_err().to_string();
            for part in expected {
                assert!(error.contains(part), "{part:?} is missing in: {error}");
            }
        }
    }

    #[test]
    fn missing_file_says_nothing_and_an_unreadable_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::default()
            .with_file(&folder.path().join("none.toml"))
            .unwrap();
        assert_eq!(config, Config::default());
        assert!(Config::default().with_file(folder.path()).is_err());
    }
}

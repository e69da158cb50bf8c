//! session.toml: what a site and a person choose for their sessions.

mod file;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tracing::warn;

use crate::flat::Force;
use crate::gpu::{Reading, RenderNode};
use crate::keys::Shortcuts;

/// The site's file where nobody names another.
pub const SITE: &str = "/etc/heliostat/session.toml";
/// Bytes of a file: more is no session.toml.
const MAX_FILE: u64 = 256 << 10;

/// What a session is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Keys that a person's file may not have: a table's name, or one of its keys as `table.key`.
    pub locked: Vec<String>,
    /// Commands started with the session.
    pub autostart: Vec<String>,
    /// Whether what programs have put into the XDG autostart folders is started as well.
    pub xdg_autostart: bool,
    /// Commands of the desktop's parts, by name. They are started again when they end.
    pub parts: BTreeMap<String, String>,
    /// The part without which the session is nothing: it ends when this cannot be kept up.
    pub vital: Option<String>,
    /// What programs find in their environment.
    pub environment: BTreeMap<String, String>,
    /// The colour of the desk, 0xRRGGBB.
    pub background: u32,
    /// The command of the terminal emulator.
    pub terminal: String,
    /// The command that offers programs to start.
    pub launcher: Option<String>,
    /// The command that locks the screen, and ends when it is unlocked.
    pub locker: Option<String>,
    /// No pixel is ever shown otherwise than it was drawn: no films as videos, no likenesses of
    /// photographs.
    pub always_exact: bool,
    /// The graphics device that encodes films and whose buffers clients may use.
    pub render_node: RenderNode,
    /// Who reads clients' buffers of that device.
    pub gpu_reading: Reading,
    /// Which outputs are composed here.
    pub flat: Force,
    /// The node on which GLES composes them, Mesa's software as well; that of the encoder, or one of
    /// hardware, where absent.
    pub flat_node: Option<PathBuf>,
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
            locked: Vec::new(),
            autostart: vec!["foot".to_owned()],
            xdg_autostart: false,
            parts: BTreeMap::new(),
            vital: None,
            environment: BTreeMap::new(),
            background: 0x2e_4057,
            terminal: "foot".to_owned(),
            launcher: None,
            locker: None,
            always_exact: false,
            render_node: RenderNode::default(),
            gpu_reading: Reading::default(),
            flat: Force::Auto,
            flat_node: None,
            xwayland: true,
            keyboard: Keyboard::default(),
            cursor: Cursor::default(),
            shortcuts: Shortcuts::default(),
        }
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
    /// The defaults, then the site's file, then the person's. The site's is passed over with a
    /// warning where it is wrong, of the person's only what is wrong is: a slip of the pen must not
    /// cost a person their session.
    ///
    /// `more` counts as if it stood at the end of the site's file; it comes from the broker, so a
    /// mistake in it is an error.
    pub fn load(site: Option<&Path>, more: Option<&str>) -> Result<Self, toml::de::Error> {
        let mut config = Self::default();
        let site = site.unwrap_or(Path::new(SITE));
        match config.clone().with_site_file(site) {
            Ok(with) => config = with,
            Err(error) => warn!("this file is not used: {error}"),
        }
        if let Some(more) = more {
            config = config.with_site(more)?;
        }
        Ok(config.with_own_file())
    }

    /// This with what the person's file says, as far as it is right and not locked.
    fn with_own_file(self) -> Self {
        let config = self;
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let Some(person) = home.map(|home| home.join(".config/heliostat/session.toml")) else {
            return config;
        };
        match config.clone().with_person_file(&person) {
            Ok((with, refused)) => {
                for what in refused {
                    warn!("{}: not used: {what}", person.display());
                }
                with
            }
            Err(error) => {
                warn!("this file is not used: {error}");
                config
            }
        }
    }

    /// This with what the site's file says; a file that does not exist says nothing.
    pub fn with_site_file(self, path: &Path) -> Result<Self, ConfigError> {
        match read(path)? {
            Some(text) => self.with_site(&text).map_err(|source| wrong(path, source)),
            None => Ok(self),
        }
    }

    /// This with what a person's file says, and what of it is not taken.
    pub fn with_person_file(self, path: &Path) -> Result<(Self, Vec<String>), ConfigError> {
        match read(path)? {
            Some(text) => self
                .with_person(&text)
                .map_err(|source| wrong(path, source)),
            None => Ok((self, Vec::new())),
        }
    }
}

/// The text of a file, if it exists.
fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    match text.len() as u64 > MAX_FILE {
        true => Err(unreadable(std::io::Error::other(
            "larger than a session.toml may be (256 KiB)",
        ))),
        false => Ok(Some(text)),
    }
}

fn wrong(path: &Path, source: toml::de::Error) -> ConfigError {
    ConfigError::Wrong {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_changes_what_it_names_and_nothing_else() {
        let config = Config::default()
            .with_site("background = \"#102030\"\n[keyboard]\nlayout = \"de\"\n[shortcuts]\nclose = \"Super+q\"")
            .unwrap();
        assert_eq!(config.background, 0x10_2030);
        assert_eq!(config.keyboard.layout.as_deref(), Some("de"));
        assert_eq!(config.autostart, ["foot"]);
        assert_ne!(config.shortcuts, Shortcuts::default());
        let config = config
            .with_site("autostart = []\n[keyboard]\nvariant = \"neo\"")
            .unwrap();
        assert!(config.autostart.is_empty());
        assert_eq!(config.keyboard.layout.as_deref(), Some("de"));
    }

    #[test]
    fn slip_of_the_pen_in_the_sites_file_is_named_with_line_key_and_what_was_expected() {
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
            ("locked = [\"colour\"]", ["locked", "colour", "no key"]),
        ] {
            let error = Config::default().with_site(text).unwrap_err().to_string();
            for part in expected {
                assert!(error.contains(part), "{part:?} is missing in: {error}");
            }
        }
    }

    #[test]
    fn slip_of_the_pen_in_a_persons_file_costs_them_that_key_and_no_more() {
        let text = "background = \"#010203\"\nautostrat = []\n[shortcuts]\nclose = \"Alt+F444\"\nmaximise = \"Super+m\"";
        let (config, refused) = Config::default().with_person(text).unwrap();
        assert_eq!(config.background, 0x01_0203);
        assert_ne!(
            config.shortcuts,
            Shortcuts::default(),
            "the good chord counts"
        );
        assert_eq!(refused.len(), 2, "{refused:?}");
        let all = refused.join("\n");
        for part in [
            "line 2: autostrat",
            "autostart",
            "line 4: shortcuts.close",
            "F444",
        ] {
            assert!(all.contains(part), "{part:?} is missing in: {all}");
        }
    }

    #[test]
    fn person_cannot_change_what_the_site_has_locked() {
        let site = "locked = [\"locker\", \"keyboard.options\", \"parts\"]\nlocker = \"swaylock\"\n[parts]\npanel = \"waybar\"";
        let site = Config::default().with_site(site).unwrap();
        let person = "locker = \"true\"\nlocked = []\n[keyboard]\nlayout = \"de\"\noptions = \"ctrl:nocaps\"\n[parts]\npanel = \"\"";
        let (config, refused) = site.clone().with_person(person).unwrap();
        assert_eq!(config.locker, site.locker);
        assert_eq!(config.parts, site.parts);
        assert_eq!(config.keyboard.options, None);
        assert_eq!(config.keyboard.layout.as_deref(), Some("de"));
        assert_eq!(refused.len(), 4, "{refused:?}");
    }

    #[test]
    fn part_without_a_command_is_not_wanted() {
        let site = Config::default()
            .with_site("[parts]\npanel = \"waybar\"\nwallpaper = \"swaybg\"")
            .unwrap();
        let (config, refused) = site.with_person("[parts]\npanel = \"\"").unwrap();
        assert!(refused.is_empty());
        assert_eq!(config.parts.keys().collect::<Vec<_>>(), ["wallpaper"]);
    }

    #[test]
    fn missing_file_says_nothing_and_an_unreadable_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::default()
            .with_site_file(&folder.path().join("none.toml"))
            .unwrap();
        assert_eq!(config, Config::default());
        assert!(Config::default().with_site_file(folder.path()).is_err());
        assert!(Config::default().with_person_file(folder.path()).is_err());
    }
}

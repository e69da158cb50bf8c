//! One session.toml: what it may say, and how what it says is taken.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::Error as _;

use super::{Config, Cursor, Keyboard};
use crate::flat::Force;
use crate::gpu::{Reading, RenderNode};
use crate::keys::{Action, Chord};

/// What one file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    locked: Vec<String>,
    autostart: Option<Vec<String>>,
    xdg_autostart: Option<bool>,
    parts: BTreeMap<String, String>,
    vital: Option<String>,
    environment: BTreeMap<String, String>,
    background: Option<Colour>,
    terminal: Option<String>,
    launcher: Option<String>,
    locker: Option<String>,
    always_exact: Option<bool>,
    render_node: Option<RenderNode>,
    gpu_reading: Option<Reading>,
    flat: Option<Force>,
    flat_node: Option<PathBuf>,
    xwayland: Option<bool>,
    keyboard: Keyboard,
    cursor: Cursor,
    shortcuts: BTreeMap<Action, Chords>,
    commands: BTreeMap<Chord, String>,
}

/// Tables whose keys are taken, and locked, one by one.
const TABLES: [&str; 6] = [
    "parts",
    "environment",
    "keyboard",
    "cursor",
    "shortcuts",
    "commands",
];

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

impl<'de> Deserialize<'de> for Chord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
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

impl Config {
    /// This with what the site's file says. One mistake and nothing of it is taken.
    pub(super) fn with_site(self, text: &str) -> Result<Self, toml::de::Error> {
        let file: File = toml::from_str(text)?;
        for key in &file.locked {
            let (table, _) = key.split_once('.').unwrap_or((key, ""));
            if !is_known(table) {
                return Err(toml::de::Error::custom(format!(
                    "locked: {key:?} is no key of this file"
                )));
            }
        }
        Ok(self.with(file))
    }

    /// This with what the person's file says, and what of it is not taken, by line and key: what is
    /// wrong, and what the site has locked. The rest counts.
    pub(super) fn with_person(
        mut self,
        text: &str,
    ) -> Result<(Self, Vec<String>), toml::de::Error> {
        let table: toml::Table = toml::from_str(text)?;
        let mut refused = Vec::new();
        for (key, value) in table {
            let parts = match value {
                toml::Value::Table(inner) if TABLES.contains(&key.as_str()) => {
                    let wrap = |(name, value): (String, toml::Value)| {
                        let inner = toml::Table::from_iter([(name.clone(), value)]);
                        (Some(name), toml::Value::Table(inner))
                    };
                    inner.into_iter().map(wrap).collect()
                }
                value => vec![(None, value)],
            };
            for (name, value) in parts {
                let said = name
                    .as_ref()
                    .map_or_else(|| key.clone(), |name| format!("{key}.{name}"));
                match self.person_part(&key, &said, value) {
                    Ok(file) => self = self.with(file),
                    Err(why) => refused.push(format!(
                        "{}{said}: {why}",
                        place(text, name.as_ref().unwrap_or(&key))
                    )),
                }
            }
        }
        Ok((self, refused))
    }

    fn person_part(&self, key: &str, said: &str, value: toml::Value) -> Result<File, String> {
        if self
            .locked
            .iter()
            .any(|locked| locked == key || locked == said)
            || key == "locked"
        {
            return Err("the site does not let it be changed".to_owned());
        }
        let alone = toml::Table::from_iter([(key.to_owned(), value)]);
        File::deserialize(alone).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    fn with(mut self, file: File) -> Self {
        fn take<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        self.locked.extend(file.locked);
        take(&mut self.autostart, file.autostart);
        take(&mut self.xdg_autostart, file.xdg_autostart);
        take(&mut self.background, file.background.map(|colour| colour.0));
        take(&mut self.terminal, file.terminal);
        take(&mut self.launcher, file.launcher.map(Some));
        take(&mut self.locker, file.locker.map(Some));
        take(&mut self.always_exact, file.always_exact);
        take(&mut self.render_node, file.render_node);
        take(&mut self.gpu_reading, file.gpu_reading);
        take(&mut self.flat, file.flat);
        take(&mut self.flat_node, file.flat_node.map(Some));
        take(&mut self.xwayland, file.xwayland);
        take(&mut self.vital, file.vital.map(Some));
        self.parts.extend(file.parts);
        // An empty command is a part that is not wanted.
        self.parts.retain(|_, command| !command.trim().is_empty());
        self.environment.extend(file.environment);
        self.keyboard.take(file.keyboard);
        self.cursor.theme = file.cursor.theme.or(self.cursor.theme);
        self.cursor.size = file.cursor.size.or(self.cursor.size);
        let chords = file
            .shortcuts
            .into_iter()
            .map(|(action, chords)| (action, chords.0));
        self.shortcuts = self
            .shortcuts
            .with(&chords.collect())
            .with_commands(file.commands);
        self
    }
}

impl Keyboard {
    fn take(&mut self, other: Self) {
        self.layout = other.layout.or(self.layout.take());
        self.variant = other.variant.or(self.variant.take());
        self.options = other.options.or(self.options.take());
        self.repeat_delay = other.repeat_delay.or(self.repeat_delay);
        self.repeat_rate = other.repeat_rate.or(self.repeat_rate);
    }
}

/// Whether files may have this key.
fn is_known(key: &str) -> bool {
    const ALONE: [&str; 13] = [
        "autostart",
        "xdg_autostart",
        "background",
        "terminal",
        "launcher",
        "locker",
        "always_exact",
        "render_node",
        "gpu_reading",
        "flat",
        "flat_node",
        "xwayland",
        "vital",
    ];
    TABLES.contains(&key) || ALONE.contains(&key)
}

/// Where a key is in a file, for people.
fn place(text: &str, key: &str) -> String {
    let is_it = |line: &str| {
        let line = line.trim_start().trim_start_matches(['"', '\'', '[']);
        line.strip_prefix(key).is_some_and(|rest| {
            rest.trim_start_matches(['"', '\''])
                .trim_start()
                .starts_with(['=', ']', '.'])
        })
    };
    let found = text.lines().position(is_it);
    found.map_or_else(String::new, |line| format!("line {}: ", line + 1))
}

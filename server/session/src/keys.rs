//! Shortcuts: which keys the session keeps for itself.

use std::collections::BTreeMap;

use serde::Deserialize;
use smithay::input::keyboard::{Keysym, ModifiersState, xkb};

/// What a shortcut does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Asks the focused window to close.
    Close,
    /// Gives the keyboard to the next window.
    NextWindow,
    /// Gives the keyboard to the window before.
    PreviousWindow,
    /// Maximises the focused window, or back.
    Maximise,
    /// Lays it over the left half, or back.
    SnapLeft,
    /// Lays it over the right half, or back.
    SnapRight,
    /// Puts it away.
    Minimise,
    /// Lays it over the whole output, or back.
    Fullscreen,
    /// Starts the terminal emulator.
    Terminal,
    /// Offers programs to start.
    Launcher,
    /// Locks the screen.
    Lock,
    /// Takes the next of the keyboard's layouts.
    NextLayout,
}

/// What keys do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Something that the session does.
    Act(Action),
    /// Something that it starts.
    Start(String),
}

/// A key with modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chord {
    ctrl: bool,
    alt: bool,
    shift: bool,
    logo: bool,
    key: Keysym,
}

/// Why a text is no chord.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadChord {
    /// A modifier that is none.
    #[error("{0:?} is no modifier: expected Ctrl, Alt, Shift or Super")]
    Modifier(String),
    /// A key that is none.
    #[error("{0:?} is no key: expected an XKB name such as F4, Tab, Return or a")]
    Key(String),
}

impl std::str::FromStr for Chord {
    type Err = BadChord;

    fn from_str(text: &str) -> Result<Self, BadChord> {
        let (modifiers, key) = text
            .rsplit_once('+')
            .map_or(("", text), |(m, key)| (m, key));
        let sym = xkb::keysym_from_name(key.trim(), xkb::KEYSYM_CASE_INSENSITIVE);
        if sym == Keysym::NoSymbol {
            return Err(BadChord::Key(key.to_owned()));
        }
        let mut chord = Self {
            ctrl: false,
            alt: false,
            shift: false,
            logo: false,
            key: sym,
        };
        for modifier in modifiers.split('+').filter(|modifier| !modifier.is_empty()) {
            let flag = match modifier.trim().to_ascii_lowercase().as_str() {
                "ctrl" | "control" => &mut chord.ctrl,
                "alt" => &mut chord.alt,
                "shift" => &mut chord.shift,
                "super" | "logo" | "meta" => &mut chord.logo,
                _ => return Err(BadChord::Modifier(modifier.to_owned())),
            };
            *flag = true;
        }
        Ok(chord)
    }
}

impl Chord {
    fn is(self, modifiers: &ModifiersState, syms: &[Keysym]) -> bool {
        (self.ctrl, self.alt, self.shift, self.logo)
            == (
                modifiers.ctrl,
                modifiers.alt,
                modifiers.shift,
                modifiers.logo,
            )
            && syms.contains(&self.key)
    }
}

/// All shortcuts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortcuts {
    actions: Vec<(Chord, Action)>,
    commands: BTreeMap<Chord, String>,
}

impl Default for Shortcuts {
    fn default() -> Self {
        let chord = |text: &str| text.parse::<Chord>().expect("our own shortcuts are chords");
        let actions = vec![
            (chord("Alt+F4"), Action::Close),
            (chord("Alt+Tab"), Action::NextWindow),
            (chord("Alt+Shift+Tab"), Action::PreviousWindow),
            (chord("Super+Up"), Action::Maximise),
            (chord("Super+Left"), Action::SnapLeft),
            (chord("Super+Right"), Action::SnapRight),
            (chord("Super+Down"), Action::Minimise),
            (chord("Super+f"), Action::Fullscreen),
            (chord("Super+Return"), Action::Terminal),
            (chord("Super+d"), Action::Launcher),
            (chord("Super+l"), Action::Lock),
            (chord("Super+space"), Action::NextLayout),
        ];
        Self {
            actions,
            commands: BTreeMap::new(),
        }
    }
}

impl Shortcuts {
    /// These in place of the ones of the same action.
    pub fn with(mut self, own: &BTreeMap<Action, Vec<Chord>>) -> Self {
        self.actions.retain(|(_, action)| !own.contains_key(action));
        for (action, chords) in own {
            self.actions
                .extend(chords.iter().map(|chord| (*chord, *action)));
        }
        self
    }

    /// These commands besides; an empty one gives its chord back to programs.
    pub fn with_commands(mut self, commands: BTreeMap<Chord, String>) -> Self {
        self.commands.extend(commands);
        self.commands
            .retain(|_, command| !command.trim().is_empty());
        self
    }

    /// What a key means with these modifiers; `syms` are its symbols without them.
    pub fn meaning(&self, modifiers: &ModifiersState, syms: &[Keysym]) -> Option<Meaning> {
        let started = self
            .commands
            .iter()
            .find(|(chord, _)| chord.is(modifiers, syms));
        if let Some((_, command)) = started {
            return Some(Meaning::Start(command.clone()));
        }
        let found = self
            .actions
            .iter()
            .find(|(chord, _)| chord.is(modifiers, syms));
        found.map(|(_, action)| Meaning::Act(*action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chord_needs_exactly_its_modifiers() {
        let shortcuts = Shortcuts::default();
        let alt = ModifiersState {
            alt: true,
            ..ModifiersState::default()
        };
        let more = ModifiersState { ctrl: true, ..alt };
        assert_eq!(
            shortcuts.meaning(&alt, &[Keysym::F4]),
            Some(Meaning::Act(Action::Close))
        );
        assert_eq!(shortcuts.meaning(&more, &[Keysym::F4]), None);
        assert_eq!(
            shortcuts.meaning(&ModifiersState::default(), &[Keysym::F4]),
            None
        );
    }

    #[test]
    fn wrong_names_are_refused_with_what_was_expected() {
        assert!(matches!(
            "Hyperr+F4".parse::<Chord>(),
            Err(BadChord::Modifier(_))
        ));
        assert!(matches!("Alt+F444".parse::<Chord>(), Err(BadChord::Key(_))));
    }

    #[test]
    fn own_shortcut_replaces_the_default_one() {
        let own = [(Action::Close, vec!["Super+q".parse().unwrap()])].into();
        let shortcuts = Shortcuts::default().with(&own);
        let alt = ModifiersState {
            alt: true,
            ..ModifiersState::default()
        };
        let logo = ModifiersState {
            logo: true,
            ..ModifiersState::default()
        };
        assert_eq!(shortcuts.meaning(&alt, &[Keysym::F4]), None);
        assert_eq!(
            shortcuts.meaning(&logo, &[Keysym::q]),
            Some(Meaning::Act(Action::Close))
        );
        assert_eq!(
            shortcuts.meaning(&alt, &[Keysym::Tab]),
            Some(Meaning::Act(Action::NextWindow))
        );
    }

    #[test]
    fn command_goes_before_what_its_chord_would_do() {
        let logo = ModifiersState {
            logo: true,
            ..ModifiersState::default()
        };
        let chord = || "Super+Return".parse::<Chord>().unwrap();
        let own = Shortcuts::default().with_commands([(chord(), "xterm".to_owned())].into());
        let started = Some(Meaning::Start("xterm".to_owned()));
        assert_eq!(own.meaning(&logo, &[Keysym::Return]), started);
        let given_back = own.with_commands([(chord(), String::new())].into());
        let terminal = Some(Meaning::Act(Action::Terminal));
        assert_eq!(given_back.meaning(&logo, &[Keysym::Return]), terminal);
    }
}

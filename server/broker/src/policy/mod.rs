//! Who needs what where: the site's policy, from one TOML file.
//!
//! Pure: what is known of a card, a person and a terminal goes in, an [`Outcome`] comes out.
//! `[default]` stands on what is built in; every `[[rule]]` whose conditions all hold is laid over
//! it, in the order of the file, so that the last one that says something about a key wins.

mod check;
mod file;
mod glob;
mod settings;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;

use heliostat_wire::card::CardKind;

pub use check::{Here, Named, Somebody};
use file::{OneOrMore, When};
use glob::Glob;
pub use settings::{Explained, Origin, Outcome, Settings};
pub use values::{Command, Direction, Enrol, Proof, Size, Span, Timeout, Weight};

/// The site's policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    default: Settings,
    places: BTreeMap<String, Vec<Glob>>,
    rules: Vec<Rule>,
    /// The broker it is for, where that is known; decides nothing.
    here: Option<Here>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    origin: Origin,
    when: When,
    settings: Settings,
}

/// What is known when the policy is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Given<'a> {
    /// The card id; nothing where nobody has inserted one.
    pub card: Option<&'a str>,
    /// The person, once it is known who it would be.
    pub person: Option<&'a str>,
    /// The groups that the person is in.
    pub groups: &'a [String],
    /// The terminal's id.
    pub terminal: &'a str,
    /// The terminal's name.
    pub terminal_name: &'a str,
}

impl Policy {
    /// What holds for somebody.
    pub fn decide(&self, given: &Given<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.overlay(&self.default, &Origin::Default);
        let ids = Ids {
            card: given.card.map(str::to_ascii_lowercase),
            terminal: given.terminal.to_ascii_lowercase(),
            places: self.places_of(given.terminal, given.terminal_name),
        };
        for rule in &self.rules {
            if rule.holds(given, &ids) {
                outcome.overlay(&rule.settings, &rule.origin);
            }
        }
        outcome
    }

    /// The places that a terminal, by its id or its name, is in.
    pub fn places_of(&self, id: &str, name: &str) -> Vec<&str> {
        let id = id.to_ascii_lowercase();
        let inside = |terminals: &[Glob]| {
            terminals
                .iter()
                .any(|terminal| terminal.matches_id(&id) || terminal.matches(name))
        };
        self.places
            .iter()
            .filter(|(_, terminals)| inside(terminals))
            .map(|(place, _)| place.as_str())
            .collect()
    }

    /// Whether any rule asks for a group, so that people's groups must be known.
    pub fn asks_for_groups(&self) -> bool {
        self.rules.iter().any(|rule| !rule.when.group.0.is_empty())
    }
}

/// What is given, as rules look at it.
struct Ids<'a> {
    /// The card's id in small letters.
    card: Option<String>,
    /// The terminal's id in small letters.
    terminal: String,
    /// The places that the terminal is in.
    places: Vec<&'a str>,
}

impl Rule {
    fn holds(&self, given: &Given<'_>, ids: &Ids<'_>) -> bool {
        let When {
            person,
            group,
            card,
            terminal,
            place,
        } = &self.when;
        let at = |glob: &Glob| glob.matches_id(&ids.terminal) || glob.matches(given.terminal_name);
        let is_card = |glob: &Glob| ids.card.as_ref().is_some_and(|id| glob.matches_id(id));
        person.admits(|glob| given.person.is_some_and(|person| glob.matches(person)))
            && card.admits(is_card)
            && terminal.admits(at)
            && place.admits(|glob| ids.places.iter().any(|place| glob.matches(place)))
            && group.admits(|glob| given.groups.iter().any(|group| glob.matches(group)))
    }
}

impl OneOrMore {
    /// Whether one of the forms is so; a condition that is not there always holds.
    fn admits(&self, is_so: impl Fn(&Glob) -> bool) -> bool {
        self.0.is_empty() || self.0.iter().any(is_so)
    }
}

/// Whether a card of this kind can hold a key.
pub fn is_keyless(kind: CardKind) -> bool {
    match kind {
        CardKind::Piv => false,
        CardKind::ContactlessUid | CardKind::AtrSerial => true,
    }
}

impl Outcome {
    /// What this kind of card must be accompanied by; nothing where it opens nothing at all.
    pub fn needs(&self, kind: CardKind) -> Option<Proof> {
        match is_keyless(kind) {
            // Its id is all there is of it, and anybody can have that.
            true => self.keyless.then_some(Proof::Password),
            false => Some(self.proof),
        }
    }
}

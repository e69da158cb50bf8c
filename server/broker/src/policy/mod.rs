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

pub use check::{Here, Somebody};
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
        let places = self.places_of(given.terminal, given.terminal_name);
        for rule in &self.rules {
            if rule.holds(given, &places) {
                outcome.overlay(&rule.settings, &rule.origin);
            }
        }
        outcome
    }

    /// The places that a terminal, by its id or its name, is in.
    pub fn places_of(&self, id: &str, name: &str) -> Vec<&str> {
        let inside = |terminals: &[Glob]| {
            terminals
                .iter()
                .any(|terminal| terminal.matches(id) || terminal.matches(name))
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

impl Rule {
    fn holds(&self, given: &Given<'_>, places: &[&str]) -> bool {
        let when = &self.when;
        when.person.admits(given.person)
            && when.card.admits(given.card)
            && when.terminal.admits([given.terminal, given.terminal_name])
            && when.place.admits(places.iter().copied())
            && when.group.admits(given.groups.iter().map(String::as_str))
    }
}

impl OneOrMore {
    /// Whether one of `words` is of one of the forms; a condition that is not there always holds.
    fn admits<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> bool {
        let mut words = words.into_iter();
        self.0.is_empty() || words.any(|word| self.0.iter().any(|glob| glob.matches(word)))
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

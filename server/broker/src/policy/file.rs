//! The policy file: its tables, and what is wrong with it, by line.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::glob::Glob;
use super::settings::{Origin, RuleTable, Settings};
use super::{Policy, Rule};
use crate::config::{ConfigError, wrong};

/// Rules of one file.
const MAX_RULES: usize = 10_000;

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    default: Settings,
    place: BTreeMap<String, OneOrMore>,
    rule: Vec<Spanned<RuleTable>>,
}

/// Whom a rule concerns: all that is named must hold, and of a list one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct When {
    pub person: OneOrMore,
    pub group: OneOrMore,
    pub card: OneOrMore,
    pub terminal: OneOrMore,
    pub place: OneOrMore,
}

/// A word or a list of words, in which `*` stands for anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OneOrMore(pub Vec<Glob>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a string or a list of strings")]
        enum Either {
            One(String),
            More(Vec<String>),
        }
        let words = match Either::deserialize(deserializer)? {
            Either::One(word) => vec![word],
            Either::More(words) => words,
        };
        // An empty list would hold for nobody, which nobody means.
        match words.is_empty() || words.iter().any(String::is_empty) {
            true => Err(serde::de::Error::custom(
                "invalid pattern, expected a word that is not empty, or a list of such words",
            )),
            false => Ok(Self(words.iter().map(|word| Glob::new(word)).collect())),
        }
    }
}

impl Policy {
    /// Reads the text of `file`.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let read: File = toml::from_str(text).map_err(|error| wrong(file, text, &error))?;
        let senseless = |problem: String| ConfigError::Senseless {
            file: file.to_owned(),
            problem,
        };
        if read.rule.len() > MAX_RULES {
            return Err(senseless(format!("more than {MAX_RULES} rules")));
        }
        let places: BTreeMap<String, Vec<Glob>> = read
            .place
            .into_iter()
            .map(|(name, terminals)| (name, terminals.0))
            .collect();
        let mut rules = Vec::new();
        for (number, table) in read.rule.into_iter().enumerate() {
            let line = line_at(text, table.span().start);
            let table = table.into_inner();
            let unknown = table
                .when
                .place
                .0
                .iter()
                .find(|place| !places.keys().any(|name| place.matches(name)));
            if let Some(place) = unknown {
                return Err(senseless(format!(
                    "rule {} (line {line}): no [place] is called {:?}",
                    number + 1,
                    place.as_str()
                )));
            }
            rules.push(Rule {
                origin: Origin::Rule(number + 1, line, table.name.clone()),
                when: table.when.clone(),
                settings: table.settings(),
            });
        }
        let policy = Self {
            default: read.default,
            places,
            rules,
            here: None,
        };
        match policy.senseless() {
            Some(problem) => Err(senseless(problem)),
            None => Ok(policy),
        }
    }
}

/// The line of a byte, counted from 1.
fn line_at(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().get(..byte).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

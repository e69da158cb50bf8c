//! The policy as administrators ask about it.

use heliostat_control::admin::PolicyAnswer;

use super::*;
use crate::card_ids;
use crate::policy::{Enrol, Given, Outcome, Proof, Somebody};

impl Directory {
    /// Whose groups a question about a card or a person needs, and are not known.
    pub fn ungrouped(&self, card: Option<&str>, person: Option<&str>) -> Vec<String> {
        let person = person.or_else(|| card.and_then(|card| self.person_of(card)));
        let unknown = |person: &&str| !self.groups.contains_key(*person);
        let person = person.filter(|_| self.policy.asks_for_groups());
        person
            .filter(unknown)
            .map(str::to_owned)
            .into_iter()
            .collect()
    }

    /// All people whose groups a question needs, and are not known.
    pub fn all_ungrouped(&self) -> Vec<String> {
        let asks = self.policy.asks_for_groups();
        let people = self.people.iter().filter(|_| asks);
        let unknown = people.filter(|person| !self.groups.contains_key(*person));
        unknown.cloned().collect()
    }

    /// What the policy says of a card, a person and a terminal.
    pub fn explain(
        &self,
        card: Option<&str>,
        person: Option<&str>,
        terminal: Option<&str>,
    ) -> PolicyAnswer {
        let wanted = terminal.unwrap_or_default();
        let small = card_ids::in_one_case(wanted);
        let by_name = || {
            self.terminals
                .iter()
                .find(|(_, known)| known.name == wanted)
        };
        // Ids are one terminal's; a name is whatever a terminal calls itself.
        let named = self.terminals.get_key_value(&small).or_else(by_name);
        let (id, name) = match named {
            Some((id, known)) => (id.as_str(), known.name.as_str()),
            None => (small.as_str(), wanted),
        };
        let person = person.or_else(|| card.and_then(|card| self.person_of(card)));
        let groups = person.and_then(|person| self.groups.get(person));
        let groups = groups.cloned().unwrap_or_default();
        let outcome = self.policy.decide(&Given {
            card,
            person,
            groups: &groups,
            terminal: id,
            terminal_name: name,
        });
        let places = self.policy.places_of(id, name);
        PolicyAnswer {
            person: person.unwrap_or_default().to_owned(),
            places: places.into_iter().map(str::to_owned).collect(),
            verdict: self.verdict(card, &outcome),
            values: outcome
                .explain()
                .into_iter()
                .map(|value| (value.key.to_owned(), value.value, value.origin.to_string()))
                .collect(),
            groups,
        }
    }

    /// What happens to a card under this outcome, in words.
    fn verdict(&self, card: Option<&str>, outcome: &Outcome) -> String {
        if !outcome.kiosk.0.is_empty() {
            return format!("shows {} and nothing else", outcome.kiosk);
        }
        let Some(id) = card else {
            return match outcome.login {
                true => "people may log in without a card".to_owned(),
                false => "nobody may log in without a card".to_owned(),
            };
        };
        let unbound =
            |card: &Card| card.keys == Keys::default() && card.standing != Standing::FirstUse;
        match (self.cards.get(id), outcome.needs(kind_of(id))) {
            (Some(card), _) if card.revoked_s.is_some() => "opens nothing: revoked",
            (_, None) => "opens nothing: it has no key, and keyless is false",
            (None, _) => match outcome.enrol {
                Enrol::No => "opens nothing: nobody has it",
                Enrol::Offer => "whoever logs in with it may make it theirs",
                Enrol::Approval => {
                    "whoever logs in with it may ask for it; you agree by card approve"
                }
            },
            (Some(card), Some(Proof::Card | Proof::CardPin)) if unbound(card) => {
                "opens the desktop after a password, which binds its keys; then after its proof"
            }
            (Some(_), Some(Proof::None)) => "opens the desktop by its id alone",
            (Some(_), Some(Proof::Card)) => {
                "opens the desktop once it has proven that it holds its key"
            }
            (Some(_), Some(Proof::CardPin)) => {
                "opens the desktop once it has proven its key after its PIN"
            }
            (Some(_), Some(Proof::Password)) => "opens the desktop after a password",
        }
        .to_owned()
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What is wrong with the policy on the disk, where it is not the one in force.
    pub fn policy_refused(&self) -> Option<&str> {
        self.policy_refused.as_deref()
    }

    /// What the policy in force does that nobody can have meant, and whether it is the one on the disk.
    pub fn policy_warnings(&self) -> Vec<String> {
        let people = self.people.iter().map(|person| {
            let cards = self.cards.iter();
            let cards =
                cards.filter(|(_, card)| card.person == *person && card.revoked_s.is_none());
            Somebody {
                person: person.clone(),
                groups: self.groups.get(person).cloned().unwrap_or_default(),
                cards: cards.map(|(id, _)| (id.clone(), kind_of(id))).collect(),
            }
        });
        let terminals = self.terminals.iter();
        let terminals = terminals.map(|(id, known)| (id.clone(), known.name.clone()));
        let terminals: Vec<_> = terminals.collect();
        let people: Vec<_> = people.collect();
        let refused = self.policy_refused.as_ref();
        let refused = refused.map(|why| format!("{why}; the policy before still holds"));
        let warnings = self.policy.warnings(&people, &terminals);
        refused.into_iter().chain(warnings).collect()
    }
}

//! What a policy would do that nobody can have meant.

use heliostat_wire::limits::MAX_KEEP_S;

use super::values::{Command, Enrol};
use super::*;

impl Policy {
    /// What makes no sense; such a file is refused.
    pub(super) fn senseless(&self) -> Option<String> {
        let tables = std::iter::once((&Origin::Default, &self.default))
            .chain(self.rules.iter().map(|rule| (&rule.origin, &rule.settings)));
        for (origin, settings) in tables {
            if settings.kiosk_user.as_deref() == Some("root") {
                return Some(format!("{origin}: a kiosk does not run as root"));
            }
            let keep = settings.keep_pixels.map(|keep| keep.0.as_secs());
            if keep.is_some_and(|keep| keep > u64::from(MAX_KEEP_S)) {
                return Some(format!("{origin}: keep_pixels: at most \"1h\""));
            }
            if settings.tasks.is_some_and(|tasks| tasks < 64) {
                return Some(format!("{origin}: tasks: a desktop needs at least 64"));
            }
            if let Some(Size(Some(bytes))) = settings.memory
                && bytes < 64 << 20
            {
                return Some(format!(
                    "{origin}: memory: a desktop needs at least \"64M\""
                ));
            }
            for (key, command) in [
                ("on_attach", &settings.on_attach),
                ("on_detach", &settings.on_detach),
            ] {
                if let Some(Command(words)) = command
                    && words
                        .first()
                        .is_some_and(|program| !program.starts_with('/'))
                {
                    return Some(format!(
                        "{origin}: {key}: the program needs an absolute path"
                    ));
                }
            }
        }
        None
    }

    /// The users that kiosks run as.
    pub fn kiosk_users(&self) -> Vec<String> {
        let tables =
            || std::iter::once(&self.default).chain(self.rules.iter().map(|r| &r.settings));
        if tables().all(|settings| settings.kiosk.is_none()) {
            return Vec::new();
        }
        let mut users: Vec<String> = tables()
            .filter_map(|settings| settings.kiosk_user.clone())
            .collect();
        if self.default.kiosk_user.is_none() {
            let unnamed =
                |settings: &Settings| settings.kiosk.is_some() && settings.kiosk_user.is_none();
            users.extend(tables().any(unnamed).then(|| Outcome::default().kiosk_user));
        }
        users.sort();
        users.dedup();
        users
    }

    /// What a site would hardly want, in words for its administrator. `people` are those who are
    /// known, with their groups and whether they have a card that can prove itself; `terminals`
    /// those that were seen, by id and name.
    pub fn warnings(&self, people: &[Somebody], terminals: &[(String, String)]) -> Vec<String> {
        let mut warnings = Vec::new();
        let nowhere = [(String::new(), String::new())];
        let terminals = if terminals.is_empty() {
            &nowhere[..]
        } else {
            terminals
        };
        let mut shut_out = Vec::new();
        for somebody in people {
            let let_in = terminals
                .iter()
                .any(|(terminal, terminal_name)| self.lets_in(somebody, terminal, terminal_name));
            if !let_in {
                shut_out.push(somebody.person.as_str());
            }
        }
        if !people.is_empty() && shut_out.len() == people.len() {
            warnings.push("nobody who is known can open a desktop anywhere".to_owned());
        } else if !shut_out.is_empty() {
            let who = shut_out.join(", ");
            warnings.push(format!("cannot open a desktop at any terminal: {who}"));
        }
        let stranger = terminals.iter().any(|(terminal, terminal_name)| {
            let given = Given {
                terminal,
                terminal_name,
                ..Given::default()
            };
            let outcome = self.decide(&given);
            outcome.login || outcome.enrol != Enrol::No || !outcome.kiosk.0.is_empty()
        });
        if people.is_empty() && !stranger {
            warnings.push(
                "no cards are known, and nobody may log in or enrol a card: \
                 only heliostatctl card add lets anybody in"
                    .to_owned(),
            );
        }
        for rule in &self.rules {
            if rule.settings == Settings::default() {
                warnings.push(format!("{} sets nothing", rule.origin));
            }
            if rule.settings.proof == Some(Proof::None) {
                warnings.push(format!(
                    "{}: proof = \"none\": whoever copies a card's id has the desktop",
                    rule.origin
                ));
            }
        }
        if self.default.proof == Some(Proof::None) {
            warnings.push(
                "[default]: proof = \"none\": whoever copies a card's id has the desktop"
                    .to_owned(),
            );
        }
        warnings
    }

    fn lets_in(&self, somebody: &Somebody, terminal: &str, terminal_name: &str) -> bool {
        let given = |card| Given {
            card,
            person: Some(&somebody.person),
            groups: &somebody.groups,
            terminal,
            terminal_name,
        };
        let by_card = somebody
            .cards
            .iter()
            .any(|(card, kind)| self.decide(&given(Some(card))).needs(*kind).is_some());
        by_card || self.decide(&given(None)).login
    }
}

/// A person as a check sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Somebody {
    /// The person.
    pub person: String,
    /// Their groups.
    pub groups: Vec<String>,
    /// Their cards that open something.
    pub cards: Vec<(String, CardKind)>,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::Default => f.write_str("[default]"),
            Self::Rule(number, line, None) => write!(f, "rule {number} (line {line})"),
            Self::Rule(number, line, Some(name)) => {
                write!(f, "rule {number} \"{name}\" (line {line})")
            }
        }
    }
}

//! What a policy would do that nobody can have meant.

use std::collections::BTreeSet;

use heliostat_wire::limits::MAX_KEEP_S;

use super::values::{Command, Enrol};
use super::*;

/// What a check knows of the broker that the policy is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// The server's name, as policies have it.
    pub server: String,
    /// Whether passwords can be typed at terminals.
    pub has_greeter: bool,
}

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

    /// The same policy, for this broker: [`Self::warnings`] can say more of it.
    pub fn at(self, here: Here) -> Self {
        Self {
            here: Some(here),
            ..self
        }
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
            let by_greeter = outcome.login || outcome.enrol != Enrol::No;
            by_greeter && self.has_greeter() || !outcome.kiosk.0.is_empty()
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
            self.warn_of(&rule.origin, &rule.settings, &mut warnings);
        }
        self.warn_of(&Origin::Default, &self.default, &mut warnings);
        let without_greeter = !self.has_greeter() && self.default.login == Some(false);
        if without_greeter {
            warnings.push(
                "[default]: login = false, and there is no greeter either (greeter.command is \
                 empty): a card without a bound key opens nothing, since a password would bind it"
                    .to_owned(),
            );
        }
        if self
            .default
            .kiosk
            .as_ref()
            .is_some_and(|kiosk| !kiosk.0.is_empty())
        {
            warnings.push(
                "[default]: kiosk: where no rule says kiosk = [] every card and terminal has that \
                 one program, and nobody a desktop"
                    .to_owned(),
            );
        }
        warnings
    }

    /// The people and groups that rules name, apart from patterns.
    pub fn named(&self) -> Named {
        let words = |of: fn(&When) -> &OneOrMore| {
            let globs = self.rules.iter().flat_map(move |rule| &of(&rule.when).0);
            globs.filter_map(Glob::word).map(str::to_owned).collect()
        };
        Named {
            people: words(|when| &when.person),
            groups: words(|when| &when.group),
        }
    }

    /// Rules that name somebody whom the machine does not know: most likely a slip.
    pub fn strangers(&self, unknown: &Named) -> Vec<String> {
        let mut warnings = Vec::new();
        for rule in &self.rules {
            for (sort, named, unknown) in [
                ("group", &rule.when.group, &unknown.groups),
                ("person", &rule.when.person, &unknown.people),
            ] {
                let is_unknown = |glob: &&Glob| glob.word().is_some_and(|it| unknown.contains(it));
                let strangers: Vec<&Glob> = named.0.iter().filter(is_unknown).collect();
                let so = match strangers.len() == named.0.len() {
                    true => ": this rule is about nobody",
                    false => "",
                };
                for stranger in strangers {
                    let origin = &rule.origin;
                    warnings.push(format!(
                        "{origin}: no {sort} {stranger:?} on this machine{so}"
                    ));
                }
            }
        }
        warnings
    }

    /// What one table does that is seldom meant.
    fn warn_of(&self, origin: &Origin, settings: &Settings, warnings: &mut Vec<String>) {
        match settings.proof {
            Some(Proof::None) => warnings.push(format!(
                "{origin}: proof = \"none\": whoever copies a card's id has the desktop"
            )),
            Some(Proof::Password) if !self.has_greeter() => warnings.push(format!(
                "{origin}: proof = \"password\", and there is no greeter to type one at \
                 (greeter.command is empty): the cards that this is about open nothing"
            )),
            _ => {}
        }
        if let (Some(here), Some(server)) = (&self.here, &settings.server)
            && !server.is_empty()
            && *server != here.server
        {
            warnings.push(format!(
                "{origin}: server = {server:?}: this server is {:?} and refuses whomever this is \
                 about",
                here.server
            ));
        }
    }

    /// Whether passwords can be typed, as far as is known.
    fn has_greeter(&self) -> bool {
        self.here.as_ref().is_none_or(|here| here.has_greeter)
    }

    fn lets_in(&self, somebody: &Somebody, terminal: &str, terminal_name: &str) -> bool {
        let decide = |card| {
            self.decide(&Given {
                card,
                person: Some(&somebody.person),
                groups: &somebody.groups,
                terminal,
                terminal_name,
            })
        };
        // A kiosk is no desktop, and another server's is none here.
        let is_here = |outcome: &Outcome| {
            let server = self.here.as_ref().map(|here| here.server.as_str());
            outcome.kiosk.0.is_empty()
                && (outcome.server.is_empty()
                    || server.is_none_or(|server| server == outcome.server))
        };
        let by_card = somebody.cards.iter().any(|(card, kind)| {
            let outcome = decide(Some(card));
            let opens = match outcome.needs(*kind) {
                None => false,
                Some(Proof::Password) => self.has_greeter(),
                Some(_) => true,
            };
            opens && is_here(&outcome)
        });
        let by_name = decide(None);
        by_card || by_name.login && self.has_greeter() && is_here(&by_name)
    }
}

/// People and groups by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// People: users of the machine.
    pub people: BTreeSet<String>,
    /// Groups.
    pub groups: BTreeSet<String>,
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

//! The broker's configuration file.
//!
//! A wrong key or value names the file, the line, and what was expected.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heliostat_link::Budget;
use serde::{Deserialize, Deserializer};

use crate::directory::Setup;
use crate::policy::Here;

/// An hour. Who has to wait longer for an attempt is shut out.
const MAX_REFILL_MS: u64 = 3_600_000;

/// All of it. Every key has a default; an empty file is a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The site's name, shown on idle terminals.
    pub site: String,
    /// Where control links arrive (UDP).
    pub listen: SocketAddr,
    /// What must survive a reboot: site key, store, logs.
    pub state_dir: PathBuf,
    /// What need not: sockets, people's runtime folders.
    pub run_dir: PathBuf,
    /// UDP ports for session links.
    pub session_ports: Ports,
    /// Users' numbers of which each greeter and each kiosk gets one for itself.
    pub session_uids: Uids,
    /// The session program with its first arguments; beside the broker's own where empty.
    pub session_command: Vec<String>,
    /// The file that sessions are told to read.
    pub session_config: Option<PathBuf>,
    /// Addresses of this server for terminals that reach the broker through another, best first.
    pub session_addresses: Vec<IpAddr>,
    /// Log filter of sessions.
    pub session_log: String,
    /// Sessions at once.
    pub max_sessions: usize,
    /// Users below this number get no session.
    pub min_uid: u32,
    /// Members of this group may use the admin socket, besides root.
    pub admin_group: Option<String>,
    /// Who needs what where; what is built in where there is no such file.
    pub policy: PathBuf,
    /// This server's name, as policies have it; the host's name where empty.
    pub server_name: String,
    /// How people are known to this server.
    pub pam: Pam,
    /// What is known of cards beforehand.
    pub cards: Cards,
    /// Where people log in.
    pub greeter: Greeter,
    /// What strangers may cost.
    pub throttle: Throttle,
    /// Figures for Prometheus.
    pub metrics: Metrics,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            site: "Heliostat".to_owned(),
            listen: SocketAddr::from(([0, 0, 0, 0], 4460)),
            state_dir: "/var/lib/heliostat".into(),
            run_dir: "/run/heliostat".into(),
            session_ports: Ports {
                first: 4500,
                last: 4999,
            },
            session_uids: Uids::DEFAULT,
            session_command: Vec::new(),
            session_config: None,
            session_addresses: Vec::new(),
            session_log: "info".to_owned(),
            max_sessions: 64,
            min_uid: 1000,
            admin_group: None,
            policy: crate::policy_file::USUAL.into(),
            server_name: String::new(),
            pam: Pam::default(),
            cards: Cards::default(),
            greeter: Greeter::default(),
            throttle: Throttle::default(),
            metrics: Metrics::default(),
        }
    }
}

/// The `[pam]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pam {
    /// The PAM service of people.
    pub service: String,
    /// The PAM service of greeters and kiosks.
    pub greeter_service: String,
    /// Where services are described, instead of /etc/pam.d.
    pub services: Option<PathBuf>,
}

impl Default for Pam {
    fn default() -> Self {
        Self {
            service: "heliostat".to_owned(),
            greeter_service: "heliostat-greeter".to_owned(),
            services: None,
        }
    }
}

/// The `[cards]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cards {
    /// Files with certificates (PEM) of those who may vouch for cards' keys. A card whose
    /// certificate one of them has signed, and that names the card, needs no enrolment of its key.
    pub authorities: Vec<PathBuf>,
}

/// The `[greeter]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Greeter {
    /// The greeter and its arguments; beside the broker's own program where absent, and none at
    /// all where empty.
    pub command: Option<Vec<String>>,
    /// The system user it runs as.
    pub user: String,
    /// Greeters at once.
    pub max: usize,
}

impl Default for Greeter {
    fn default() -> Self {
        Self {
            command: None,
            user: "heliostat-greeter".to_owned(),
            max: 32,
        }
    }
}

/// The `[metrics]` table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where anybody may read them over HTTP (TCP); nowhere where absent.
    pub listen: Option<SocketAddr>,
}

/// The `[throttle]` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Throttle {
    /// Attempts that one address has at once.
    pub burst: u32,
    /// Milliseconds after which an address has one attempt more.
    pub refill_ms: u64,
    /// Unfinished hellos from which addresses must be proven first.
    pub busy: usize,
    /// Unfinished hellos at most.
    pub half_open: usize,
    /// Unfinished hellos of one address at most.
    pub half_open_each: u32,
}

impl Default for Throttle {
    fn default() -> Self {
        let budget = Budget::default();
        Self {
            // A hello gives nothing back, and a room full of terminals in one IPv6 network that
            // comes back at once is to be let in at once.
            burst: 256,
            refill_ms: 100,
            busy: budget.busy,
            half_open: budget.half_open,
            half_open_each: budget.half_open_each,
        }
    }
}

impl Throttle {
    /// With a zero no terminal would ever be let in, and nobody would be told.
    fn problem(&self) -> Option<String> {
        let counts = [
            ("burst", self.burst == 0),
            ("half_open", self.half_open == 0),
            ("half_open_each", self.half_open_each == 0),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, zero)| *zero) {
            return Some(format!("throttle.{key}: expected at least 1"));
        }
        let refill_ms = self.refill_ms;
        (!(1..=MAX_REFILL_MS).contains(&refill_ms))
            .then(|| format!("throttle.refill_ms: expected 1 to {MAX_REFILL_MS}, not {refill_ms}"))
    }
}

/// A range of UDP ports, written `4500-4999`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let ports = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match ports {
            Some((first, last)) if 0 < first && first <= last => Ok(Self { first, last }),
            _ => Err(serde::de::Error::custom(format!(
                "invalid ports {text:?}, expected a range such as \"4500-4999\""
            ))),
        }
    }
}

/// A range of users' numbers, written `60700-60955`; none where empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uids(pub Option<RangeInclusive<u32>>);

impl Uids {
    /// What Debian, shadow and systemd leave free, and containers of 65536 users have as well.
    const DEFAULT: Self = Self(Some(60_700..=60_955));
    /// Below are accounts of the system and of people.
    const LEAST: u32 = 1000;
    /// The numbers from here on stand for nobody in some places.
    const MOST: u32 = i32::MAX as u32;
}

impl<'de> Deserialize<'de> for Uids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let uids = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match uids {
            Some((first, last)) if Self::LEAST <= first && first <= last && last <= Self::MOST => {
                Ok(Self(Some(first..=last)))
            }
            _ => Err(serde::de::Error::custom(format!(
                "invalid numbers of users {text:?}, expected a range from {} on such as \
                 \"60700-60955\", or nothing",
                Self::LEAST
            ))),
        }
    }
}

/// What is wrong with a configuration file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {file}: {why}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        why: String,
    },
    /// A line is not as expected.
    #[error("{file}, line {line}: `{text}`: {problem}")]
    Wrong {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong with it and what was expected.
        problem: String,
    },
    /// A value makes no sense beside another.
    #[error("{file}: {problem}")]
    Senseless {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&file, &text),
            Err(error) => Err(ConfigError::Unreadable {
                file,
                why: match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        "there is no such file; an empty one means the defaults".to_owned()
                    }
                    _ => error.to_string(),
                },
            }),
        }
    }

    /// Reads the text of `file`.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| wrong(file, text, &error))?;
        match config.problem() {
            None => Ok(config),
            Some(problem) => Err(ConfigError::Senseless {
                file: file.to_owned(),
                problem,
            }),
        }
    }

    fn problem(&self) -> Option<String> {
        let port = self.listen.port();
        let Ports { first, last } = self.session_ports;
        if port != 0 && (first..=last).contains(&port) {
            return Some(format!(
                "listen: port {port} lies within session_ports {first}-{last}"
            ));
        }
        for (key, dir) in [("state_dir", &self.state_dir), ("run_dir", &self.run_dir)] {
            if !dir.is_absolute() {
                return Some(format!("{key}: expected an absolute path, not {dir:?}"));
            }
        }
        if self.max_sessions == 0 {
            return Some("max_sessions: expected at least 1".to_owned());
        }
        self.throttle.problem()
    }

    /// What the directory needs of it.
    pub fn setup(&self) -> Setup {
        let no_greeter = self.greeter.command.as_ref().is_some_and(Vec::is_empty);
        let host = || nix::unistd::gethostname().unwrap_or_default();
        Setup {
            site: self.site.clone(),
            server: match self.server_name.as_str() {
                "" => host().to_string_lossy().into_owned(),
                name => name.to_owned(),
            },
            greeter_user: (!no_greeter).then(|| self.greeter.user.clone()),
            max_greeters: self.greeter.max,
            max_sessions: self.max_sessions,
            ..Setup::default()
        }
    }

    /// What its policy is checked against.
    pub fn here(&self) -> Here {
        let setup = self.setup();
        Here {
            server: setup.server,
            has_greeter: setup.greeter_user.is_some(),
        }
    }

    /// What the control link's endpoint needs of it.
    pub fn budget(&self) -> Budget {
        Budget {
            burst: self.throttle.burst,
            refill: Duration::from_millis(self.throttle.refill_ms),
            busy: self.throttle.busy,
            half_open: self.throttle.half_open,
            half_open_each: self.throttle.half_open_each,
            ..Budget::default()
        }
    }
}

pub(crate) fn wrong(file: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = &text.as_bytes()[..start];
    let line = before.iter().filter(|byte| **byte == b'\n').count();
    ConfigError::Wrong {
        file: file.to_owned(),
        line: line + 1,
        text: text.lines().nth(line).unwrap_or_default().trim().to_owned(),
        problem: error.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Config::parse("broker.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_the_default_and_denies_cards_without_proof() {
        let config = Config::parse("broker.toml", "").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.policy, PathBuf::from("/etc/heliostat/policy.toml"));
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line_and_what_was_expected() {
        let text = problem("site = \"x\"\n\n[cards]\nauthorites = []\n");
        assert!(
            text.starts_with("broker.toml, line 4: `authorites = []`"),
            "{text}"
        );
        assert!(text.contains("expected `authorities`"), "{text}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_with_its_line_and_what_was_expected() {
        let text = problem("site = \"x\"\nmax_sessions = \"many\"\n");
        assert!(
            text.contains("line 2") && text.contains("max_sessions"),
            "{text}"
        );
        assert!(text.contains("expected usize"), "{text}");
        for uids in ["60955-60700", "0-10", "60700", "1000-4294967295"] {
            let text = problem(&format!("session_uids = \"{uids}\"\n"));
            assert!(text.contains("invalid numbers of users"), "{text}");
        }
        let text = problem("session_ports = \"4999-4500\"\n");
        assert!(
            text.contains("line 1") && text.contains("\"4500-4999\""),
            "{text}"
        );
        let text = problem("listen = \"4460\"\n");
        assert!(
            text.contains("line 1") && text.contains("socket address"),
            "{text}"
        );
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_line() {
        let text = problem("site = \"x\"\nlisten\n");
        assert!(text.contains("line 2"), "{text}");
    }

    #[test]
    fn values_that_contradict_each_other_are_refused() {
        let text = problem("listen = \"0.0.0.0:4600\"");
        assert!(text.contains("4600 lies within session_ports"), "{text}");
        let text = problem("state_dir = \"state\"");
        assert!(text.contains("absolute"), "{text}");
    }

    #[test]
    fn a_throttle_that_lets_nobody_in_is_refused() {
        for key in ["burst", "half_open", "half_open_each"] {
            let text = problem(&format!("[throttle]\n{key} = 0"));
            assert!(
                text.contains(&format!("throttle.{key}: expected at least 1")),
                "{text}"
            );
        }
        for refill_ms in ["0", "9223372036854775807"] {
            let text = problem(&format!("[throttle]\nrefill_ms = {refill_ms}"));
            assert!(
                text.contains("throttle.refill_ms: expected 1 to 3600000"),
                "{text}"
            );
        }
        let busy = Config::parse("broker.toml", "[throttle]\nbusy = 0\nburst = 4294967295");
        assert!(busy.is_ok(), "{busy:?}");
    }

    #[test]
    fn the_documented_example_is_a_configuration_with_the_documented_defaults() {
        let page = include_str!("../../../docs/book/src/broker.md");
        let example = page
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .expect("broker.md shows the whole file");
        let mut config = Config::parse("broker.md", example).unwrap();
        // The example shows these where the default is to have none.
        config.session_command.clear();
        config.session_config = None;
        config.session_addresses.clear();
        config.admin_group = None;
        config.pam.services = None;
        config.metrics.listen = None;
        config.greeter.command = None;
        assert_eq!(config, Config::default());
    }
}

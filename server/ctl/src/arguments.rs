//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use heliostat_control::admin::{AUDIT_EVENTS, AUDIT_OUTCOMES, AuditFilter, CardKeys, Request};
use heliostat_wire::id::KeyPin;

use crate::ask::Broker;
use crate::time;

/// Manages a Heliostat site: cards, people, terminals, sessions.
#[derive(Debug, Parser)]
#[command(name = "heliostatctl", version)]
pub struct Arguments {
    /// The broker's admin socket.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "/run/heliostat/admin.sock"
    )]
    pub socket: PathBuf,
    /// Seconds that the broker may take to answer: 0.1 to 3600.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "20", value_parser = interval)]
    pub timeout: Duration,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How the broker is.
    Status,
    /// Cards and whose they are.
    #[command(subcommand)]
    Card(Card),
    /// People.
    #[command(subcommand)]
    Person(Person),
    /// Terminals.
    #[command(subcommand)]
    Terminal(Terminal),
    /// Running desktops.
    #[command(subcommand)]
    Session(Session),
    /// Who needs what where.
    #[command(subcommand)]
    Policy(Policy),
    /// How long attaches took, stage by stage.
    Receipts(Receipts),
    /// How running desktops do: frames, bytes and times, a round every second.
    Top(Top),
    /// The broker's and the sessions' figures as Prometheus text.
    Metrics,
    /// What happened lately.
    Audit(Audit),
}

#[derive(Debug, Subcommand)]
enum Card {
    /// Give a card to a person.
    #[command(alias = "enrol")]
    Add {
        /// The card id, as a terminal shows it, such as `piv:00112233445566778899aabbccddeeff`.
        card: String,
        /// The person: a user of the server.
        #[arg(long)]
        person: String,
        /// A word to tell the person's cards apart.
        #[arg(long, default_value = "")]
        label: String,
        /// Believe whoever shows a card of this id first; otherwise its person's password binds its
        /// keys to it.
        #[arg(long)]
        first_use: bool,
        /// The card's key for card authentication (9E), as hexadecimal digits of its
        /// SubjectPublicKeyInfo.
        #[arg(long, value_name = "DIGITS")]
        card_key: Option<String>,
        /// The card's key of its owner (9A), likewise.
        #[arg(long, value_name = "DIGITS")]
        owner_key: Option<String>,
    },
    /// Let another card id open what a card opens.
    Alias {
        /// A card that is known.
        card: String,
        /// The other card's id.
        alias: String,
    },
    /// Agree to a card that a person has asked for at a terminal.
    Approve {
        /// The card id.
        card: String,
    },
    /// Show a card: whose it is, its keys, and what the policy makes of it.
    Show {
        /// The card id.
        card: String,
    },
    /// Read a card in a reader of this machine, and have it prove its key; with --person, give it to
    /// that person together with its keys.
    Read(CardRead),
    /// List all cards.
    List,
    /// Let a card open nothing any more; whoever is attached with it is detached at once.
    Revoke {
        /// The card id.
        card: String,
    },
}

#[derive(Debug, Subcommand)]
enum Person {
    /// Make a person known.
    Add {
        /// A user of the server.
        person: String,
    },
    /// List all people.
    List,
}

#[derive(Debug, Subcommand)]
enum Terminal {
    /// List all terminals ever seen.
    List,
}

#[derive(Debug, Subcommand)]
enum Session {
    /// List all running sessions.
    List,
    /// Take a desktop off its terminal until its person has shown again that it is they.
    Lock {
        /// Its id, the beginning of its id, or its person.
        session: String,
    },
    /// End a session; its programs are asked to close.
    End {
        /// Its id, the beginning of its id, or its person.
        session: String,
    },
}

#[derive(Debug, Subcommand)]
enum Policy {
    /// Say what applies to a card or a person at a terminal, and why.
    Explain {
        /// The card id.
        #[arg(long)]
        card: Option<String>,
        /// The person; the card's where absent.
        #[arg(long)]
        person: Option<String>,
        /// The terminal, by id or name.
        #[arg(long)]
        terminal: Option<String>,
    },
    /// Say what the policy in force does that nobody can have meant. A file that is not in force yet
    /// is checked without a broker, by `heliostat-broker check --policy FILE`.
    Check,
}

#[derive(Debug, Args)]
struct Receipts {
    /// Only those of the last such time, as `90s`, `15min`, `2h` or `3d`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most so many, the newest.
    #[arg(long, short = 'n', default_value_t = 1000)]
    limit: u32,
    /// Print only how long the stages took: half of the attaches, and 99 of 100.
    #[arg(long)]
    p99: bool,
    /// Check that each was signed by the site key with this pin, as `heliostat-broker site-key`
    /// prints it.
    #[arg(long, value_name = "PIN")]
    verify: Option<KeyPin>,
    /// Take them from a file that `heliostatctl --json receipts` has written, instead of the broker.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["since", "limit"])]
    file: Option<PathBuf>,
}

/// How receipts are shown.
#[derive(Debug)]
pub struct ReceiptsView<'a> {
    /// Only percentiles.
    pub p99: bool,
    /// The key that is to have signed them.
    pub verify: Option<KeyPin>,
    /// Where they are.
    pub file: Option<&'a Path>,
}

/// Which audit lines.
#[derive(Debug, Args)]
pub struct Audit {
    /// Only those of the last such time, as `90s`, `15min`, `2h` or `3d`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most so many, the newest.
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: u32,
    /// Only what concerns this person.
    #[arg(long)]
    person: Option<String>,
    /// Only what happened at the terminal of this name.
    #[arg(long)]
    terminal: Option<String>,
    /// Only what concerns this card.
    #[arg(long)]
    card: Option<String>,
    /// Only such events; may be given several times.
    #[arg(long, value_parser = PossibleValuesParser::new(AUDIT_EVENTS), hide_possible_values = true)]
    event: Vec<String>,
    /// Only what came out so.
    #[arg(long, value_parser = PossibleValuesParser::new(AUDIT_OUTCOMES))]
    outcome: Option<String>,
    /// Only what this administrator asked for.
    #[arg(long)]
    by: Option<String>,
    /// Go on with what happens, until interrupted.
    #[arg(long, short = 'f')]
    pub follow: bool,
}

/// Which card is read, and whose it becomes.
#[derive(Debug, Args)]
pub struct CardRead {
    /// Part of the reader's name, where there are several.
    #[arg(long)]
    pub reader: Option<String>,
    /// Whose card it becomes: a user of the server.
    #[arg(long)]
    pub person: Option<String>,
    /// A word to tell the person's cards apart.
    #[arg(long, default_value = "", requires = "person")]
    pub label: String,
}

/// How `top` goes on.
#[derive(Debug, Args)]
pub struct Top {
    /// Seconds between two rounds: 0.1 to 3600.
    #[arg(long, short = 'i', value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: Duration,
    /// Print one round, measured over one interval, and end.
    #[arg(long)]
    pub once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 0.1..=3600.0) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds, 0.1 to 3600".to_owned()),
    }
}

impl Arguments {
    /// The broker that is asked.
    pub fn broker(&self) -> Broker<'_> {
        Broker {
            socket: &self.socket,
            patience: self.timeout,
        }
    }

    /// How `top` goes on, where that is the command.
    pub fn top(&self) -> Option<&Top> {
        match &self.command {
            Command::Top(top) => Some(top),
            _ => None,
        }
    }

    /// Which card is read here, where that is the command.
    pub fn card_read(&self) -> Option<&CardRead> {
        match &self.command {
            Command::Card(Card::Read(options)) => Some(options),
            _ => None,
        }
    }

    /// The audit, where it is the command.
    pub fn audit(&self) -> Option<&Audit> {
        match &self.command {
            Command::Audit(audit) => Some(audit),
            _ => None,
        }
    }

    /// How receipts are shown, where they are the command.
    pub fn receipts(&self) -> Option<ReceiptsView<'_>> {
        match &self.command {
            Command::Receipts(receipts) => Some(ReceiptsView {
                p99: receipts.p99,
                verify: receipts.verify,
                file: receipts.file.as_deref(),
            }),
            _ => None,
        }
    }

    /// What to ask the broker.
    pub fn request(&self, now_s: u64) -> anyhow::Result<Request> {
        Ok(match &self.command {
            Command::Status => Request::Overview,
            Command::Card(Card::Add {
                card,
                person,
                label,
                first_use,
                card_key,
                owner_key,
            }) => Request::CardAdd {
                card: card.clone(),
                person: person.clone(),
                label: label.clone(),
                first_use: *first_use,
                keys: CardKeys {
                    card: card_key.clone(),
                    owner: owner_key.clone(),
                },
            },
            Command::Card(Card::Alias { card, alias }) => Request::CardAlias {
                card: card.clone(),
                alias: alias.clone(),
            },
            Command::Card(Card::Approve { card }) => Request::CardApprove { card: card.clone() },
            Command::Card(Card::Show { card }) => Request::CardShow { card: card.clone() },
            Command::Card(Card::List | Card::Read(_)) => Request::CardList,
            Command::Card(Card::Revoke { card }) => Request::CardRevoke { card: card.clone() },
            Command::Person(Person::Add { person }) => Request::PersonAdd {
                person: person.clone(),
            },
            Command::Person(Person::List) => Request::PersonList,
            Command::Terminal(Terminal::List) => Request::TerminalList,
            Command::Session(Session::List) => Request::SessionList,
            Command::Session(Session::End { session }) => Request::SessionEnd {
                session: session.clone(),
            },
            Command::Session(Session::Lock { session }) => Request::SessionLock {
                session: session.clone(),
            },
            Command::Policy(Policy::Explain {
                card,
                person,
                terminal,
            }) => Request::PolicyExplain {
                card: card.clone(),
                person: person.clone(),
                terminal: terminal.clone(),
            },
            Command::Policy(Policy::Check) => Request::PolicyCheck,
            Command::Receipts(receipts) => receipts.request(now_s)?,
            Command::Top(_) => Request::SessionList,
            Command::Metrics => Request::Metrics,
            Command::Audit(audit) => audit.request(now_s)?,
        })
    }
}

impl Audit {
    fn request(&self, now_s: u64) -> anyhow::Result<Request> {
        let since = self.since.as_deref().map(time::parse_span).transpose()?;
        Ok(Request::Audit {
            limit: self.limit,
            only: AuditFilter {
                since_ms: since.map(|span_s| now_s.saturating_sub(span_s) * 1000),
                after: None,
                person: self.person.clone(),
                terminal: self.terminal.clone(),
                card: self.card.clone(),
                events: self.event.clone(),
                outcome: self.outcome.clone(),
                by: self.by.clone(),
            },
        })
    }
}

impl Receipts {
    fn request(&self, now_s: u64) -> anyhow::Result<Request> {
        let since = self.since.as_deref().map(time::parse_span).transpose()?;
        Ok(Request::Receipts {
            since_ms: since.map(|span_s| now_s.saturating_sub(span_s) * 1000),
            limit: self.limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_may_come_before_or_after_the_command() {
        let line = "heliostatctl --json card add c1 --person alice --socket /x";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert!(arguments.json);
        assert_eq!(arguments.socket, PathBuf::from("/x"));
        let Request::CardAdd { card, person, .. } = arguments.request(0).unwrap() else {
            panic!("not a card add");
        };
        assert_eq!((card.as_str(), person.as_str()), ("c1", "alice"));
    }

    #[test]
    fn intervals_are_seconds_within_limits() {
        let parse = |text: &str| {
            let line = format!("heliostatctl top --interval={text}");
            let arguments = Arguments::try_parse_from(line.split(' '))?;
            Ok::<_, clap::Error>(arguments.top().expect("it is top").interval)
        };
        assert_eq!(parse("0.5").unwrap(), Duration::from_millis(500));
        for bad in ["0", "-1", "NaN", "inf", "1s", "3601"] {
            assert!(parse(bad).unwrap_err().to_string().contains("0.1 to 3600"));
        }
    }

    #[test]
    fn since_counts_back_from_now() {
        let line = "heliostatctl receipts --since 2h";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Request::Receipts { since_ms, .. } = arguments.request(10_000).unwrap() else {
            panic!("not receipts");
        };
        assert_eq!(since_ms, Some(2_800_000));
    }
}

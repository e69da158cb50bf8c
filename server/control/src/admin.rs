//! The admin socket: heliostatctl asks, the broker answers, one line each.
//!
//! Times are seconds or milliseconds since 1970 and say so in their names.

use std::net::IpAddr;

use heliostat_wire::receipt::Stage;
use serde::{Deserialize, Serialize};

use crate::stats::SessionStats;

/// Receipts or audit lines of one reply.
pub const MAX_ROWS: u32 = 10_000;

/// What heliostatctl asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// How the broker is.
    Status,
    /// How the broker is, and whether the policy in force is the one on the disk.
    Overview,
    /// Give a card to a person, who is made known if need be.
    CardAdd {
        /// The card id.
        card: String,
        /// Whose it is: a Unix user's name.
        person: String,
        /// A word to tell cards apart; may be empty.
        label: String,
        /// Whether the keys that the card shows first become its keys, without a password.
        #[serde(default)]
        first_use: bool,
        /// Keys that were read off the card.
        #[serde(default)]
        keys: CardKeys,
    },
    /// Another id opens what a card opens.
    CardAlias {
        /// A card that is known.
        card: String,
        /// The other id.
        alias: String,
    },
    /// Agree to a card that a person has asked for at a terminal.
    CardApprove {
        /// The card id.
        card: String,
    },
    /// One card, and what the policy makes of it.
    CardShow {
        /// The card id.
        card: String,
    },
    /// All cards.
    CardList,
    /// A card opens nothing from now on; whoever is attached with it is detached at once.
    CardRevoke {
        /// The card id.
        card: String,
    },
    /// Make a person known.
    PersonAdd {
        /// A Unix user's name.
        person: String,
    },
    /// All people.
    PersonList,
    /// All terminals ever seen.
    TerminalList,
    /// All running sessions.
    SessionList,
    /// Take a desktop off its terminal until its person has shown again that it is they.
    SessionLock {
        /// Its id, the beginning of its id, or its person's name.
        session: String,
    },
    /// What the policy says.
    PolicyExplain {
        /// Of this card; of nobody's where absent.
        card: Option<String>,
        /// Of this person; of the card's where absent.
        person: Option<String>,
        /// At this terminal, by id or name.
        terminal: Option<String>,
    },
    /// What the policy does that nobody can have meant.
    PolicyCheck,
    /// End a session.
    SessionEnd {
        /// Its id, the beginning of its id, or its person's name.
        session: String,
    },
    /// Timelines of attaches, newest last.
    Receipts {
        /// Only those of this time or later.
        since_ms: Option<u64>,
        /// At most so many, the newest.
        limit: u32,
    },
    /// The broker's and the sessions' figures as Prometheus text.
    Metrics,
    /// What happened, newest last.
    Audit {
        /// At most so many, the newest.
        limit: u32,
        /// Only those.
        #[serde(default)]
        only: AuditFilter,
    },
}

/// The events that audit lines are about.
pub const AUDIT_EVENTS: [&str; 33] = [
    "admin",
    "admin_refused",
    "attach",
    "audit_skipped",
    "card_added",
    "card_approved",
    "card_bound",
    "card_refused",
    "card_removed",
    "card_revoked",
    "card_unreadable",
    "detached",
    "first_frame",
    "greeter",
    "hook_failed",
    "locked",
    "login",
    "login_failed",
    "moved",
    "no_proof",
    "person_added",
    "policy_changed",
    "policy_refused",
    "proof",
    "proof_refused",
    "session_crashed",
    "session_end",
    "session_ended",
    "session_expired",
    "session_start",
    "terminal_offline",
    "terminal_online",
    "terminal_superseded",
];

/// How what audit lines are about may come out.
pub const AUDIT_OUTCOMES: [&str; 3] = ["ok", "refused", "failed"];

/// Which audit lines are asked for: all that are so in each that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditFilter {
    /// Of this time or later.
    pub since_ms: Option<u64>,
    /// Of a higher number than this.
    pub after: Option<u64>,
    /// Concerning this person.
    pub person: Option<String>,
    /// Concerning the terminal of this name.
    pub terminal: Option<String>,
    /// Concerning this card.
    pub card: Option<String>,
    /// Of these events; of any where there is none.
    pub events: Vec<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Asked for by an administrator of this name.
    pub by: Option<String>,
}

/// What the broker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "snake_case")]
pub enum Reply {
    /// It is done; in words.
    Done(String),
    /// It is not done.
    Failed(Failure),
    /// Answer to [`Request::Status`].
    Status(Status),
    /// Answer to [`Request::Overview`].
    Overview(Overview),
    /// Answer to [`Request::CardList`].
    Cards(Vec<CardRow>),
    /// Answer to [`Request::PersonList`].
    People(Vec<PersonRow>),
    /// Answer to [`Request::TerminalList`].
    Terminals(Vec<TerminalRow>),
    /// Answer to [`Request::SessionList`].
    Sessions(Vec<SessionRow>),
    /// Answer to [`Request::Receipts`].
    Receipts(Receipts),
    /// Answer to [`Request::Metrics`].
    Metrics(String),
    /// Answer to [`Request::Audit`].
    Audit(Vec<AuditRow>),
    /// Answer to [`Request::CardShow`].
    Card(CardRow, PolicyAnswer),
    /// Answer to [`Request::PolicyExplain`].
    Policy(PolicyAnswer),
    /// Answer to [`Request::PolicyCheck`].
    Warnings(Vec<String>),
}

/// Public keys of a card (SubjectPublicKeyInfo, DER), in hexadecimal digits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CardKeys {
    /// The key for card authentication, 9E.
    pub card: Option<String>,
    /// Its owner's key, 9A.
    pub owner: Option<String>,
}

/// What the policy says of a card, a person and a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyAnswer {
    /// The person that it was asked of; empty where of nobody.
    pub person: String,
    /// The person's groups.
    pub groups: Vec<String>,
    /// The places that the terminal is in.
    pub places: Vec<String>,
    /// What happens there, in words.
    pub verdict: String,
    /// Each key, its value, and where that comes from.
    pub values: Vec<(String, String, String)>,
}

/// Why a request was not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// For programs.
    pub why: Why,
    /// For people: what failed and what to do.
    pub text: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// There is no such thing.
    NotFound,
    /// It exists already and is something else.
    Conflict,
    /// The request itself is wrong.
    BadRequest,
    /// The broker could not do it.
    Internal,
}

/// How the broker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// The site's name.
    pub site: String,
    /// The site key, as terminals pin it.
    pub site_key: String,
    /// Where control links arrive.
    pub listen: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub up_s: u64,
    /// Terminals with a live control link.
    pub terminals_online: u32,
    /// Sessions running.
    pub sessions: u32,
    /// Sessions with a terminal.
    pub attached: u32,
    /// Cards that open something.
    pub cards: u32,
}

/// How the broker is, and its policy with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// How the broker is.
    #[serde(flatten)]
    pub status: Status,
    /// What is wrong with the policy file on the disk, where the one before still holds.
    pub policy_refused: Option<String>,
}

/// A card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardRow {
    /// The card id.
    pub card: String,
    /// Whose it is.
    pub person: String,
    /// A word to tell cards apart.
    pub label: String,
    /// When it was added.
    pub added_s: u64,
    /// When it was revoked.
    pub revoked_s: Option<u64>,
    /// Its keys, each as its slot (9E, 9A) and its fingerprint.
    #[serde(default)]
    pub keys: Vec<String>,
    /// `good`, `first use`, `asked` or `revoked`.
    #[serde(default)]
    pub standing: String,
    /// The terminal it is in now.
    pub terminal: Option<String>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonRow {
    /// The Unix user's name.
    pub person: String,
    /// The user's number, where there is an account.
    pub uid: Option<u32>,
    /// Cards that are not revoked.
    pub cards: u32,
    /// The running session.
    pub session: Option<String>,
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is, while it is online.
    pub address: Option<String>,
    /// Its software's version.
    pub software: String,
    /// Its screens, as `1920x1080 HDMI-A-1`.
    pub outputs: Vec<String>,
    /// The card in it.
    pub card: Option<String>,
    /// Whose session is on it.
    pub person: Option<String>,
    /// When it was last heard of.
    pub seen_s: u64,
    /// Milliseconds from kernel to PID 1 and from there to its hello, of the last boot.
    pub boot_ms: (u32, u32),
}

/// A session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub person: String,
    /// The user it runs as.
    pub uid: u32,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started_s: u64,
    /// UDP port of its session link.
    pub port: Option<u16>,
    /// Name of its Wayland socket.
    pub wayland_display: Option<String>,
    /// `starting`, `running` or `ending`.
    pub state: String,
    /// The terminal it is on.
    pub terminal: Option<String>,
    /// What it last said about itself.
    pub stats: Option<SessionStats>,
    /// How many milliseconds ago it said so.
    #[serde(default)]
    pub stats_age_ms: Option<u64>,
}

/// Timelines of attaches, and the key that has signed them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    /// The site's public key (SubjectPublicKeyInfo, DER), in hexadecimal digits. Its SHA-256 is the
    /// pin that terminals know.
    pub site_key: String,
    /// The timelines, newest last.
    pub receipts: Vec<ReceiptRow>,
}

/// One attach's timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRow {
    /// The attach.
    pub attach_id: u64,
    /// When the broker heard of the card.
    pub at_ms: u64,
    /// Whose session.
    pub person: String,
    /// On which terminal.
    pub terminal: String,
    /// Whether the session had to be started for it.
    pub started_session: bool,
    /// Stages reached, each with microseconds since the card edge.
    pub stages: Vec<(Stage, u32)>,
    /// The site key's signature of [`ReceiptRow::canonical`] (ECDSA on P-256 with SHA-256, DER), in
    /// hexadecimal digits; empty where the broker that took it signed none.
    #[serde(default)]
    pub signature: String,
}

impl ReceiptRow {
    /// Microseconds from the card edge to a stage, if it was reached.
    pub fn at(&self, stage: Stage) -> Option<u32> {
        self.stages
            .iter()
            .find(|(reached, _)| *reached == stage)
            .map(|(_, us)| *us)
    }
}

/// One line of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Its number in the store; 0 before it is there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub number: u64,
    /// When.
    pub at_ms: u64,
    /// What happened, as a word such as `attach` or `card_refused`.
    pub event: String,
    /// How it came out: `ok`, `refused` or `failed`.
    #[serde(default)]
    pub outcome: String,
    /// Whom it concerns; empty where nobody.
    pub person: String,
    /// Which terminal; empty where none.
    pub terminal: String,
    /// Which card; empty where none.
    pub card: String,
    /// Which administrator asked for it, as a user's name and number; empty where none did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Anything else worth knowing.
    pub detail: String,
    /// Where the terminal is that caused it, for whoever has to share out what may be written; not
    /// kept.
    #[serde(skip)]
    pub from: Option<IpAddr>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use heliostat_wire::limits::MAX_RECEIPT_STAGES;

    use super::*;
    use crate::lines::{MAX_LINE, encode};

    #[test]
    fn as_many_receipts_as_a_reply_may_have_are_a_line() {
        let receipt = ReceiptRow {
            attach_id: u64::MAX,
            at_ms: u64::MAX,
            person: "p".repeat(64),
            terminal: "t".repeat(64),
            started_session: false,
            stages: vec![(Stage::FirstFrameReceived, u32::MAX); MAX_RECEIPT_STAGES],
            signature: "f".repeat(2 * 72),
        };
        let receipts = Receipts {
            site_key: "f".repeat(2 * 91),
            receipts: vec![receipt; MAX_ROWS as usize],
        };
        assert!(encode(&Reply::Receipts(receipts)).len() <= MAX_LINE);
    }

    #[test]
    fn book_explains_every_event_and_no_other() {
        let book = include_str!("../../../docs/book/src/broker.md");
        let (_, table) = book.split_once("| event | meaning |").unwrap();
        let rows = table.lines().skip(1).take_while(|row| row.starts_with('|'));
        let first = rows.filter_map(|row| row.split('|').nth(1));
        let explained: BTreeSet<&str> = first
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        assert_eq!(explained, BTreeSet::from(AUDIT_EVENTS));
    }
}

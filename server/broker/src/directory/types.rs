//! What the directory knows, hears and asks for.

use std::net::SocketAddr;

use heliostat_control::admin::AuditRow;
use heliostat_control::session::{FromSession, Ready, ToSession};
use heliostat_wire::close::CloseCode;
use heliostat_wire::control::{DetachReason, Hello, ToBroker, ToTerminal};
use heliostat_wire::id::{AttachId, KeyPin, SessionId};
use heliostat_wire::output::Outputs;
use heliostat_wire::receipt::Receipt;

use super::Answers;

/// One control link; never reused while the broker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What the directory is given with each event instead of reading clocks and dice.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Milliseconds of a clock that never goes back.
    pub ms: u64,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// A random id, for a session if one is started.
    pub fresh: SessionId,
}

/// What the site's configuration lets happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether cards that prove nothing open sessions.
    pub unproven_cards: bool,
    /// Sessions at once.
    pub max_sessions: usize,
    /// Milliseconds a session has to get ready, or to answer when it was found running.
    pub start_ms: u64,
    /// Milliseconds a session has to end when asked.
    pub end_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            unproven_cards: false,
            max_sessions: 64,
            start_ms: 20_000,
            end_ms: 10_000,
        }
    }
}

/// A card that was given to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Whose it is.
    pub person: String,
    /// A word to tell cards apart.
    pub label: String,
    /// When it was added, in seconds since 1970.
    pub added_s: u64,
    /// When it was revoked.
    pub revoked_s: Option<u64>,
}

/// A terminal, online or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// The name it shows.
    pub name: String,
    /// Its software's version.
    pub software: String,
    /// Its screens.
    pub outputs: Outputs,
    /// How long it took to boot, in milliseconds.
    pub boot_ms: (u32, u32),
    /// When it was last heard of, in seconds since 1970.
    pub seen_s: u64,
    /// The key it showed last; a new boot has a new key.
    pub key: Option<KeyPin>,
    /// Its control link.
    pub online: Option<Online>,
    /// What is in its reader.
    pub slot: Slot,
}

/// A live control link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Online {
    /// Which.
    pub link: LinkId,
    /// Where the terminal is.
    pub address: SocketAddr,
}

/// A card in a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The terminal's number of this card edge.
    pub seq: u32,
    /// The card id.
    pub card: String,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What a terminal's reader holds and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// Nothing.
    Empty,
    /// A card that opens nothing at present: refused, moved elsewhere, ended.
    Parked(Edge),
    /// A card whose session is not ready yet.
    Waiting {
        /// The card.
        edge: Edge,
        /// The session.
        session: SessionId,
        /// When waiting has been long enough.
        until_ms: u64,
    },
    /// A card whose session is attached here, or is about to be.
    Joined(Join),
    /// The same, of a terminal whose control link broke: it has yet to say that the card is still
    /// there.
    Resumable(Join),
}

/// A card's session on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The card.
    pub edge: Edge,
    /// The session.
    pub session: SessionId,
    /// The attach.
    pub attach: AttachId,
    /// When links of this card edge broke lately.
    pub breaks: Vec<u64>,
}

/// A person's running desktop.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Whose it is.
    pub person: String,
    /// The user it runs as; unknown until it has said so.
    pub uid: u32,
    /// Its process.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub started_s: u64,
    /// How far it is.
    pub state: State,
    /// Where it is attached.
    pub holder: Option<Holder>,
    /// What it says about itself.
    pub answers: Answers,
    /// The attach whose first frame it has reported.
    pub first_frame: Option<AttachId>,
}

/// ```text
/// Starting ──Ready──► Running ──End, Ending──► Ending ──gone──► (forgotten)
/// Adopting ──Ready──►    └──────gone──► (forgotten, terminals are told)
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its process was started.
    Starting {
        /// When that has taken too long.
        until_ms: u64,
    },
    /// It was found running and has not answered yet.
    Adopting {
        /// When that has taken too long.
        until_ms: u64,
    },
    /// It takes terminals.
    Running(Door),
    /// It was asked to end or says that it does.
    Ending {
        /// When that has taken too long.
        until_ms: u64,
        /// Why it ends.
        reason: DetachReason,
    },
}

/// Where a session is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// UDP port of its session link.
    pub port: u16,
    /// Its key.
    pub pin: KeyPin,
    /// Name of its Wayland socket.
    pub wayland_display: String,
    /// Since when, in milliseconds of the clock that never goes back.
    pub since_ms: u64,
}

/// The terminal that has a session, or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub terminal: String,
    /// The attach.
    pub attach: AttachId,
    /// How far it is.
    pub phase: Phase,
}

/// How far an attach is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The terminal has been sent its ticket.
    Offered,
    /// The session has seen the ticket.
    Live,
    /// The session says that the link is gone; the terminal has not said so.
    Lost {
        /// When it has had long enough to.
        until_ms: u64,
    },
}

/// An attach as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachRecord {
    /// The attach.
    pub attach: AttachId,
    /// The session.
    pub session: SessionId,
    /// Whose.
    pub person: String,
    /// The terminal's id.
    pub terminal: String,
    /// The terminal's key.
    pub key: KeyPin,
    /// The card edge.
    pub edge: Edge,
    /// Whether the session had to be started for it.
    pub started_session: bool,
}

/// Who started a session, kept beside its socket.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    /// The person.
    pub person: String,
    /// The user it runs as.
    pub uid: u32,
    /// Its process.
    pub pid: u32,
    /// When that process started, in clock ticks since boot: tells it from a later one of the same
    /// number.
    pub pid_start: u64,
    /// When it started, in seconds since 1970.
    pub started_s: u64,
}

/// Why a session's process is not there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// The person has no account that may have a session.
    NoAccount(String),
    /// It could not be started.
    NotStarted(String),
    /// It exited in order.
    Exited,
    /// It died; in words how.
    Died(String),
}

/// What the directory hears.
#[derive(Debug)]
pub enum Event {
    /// A terminal has introduced itself.
    Hello {
        /// Its link.
        link: LinkId,
        /// The key it has proven.
        key: KeyPin,
        /// Where it is.
        address: SocketAddr,
        /// What ties a proof to this link.
        exporter: [u8; 32],
        /// What it said.
        hello: Hello,
    },
    /// A terminal has said something else.
    Terminal {
        /// Its link.
        link: LinkId,
        /// What.
        message: ToBroker,
    },
    /// A control link is over.
    LinkDown {
        /// Which.
        link: LinkId,
    },
    /// A session's process has been started.
    SessionStarted {
        /// Which.
        session: SessionId,
        /// Its process.
        pid: u32,
        /// Its user.
        uid: u32,
    },
    /// A session has introduced itself on a new connection.
    SessionReady {
        /// Which.
        session: SessionId,
        /// What it said.
        ready: Ready,
    },
    /// A session has said something else.
    Session {
        /// Which.
        session: SessionId,
        /// What.
        message: FromSession,
    },
    /// A session's process is gone.
    SessionGone {
        /// Which.
        session: SessionId,
        /// How.
        how: Gone,
    },
    /// A deadline has passed.
    Tick,
}

/// What the directory asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Tell a terminal something.
    ToTerminal(LinkId, ToTerminal),
    /// Make a ticket; tell the session to expect it and the terminal to come.
    Offer(Offer),
    /// Close a control link.
    Close(LinkId, CloseCode, String),
    /// Start a session's process.
    Start {
        /// Its id.
        session: SessionId,
        /// Whose.
        person: String,
    },
    /// Tell a session something.
    ToSession(SessionId, ToSession),
    /// End a session's process, whatever it says.
    Kill(SessionId),
    /// Keep something in the store.
    Keep(Record),
    /// Note what happened.
    Audit(AuditRow),
}

/// What an attach needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The terminal's link.
    pub link: LinkId,
    /// The card edge.
    pub seq: u32,
    /// The attach.
    pub attach: AttachId,
    /// The session.
    pub session: SessionId,
    /// Its port.
    pub port: u16,
    /// Its key.
    pub pin: KeyPin,
    /// The person's name.
    pub person: String,
    /// The terminal's name.
    pub terminal_name: String,
    /// The key that the terminal must prove to the session.
    pub terminal_key: KeyPin,
}

/// What the store keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A person is known.
    Person(String),
    /// A card as it is now.
    Card(String, Card),
    /// A terminal as it is now.
    Terminal(String, Terminal),
    /// A terminal is not remembered any more.
    TerminalForgotten(String),
    /// An attach was offered.
    Attach(AttachRecord),
    /// A session was started.
    SessionStarted(SessionId, String, u64),
    /// A session is over: when, and how.
    SessionEnded(SessionId, u64, String),
    /// A receipt came, or came again with more stages.
    Receipt(AttachRecord, String, Receipt),
}

//! What the directory knows, hears and asks for.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use heliostat_control::admin::AuditRow;
use heliostat_control::greetd::GreeterContext;
use heliostat_control::session::{FromSession, Ready, ToSession};
use heliostat_wire::close::CloseCode;
use heliostat_wire::control::{DetachReason, Hello, LoginOffer, ToBroker, ToTerminal};
use heliostat_wire::id::{AttachId, KeyPin, SessionId};
use heliostat_wire::output::Outputs;
use heliostat_wire::proof::{Challenge, ProofKey};
use heliostat_wire::receipt::Receipt;

use super::Answers;
use crate::policy::{Outcome, Proof};
use crate::proof::EnrolledKey;

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
    /// Random bytes, for a challenge if one is made.
    pub nonce: [u8; 32],
}

/// What the site's configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The site's name.
    pub site: String,
    /// This server's name, as policies have it.
    pub server: String,
    /// The user that greeters run as; nothing where there is no greeter.
    pub greeter_user: Option<String>,
    /// Greeters at once.
    pub max_greeters: usize,
    /// Sessions at once, greeters not counted.
    pub max_sessions: usize,
    /// Milliseconds a session has to get ready, or to answer when it was found running.
    pub start_ms: u64,
    /// Milliseconds a session has to end when asked.
    pub end_ms: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            site: "Heliostat".to_owned(),
            server: "localhost".to_owned(),
            greeter_user: None,
            max_greeters: 32,
            max_sessions: 64,
            start_ms: 20_000,
            end_ms: 10_000,
        }
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self {
            ms: 0,
            unix_ms: 0,
            fresh: SessionId([0; 16]),
            nonce: [0; 32],
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
    /// Its keys, as far as they are bound to it.
    pub keys: Keys,
    /// What is still to happen before it opens anything.
    pub standing: Standing,
    /// The card of which this is another id.
    pub alias_of: Option<String>,
}

/// The keys that a card has to show, by what they say about who is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Card authentication (9E): the card is here.
    pub card: Option<EnrolledKey>,
    /// PIV authentication (9A): its owner is here as well.
    pub owner: Option<EnrolledKey>,
}

/// Whether a card may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It may.
    #[default]
    Good,
    /// It may, and the keys that it shows first become its keys.
    FirstUse,
    /// A person has asked for it, and an administrator has yet to agree.
    Asked,
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
    /// Its id, letter by letter as it says it: proofs sign that.
    pub said_id: String,
    /// The card id that it said last, in the same way.
    pub said_card: String,
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
    /// What ties a proof to this link.
    pub exporter: [u8; 32],
    /// What it was last told of logins without a card.
    pub login: LoginOffer,
}

/// A card in a reader, or a person without one who wants to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The terminal's number of this card edge.
    pub seq: u32,
    /// The card id; empty where there is no card.
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
    /// A card that has been asked to prove itself.
    Proving(Box<Proving>),
    /// A card whose session is not ready yet.
    Waiting {
        /// The card.
        edge: Edge,
        /// The session.
        session: SessionId,
        /// What was shown for it.
        shown: Proof,
        /// When waiting has been long enough.
        until_ms: u64,
    },
    /// A card whose session is attached here, or is about to be.
    Joined(Join),
    /// The same, of a terminal whose control link broke: it has yet to say that the card is still
    /// there.
    Resumable(Join),
}

/// A challenge that a terminal has yet to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proving {
    /// The card.
    pub edge: Edge,
    /// Whose it is, or is to be.
    pub person: String,
    /// What was asked; its nonce is good this once.
    pub challenge: Challenge,
    /// When the answer has taken too long.
    pub until_ms: u64,
    /// What was shown so far.
    pub shown: Option<Proof>,
    /// Keys that are to be bound after this one.
    pub then: Vec<ProofKey>,
    /// The login that led here.
    pub login: Option<LoginId>,
}

/// A login that a PAM worker has brought to success and holds open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoginId(pub u64);

/// A card's session on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The card.
    pub edge: Edge,
    /// What was shown for it.
    pub shown: Proof,
    /// The session.
    pub session: SessionId,
    /// The attach.
    pub attach: AttachId,
    /// When links of this card edge broke lately.
    pub breaks: Vec<u64>,
    /// Whether it is of this run of the broker, or its session has said that it is attached here.
    pub confirmed: bool,
}

/// What a session is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// A person's desktop.
    #[default]
    Desktop,
    /// Where people log in, on one terminal.
    Greeter,
    /// One command, of the card or terminal named here.
    Kiosk(String),
}

/// A running session.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// What it is for.
    pub kind: Kind,
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
    /// Since when it has had no terminal, and after how many milliseconds that ends it.
    pub vacant: Vacant,
    /// For a greeter: the terminal that it was started for, and its address.
    pub greets: Option<(String, IpAddr)>,
    /// Where its person was last told to be, and what is to be run when that is over.
    pub placed: Option<Placed>,
}

/// How long a session has been without a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vacant {
    /// Since when, in milliseconds of the clock that never goes back.
    pub since_ms: u64,
    /// For how many milliseconds it may be.
    pub limit_ms: Option<u64>,
}

/// A card that waits until its person's groups are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ungrouped {
    /// Its edge.
    pub seq: u32,
    /// How long it waits, in milliseconds of the clock that never goes back.
    pub until_ms: u64,
}

/// How long a card's last strong proof counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// When the card left, in milliseconds of the clock that never goes back.
    pub since_ms: u64,
    /// When the proof counts no more, by the policy of the place that it left.
    pub until_ms: u64,
}

/// A person's place, as hooks are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The terminal's id.
    pub terminal: String,
    /// Its name.
    pub terminal_name: String,
    /// Its places, as the policy names them.
    pub places: Vec<String>,
    /// Its address, while it was online.
    pub address: String,
    /// What to run when the person leaves.
    pub on_detach: Vec<String>,
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
///
/// ```text
/// Offered ──ticket shown──► Live ──link gone──► Lost ──said so, or not for a while──► (another)
///    │  ▲ card said again over another control link, and it is young
///    │  └─► the same in doubt ──not taken up for a while──► (another)
///    └── not taken up at all ──► (over)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The terminal has been sent its ticket.
    Offered {
        /// When, in milliseconds of the clock that never goes back.
        since_ms: u64,
        /// It may have been lost with the control link that it was made on. The terminal may as well
        /// be taking it up just now, and would part from it for another.
        is_in_doubt: bool,
    },
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
    /// What was shown for it.
    pub shown: Proof,
    /// Whether the session had to be started for it.
    pub started_session: bool,
    /// Whether it is over, and how.
    pub over: Option<Over>,
}

/// How an attach came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Over {
    /// A link broke or the card was pulled: the same card edge may have it back.
    Lost,
    /// Somebody wanted it: it takes a person to have it back.
    Wanted,
}

/// Who started a session, kept beside its socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    /// What it is for.
    #[serde(default)]
    pub kind: Kind,
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
    /// The PAM worker, which sees the session to its end; 0 where it is not known.
    #[serde(default)]
    pub worker: u32,
    /// When the worker started, as `pid_start`.
    #[serde(default)]
    pub worker_start: u64,
    /// The person's runtime folder, where it is the broker's to remove.
    #[serde(default)]
    pub runtime_dir: Option<PathBuf>,
    /// The session's control group, where it is the broker's to remove.
    #[serde(default)]
    pub group: Option<PathBuf>,
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
    /// Somebody has logged in at a greeter.
    LoggedIn(LoggedIn),
    /// A login at a greeter has failed.
    LoginFailed {
        /// The greeter's session.
        greeter: SessionId,
        /// The name that was given.
        person: String,
        /// What PAM said.
        text: String,
    },
    /// The groups of people, as the name service has them; nothing for those of whom it cannot say.
    Groups(BTreeMap<String, Option<Vec<String>>>),
    /// The policy file has changed.
    Policy(Box<crate::policy::Policy>),
    /// A command that was run as a person came to nothing.
    HookFailed {
        /// Whose.
        person: String,
        /// The terminal's id.
        terminal: String,
        /// Why.
        text: String,
    },
    /// The policy file has changed, and is none: why.
    PolicyRefused(String),
    /// A deadline has passed.
    Tick,
}

/// Somebody has logged in at a greeter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// The greeter's session.
    pub greeter: SessionId,
    /// Who, as PAM has it.
    pub person: String,
    /// The groups they are in, where the name service can say.
    pub groups: Option<Vec<String>>,
    /// What holds the login open.
    pub login: LoginId,
    /// Whether the card in the reader shall be theirs.
    pub enrol: bool,
}

/// What starting a session takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Its id.
    pub session: SessionId,
    /// What it is for.
    pub kind: Kind,
    /// Whose.
    pub person: String,
    /// The login by which the person came; the card's proof stands for one where there is none.
    pub login: Option<LoginId>,
    /// What it may use, and what it runs.
    pub outcome: Box<Outcome>,
    /// The terminal's name.
    pub terminal_name: String,
    /// The terminal's address.
    pub address: String,
}

/// A command that is run as a person when they come or go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The person.
    pub person: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `attach` or `detach`.
    pub event: &'static str,
    /// The session.
    pub session: SessionId,
    /// Whether the session goes on: its end ends what runs within it.
    pub within: bool,
    /// What the person may use there.
    pub outcome: Box<Outcome>,
    /// Where.
    pub placed: Placed,
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
    Start(Start),
    /// Tell a greeter what it is to show.
    Greet(SessionId, GreeterContext),
    /// Let a login go that leads nowhere.
    DropLogin(LoginId),
    /// Run a command as a person.
    Hook(Hook),
    /// Find out which groups a person is in.
    LookUp(String),
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
    /// After how many seconds without input the session asks to be locked.
    pub idle_s: Option<u32>,
    /// Seconds that the terminal may keep its pixels when the attach is over.
    pub keep_pixels_s: u32,
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
    /// An attach was offered, or is over.
    Attach(AttachRecord),
    /// A session was started.
    SessionStarted(SessionId, String, u64),
    /// A session is over: when, and how.
    SessionEnded(SessionId, u64, String),
    /// A receipt came, or came again with more stages.
    Receipt(AttachRecord, String, Receipt),
}

//! Messages of the control link, between a terminal and the broker.
//!
//! The terminal opens the link's only bidirectional stream, sends its preamble and
//! [`ToBroker::Hello`], and gets the broker's preamble and [`ToTerminal::Welcome`] or
//! [`ToTerminal::Refused`]. Both may then speak at any time.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::bounded::{List, Text};
use crate::card::{Card, Unreadable};
use crate::id::{AttachId, KeyPin, Ticket};
use crate::limits::{MAX_ADDRESSES, MAX_NAME, MAX_SENTENCE};
use crate::output::Outputs;
use crate::proof::{Challenge, Proof, ProofFailure};
use crate::receipt::Receipt;

/// How a terminal introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Hello {
    /// The terminal's id: the MAC address of the card it booted from, or one it was given.
    pub terminal_id: Text<MAX_NAME>,
    /// The name it goes by until the broker gives it another.
    pub name: Text<MAX_NAME>,
    /// Its software's version.
    pub software: Text<MAX_NAME>,
    /// Its screens; empty where none is plugged.
    pub outputs: Outputs,
    /// Milliseconds from the kernel's start to PID 1, and from there to this hello; zero where
    /// the terminal did not boot as one.
    pub boot_ms: (u32, u32),
}

/// From the terminal to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub enum ToBroker {
    /// The first message.
    Hello(Hello),
    /// A card is in a reader. It takes the place of any card before it.
    CardInserted {
        /// Counts card edges of this boot; answers name it.
        seq: u32,
        /// The reader's name.
        reader: Text<MAX_NAME>,
        /// What was read.
        card: Card,
    },
    /// Something is in a reader that cannot be read.
    CardUnreadable {
        /// Counts card edges.
        seq: u32,
        /// The reader's name.
        reader: Text<MAX_NAME>,
        /// Why.
        why: Unreadable,
    },
    /// The card is gone; the screen is already blank.
    CardRemoved {
        /// The edge that this ends.
        seq: u32,
    },
    /// The person at the terminal asks to try again what failed for this card.
    Retry {
        /// The card edge.
        seq: u32,
    },
    /// The session link of an attach ended though the card is still there.
    LinkEnded {
        /// The attach.
        attach_id: AttachId,
        /// Why, as the terminal sees it.
        reason: DetachReason,
    },
    /// The timeline of an attach; sent again when later stages have been reached.
    Receipt(Receipt),
    /// Screens came, went or changed.
    Outputs(Outputs),
    /// Answered by a pong with the same number.
    Ping(u32),
    /// A person without a card wants to log in. It counts as a card edge: it takes the place of any
    /// card before it, and ends with `CardRemoved`.
    Login {
        /// Counts card edges.
        seq: u32,
    },
    /// The answer to a challenge.
    Proof(Proof),
    /// There is no answer to a challenge.
    NoProof {
        /// The card edge of the challenge.
        seq: u32,
        /// Why.
        why: ProofFailure,
    },
}

/// From the broker to the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub enum ToTerminal {
    /// The terminal is accepted.
    Welcome {
        /// The name it is to show.
        terminal_name: Text<MAX_NAME>,
        /// The site's name.
        site: Text<MAX_NAME>,
        /// Seconds since 1970, for terminals without a clock.
        unix_time_s: u64,
        /// Whether people may log in without a card.
        login: LoginOffer,
    },
    /// The terminal is not accepted; the link closes.
    Refused {
        /// Why, in words for the person at the desk.
        text: Text<MAX_SENTENCE>,
        /// When to try again, in seconds.
        retry_after_s: u32,
    },
    /// The card's session is being started.
    Starting {
        /// The card edge.
        seq: u32,
        /// The person's name.
        person: Text<MAX_NAME>,
    },
    /// Go and join a session.
    Attach(Attach),
    /// The card opens nothing.
    CardRefused {
        /// The card edge.
        seq: u32,
        /// Why.
        reason: CardRefusal,
        /// Why, in words for the person at the desk.
        text: Text<MAX_SENTENCE>,
    },
    /// Leave the session of this attach.
    Detach {
        /// The attach.
        attach_id: AttachId,
        /// Why.
        reason: DetachReason,
    },
    /// Answer to a ping.
    Pong(u32),
    /// Let the card prove itself.
    Prove(Challenge),
    /// Whether people may log in without a card is another than it was.
    Login(LoginOffer),
}

/// Whether people may log in without a card at a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum LoginOffer {
    /// They may not.
    #[default]
    None,
    /// They may; the idle screen says how.
    Offered,
    /// The terminal asks by itself whenever it has no card, as one does that shows a single
    /// program to everybody.
    Now,
}

/// Where a session is and how to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Attach {
    /// The card edge that this answers.
    pub seq: u32,
    /// The attach.
    pub attach_id: AttachId,
    /// Addresses of the session link, best first.
    pub addresses: List<Address, MAX_ADDRESSES>,
    /// The session's key.
    pub pin: KeyPin,
    /// The secret to show there, once.
    pub ticket: Ticket,
    /// The person's name.
    pub person: Text<MAX_NAME>,
    /// For how many seconds the terminal may keep the session's pixels, off the screen, when the
    /// attach is over; it never keeps them for more than [`crate::limits::MAX_KEEP_S`].
    pub keep_pixels_s: u32,
}

/// A UDP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// A host's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Host {
    /// The address at which the terminal reached the broker.
    Broker,
    /// An IPv4 address, network order.
    V4([u8; 4]),
    /// An IPv6 address, network order.
    V6([u8; 16]),
}

/// Why a card opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum CardRefusal {
    /// No person has this card.
    Unknown,
    /// The card was revoked.
    Revoked,
    /// Policy does not allow it here.
    Forbidden,
    /// The person has no account on the server.
    NoAccount,
    /// The session did not start; a retry may help.
    SessionFailed,
    /// The server can take no more sessions; a retry may help.
    Busy,
    /// The card, or its owner, did not prove itself; a retry may help.
    NotProven,
    /// The desktop is locked; a retry unlocks it.
    Locked,
}

/// Why an attach ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum DetachReason {
    /// The card was pulled.
    CardRemoved,
    /// The card was inserted at another terminal, named here.
    MovedElsewhere {
        /// That terminal's name.
        terminal: Text<MAX_NAME>,
    },
    /// The person ended the session.
    SessionEnded,
    /// The session died.
    SessionCrashed,
    /// An administrator asked for it.
    ByAdmin,
    /// The person asked for it, at the terminal or in the session.
    ByPerson,
    /// The desktop was locked, by the person or because nobody was there.
    Locked,
    /// The site's policy lets it last no longer.
    ByPolicy,
    /// The card was revoked.
    CardRevoked,
    /// The link broke.
    LinkLost,
    /// The other end broke the protocol.
    ProtocolViolation,
}

//! Everything that can happen to the client, in one closed list.

use std::sync::Arc;

use heliostat_link::Frame;
use heliostat_terminal_state::{Code, TerminalState};
use heliostat_wire::control::{self, DetachReason, LoginOffer};
use heliostat_wire::id::AttachId;
use heliostat_wire::limits::MAX_NAME;
use heliostat_wire::{Text, session};

use crate::card::CardEvent;
use crate::control_lines::ControlLine;
use crate::seat::SeatEvent;

/// One thing that happened.
#[derive(Debug)]
pub enum AppEvent {
    /// On a link.
    Net(NetEvent),
    /// At a card reader.
    Card(CardEvent),
    /// At keyboard, mouse or touch screen.
    Seat(SeatEvent),
    /// PID 1 knows more.
    Terminal(Box<TerminalState>),
    /// A control line was read.
    Control(ControlLine),
    /// A control line that is none was read.
    BadControl(String),
    /// Nobody controls the terminal any more: standard input is at its end.
    ControlEnded,
    /// A frame is on the screen, or may be drawn again.
    Display,
    /// Screens came, went or changed.
    OutputsChanged,
    /// The window was closed.
    Closed,
    /// Time to do what is done regularly.
    Tick,
}

/// One thing that happened on a link.
#[derive(Debug)]
pub enum NetEvent {
    /// The broker welcomed us.
    ControlUp {
        /// The name it gave the terminal.
        terminal_name: String,
        /// The site.
        site: String,
        /// Whether a login without a card is offered.
        login: LoginOffer,
        /// What ties a proof to this link.
        tie: Tie,
    },
    /// There is no control link, or no more; it is being tried again.
    ControlDown {
        /// Why, as a status code.
        code: Code,
        /// Why, in words.
        why: String,
    },
    /// The broker said something.
    FromBroker(control::ToTerminal),
    /// The session link's handshake is complete.
    Linked,
    /// QUIC reaches the session of this attach, whose link is over TCP.
    QuicPasses(AttachId),
    /// The session said something.
    FromSession(AttachId, session::ToTerminal),
    /// The session sent a frame, whose last byte came at this time (CLOCK_MONOTONIC, nanoseconds).
    Frame(AttachId, Frame, u64),
    /// The session link is over.
    SessionEnded(AttachId, DetachReason, String),
}

/// What a card's proof says of the control link that it is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tie {
    /// The link's exporter.
    pub exporter: [u8; 32],
    /// The terminal's id, as it said hello with.
    pub terminal: Text<MAX_NAME>,
}

/// Puts events into the main loop, from any thread.
pub type Post = Arc<dyn Fn(AppEvent) + Send + Sync>;

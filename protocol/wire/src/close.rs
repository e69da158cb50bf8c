//! QUIC application close codes: why an end closed a link.

/// Why a link was closed. The number is the QUIC application error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// Nothing is wrong: the conversation is over.
    Done = 0,
    /// The peer broke the protocol (undecodable message, exceeded limit, unknown layer).
    ProtocolViolation = 1,
    /// No common version.
    VersionMismatch = 2,
    /// The ticket is unknown, used, expired or belongs to another terminal.
    TicketRefused = 3,
    /// A newer link of the same terminal or session has taken this one's place.
    Superseded = 4,
    /// Too many attempts from this address; try again later.
    Throttled = 5,
    /// This end is shutting down.
    ShuttingDown = 6,
    /// The peer did not say in time what it had to say.
    Timeout = 7,
    /// A terminal of this id is here already, with another key.
    IdTaken = 8,
}

impl CloseCode {
    /// The code with this number, if there is one.
    pub fn from_number(number: u64) -> Option<Self> {
        [
            Self::Done,
            Self::ProtocolViolation,
            Self::VersionMismatch,
            Self::TicketRefused,
            Self::Superseded,
            Self::Throttled,
            Self::ShuttingDown,
            Self::Timeout,
            Self::IdTaken,
        ]
        .into_iter()
        .find(|code| u64::from(*code as u32) == number)
    }
}

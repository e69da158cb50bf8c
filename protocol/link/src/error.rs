//! What can go wrong on a link, and what to tell the peer about it.

use heliostat_wire::WireError;
use heliostat_wire::close::CloseCode;
use heliostat_wire::version::VersionError;
use quinn::{ConnectionError, TransportErrorCode};

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The peer closed it and said why.
    #[error("closed by the peer ({code:?}){}", with_colon(text))]
    ByPeer {
        /// Why.
        code: CloseCode,
        /// The same in words; may be empty.
        text: String,
    },
    /// The peer closed it with a code that this version does not know.
    #[error("closed by the peer with unknown code {0}")]
    ByPeerUnknown(u64),
    /// This end closed it.
    #[error("closed by this end")]
    ByUs,
    /// Nothing was heard from the peer for too long.
    #[error("the peer has been silent for too long")]
    Silent,
    /// The peer has forgotten this connection, as after a restart.
    #[error("the peer has restarted")]
    Forgotten,
    /// The peer takes no new connections now.
    #[error("the peer refuses new connections at the moment")]
    Refused,
    /// The handshake failed at the peer or the peer broke QUIC.
    #[error("{0}")]
    Transport(String),
}

fn with_colon(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

impl From<ConnectionError> for Ended {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let number = close.error_code.into_inner();
                match CloseCode::from_number(number) {
                    Some(code) => Self::ByPeer {
                        code,
                        text: printable(&close.reason),
                    },
                    None => Self::ByPeerUnknown(number),
                }
            }
            ConnectionError::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                Self::Refused
            }
            ConnectionError::LocallyClosed => Self::ByUs,
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::Reset => Self::Forgotten,
            other => Self::Transport(printable(other.to_string().as_bytes())),
        }
    }
}

/// Bytes of the peer's words that are kept.
const MAX_REASON: usize = 256;

pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_REASON)
        .collect()
}

/// A failure of a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The server proved a key, but not one of the pinned ones.
    #[error("the server's key is not the site's key: it showed {0}")]
    WrongKey(crate::KeyPin),
    /// No key is pinned, so no server can be trusted.
    #[error("no site key is known, so no server can be trusted")]
    NoPin,
    /// The connection is over.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The two ends share no version.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// A message breaks its format or its limit.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer's streams are not as the protocol has them.
    #[error("{0}")]
    Protocol(&'static str),
    /// More is queued for the peer than it takes.
    #[error("the peer does not read: {0} bytes are waiting")]
    Backlog(usize),
    /// A socket or TLS could not be set up.
    #[error("{0}")]
    Setup(String),
}

impl LinkError {
    /// The code with which to close the link after this error.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Version(_) => CloseCode::VersionMismatch,
            Self::Wire(_) | Self::Protocol(_) => CloseCode::ProtocolViolation,
            Self::Backlog(_) => CloseCode::Timeout,
            Self::WrongKey(_) | Self::NoPin | Self::Ended(_) | Self::Setup(_) => CloseCode::Done,
        }
    }
}

impl From<ConnectionError> for LinkError {
    fn from(error: ConnectionError) -> Self {
        Self::Ended(error.into())
    }
}

impl From<quinn::WriteError> for LinkError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::ConnectionLost(lost) => lost.into(),
            _ => Self::Protocol("the peer stopped reading a stream"),
        }
    }
}

impl From<quinn::ReadError> for LinkError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::ConnectionLost(lost) => lost.into(),
            _ => Self::Protocol("the peer abandoned a stream"),
        }
    }
}

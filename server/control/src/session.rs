//! Between the broker and one session, over `session.sock`.
//!
//! The broker listens there before it starts the session and hands the listening socket down as
//! file descriptor 3; the session accepts on it. A broker that has restarted connects again: the
//! newest connection wins, and every connection begins with the session's [`FromSession::Ready`].

use heliostat_wire::control::DetachReason;
use heliostat_wire::id::AttachId;
use serde::{Deserialize, Serialize};

use crate::hex::Hex;
use crate::stats::SessionStats;

/// From the broker to the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToSession {
    /// A terminal will come with a ticket.
    Expect(Expect),
    /// Part from the terminal.
    Detach {
        /// Only if this attach is the present one; any where absent.
        attach_id: Option<AttachId>,
        /// What to tell the terminal.
        reason: DetachReason,
    },
    /// End the session: ask the clients to leave, then leave.
    End {
        /// What to tell the terminal.
        reason: DetachReason,
    },
    /// Answer with [`FromSession::Stats`].
    Stats,
}

/// A ticket, as the session is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// The attach.
    pub attach_id: AttachId,
    /// SHA-256 of the ticket.
    pub ticket_sha256: Hex<32>,
    /// SHA-256 of the public key that the terminal must prove.
    pub terminal_key_sha256: Hex<32>,
    /// The terminal's name, for the person whose attach it takes over.
    pub terminal_name: String,
    /// Milliseconds from now after which the ticket is void.
    pub expires_ms: u32,
    /// Seconds without input after which the session says [`Ask::Idle`]; never where absent.
    #[serde(default)]
    pub idle_s: Option<u32>,
    /// Seconds that the terminal was told to keep the session's pixels when the attach is over.
    #[serde(default)]
    pub keep_pixels_s: u32,
}

/// From the session to the broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromSession {
    /// The session link is open; the first line of each connection.
    Ready(Ready),
    /// A terminal has shown its ticket.
    Attached(Attached),
    /// The first frame of an attach has been acknowledged.
    FirstFrame {
        /// The attach.
        attach_id: AttachId,
        /// Milliseconds from the ticket's check to the acknowledgement.
        took_ms: u32,
    },
    /// An attach is over; the session runs on.
    Detached {
        /// The attach.
        attach_id: AttachId,
        /// Why.
        reason: DetachReason,
    },
    /// Answer to [`ToSession::Stats`].
    Stats(Box<SessionStats>),
    /// The session's person, or their absence, asks for something that the broker decides.
    Asks(Ask),
    /// The session is about to exit.
    Ending {
        /// Why.
        reason: DetachReason,
    },
}

/// What a session asks of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Part from the terminal; the session runs on.
    Detach,
    /// Part from the terminal, and ask for a proof before it is attached again.
    Lock,
    /// Lock, since there was no input for [`Expect::idle_s`].
    Idle,
    /// End the session.
    LogOut,
}

/// What a session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Its process.
    pub pid: u32,
    /// The user it runs as.
    pub uid: u32,
    /// UDP port of its session link.
    pub port: u16,
    /// SHA-256 of its public key (SubjectPublicKeyInfo, DER).
    pub spki_sha256: Hex<32>,
    /// Name of its Wayland socket.
    pub wayland_display: String,
    /// Who is attached already.
    pub attached: Option<Attached>,
}

/// Who is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The attach.
    pub attach_id: AttachId,
    /// The terminal's name.
    pub terminal: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines;

    #[test]
    fn messages_have_the_forms_that_the_other_side_may_rely_on() {
        let expect = ToSession::Expect(Expect {
            attach_id: AttachId(7),
            ticket_sha256: Hex([1; 32]),
            terminal_key_sha256: Hex([2; 32]),
            terminal_name: "a".to_owned(),
            expires_ms: 10_000,
            idle_s: Some(600),
            keep_pixels_s: 300,
        });
        let line = String::from_utf8(lines::encode(&expect)).unwrap();
        assert_eq!(
            line,
            format!(
                "{{\"kind\":\"expect\",\"attach_id\":7,\"ticket_sha256\":\"{}\",\
                 \"terminal_key_sha256\":\"{}\",\"terminal_name\":\"a\",\"expires_ms\":10000,\
                 \"idle_s\":600,\"keep_pixels_s\":300}}\n",
                "01".repeat(32),
                "02".repeat(32)
            )
        );
        let detach = ToSession::Detach {
            attach_id: None,
            reason: DetachReason::MovedElsewhere {
                terminal: "b".into(),
            },
        };
        let line = String::from_utf8(lines::encode(&detach)).unwrap();
        assert_eq!(
            line,
            "{\"kind\":\"detach\",\"attach_id\":null,\
             \"reason\":{\"MovedElsewhere\":{\"terminal\":\"b\"}}}\n"
        );
    }

    #[test]
    fn an_unknown_field_is_passed_over_and_an_unknown_kind_is_not() {
        let newer = br#"{"kind":"first_frame","attach_id":1,"took_ms":3,"colour":"blue"}"#;
        assert!(serde_json::from_slice::<FromSession>(newer).is_ok());
        let unknown = br#"{"kind":"sing"}"#;
        assert!(serde_json::from_slice::<FromSession>(unknown).is_err());
    }
}

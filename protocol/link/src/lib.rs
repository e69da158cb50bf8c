//! Endpoints of both links: identities, pins, streams, framing.
//!
//! QUIC carries a link where UDP passes, and a multiplexer of ours in TLS over TCP where it does
//! not. Nobody above this crate sees a difference.
//!
//! A server binds a [`Server`] and accepts [`Connection`]s whose peers have proven a key; a
//! terminal dials with a [`Dialer`] and accepts only servers that prove a pinned key. On a
//! connection there is one [`Main`] stream of typed messages, and frames of the scene on streams of
//! their own ([`FrameSender`], [`FrameReceiver`]).
//!
//! Everything here runs on tokio. A runtime of one thread gives the smallest packets, since the
//! end of a stream then always leaves with its data.
#![deny(unsafe_code)]

mod backoff;
mod carrier;
mod clock;
mod congestion;
mod connection;
mod copies;
mod dial;
mod error;
mod frames;
mod identity;
mod main_stream;
mod mtu;
mod mux;
mod path;
mod recent;
mod serve;
mod tcp;
mod throttle;
mod tls;
mod transport;

pub use backoff::Backoff;
pub use connection::{Carrier, Connection, Stats};
#[cfg(feature = "oracle")]
pub use copies::hostile_copies;
pub use dial::Dialer;
pub use error::{Ended, LinkError};
pub use frames::{Content, Frame, FrameReceiver, FrameSender, Sent};
pub use heliostat_wire::close::CloseCode;
pub use heliostat_wire::id::KeyPin;
pub use heliostat_wire::version::Link;
pub use identity::{Identity, IdentityError, pin_of_certificate};
pub use main_stream::{Main, Receiver, Sender};
#[cfg(feature = "oracle")]
pub use mux::hostile_peer;
pub use path::Path;
pub use serve::{Handshake, Server};
pub use throttle::{Budget, Throttle, Verdict};
pub use transport::{IDLE_TIMEOUT, KEEP_ALIVE, priority};

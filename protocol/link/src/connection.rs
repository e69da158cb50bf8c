//! One end of a live link.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use heliostat_wire::close::CloseCode;
use heliostat_wire::id::KeyPin;
use heliostat_wire::proof;
use heliostat_wire::version::Link;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::carrier::Streams;
use crate::congestion::Meters;
use crate::copies::Copies;
use crate::error::{Ended, LinkError};
use crate::identity::pin_of_certificate;
use crate::main_stream::Main;
use crate::mtu::{Beginning, Note};
use crate::path::Path;
use crate::serve::HalfOpen;
use crate::tcp;

/// A link whose peer has proven its key. Clones are handles of the same link; it closes when the
/// last one and all its streams are dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    streams: Streams,
    peer: KeyPin,
    half_open: Option<Arc<HalfOpen>>,
    meters: Arc<Meters>,
    /// Over QUIC, what is remembered of the way when the last handle goes.
    note: Option<Arc<Note>>,
}

/// What carries a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Carrier {
    /// QUIC, over UDP.
    #[default]
    Quic,
    /// Our own streams in TLS over TCP, where UDP does not pass.
    Tcp,
}

impl Carrier {
    /// Its name, for logs and people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "QUIC",
            Self::Tcp => "TCP",
        }
    }
}

/// What a link has been doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// What carries it. Over TCP, what is counted is TCP payload and segments.
    pub carrier: Carrier,
    /// Round-trip time, smoothed.
    pub rtt: Duration,
    /// Bytes sent, in UDP payloads.
    pub sent_bytes: u64,
    /// UDP datagrams sent.
    pub sent_datagrams: u64,
    /// Bytes received, in UDP payloads.
    pub received_bytes: u64,
    /// UDP datagrams received.
    pub received_datagrams: u64,
    /// Packets lost on the way to the peer.
    pub lost_packets: u64,
    /// Bytes that may be under way unacknowledged.
    pub congestion_window: u64,
    /// Bytes of UDP payload that a packet may have; over TCP 0.
    pub mtu: u16,
}

impl Connection {
    pub(crate) fn over_quic(
        quic: quinn::Connection,
        half_open: Option<Arc<HalfOpen>>,
        beginning: Beginning,
    ) -> Result<Self, LinkError> {
        let shown = quic
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
        let peer = shown
            .and_then(|chain| pin_of_certificate(chain.first()?))
            .ok_or(LinkError::Protocol("the peer showed no certificate"))?;
        Ok(Self {
            note: Some(Arc::new(beginning.came_about(&quic))),
            streams: Streams::Quic(quic.clone(), Copies::new(quic)),
            peer,
            half_open,
            meters: Arc::default(),
        })
    }

    pub(crate) fn over_tcp(tcp: tcp::Connection, half_open: Option<Arc<HalfOpen>>) -> Self {
        Self {
            note: None,
            peer: tcp.peer(),
            streams: Streams::Tcp(tcp),
            half_open,
            meters: Arc::default(),
        }
    }

    /// What carries this link.
    pub fn carrier(&self) -> Carrier {
        match &self.streams {
            Streams::Quic(..) => Carrier::Quic,
            Streams::Tcp(_) => Carrier::Tcp,
        }
    }

    /// The key that the peer has proven to hold.
    pub fn peer(&self) -> KeyPin {
        self.peer
    }

    /// Where the peer is.
    pub fn remote_address(&self) -> SocketAddr {
        match &self.streams {
            Streams::Quic(quic, _) => quic.remote_address(),
            Streams::Tcp(tcp) => tcp.remote_address(),
        }
    }

    /// The address of this machine at which the peer is talking to us, where known.
    pub fn local_ip(&self) -> Option<IpAddr> {
        match &self.streams {
            Streams::Quic(quic, _) => quic.local_ip(),
            Streams::Tcp(tcp) => tcp.local_ip(),
        }
    }

    /// The peer is no stranger any more; its address gets its budget back.
    pub fn authenticated(&self) {
        if let Some(half_open) = &self.half_open {
            half_open.settle(true);
        }
        if let Some(note) = &self.note {
            note.count();
        }
    }

    /// The peer has said what it had to and is not waited for any more, but is no less a stranger:
    /// its address gets no budget back.
    pub fn greeted(&self) {
        if let Some(half_open) = &self.half_open {
            half_open.settle(false);
        }
    }

    /// Opens the main stream, as a terminal does, and sends the preamble with the `first` message.
    pub async fn open_main<S: Serialize, R: DeserializeOwned>(
        &self,
        link: Link,
        first: &S,
    ) -> Result<Main<S, R>, LinkError> {
        Main::open(&self.streams, link, first).await
    }

    /// Accepts the main stream, as a server does, and exchanges preambles.
    pub async fn accept_main<S: Serialize, R: DeserializeOwned>(
        &self,
        link: Link,
    ) -> Result<Main<S, R>, LinkError> {
        Main::accept(&self.streams, link).await
    }

    /// Closes the link at once; what has not been delivered is lost.
    pub fn close(&self, code: CloseCode, text: &str) {
        match &self.streams {
            Streams::Quic(quic, _) => quic.close((code as u32).into(), text.as_bytes()),
            Streams::Tcp(tcp) => tcp.close(code, text),
        }
    }

    /// Closes the link with what `error` means for the peer.
    pub fn close_for(&self, error: &LinkError) {
        self.close(error.close_code(), &error.to_string());
    }

    /// Waits for the end of the link.
    pub async fn closed(&self) -> Ended {
        match &self.streams {
            Streams::Quic(quic, _) => quic.closed().await.into(),
            Streams::Tcp(tcp) => tcp.closed().await,
        }
    }

    /// Why the link is over, if it is.
    pub fn ended(&self) -> Option<Ended> {
        match &self.streams {
            Streams::Quic(quic, _) => quic.close_reason().map(Ended::from),
            Streams::Tcp(tcp) => tcp.ended(),
        }
    }

    /// What the link has been doing.
    pub fn stats(&self) -> Stats {
        match &self.streams {
            Streams::Quic(quic, _) => stats_of_quic(quic),
            Streams::Tcp(tcp) => tcp.stats(),
        }
    }

    /// What is known of the way to the peer.
    pub fn path(&self) -> Path {
        match &self.streams {
            Streams::Quic(quic, _) => self.meters.path(quic),
            Streams::Tcp(tcp) => tcp.path(),
        }
    }

    /// What ties a card's proof to this very link: a secret that its two ends know and nobody else.
    pub fn exporter(&self) -> Result<[u8; 32], LinkError> {
        let (label, mut secret) = (proof::EXPORTER_LABEL, [0; 32]);
        match &self.streams {
            Streams::Quic(quic, _) => quic
                .export_keying_material(&mut secret, label, b"")
                .map_err(|_| LinkError::Protocol("the link has no secret to export"))?,
            Streams::Tcp(tcp) => tcp.export(&mut secret, label)?,
        }
        Ok(secret)
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }
}

fn stats_of_quic(quic: &quinn::Connection) -> Stats {
    let stats = quic.stats();
    Stats {
        carrier: Carrier::Quic,
        rtt: stats.path.rtt,
        sent_bytes: stats.udp_tx.bytes,
        sent_datagrams: stats.udp_tx.datagrams,
        received_bytes: stats.udp_rx.bytes,
        received_datagrams: stats.udp_rx.datagrams,
        lost_packets: stats.path.lost_packets,
        congestion_window: stats.path.cwnd,
        mtu: stats.path.current_mtu,
    }
}

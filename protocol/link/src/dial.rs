//! The terminal's end: connects to servers whose key it knows.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};

use heliostat_wire::id::KeyPin;
use heliostat_wire::version::Link;
use quinn::crypto::rustls::QuicClientConfig;

use crate::connection::Connection;
use crate::error::LinkError;
use crate::identity::Identity;
use crate::{tls, transport};

/// Dials servers with one identity. Sockets are opened when the first server of their address
/// family is dialled.
#[derive(Debug)]
pub struct Dialer {
    identity: Identity,
    transport: Arc<quinn::TransportConfig>,
    v4: OnceLock<quinn::Endpoint>,
    v6: OnceLock<quinn::Endpoint>,
}

impl Dialer {
    /// A dialer that shows `identity`.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            transport: Arc::new(transport::terminal()),
            v4: OnceLock::new(),
            v6: OnceLock::new(),
        }
    }

    /// The key that servers will see.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Connects to `server`, which must prove one of `pins`. Must be called on a tokio runtime.
    pub async fn dial(
        &self,
        server: SocketAddr,
        link: Link,
        pins: &[KeyPin],
    ) -> Result<Connection, LinkError> {
        if pins.is_empty() {
            return Err(LinkError::NoPin);
        }
        let (crypto, seen) = tls::client_config(&self.identity, pins, link)?;
        let crypto = QuicClientConfig::try_from(crypto)
            .map_err(|error| LinkError::Setup(error.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(self.transport.clone());
        let connecting = self
            .endpoint(server)?
            .connect_with(config, server, tls::SERVER_NAME)
            .map_err(|error| LinkError::Setup(format!("connecting to {server}: {error}")))?;
        match connecting.await {
            Ok(quic) => Connection::new(quic, None),
            Err(error) => Err(match seen.get() {
                Some(wrong) => LinkError::WrongKey(wrong),
                None => error.into(),
            }),
        }
    }

    fn endpoint(&self, server: SocketAddr) -> Result<&quinn::Endpoint, LinkError> {
        let (cell, any): (_, SocketAddr) = match server {
            SocketAddr::V4(_) => (&self.v4, (Ipv4Addr::UNSPECIFIED, 0).into()),
            SocketAddr::V6(_) => (&self.v6, (Ipv6Addr::UNSPECIFIED, 0).into()),
        };
        if let Some(endpoint) = cell.get() {
            return Ok(endpoint);
        }
        let made = open(&self.identity, any)
            .map_err(|error| LinkError::Setup(format!("opening a UDP socket: {error}")))?;
        Ok(cell.get_or_init(|| made))
    }
}

fn open(identity: &Identity, any: SocketAddr) -> std::io::Result<quinn::Endpoint> {
    quinn::Endpoint::new(
        transport::endpoint(identity, transport::TERMINAL_CONNECTION_ID),
        None,
        UdpSocket::bind(any)?,
        Arc::new(quinn::TokioRuntime),
    )
}

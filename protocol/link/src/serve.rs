//! The server's end: accepts peers that prove a key, within the budget for strangers.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use heliostat_wire::close::CloseCode;
use heliostat_wire::version::Link;
use quinn::crypto::rustls::QuicServerConfig;

use crate::connection::Connection;
use crate::error::{Ended, LinkError};
use crate::identity::Identity;
use crate::throttle::{Budget, Throttle, Verdict};
use crate::{tls, transport};

/// A handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(4);
/// Handshakes that may wait for [`Server::accept`].
const MAX_INCOMING: usize = 64;
const INCOMING_BUFFER: u64 = 16 << 10;

/// A listening endpoint of one kind of link.
#[derive(Debug)]
pub struct Server {
    endpoint: quinn::Endpoint,
    throttle: Arc<Mutex<Throttle>>,
}

impl Server {
    /// Listens on `socket`. Must be called on a tokio runtime.
    pub fn listen(
        socket: UdpSocket,
        identity: &Identity,
        link: Link,
        budget: Budget,
    ) -> Result<Self, LinkError> {
        let crypto = QuicServerConfig::try_from(tls::server_config(identity, link)?)
            .map_err(|error| LinkError::Setup(error.to_string()))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(Arc::new(transport::server()))
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size(INCOMING_BUFFER)
            .incoming_buffer_size_total(INCOMING_BUFFER * MAX_INCOMING as u64);
        let endpoint = quinn::Endpoint::new(
            transport::endpoint(identity, transport::SERVER_CONNECTION_ID),
            Some(config),
            socket,
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(|error| LinkError::Setup(format!("listening: {error}")))?;
        Ok(Self {
            endpoint,
            throttle: Arc::new(Mutex::new(Throttle::new(budget))),
        })
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// The next stranger worth a handshake; none once the server is shut down. Cancel-safe.
    pub async fn accept(&self) -> Option<Handshake> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let address = incoming.remote_address().ip();
            let proven = incoming.remote_address_validated();
            let verdict = locked(&self.throttle).arrive(Instant::now(), address, proven);
            match verdict {
                Verdict::Accept => {
                    let half_open = Arc::new(HalfOpen {
                        throttle: self.throttle.clone(),
                        address,
                        proven,
                        settled: AtomicBool::new(false),
                    });
                    if let Ok(connecting) = incoming.accept() {
                        return Some(Handshake {
                            connecting,
                            half_open,
                        });
                    }
                }
                Verdict::Retry => drop(incoming.retry()),
                Verdict::Refuse => incoming.refuse(),
                Verdict::Ignore => incoming.ignore(),
            }
        }
    }

    /// Connections whose peers have not authenticated yet.
    pub fn half_open(&self) -> usize {
        locked(&self.throttle).half_open()
    }

    /// Closes every connection with `code` and waits until the peers have been told.
    pub async fn shutdown(&self, code: CloseCode) {
        self.endpoint.close((code as u32).into(), b"");
        self.endpoint.wait_idle().await;
    }
}

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {
    connecting: quinn::Connecting,
    half_open: Arc<HalfOpen>,
}

impl Handshake {
    /// Where it comes from.
    pub fn remote_address(&self) -> SocketAddr {
        self.connecting.remote_address()
    }

    /// Waits for the handshake, a few seconds at most. The caller then hears the peer out and calls
    /// [`Connection::authenticated`] when it has shown what it must.
    pub async fn complete(self) -> Result<Connection, LinkError> {
        let quic = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.connecting)
            .await
            .map_err(|_| LinkError::Ended(Ended::Silent))??;
        Connection::new(quic, Some(self.half_open))
    }
}

/// A peer's place among the strangers, given up when it authenticates or goes.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    throttle: Arc<Mutex<Throttle>>,
    address: IpAddr,
    proven: bool,
    settled: AtomicBool,
}

impl HalfOpen {
    pub(crate) fn settle(&self, authenticated: bool) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            locked(&self.throttle).finished(self.address, self.proven, authenticated);
        }
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        self.settle(false);
    }
}

fn locked(throttle: &Mutex<Throttle>) -> std::sync::MutexGuard<'_, Throttle> {
    throttle.lock().unwrap_or_else(PoisonError::into_inner)
}

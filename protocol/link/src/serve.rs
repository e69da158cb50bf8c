//! The server's end: accepts peers that prove a key, within the budget for strangers.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use heliostat_wire::close::CloseCode;
use heliostat_wire::version::Link;
use quinn::Runtime as _;
use quinn::crypto::rustls::QuicServerConfig;
use tokio::net::TcpStream;

use crate::connection::Connection;
use crate::error::{Ended, LinkError};
use crate::identity::Identity;
use crate::mtu::{Beginning, Remembered};
use crate::tcp::{Links, Listener};
use crate::throttle::{Budget, Throttle, Verdict};
use crate::transport::HANDSHAKE_TIMEOUT;
use crate::{clock, tcp, tls, transport};

/// Handshakes that may wait for [`Server::accept`].
const MAX_INCOMING: usize = 64;
const INCOMING_BUFFER: u64 = 16 << 10;

/// A listening endpoint of one kind of link.
#[derive(Debug)]
pub struct Server {
    endpoint: quinn::Endpoint,
    /// The same for those whom UDP does not reach; none where the port was taken.
    tcp: Option<Tcp>,
    throttle: Arc<Mutex<Throttle>>,
    /// What the endpoint has as well, for those of whose way something is known.
    config: quinn::ServerConfig,
    mtus: Remembered,
}

#[derive(Debug)]
struct Tcp {
    listener: Listener,
    config: Arc<rustls::ServerConfig>,
    link: Link,
}

impl Server {
    /// Listens on `socket`, and on the TCP port of the same number where that is free. Must be
    /// called on a tokio runtime.
    pub fn listen(
        socket: UdpSocket,
        identity: &Identity,
        link: Link,
        budget: Budget,
    ) -> Result<Self, LinkError> {
        let tcp = Tcp::listen(&socket, tls::server_config(identity, link)?, link);
        transport::make_room(&socket);
        let socket = quinn::TokioRuntime
            .wrap_udp_socket(socket)
            .map_err(not_listening)?;
        Ok(Self {
            tcp,
            ..Self::listen_on(socket, identity, link, budget)?
        })
    }

    /// Listens on a socket of the caller's own kind, over QUIC alone. Must be called on a tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// The identity is of no use to TLS, or the socket has no address.
    pub fn listen_on(
        socket: Arc<dyn quinn::AsyncUdpSocket>,
        identity: &Identity,
        link: Link,
        budget: Budget,
    ) -> Result<Self, LinkError> {
        let crypto = tls::server_config(identity, link)?;
        let crypto = QuicServerConfig::try_from(crypto)
            .map_err(|error| LinkError::Setup(error.to_string()))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(Arc::new(transport::server(None)))
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size(INCOMING_BUFFER)
            .incoming_buffer_size_total(INCOMING_BUFFER * MAX_INCOMING as u64);
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            transport::endpoint(identity, transport::SERVER_CONNECTION_ID),
            Some(config.clone()),
            socket,
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(not_listening)?;
        Ok(Self {
            endpoint,
            tcp: None,
            throttle: Arc::new(Mutex::new(Throttle::new(budget))),
            config,
            mtus: Remembered::default(),
        })
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Whether it is reached over TCP too.
    pub fn listens_on_tcp(&self) -> bool {
        self.tcp.is_some()
    }

    /// The next stranger worth a handshake; none once the server is shut down. Cancel-safe.
    pub async fn accept(&self) -> Option<Handshake> {
        loop {
            let judged = tokio::select! {
                incoming = self.endpoint.accept() => self.judge(incoming?),
                arrival = accept_tcp(self.tcp.as_ref()) => self.judge_tcp(arrival),
            };
            if judged.is_some() {
                return judged;
            }
        }
    }

    fn judge(&self, incoming: quinn::Incoming) -> Option<Handshake> {
        let remote = incoming.remote_address();
        let (verdict, half_open) = self.arrive(remote, incoming.remote_address_validated());
        match verdict {
            Verdict::Accept => {
                let connecting = self.take(incoming)?;
                let kind = Kind::Quic(connecting, self.mtus.begin(remote.ip()));
                return Some(Handshake {
                    remote,
                    kind,
                    half_open: half_open?,
                });
            }
            Verdict::Retry => drop(incoming.retry()),
            Verdict::Refuse => incoming.refuse(),
            Verdict::Ignore => incoming.ignore(),
        }
        None
    }

    fn take(&self, incoming: quinn::Incoming) -> Option<quinn::Connecting> {
        let address = incoming.remote_address().ip();
        let known = self.mtus.with(|mtus| mtus.known(clock::now(), address));
        let Some(mtu) = known else {
            return incoming.accept().ok();
        };
        let mut config = self.config.clone();
        config.transport_config(Arc::new(transport::server(Some(mtu))));
        incoming.accept_with(Arc::new(config)).ok()
    }

    /// TCP has proven the address already, so there is no Retry. Who is not accepted is closed
    /// before the first byte.
    fn judge_tcp(&self, (socket, remote): (TcpStream, SocketAddr)) -> Option<Handshake> {
        let tcp = self.tcp.as_ref()?;
        let (_, half_open) = self.arrive(remote, true);
        Some(Handshake {
            remote,
            kind: Kind::Tcp {
                socket,
                config: tcp.config.clone(),
                link: tcp.link,
                links: tcp.listener.links(),
            },
            half_open: half_open?,
        })
    }

    fn arrive(&self, remote: SocketAddr, proven: bool) -> (Verdict, Option<Arc<HalfOpen>>) {
        let address = remote.ip();
        let verdict = locked(&self.throttle).arrive(clock::now(), address, proven);
        let half_open = (verdict == Verdict::Accept).then(|| {
            Arc::new(HalfOpen {
                throttle: self.throttle.clone(),
                address,
                proven,
                settled: AtomicBool::new(false),
            })
        });
        (verdict, half_open)
    }

    /// Connections whose peers have not authenticated yet.
    pub fn half_open(&self) -> usize {
        locked(&self.throttle).half_open()
    }

    /// Closes every connection with `code` and waits until the peers have been told.
    pub async fn shutdown(&self, code: CloseCode) {
        self.endpoint.close((code as u32).into(), b"");
        let links = self.tcp.as_ref().map(|tcp| tcp.listener.links());
        let tcp = async {
            if let Some(links) = links {
                links.close(code).await;
            }
        };
        tokio::join!(self.endpoint.wait_idle(), tcp);
    }
}

impl Tcp {
    fn listen(socket: &UdpSocket, config: rustls::ServerConfig, link: Link) -> Option<Self> {
        let listener = socket.local_addr().and_then(Listener::bind);
        match listener {
            Ok(listener) => Some(Self {
                listener,
                config: Arc::new(config),
                link,
            }),
            Err(error) => {
                tracing::warn!(%error, "not reached over TCP: terminals need UDP to pass");
                None
            }
        }
    }
}

fn not_listening(error: std::io::Error) -> LinkError {
    LinkError::Setup(format!("listening: {error}"))
}

async fn accept_tcp(tcp: Option<&Tcp>) -> (TcpStream, SocketAddr) {
    match tcp {
        Some(tcp) => tcp.listener.accept().await,
        None => std::future::pending().await,
    }
}

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {
    remote: SocketAddr,
    kind: Kind,
    half_open: Arc<HalfOpen>,
}

#[derive(Debug)]
enum Kind {
    Quic(quinn::Connecting, Beginning),
    Tcp {
        socket: TcpStream,
        config: Arc<rustls::ServerConfig>,
        link: Link,
        links: Arc<Links>,
    },
}

impl Handshake {
    /// Where it comes from.
    pub fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    /// Waits for the handshake, a few seconds at most. The caller then hears the peer out and calls
    /// [`Connection::authenticated`] when it has shown what it must.
    pub async fn complete(self) -> Result<Connection, LinkError> {
        let half_open = Some(self.half_open);
        let shaking = async {
            match self.kind {
                Kind::Quic(connecting, beginning) => {
                    Connection::over_quic(connecting.await?, half_open, beginning)
                }
                Kind::Tcp {
                    socket,
                    config,
                    link,
                    links,
                } => {
                    let connection = tcp::accept(socket, config, link).await?;
                    links.add(&connection);
                    Ok(Connection::over_tcp(connection, half_open))
                }
            }
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking)
            .await
            .map_err(|_| LinkError::Ended(Ended::Silent))?
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

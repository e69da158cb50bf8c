//! The terminal's end: connects to servers whose key it knows.
//!
//! ```text
//! QUIC ──────────────────────────► first to complete wins, the other is dropped
//!   └─ HEAD_START, or its end ─► TCP ─►┘
//! ```

mod blocked;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use heliostat_wire::id::KeyPin;
use heliostat_wire::version::Link;
use quinn::Runtime as _;
use quinn::crypto::rustls::QuicClientConfig;

use crate::connection::{Carrier, Connection};
use crate::error::{Ended, LinkError};
use crate::identity::Identity;
use crate::mtu::Remembered;
use crate::transport::HANDSHAKE_TIMEOUT;
use crate::{clock, tcp, tls, transport};
use blocked::{Blocked, HEAD_START};

/// Dials servers with one identity. Sockets are opened when the first server of their address
/// family is dialled.
#[derive(Debug)]
pub struct Dialer {
    identity: Identity,
    v4: OnceLock<quinn::Endpoint>,
    v6: OnceLock<quinn::Endpoint>,
    blocked: Mutex<Blocked>,
    mtus: Remembered,
}

impl Dialer {
    /// A dialer that shows `identity`.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            v4: OnceLock::new(),
            v6: OnceLock::new(),
            blocked: Mutex::default(),
            mtus: Remembered::default(),
        }
    }

    /// A dialer over a socket of the caller's own kind, for servers of either address family. Must
    /// be called on a tokio runtime. TCP goes where the kernel leads it.
    ///
    /// # Errors
    ///
    /// The socket has no address.
    pub fn on(
        socket: Arc<dyn quinn::AsyncUdpSocket>,
        identity: Identity,
    ) -> Result<Self, LinkError> {
        let endpoint = endpoint(&identity, socket).map_err(no_socket)?;
        let dialer = Self::new(identity);
        let _ = dialer.v4.set(endpoint.clone());
        let _ = dialer.v6.set(endpoint);
        Ok(dialer)
    }

    /// The key that servers will see.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Connects to `server`, which must prove one of `pins`: by QUIC, or where that does not answer
    /// soon, by TCP. Must be called on a tokio runtime.
    pub async fn dial(
        &self,
        server: SocketAddr,
        link: Link,
        pins: &[KeyPin],
    ) -> Result<Connection, LinkError> {
        if pins.is_empty() {
            return Err(LinkError::NoPin);
        }
        let head_start = self.blocked().head_start(clock::now(), server.ip());
        let connection = race(
            self.quic(server, link, pins),
            self.tcp(server, link, pins),
            head_start,
        )
        .await?;
        match connection.carrier() {
            Carrier::Quic => self.blocked().quic_won(server.ip()),
            Carrier::Tcp => {
                self.blocked().tcp_won(clock::now(), server.ip());
                tracing::info!(%server, ?link, "connected over TCP: QUIC does not get through");
            }
        }
        Ok(connection)
    }

    /// Connects over one carrier alone, as to see whether UDP passes again. If it does, later dials
    /// begin with QUIC.
    pub async fn dial_over(
        &self,
        carrier: Carrier,
        server: SocketAddr,
        link: Link,
        pins: &[KeyPin],
    ) -> Result<Connection, LinkError> {
        if pins.is_empty() {
            return Err(LinkError::NoPin);
        }
        match carrier {
            Carrier::Tcp => self.tcp(server, link, pins).await,
            Carrier::Quic => {
                let connection = self.quic(server, link, pins).await?;
                self.blocked().quic_won(server.ip());
                Ok(connection)
            }
        }
    }

    async fn quic(
        &self,
        server: SocketAddr,
        link: Link,
        pins: &[KeyPin],
    ) -> Result<Connection, LinkError> {
        let (crypto, seen) = tls::client_config(&self.identity, pins, link)?;
        let crypto = QuicClientConfig::try_from(crypto)
            .map_err(|error| LinkError::Setup(error.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        let beginning = self.mtus.begin(server.ip());
        let mtu = self.mtus.with(|mtus| mtus.known(clock::now(), server.ip()));
        config.transport_config(Arc::new(transport::terminal(mtu)));
        let connecting = self
            .endpoint(server)?
            .connect_with(config, server, tls::SERVER_NAME)
            .map_err(|error| LinkError::Setup(format!("connecting to {server}: {error}")))?;
        match connecting.await {
            Ok(quic) => {
                let connection = Connection::over_quic(quic, None, beginning)?;
                // It has shown one of the keys that it must.
                connection.authenticated();
                Ok(connection)
            }
            Err(error) => Err(seen.or(error.into())),
        }
    }

    async fn tcp(
        &self,
        server: SocketAddr,
        link: Link,
        pins: &[KeyPin],
    ) -> Result<Connection, LinkError> {
        let (config, seen) = tls::client_config(&self.identity, pins, link)?;
        let connecting = tcp::connect(server, config, link);
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await {
            Ok(Ok(tcp)) => Ok(Connection::over_tcp(tcp, None)),
            Ok(Err(error)) => Err(seen.or(error)),
            Err(_) => Err(Ended::Silent.into()),
        }
    }

    fn blocked(&self) -> MutexGuard<'_, Blocked> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoint(&self, server: SocketAddr) -> Result<&quinn::Endpoint, LinkError> {
        let (cell, any): (_, SocketAddr) = match server {
            SocketAddr::V4(_) => (&self.v4, (Ipv4Addr::UNSPECIFIED, 0).into()),
            SocketAddr::V6(_) => (&self.v6, (Ipv6Addr::UNSPECIFIED, 0).into()),
        };
        if let Some(endpoint) = cell.get() {
            return Ok(endpoint);
        }
        let made = open(&self.identity, any).map_err(no_socket)?;
        Ok(cell.get_or_init(|| made))
    }
}

fn open(identity: &Identity, any: SocketAddr) -> std::io::Result<quinn::Endpoint> {
    let socket = UdpSocket::bind(any)?;
    transport::make_room(&socket);
    endpoint(identity, quinn::TokioRuntime.wrap_udp_socket(socket)?)
}

fn endpoint(
    identity: &Identity,
    socket: Arc<dyn quinn::AsyncUdpSocket>,
) -> std::io::Result<quinn::Endpoint> {
    quinn::Endpoint::new_with_abstract_socket(
        transport::endpoint(identity, transport::TERMINAL_CONNECTION_ID),
        None,
        socket,
        Arc::new(quinn::TokioRuntime),
    )
}

fn no_socket(error: std::io::Error) -> LinkError {
    LinkError::Setup(format!("opening a UDP socket: {error}"))
}

/// The first to connect. TCP starts when QUIC has had its head start, or has failed without an
/// answer. Only where neither connects is there an error, and then it is QUIC's, unless TCP alone
/// has met somebody: then QUIC is waited for a little longer and no more.
async fn race<C>(
    quic: impl Future<Output = Result<C, LinkError>>,
    tcp: impl Future<Output = Result<C, LinkError>>,
    head_start: Duration,
) -> Result<C, LinkError> {
    let (mut quic, mut tcp) = (std::pin::pin!(quic), std::pin::pin!(tcp));
    let alone = tokio::time::timeout(head_start, quic.as_mut());
    let failed = match alone.await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(error)) if is_an_answer(&error) => return Err(error),
        Ok(Err(error)) => error,
        Err(_) => {
            let first = tokio::select! {
                biased;
                quic = quic.as_mut() => quic.map_err(Failed::Quic),
                tcp = tcp.as_mut() => tcp.map_err(Failed::Tcp),
            };
            match first {
                Ok(connection) => return Ok(connection),
                Err(Failed::Quic(error)) if is_an_answer(&error) => return Err(error),
                Err(Failed::Quic(error)) => error,
                Err(Failed::Tcp(error)) if is_an_answer(&error) => {
                    let late = tokio::time::timeout(HEAD_START, quic.as_mut()).await;
                    return late.unwrap_or(Err(error));
                }
                Err(Failed::Tcp(error)) => return quic.await.map_err(|own| better(own, error)),
            }
        }
    };
    tcp.await.map_err(|error| better(failed, error))
}

enum Failed {
    Quic(LinkError),
    Tcp(LinkError),
}

/// Whether the server has said no, so that it would say no over TCP as well.
fn is_an_answer(error: &LinkError) -> bool {
    !matches!(error, LinkError::Setup(_) | LinkError::Ended(Ended::Silent))
}

/// Which of the two errors tells a person more.
fn better(quic: LinkError, tcp: LinkError) -> LinkError {
    match !is_an_answer(&quic) && is_an_answer(&tcp) {
        true => tcp,
        false => quic,
    }
}

#[cfg(test)]
mod tests {
    use heliostat_wire::close::CloseCode;

    use super::*;
    use crate::serve::Server;
    use crate::throttle::Budget;

    /// Nothing here takes longer on a machine that works.
    const DEADLINE: Duration = Duration::from_secs(20);

    async fn within<T>(future: impl Future<Output = T>) -> T {
        let done = tokio::time::timeout(DEADLINE, future).await;
        done.expect("done before the deadline")
    }

    const SLOW: Duration = Duration::from_millis(600);

    /// What answers after so long.
    async fn after(
        wait: Duration,
        answer: Result<Carrier, LinkError>,
    ) -> Result<Carrier, LinkError> {
        tokio::time::sleep(wait).await;
        answer
    }

    /// Who wins a race, and after how long.
    async fn raced(
        quic: impl Future<Output = Result<Carrier, LinkError>>,
        tcp: impl Future<Output = Result<Carrier, LinkError>>,
        head_start: Duration,
    ) -> (Result<Carrier, LinkError>, Duration) {
        let began = clock::now();
        let won = race(quic, tcp, head_start).await;
        (won, clock::now() - began)
    }

    #[tokio::test(start_paused = true)]
    async fn tcp_runs_after_the_head_start_alone() {
        let tcp = || after(Duration::from_millis(2), Ok(Carrier::Tcp));
        let quic = |wait| after(wait, Ok(Carrier::Quic));
        let never = std::future::pending;
        let (won, took) = raced(never(), tcp(), HEAD_START).await;
        assert_eq!(won, Ok(Carrier::Tcp));
        assert_eq!(took, HEAD_START + Duration::from_millis(2));
        // Whom UDP has not reached before waits for nothing.
        let (won, took) = raced(never(), tcp(), Duration::ZERO).await;
        assert_eq!(won, Ok(Carrier::Tcp));
        assert!(took <= Duration::from_millis(3), "{took:?}");
        let (won, took) = raced(quic(SLOW / 2), tcp(), HEAD_START).await;
        assert_eq!((won, took), (Ok(Carrier::Quic), SLOW / 2));
        let (won, took) = raced(quic(SLOW), never(), HEAD_START).await;
        assert_eq!((won, took), (Ok(Carrier::Quic), SLOW));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_no_does_not_ask_over_tcp() {
        let refused = || Err(LinkError::Ended(Ended::Refused));
        let silent = || Err(LinkError::Ended(Ended::Silent));
        let never = std::future::pending;
        let (won, took) = raced(async { refused() }, never(), HEAD_START).await;
        assert_eq!((won, took), (refused(), Duration::ZERO));
        // One who hears nothing over either says so, and one who hears no over TCP says that, after
        // QUIC has had as long once more.
        let (won, took) = raced(after(SLOW, silent()), after(SLOW, silent()), HEAD_START).await;
        assert_eq!((won, took), (silent(), HEAD_START + SLOW));
        let (won, took) = raced(never(), async { refused() }, HEAD_START).await;
        assert_eq!((won, took), (refused(), 2 * HEAD_START));
    }

    /// A terminal attaches to the same session again before the former link has drained. Only here
    /// is the socket's own end in sight, which tells when it has.
    #[tokio::test]
    async fn a_link_that_ends_takes_its_successor_to_the_same_server_not_along() {
        let key = Identity::generate().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let server = Server::listen(socket, &key, Link::Session, Budget::default()).unwrap();
        let dialer = Dialer::new(Identity::generate().unwrap());
        let pins = [key.pin()];
        let dial = async || {
            let dialling = dialer.dial_over(Carrier::Quic, address, Link::Session, &pins);
            let (near, far) = tokio::join!(dialling, async {
                server.accept().await.unwrap().complete().await
            });
            (near.unwrap(), far.unwrap())
        };
        let (former, _its_far) = within(dial()).await;
        let (near, far) = within(dial()).await;
        former.close(CloseCode::Done, "");
        drop(former);
        let endpoint = dialer.endpoint(address).unwrap();
        assert_eq!(endpoint.open_connections(), 2);
        within(async {
            while endpoint.open_connections() > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let (mut main, mut far_main) = within(async {
            let first = "still here".to_owned();
            let main = near.open_main::<String, String>(Link::Session, &first);
            let far_main = far.accept_main::<String, String>(Link::Session);
            let (main, far_main) = tokio::join!(main, far_main);
            (main.unwrap(), far_main.unwrap())
        })
        .await;
        assert_eq!(within(far_main.recv()).await.unwrap(), "still here");
        far_main.send(&"so am I".to_owned()).await.unwrap();
        assert_eq!(within(main.recv()).await.unwrap(), "so am I");
    }
}

//! The second carrier: the same streams over TLS on TCP, for networks that do not pass UDP.

mod driver;
mod listener;
mod shared;
mod stream;
mod sys;
mod waiters;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::task::Poll;

use heliostat_wire::close::CloseCode;
use heliostat_wire::id::KeyPin;
use heliostat_wire::version::Link;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::connection::Stats;
use crate::error::{Ended, LinkError};
use crate::identity::pin_of_certificate;
use crate::mux::{Mux, Role};
use crate::path::Path;
use crate::tls;
use driver::Driver;
pub(crate) use listener::{Links, Listener};
use shared::{Shared, State};
pub(crate) use stream::{ReceiveStream, SendStream};
use waiters::For;

/// Bytes that the kernel may hold unsent. What is there cannot be overtaken any more, and less
/// would leave it idle between two chunks.
const NOT_SENT: u32 = 16 << 10;

/// A link whose peer has proven its key. It closes when its last clone and stream are dropped.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    handle: Arc<Handle>,
    peer: KeyPin,
    remote: SocketAddr,
    local: Option<IpAddr>,
}

/// A reference to a link that keeps it open.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(CloseCode::Done, "");
    }
}

/// A reference to a link that does not.
#[derive(Debug, Clone)]
pub(crate) struct WeakConnection(Weak<Shared>);

impl WeakConnection {
    /// Whether the link is over.
    pub(crate) fn is_over(&self) -> bool {
        self.0.upgrade().is_none_or(|shared| shared.state().over)
    }

    pub(crate) fn close(&self, code: CloseCode) {
        if let Some(shared) = self.0.upgrade() {
            shared.close(code, "");
        }
    }

    /// Waits until the link is over and its peer has been told, so far as it listens.
    pub(crate) async fn over(&self) {
        if let Some(shared) = self.0.upgrade() {
            wait(&shared, For::Over, |state| state.over.then_some(())).await;
        }
    }
}

/// Connects to `server`. The configuration says whom to trust.
pub(crate) async fn connect(
    server: SocketAddr,
    config: rustls::ClientConfig,
    link: Link,
) -> Result<Connection, LinkError> {
    let name = ServerName::try_from(tls::SERVER_NAME)
        .map_err(|error| LinkError::Setup(error.to_string()))?;
    let socket = TcpStream::connect(server)
        .await
        .map_err(|error| LinkError::Setup(format!("connecting to {server} over TCP: {error}")))?;
    tune(&socket)?;
    let tls = TlsConnector::from(Arc::new(config)).connect(name, socket);
    let tls = tls.await.map_err(|error| handshake_error(&error))?;
    Connection::start(tls.into(), link, Role::Client)
}

/// Shakes hands with a client that has connected.
pub(crate) async fn accept(
    socket: TcpStream,
    config: Arc<rustls::ServerConfig>,
    link: Link,
) -> Result<Connection, LinkError> {
    tune(&socket)?;
    let tls = TlsAcceptor::from(config).accept(socket);
    let tls = tls.await.map_err(|error| handshake_error(&error))?;
    Connection::start(tls.into(), link, Role::Server)
}

fn tune(socket: &TcpStream) -> Result<(), LinkError> {
    let tuned = socket
        .set_nodelay(true)
        .and_then(|()| socket2::SockRef::from(socket).set_tcp_notsent_lowat(NOT_SENT));
    tuned.map_err(|error| LinkError::Setup(format!("setting up a TCP socket: {error}")))
}

/// A server that has no place for a stranger closes the connection without a word.
fn handshake_error(error: &std::io::Error) -> LinkError {
    match driver::ended_by(error) {
        Ended::Forgotten => Ended::Refused.into(),
        ended => ended.into(),
    }
}

impl Connection {
    fn start(tls: TlsStream<TcpStream>, link: Link, role: Role) -> Result<Self, LinkError> {
        let (socket, session) = tls.get_ref();
        // Unlike QUIC, TLS goes on where only one end names a protocol.
        if session.alpn_protocol() != Some(&*tls::alpn(link)) {
            return Err(LinkError::Protocol("the peer does not name this protocol"));
        }
        let peer = session
            .peer_certificates()
            .and_then(|chain| pin_of_certificate(chain.first()?))
            .ok_or(LinkError::Protocol("the peer showed no certificate"))?;
        let remote = socket
            .peer_addr()
            .map_err(|_| LinkError::Ended(Ended::Forgotten))?;
        let local = socket.local_addr().ok().map(|local| local.ip());
        let shared = Arc::new(Shared::new(tls, Mux::new(role)));
        let probes = role == Role::Client;
        tokio::spawn(Driver::new(shared.clone(), probes).run());
        Ok(Self {
            handle: Arc::new(Handle { shared }),
            peer,
            remote,
            local,
        })
    }

    pub(crate) fn peer(&self) -> KeyPin {
        self.peer
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        self.local
    }

    pub(crate) fn downgrade(&self) -> WeakConnection {
        WeakConnection(Arc::downgrade(&self.handle.shared))
    }

    pub(crate) fn open_main(&self) -> Result<(SendStream, ReceiveStream), LinkError> {
        let mut state = self.handle.shared.state();
        if let Some(ended) = &state.ended {
            return Err(ended.clone().into());
        }
        let id = state.mux.open_main();
        let id = id.ok_or(LinkError::Protocol("there is one main stream"))?;
        drop(state);
        Ok(self.both(id))
    }

    pub(crate) async fn accept_main(&self) -> Result<(SendStream, ReceiveStream), LinkError> {
        let id = self.arrival(For::Main, |state| state.mux.accept_main());
        Ok(self.both(id.await?))
    }

    pub(crate) async fn open_uni(&self, priority: i32) -> Result<SendStream, LinkError> {
        let id = self.arrival(For::MayOpen, |state| state.mux.open_uni(priority));
        Ok(SendStream::new(self.handle.clone(), id.await?))
    }

    pub(crate) async fn accept_uni(&self) -> Result<ReceiveStream, LinkError> {
        let id = self.arrival(For::Uni, |state| state.mux.accept_uni());
        Ok(ReceiveStream::new(self.handle.clone(), id.await?))
    }

    pub(crate) fn close(&self, code: CloseCode, words: &str) {
        self.handle.shared.close(code, words);
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        self.handle.shared.state().ended.clone()
    }

    pub(crate) async fn closed(&self) -> Ended {
        wait(&self.handle.shared, For::End, |state| state.ended.clone()).await
    }

    pub(crate) fn path(&self) -> Path {
        self.handle.shared.path()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.handle.shared.stats()
    }

    pub(crate) fn export(&self, secret: &mut [u8; 32], label: &[u8]) -> Result<(), LinkError> {
        let exported = match &*self.handle.shared.tls() {
            Some(TlsStream::Client(tls)) => {
                let session = tls.get_ref().1;
                session.export_keying_material(secret, label, Some(b""))
            }
            Some(TlsStream::Server(tls)) => {
                let session = tls.get_ref().1;
                session.export_keying_material(secret, label, Some(b""))
            }
            None => return Err(LinkError::Protocol("the link has no secret to export")),
        };
        exported
            .map(drop)
            .map_err(|_| LinkError::Protocol("the link has no secret to export"))
    }

    fn both(&self, id: u64) -> (SendStream, ReceiveStream) {
        (
            SendStream::new(self.handle.clone(), id),
            ReceiveStream::new(self.handle.clone(), id),
        )
    }

    /// Waits until `take` gives a stream, or the link is over.
    async fn arrival(
        &self,
        what: For,
        mut take: impl FnMut(&mut State) -> Option<u64>,
    ) -> Result<u64, LinkError> {
        wait(&self.handle.shared, what, |state| match take(state) {
            Some(id) => Some(Ok(id)),
            None => state.ended.clone().map(|ended| Err(ended.into())),
        })
        .await
    }
}

/// Waits until `look` sees what it looks for; woken when `what` comes, or the link ends.
async fn wait<T>(shared: &Shared, what: For, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
    poll_fn(|cx| {
        let mut state = shared.state();
        match look(&mut state) {
            Some(seen) => Poll::Ready(seen),
            None => {
                state.waiters.wait(what, cx);
                Poll::Pending
            }
        }
    })
    .await
}

//! A terminal and a server that know each other.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use heliostat_link::{Budget, Carrier, Connection, Dialer, Identity, Link, Main, Server};

use crate::relay::{Relay, Weather};

/// Nothing here takes longer on a machine that works.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Strings are as good as messages.
pub type Strings = Main<String, String>;

pub fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// A server that is reached over both carriers. The TCP port of a free UDP port may be taken.
pub fn server(identity: &Identity) -> Arc<Server> {
    loop {
        let server = listen(socket(), identity);
        if server.listens_on_tcp() {
            return server;
        }
    }
}

pub fn listen(socket: UdpSocket, identity: &Identity) -> Arc<Server> {
    let server = Server::listen(socket, identity, Link::Session, Budget::default());
    Arc::new(server.unwrap())
}

pub fn identity() -> Identity {
    Identity::generate().unwrap()
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("done before the deadline")
}

/// Runs each test over both carriers.
macro_rules! over_both {
    ($($test:ident),* $(,)?) => {
        mod over_quic {
            $(#[tokio::test] async fn $test() { super::$test(heliostat_link::Carrier::Quic).await })*
        }
        mod over_tcp {
            $(#[tokio::test] async fn $test() { super::$test(heliostat_link::Carrier::Tcp).await })*
        }
    };
}
pub(crate) use over_both;

/// Where to reach `server`: over QUIC through bad weather, over TCP directly.
pub async fn reach(
    server: &Server,
    weather: Weather,
    over: Carrier,
) -> (SocketAddr, Option<Relay>) {
    let address = server.local_addr().unwrap();
    match over {
        Carrier::Tcp => (address, None),
        Carrier::Quic => {
            let relay = Relay::start(address, weather).await;
            (relay.address, Some(relay))
        }
    }
}

/// Both ends of a fresh connection to `server`, reached at `address` by QUIC.
pub async fn connect(
    server: &Server,
    address: SocketAddr,
    key: &Identity,
) -> (Connection, Connection) {
    connect_over(Carrier::Quic, server, address, key).await
}

/// The same over either carrier.
pub async fn connect_over(
    over: Carrier,
    server: &Server,
    address: SocketAddr,
    key: &Identity,
) -> (Connection, Connection) {
    let dialer = Dialer::new(identity());
    let pins = [key.pin()];
    let dialling = dialer.dial_over(over, address, Link::Session, &pins);
    let (near, far) = tokio::join!(dialling, async {
        server.accept().await.unwrap().complete().await
    },);
    let (near, far) = (near.unwrap(), far.unwrap());
    assert_eq!((near.carrier(), far.carrier()), (over, over));
    (near, far)
}

/// Both ends with their main streams; the first message is consumed.
pub async fn connect_main(
    server: &Server,
    address: SocketAddr,
    key: &Identity,
) -> ((Connection, Strings), (Connection, Strings)) {
    connect_main_over(Carrier::Quic, server, address, key).await
}

/// The same over either carrier.
pub async fn connect_main_over(
    over: Carrier,
    server: &Server,
    address: SocketAddr,
    key: &Identity,
) -> ((Connection, Strings), (Connection, Strings)) {
    let (near, far) = connect_over(over, server, address, key).await;
    let (near_main, far_main) = open_main(&near, &far).await;
    ((near, near_main), (far, far_main))
}

/// The main streams of a connection; the first message is consumed.
pub async fn open_main(near: &Connection, far: &Connection) -> (Strings, Strings) {
    let first = "hello".to_owned();
    let (near_main, far_main) = tokio::join!(near.open_main(Link::Session, &first), async {
        let mut main: Strings = far.accept_main(Link::Session).await?;
        assert_eq!(main.recv().await?, "hello");
        Ok::<_, heliostat_link::LinkError>(main)
    });
    (near_main.unwrap(), far_main.unwrap())
}

/// A server of bare quinn and rustls that shows `key` and asks its clients for nothing.
pub fn bare_server(key: &Identity) -> quinn::Endpoint {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.certificate()], key.private_key())
        .unwrap();
    tls.alpn_protocols = vec![b"heliostat-session".to_vec()];
    let quic = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(quic));
    quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap()
}

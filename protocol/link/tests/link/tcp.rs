//! What is special about links over TCP.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_link::{
    Budget, Carrier, CloseCode, Connection, Dialer, Ended, FrameReceiver, FrameSender,
    IDLE_TIMEOUT, Identity, Link, LinkError, Server,
};
use heliostat_wire::List;
use heliostat_wire::scene::FrameHeader;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::gate::Gate;
use crate::support::*;
use crate::trust::{Shows, bare_tls, provider, stolen};

fn header(serial: u32) -> FrameHeader {
    FrameHeader {
        serial,
        last_input: 0,
        overtakes: 0,
        ops: List::default(),
    }
}

async fn through_a_gate() -> (Gate, (Connection, Strings), (Connection, Strings)) {
    let key = identity();
    let server = server(&key);
    let free = "127.0.0.1:0".parse().unwrap();
    let gate = Gate::start(free, server.local_addr().unwrap());
    let gate = gate.await.unwrap();
    let connecting = connect_main_over(Carrier::Tcp, &server, gate.address, &key);
    let (near, far) = within(connecting).await;
    (gate, near, far)
}

#[tokio::test]
async fn a_message_overtakes_the_frames_that_wait_before_a_slow_network() {
    let (gate, (near, mut near_main), (far, mut far_main)) = through_a_gate().await;
    let mut sender = FrameSender::new(&far);
    let mut receiver = FrameReceiver::new(&near);
    gate.shut(true);
    let before = gate.passed();
    let content = Bytes::from(vec![7; 500_000]);
    for serial in 1..=4 {
        let header = header(serial);
        let sending = sender.send(&header, content.clone());
        within(sending).await.unwrap();
    }
    within(far_main.send(&"urgent".to_owned())).await.unwrap();
    gate.shut(false);
    assert_eq!(within(near_main.recv()).await.unwrap(), "urgent");
    let overtaken = 2_000_000 - (gate.passed() - before);
    eprintln!("the message has overtaken {overtaken} of 2000000 bytes");
    assert!(overtaken > 1_400_000, "{overtaken}");
    for serial in 1..=4 {
        let frame = within(receiver.next()).await.unwrap();
        assert_eq!(frame.header.serial, serial);
        assert_eq!(frame.content[..], content[..]);
    }
}

#[tokio::test]
async fn a_silent_peer_is_noticed_at_both_ends() {
    let (gate, (near, _a), (far, _b)) = through_a_gate().await;
    gate.shut(true);
    let cut = Instant::now();
    let ended = within(async { tokio::join!(near.closed(), far.closed()) }).await;
    assert_eq!(ended, (Ended::Silent, Ended::Silent));
    let took = cut.elapsed();
    assert!(took > IDLE_TIMEOUT - Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn an_idle_link_stays_up() {
    let (gate, (near, _a), (far, _b)) = through_a_gate().await;
    let before = gate.passed();
    tokio::time::sleep(IDLE_TIMEOUT + Duration::from_secs(1)).await;
    assert_eq!((near.ended(), far.ended()), (None, None));
    // An answer each two seconds, of 25 bytes: three, and what makes them a TLS record.
    let answers = gate.passed() - before;
    eprintln!("idle for nine seconds: {answers} bytes of answers");
    assert!((50..=200).contains(&answers), "{answers}");
}

#[tokio::test]
async fn what_a_link_does_is_counted() {
    let (_gate, (near, mut near_main), (far, mut far_main)) = through_a_gate().await;
    far_main.send(&"x".repeat(100_000)).await.unwrap();
    within(near_main.recv()).await.unwrap();
    let stats = far.stats();
    assert_eq!(stats.carrier, Carrier::Tcp);
    assert!(stats.sent_bytes > 100_000, "{stats:?}");
    assert!(stats.received_bytes > 500, "{stats:?}");
    assert!(stats.rtt > Duration::ZERO, "{stats:?}");
    assert!(stats.congestion_window > 0, "{stats:?}");
    near.close(CloseCode::Done, "");
    within(far.closed()).await;
    assert!(far.stats().sent_bytes > 100_000);
}

#[tokio::test]
async fn a_link_closes_when_nobody_holds_it_any_more() {
    let (_gate, near, (far, _b)) = through_a_gate().await;
    drop(near);
    let ended = within(far.closed()).await;
    assert!(
        matches!(
            ended,
            Ended::ByPeer {
                code: CloseCode::Done,
                ..
            }
        ),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_peer_that_vanishes_has_forgotten_the_link() {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    // A runtime that ends takes its links with it without a word, as a killed process does.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let dialler = runtime.spawn(async move {
        let dialer = Dialer::new(identity());
        let pins = [key.pin()];
        dialer
            .dial_over(Carrier::Tcp, address, Link::Session, &pins)
            .await
            .unwrap()
    });
    let far = within(async { server.accept().await.unwrap().complete().await });
    let far = far.await.unwrap();
    let near = within(dialler).await.unwrap();
    tokio::task::spawn_blocking(move || runtime.shutdown_timeout(DEADLINE))
        .await
        .unwrap();
    assert_eq!(within(far.closed()).await, Ended::Forgotten);
    drop(near);
}

#[tokio::test]
async fn a_server_whose_tcp_port_is_taken_goes_on_without() {
    let key = identity();
    let socket = socket();
    let address = socket.local_addr().unwrap();
    let _taken = TcpListener::bind(address).unwrap();
    let server = listen(socket, &key);
    assert!(!server.listens_on_tcp());
    within(connect(&server, address, &key)).await;
}

async fn dial(server: &Arc<Server>, pin: heliostat_link::KeyPin) -> LinkError {
    let address = server.local_addr().unwrap();
    let dialer = Dialer::new(identity());
    let pins = [pin];
    let dialling = dialer.dial_over(Carrier::Tcp, address, Link::Session, &pins);
    within(dialling).await.unwrap_err()
}

fn accepting(server: Arc<Server>) -> tokio::task::JoinHandle<Result<Connection, LinkError>> {
    tokio::spawn(async move { server.accept().await.expect("an arrival").complete().await })
}

#[tokio::test]
async fn a_server_with_another_key_is_refused_and_its_key_named() {
    let key = identity();
    let server = server(&key);
    let accepting = accepting(server.clone());
    let error = dial(&server, identity().pin()).await;
    assert_eq!(error, LinkError::WrongKey(key.pin()));
    assert!(within(accepting).await.unwrap().is_err());
}

#[tokio::test]
async fn an_impostor_with_the_sites_certificate_but_not_its_key_is_refused() {
    let (site, impostor) = (identity(), identity());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(stolen(&site, &impostor))));
    tls.alpn_protocols = vec![b"heliostat-session".to_vec()];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(tls))
            .accept(socket)
            .await
            .is_ok()
    });
    let dialer = Dialer::new(identity());
    let pins = [site.pin()];
    let dialling = dialer.dial_over(Carrier::Tcp, address, Link::Session, &pins);
    let words = within(dialling).await.unwrap_err().to_string();
    assert!(words.contains("BadSignature"), "{words}");
    assert!(!within(accepting).await.unwrap());
}

/// How a client of bare TLS fares at a server, up to its handshake.
async fn handshake_of(tls: rustls::ClientConfig) -> Result<Connection, LinkError> {
    let server = server(&identity());
    let address = server.local_addr().unwrap();
    let accepting = accepting(server);
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("x").unwrap();
    let _tls = TlsConnector::from(Arc::new(tls))
        .connect(name, socket)
        .await;
    within(accepting).await.unwrap()
}

const SESSION: &[u8] = b"heliostat-session";

#[tokio::test]
async fn strangers_of_the_wrong_kind_are_refused_in_the_handshake() {
    let (victim, thief) = (identity(), identity());
    let own = |identity: &Identity| (vec![identity.certificate()], identity.private_key());
    let without = bare_tls(Some(SESSION), |builder| builder.with_no_client_auth());
    assert!(handshake_of(without).await.is_err());
    let shows = Arc::new(Shows(stolen(&victim, &thief)));
    let thief_of = bare_tls(Some(SESSION), |builder| {
        builder.with_client_cert_resolver(shows)
    });
    let error = handshake_of(thief_of).await.unwrap_err().to_string();
    assert!(error.contains("BadSignature"), "{error}");
    for protocol in [None, Some(&b"heliostat-control"[..]), Some(b"h2")] {
        let (chain, key) = own(&thief);
        let other = bare_tls(protocol, |builder| {
            builder.with_client_auth_cert(chain, key).unwrap()
        });
        assert!(handshake_of(other).await.is_err(), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_stranger_that_says_nothing_is_given_up() {
    let server = server(&identity());
    let accepting = accepting(server.clone());
    let _socket = TcpStream::connect(server.local_addr().unwrap())
        .await
        .unwrap();
    let error = within(accepting).await.unwrap().unwrap_err();
    assert_eq!(error, LinkError::Ended(Ended::Silent));
    assert_eq!(server.half_open(), 0);
}

#[tokio::test]
async fn an_address_that_never_authenticates_is_refused_after_its_budget() {
    let key = identity();
    let budget = Budget {
        burst: 3,
        refill: Duration::from_secs(3600),
        ..Budget::default()
    };
    let server =
        std::iter::repeat_with(|| Server::listen(socket(), &key, Link::Session, budget).unwrap());
    let server = Arc::new({ server }.find(Server::listens_on_tcp).unwrap());
    let address = server.local_addr().unwrap();
    let serving = tokio::spawn({
        let server = server.clone();
        async move {
            while let Some(handshake) = server.accept().await {
                // The peer never says who it is.
                drop(handshake.complete().await);
            }
        }
    });
    let pins = [key.pin()];
    for _ in 0..3 {
        let dialer = Dialer::new(identity());
        let dialling = dialer.dial_over(Carrier::Tcp, address, Link::Session, &pins);
        within(dialling).await.unwrap();
    }
    assert_eq!(dial(&server, key.pin()).await, Ended::Refused.into());
    serving.abort();
}

/// What a server answers to a client that has shaken hands and then sends `bytes`, and how it ends.
async fn answer_to(bytes: &[u8]) -> (Vec<u8>, Ended) {
    let server = server(&identity());
    let address = server.local_addr().unwrap();
    let accepting = accepting(server);
    let own = identity();
    let tls = bare_tls(Some(SESSION), |builder| {
        builder
            .with_client_auth_cert(vec![own.certificate()], own.private_key())
            .unwrap()
    });
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("x").unwrap();
    let connecting = TlsConnector::from(Arc::new(tls)).connect(name, socket);
    let mut tls = within(connecting).await.unwrap();
    let far = within(accepting).await.unwrap().unwrap();
    tls.write_all(bytes).await.unwrap();
    tls.flush().await.unwrap();
    let mut answer = Vec::new();
    within(tls.read_to_end(&mut answer)).await.unwrap();
    (answer, within(far.closed()).await)
}

#[tokio::test]
async fn a_peer_that_breaks_the_multiplexing_is_told_so_and_let_go() {
    let cases: [(&str, &[u8]); 6] = [
        ("an unknown kind", &[200, 0, 0]),
        ("a length above the limit", &[0, 0, 0xbf, 0xff, 0xff, 0xff]),
        ("a frame stream of a terminal", &[0, 2, 1, 7]),
        ("a second main stream", &[0, 4, 1, 7]),
        ("a stream of the server", &[0, 3, 1, 7]),
        ("credit for nothing", &[3, 0, 1, 7]),
    ];
    for (what, bytes) in cases {
        let (answer, ended) = answer_to(bytes).await;
        // CLOSE, of no stream, with the code of a protocol violation.
        assert_eq!((answer[0], answer[1], answer[3]), (8, 0, 1), "{what}");
        assert!(matches!(ended, Ended::Transport(_)), "{what}: {ended:?}");
    }
}

//! Who is let in, and who is not. The impostors are made with bare quinn and rustls.

use std::sync::Arc;
use std::time::Duration;

use heliostat_link::{Budget, CloseCode, Dialer, Ended, Identity, Link, LinkError, Server};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use crate::support::*;

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificate of one identity with the key of another.
pub fn stolen(certificate: &Identity, key: &Identity) -> Arc<CertifiedKey> {
    let key = provider()
        .key_provider
        .load_private_key(key.private_key())
        .unwrap();
    Arc::new(CertifiedKey::new(vec![certificate.certificate()], key))
}

#[derive(Debug)]
pub struct Shows(pub Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl rustls::client::ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct TrustsAnybody;

impl ServerCertVerifier for TrustsAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What a client of bare rustls shows, and that it trusts anybody.
pub fn bare_tls(
    protocol: Option<&[u8]>,
    configure: impl FnOnce(ClientBuilder) -> rustls::ClientConfig,
) -> rustls::ClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustsAnybody));
    let mut tls = configure(builder);
    tls.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    tls
}

fn bare_client(configure: impl FnOnce(ClientBuilder) -> rustls::ClientConfig) -> quinn::Endpoint {
    bare_client_at([127, 0, 0, 1], configure)
}

fn bare_client_at(
    host: [u8; 4],
    configure: impl FnOnce(ClientBuilder) -> rustls::ClientConfig,
) -> quinn::Endpoint {
    let tls = bare_tls(Some(b"heliostat-session"), configure);
    let quic = QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = quinn::Endpoint::client((host, 0).into()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(quic)));
    endpoint
}

pub type ClientBuilder =
    rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>;

async fn dial(address: std::net::SocketAddr, pin: heliostat_link::KeyPin) -> LinkError {
    let dialer = Dialer::new(identity());
    within(dialer.dial(address, Link::Session, &[pin]))
        .await
        .unwrap_err()
}

fn accepting(server: Arc<Server>) -> tokio::task::JoinHandle<Result<(), LinkError>> {
    tokio::spawn(async move {
        let handshake = server.accept().await.expect("an arrival");
        handshake.complete().await.map(drop)
    })
}

#[tokio::test]
async fn a_server_with_another_key_is_refused_and_its_key_named() {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let accepting = accepting(server);
    let error = dial(address, identity().pin()).await;
    assert_eq!(error, LinkError::WrongKey(key.pin()));
    let words = error.to_string();
    assert!(words.contains("not the site's key"), "{words}");
    assert!(within(accepting).await.unwrap().is_err());
}

#[tokio::test]
async fn a_dialer_without_a_pin_trusts_nobody() {
    let dialer = Dialer::new(identity());
    let address = "127.0.0.1:9".parse().unwrap();
    let error = within(dialer.dial(address, Link::Session, &[])).await;
    assert_eq!(error.unwrap_err(), LinkError::NoPin);
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
    let quic = QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(quic));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let accepting = tokio::spawn(async move { endpoint.accept().await.unwrap().await.is_ok() });
    let error = dial(address, site.pin()).await;
    let words = error.to_string();
    assert!(words.contains("BadSignature"), "{words}");
    assert!(!within(accepting).await.unwrap());
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let server = server(&identity());
    let address = server.local_addr().unwrap();
    let accepting = accepting(server);
    let client = bare_client(|builder| builder.with_no_client_auth());
    let connecting = client.connect(address, "x").unwrap();
    let connection = within(connecting).await;
    assert!(within(accepting).await.unwrap().is_err());
    // In TLS 1.3 the client may believe in the connection for a moment.
    if let Ok(connection) = connection {
        assert!(matches!(
            Ended::from(within(connection.closed()).await),
            Ended::Transport(_)
        ));
    }
}

#[tokio::test]
async fn a_client_that_shows_the_certificate_of_another_is_refused() {
    let (victim, thief) = (identity(), identity());
    let server = server(&identity());
    let address = server.local_addr().unwrap();
    let accepting = accepting(server);
    let client = bare_client(|builder| {
        builder.with_client_cert_resolver(Arc::new(Shows(stolen(&victim, &thief))))
    });
    let connecting = client.connect(address, "x").unwrap();
    let _connection = within(connecting).await;
    let error = within(accepting).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("BadSignature"), "{error}");
}

#[tokio::test]
async fn the_other_kind_of_link_is_refused_in_the_handshake() {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let accepting = accepting(server.clone());
    let dialer = Dialer::new(identity());
    let error = within(dialer.dial(address, Link::Control, &[key.pin()])).await;
    assert!(matches!(error, Err(LinkError::Ended(Ended::Transport(_)))));
    assert_eq!(server.half_open(), 0);
    accepting.abort();
}

/// What a server answers to a client whose first bytes on the main stream are these: its error, its
/// own first bytes, and how it closed.
async fn answer_to(first_bytes: &[u8]) -> (LinkError, Vec<u8>, Ended) {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let terminal = identity();
    let client = bare_client(|builder| {
        builder
            .with_client_auth_cert(vec![terminal.certificate()], terminal.private_key())
            .unwrap()
    });
    let (near, far) = tokio::join!(client.connect(address, "x").unwrap(), async {
        server.accept().await.unwrap().complete().await
    });
    let (near, far) = (near.unwrap(), far.unwrap());
    let (mut send, mut recv) = near.open_bi().await.unwrap();
    send.write_all(first_bytes).await.unwrap();
    send.finish().unwrap();
    let serving = async {
        let error = match far.accept_main(Link::Session).await {
            Err(error) => error,
            Ok::<Strings, _>(mut main) => main.recv().await.unwrap_err(),
        };
        far.close_for(&error);
        error
    };
    let reading = async {
        let mut preamble = vec![0; 12];
        let read = recv.read_exact(&mut preamble).await;
        read.map(|()| preamble).unwrap_or_default()
    };
    let (error, preamble) = tokio::join!(serving, reading);
    (error, preamble, near.closed().await.into())
}

#[tokio::test]
async fn a_peer_of_another_version_is_told_which_versions_there_are() {
    let (error, preamble, ended) = within(answer_to(b"HELIOSTS\x09\x00\x0a\x00")).await;
    assert!(matches!(error, LinkError::Version(_)));
    assert_eq!(preamble, b"HELIOSTS\x01\x00\x01\x00");
    let Ended::ByPeer { code, text } = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(code, CloseCode::VersionMismatch);
    assert!(text.contains("versions 9 to 10"), "{text}");
}

#[tokio::test]
async fn a_length_above_the_limit_is_refused_before_its_bytes_are_awaited() {
    let mut bytes = b"HELIOSTS\x01\x00\x01\x00".to_vec();
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    let (error, _, ended) = within(answer_to(&bytes)).await;
    assert!(matches!(error, LinkError::Wire(_)));
    assert!(matches!(
        ended,
        Ended::ByPeer {
            code: CloseCode::ProtocolViolation,
            ..
        }
    ));
}

#[tokio::test]
async fn a_stream_that_ends_too_early_is_a_protocol_error_at_every_cut() {
    let mut whole = b"HELIOSTS\x01\x00\x01\x00".to_vec();
    heliostat_wire::codec::encode(&"hello".to_owned(), &mut whole).unwrap();
    for cut in [1, 11, 13, 17, whole.len() - 1] {
        let (error, ..) = within(answer_to(&whole[..cut])).await;
        assert_ne!(error.close_code(), CloseCode::Done, "cut at {cut}");
    }
}

#[tokio::test]
async fn strangers_that_say_nothing_leave_room_for_a_terminal() {
    let key = identity();
    let budget = Budget {
        burst: 8,
        refill: Duration::from_secs(3600),
        busy: 2,
        half_open: 64,
        half_open_each: 4,
        addresses: 64,
    };
    let server = Arc::new(Server::listen(socket(), &key, Link::Session, budget).unwrap());
    let address = server.local_addr().unwrap();
    let accepting = {
        let server = server.clone();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Some(handshake) = server.accept().await {
                if let Ok(connection) = handshake.complete().await {
                    open.push(connection.clone());
                    connection.authenticated();
                }
            }
        })
    };
    // Flood with first packets that lead nowhere: their sender never answers.
    let flood = socket();
    let mut initial = vec![0u8; 1200];
    initial[0] = 0xc3;
    initial[4] = 1;
    initial[5] = 8;
    for n in 0..2000u32 {
        initial[6..10].copy_from_slice(&n.to_le_bytes());
        flood.send_to(&initial, address).unwrap();
    }
    for _ in 0..20 {
        let dialer = Dialer::new(identity());
        let connection = within(dialer.dial(address, Link::Session, &[key.pin()])).await;
        assert!(connection.is_ok(), "{:?}", connection.err());
    }
    accepting.abort();
}

/// Peers that finish their handshake and then say nothing, from as many addresses as a rude network
/// has.
#[tokio::test]
async fn peers_that_are_let_in_and_say_nothing_leave_room_for_a_terminal() {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let serving = {
        let server = server.clone();
        tokio::spawn(async move {
            while let Some(handshake) = server.accept().await {
                tokio::spawn(async move {
                    let connection = handshake.complete().await?;
                    let mut main: Strings = connection.accept_main(Link::Session).await?;
                    main.recv().await?;
                    connection.authenticated();
                    main.send(&"welcome".to_owned()).await?;
                    connection.closed().await;
                    Ok::<_, LinkError>(())
                });
            }
        })
    };
    let silent = identity();
    let mut connections = Vec::new();
    for host in 2..=12u8 {
        let endpoint = bare_client_at([127, 0, 0, host], |builder| {
            builder
                .with_client_auth_cert(vec![silent.certificate()], silent.private_key())
                .unwrap()
        });
        for _ in 0..20 {
            let connecting = endpoint.connect(address, "x").unwrap();
            connections.push(tokio::spawn(async move {
                let connection = connecting.await.ok()?;
                Some(connection.closed().await)
            }));
        }
    }
    within(async {
        while server.half_open() < 11 * 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let dialer = Dialer::new(identity());
    let terminal = within(dialer.dial(address, Link::Session, &[key.pin()]))
        .await
        .unwrap();
    let first = "hello".to_owned();
    let mut main: Strings = terminal.open_main(Link::Session, &first).await.unwrap();
    assert_eq!(within(main.recv()).await.unwrap(), "welcome");
    assert!(server.half_open() >= 11 * 8);
    serving.abort();
    for connection in connections {
        connection.abort();
    }
}

#[tokio::test]
async fn an_address_that_never_authenticates_is_refused_after_its_budget() {
    let key = identity();
    let budget = Budget {
        burst: 3,
        refill: Duration::from_secs(3600),
        ..Budget::default()
    };
    let server = Arc::new(Server::listen(socket(), &key, Link::Session, budget).unwrap());
    let address = server.local_addr().unwrap();
    let serving = {
        let server = server.clone();
        tokio::spawn(async move {
            while let Some(handshake) = server.accept().await {
                // The peer never says who it is.
                drop(handshake.complete().await);
            }
        })
    };
    // Three as a stranger whose address may be forged, three more once it is proven.
    for _ in 0..6 {
        let dialer = Dialer::new(identity());
        within(dialer.dial(address, Link::Session, &[key.pin()]))
            .await
            .unwrap();
    }
    assert_eq!(dial(address, key.pin()).await, Ended::Refused.into());
    serving.abort();
}

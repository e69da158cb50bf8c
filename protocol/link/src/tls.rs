//! TLS 1.3 between ends that know each other by key: certificates are self-signed, names and dates
//! mean nothing, the handshake signature and the key are what is checked.

use std::sync::{Arc, Mutex, PoisonError};

use heliostat_wire::id::KeyPin;
use heliostat_wire::version::{ALPN_CONTROL, ALPN_SESSION, Link};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, SignatureScheme,
};

use crate::error::LinkError;
use crate::identity::{Identity, pin_of_certificate};

/// The name in every certificate and every handshake; nobody compares it.
pub(crate) const SERVER_NAME: &str = "heliostat";

/// The name of a link's protocol in the handshake.
pub(crate) fn alpn(link: Link) -> Vec<u8> {
    match link {
        Link::Control => ALPN_CONTROL.to_vec(),
        Link::Session => ALPN_SESSION.to_vec(),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn setup(error: impl std::fmt::Display) -> LinkError {
    LinkError::Setup(format!("setting up TLS: {error}"))
}

/// The server's side: every client must prove a key, any key.
pub(crate) fn server_config(
    identity: &Identity,
    link: Link,
) -> Result<rustls::ServerConfig, LinkError> {
    let provider = provider();
    let verifier = Arc::new(AnyProvenKey(provider.clone()));
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate()], identity.private_key())
        .map_err(setup)?;
    config.alpn_protocols = vec![alpn(link)];
    // A resumed handshake would not show the client's key again.
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The client's side: the server must prove one of `pins`. A key that it proves instead is left in
/// the second value.
pub(crate) fn client_config(
    identity: &Identity,
    pins: &[KeyPin],
    link: Link,
) -> Result<(rustls::ClientConfig, SeenKey), LinkError> {
    let provider = provider();
    let seen = SeenKey::default();
    let verifier = Arc::new(PinnedKey {
        pins: pins.to_vec(),
        wrong: seen.clone(),
        provider: provider.clone(),
    });
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(vec![identity.certificate()], identity.private_key())
        .map_err(setup)?;
    config.alpn_protocols = vec![alpn(link)];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok((config, seen))
}

/// The unpinned key that a server showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeenKey(Arc<Mutex<Option<KeyPin>>>);

impl SeenKey {
    fn get(&self) -> Option<KeyPin> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The failure of a handshake: that of the key, if that was it.
    pub(crate) fn or(&self, error: LinkError) -> LinkError {
        self.get().map_or(error, LinkError::WrongKey)
    }

    fn set(&self, pin: KeyPin) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(pin);
    }
}

fn check_signature(
    provider: &CryptoProvider,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = &provider.signature_verification_algorithms;
    verify_tls13_signature(message, certificate, signed, algorithms)
}

fn tls12_refused() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerIncompatible::Tls13RequiredForQuic.into())
}

/// Why a server's certificate is refused.
#[derive(Debug, thiserror::Error)]
#[error("the server's key is not the site's key")]
struct NotPinned;

#[derive(Debug)]
struct PinnedKey {
    pins: Vec<KeyPin>,
    wrong: SeenKey,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pin = pin_of_certificate(end_entity).ok_or(CertificateError::BadEncoding)?;
        if self.pins.contains(&pin) {
            return Ok(ServerCertVerified::assertion());
        }
        self.wrong.set(pin);
        Err(CertificateError::Other(OtherError(Arc::new(NotPinned))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_refused()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(&self.provider, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Accepts any certificate whose key the client proves to hold.
#[derive(Debug)]
struct AnyProvenKey(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyProvenKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        pin_of_certificate(end_entity).ok_or(CertificateError::BadEncoding)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_refused()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(&self.0, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.0.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

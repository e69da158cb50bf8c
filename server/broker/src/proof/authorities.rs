//! Authorities that a site trusts to say whose a card is.

use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage as Purpose, anchor_from_trusted_cert, ring as algorithms};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};

use super::{ProofError, valid_at};

/// No SHA-1, and no RSA below 2048 bits.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::ED25519,
];

/// What a certificate may be for, where it says so: the PIV card authentication key
/// (2.16.840.1.101.3.6.8), or a client in TLS, as that of the PIV authentication key is.
const PURPOSES: [Purpose; 2] = [
    Purpose::required_if_present(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x06, 0x08]),
    Purpose::client_auth(),
];

/// Certificates of authorities. Each counts by itself, whoever issued it; with none, only enrolled
/// keys count.
#[derive(Debug, Clone, Default)]
pub struct Authorities(Vec<Authority>);

#[derive(Debug, Clone)]
struct Authority {
    der: CertificateDer<'static>,
    parsed: Certificate,
}

impl Authorities {
    /// Reads certificates in PEM; other things in the text are an error, so that a private key that
    /// was put there by mistake is noticed.
    pub fn from_pem(text: &str) -> Result<Self, ProofError> {
        let bad = |why: String| ProofError::BadAuthority(why);
        let mut authorities = Vec::new();
        for part in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let der = part.map_err(|error| bad(error.to_string()))?;
            authorities.push(Authority::new(der)?);
        }
        let begun = text.matches("-----BEGIN ").count();
        if begun != authorities.len() {
            return Err(bad(
                "the text has something else than certificates".to_owned()
            ));
        }
        Ok(Self(authorities))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them has issued this certificate and may be believed now.
    pub(super) fn vouch(&self, certificate: &[u8], now_unix_s: u64) -> Result<(), ProofError> {
        let certificate = CertificateDer::from(certificate);
        let end = EndEntityCert::try_from(&certificate).map_err(|_| ProofError::BadCertificate)?;
        let current = self
            .0
            .iter()
            .filter(|authority| valid_at(&authority.parsed, now_unix_s).is_ok());
        let anchors: Vec<TrustAnchor<'_>> = current
            .filter_map(|authority| anchor_from_trusted_cert(&authority.der).ok())
            .collect();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_unix_s));
        let trusted = PURPOSES.into_iter().any(|purpose| {
            let path = end.verify_for_usage(ALGORITHMS, &anchors, &[], now, purpose, None, None);
            path.is_ok()
        });
        match trusted {
            true => Ok(()),
            false => Err(ProofError::Untrusted),
        }
    }
}

impl Authority {
    /// An authority says of itself that it is one, and may sign certificates.
    fn new(der: CertificateDer<'static>) -> Result<Self, ProofError> {
        let bad = |why: &str| ProofError::BadAuthority(why.to_owned());
        let parsed = Certificate::from_der(&der).map_err(|error| bad(&error.to_string()))?;
        let fields = &parsed.tbs_certificate;
        let subject = fields.subject.to_string();
        let constraints = fields.get::<BasicConstraints>();
        let constraints = constraints.map_err(|error| bad(&error.to_string()))?;
        if !constraints.is_some_and(|(_, constraints)| constraints.ca) {
            return Err(bad(&format!("{subject} does not say that it is one")));
        }
        let usage = fields.get::<KeyUsage>();
        let usage = usage.map_err(|error| bad(&error.to_string()))?;
        if usage.is_some_and(|(_, usage)| !usage.0.contains(KeyUsages::KeyCertSign)) {
            return Err(bad(&format!("{subject} may not sign certificates")));
        }
        anchor_from_trusted_cert(&der).map_err(|error| bad(&error.to_string()))?;
        Ok(Self { der, parsed })
    }
}

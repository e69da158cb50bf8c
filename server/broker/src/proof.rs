//! Whether a card's proof holds. Pure: bytes and a time in, a verdict out.
//!
//! A key counts because somebody enrolled it ([`EnrolledKey`]), or because an authority that the site
//! trusts has certified it ([`Authorities`]). Signatures are verified by ring, which already verifies
//! every handshake, and chains by webpki: its path building knows no names, so that it serves for
//! cards as well. What webpki leaves out (key usage, the dates of the authorities themselves) is
//! checked here.

mod authorities;

use heliostat_piv::KeyError;
use heliostat_wire::id::CardId;
use heliostat_wire::proof::{Proof, ProofKey};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName};

pub use authorities::Authorities;
pub use heliostat_piv::EnrolledKey;

/// id-PIV-cardAuth (FIPS 201-3, appendix B).
const PIV_CARD_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.6.8");
/// A client in TLS (RFC 5280, 4.2.1.12).
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// Why a proof, a key or a certificate does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The key is of no kind that counts.
    #[error("the card's key is not one that counts here: {0}")]
    UnfitKey(&'static str),
    /// The proof is by another algorithm than the key.
    #[error("the proof is not by the algorithm of the enrolled key")]
    OtherAlgorithm,
    /// The signature is not that key's over that statement.
    #[error("the card's signature does not hold")]
    BadSignature,
    /// The certificate does not parse.
    #[error("the card's certificate cannot be read")]
    BadCertificate,
    /// The certificate's key may not sign.
    #[error("the card's certificate is not for signatures")]
    NotForSigning,
    /// The certificate's time has not come.
    #[error("the card's certificate is not valid yet")]
    NotYetValid,
    /// The certificate's time is over.
    #[error("the card's certificate has expired; issue a new one")]
    Expired,
    /// No authority of the site has issued the certificate.
    #[error("no authority that this site trusts has issued the card's certificate")]
    Untrusted,
    /// What should be an authority is none.
    #[error("not a certificate of an authority: {0}")]
    BadAuthority(String),
}

impl From<KeyError> for ProofError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unfit(why) => Self::UnfitKey(why),
            KeyError::BadSignature => Self::BadSignature,
        }
    }
}

/// What a certificate says, and whether an authority vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedKey {
    /// The key.
    pub key: EnrolledKey,
    /// Whom it is for, as RFC 4514 writes it.
    pub subject: String,
    /// The card that it is for, where it names one (SP 800-73-4 has its GUID in every certificate of
    /// the card authentication key). Without this an authority's word for one card would count for
    /// another that merely claims an id.
    pub card: Option<CardId>,
    /// Which key of the card it is, where its extended key usage says so. A key that signs without a
    /// PIN must not pass for the one that signs with it.
    pub role: Option<ProofKey>,
    /// Its last second, since 1970.
    pub not_after_s: u64,
    /// Whether an authority of the site vouches for it, now.
    pub chained: bool,
}

/// Whether `proof` is a signature of `statement` by `key`.
pub fn verify(statement: &[u8], proof: &Proof, key: &EnrolledKey) -> Result<(), ProofError> {
    if proof.algorithm != key.algorithm() {
        return Err(ProofError::OtherAlgorithm);
    }
    Ok(key.verify(statement, &proof.signature)?)
}

/// Reads a card's certificate (DER). With authorities it must chain to one of them and be valid at
/// `now_unix_s`; without any it is only the wrapping of a key, whose dates mean nothing.
pub fn from_certificate(
    certificate: &[u8],
    now_unix_s: u64,
    authorities: Option<&Authorities>,
) -> Result<CertifiedKey, ProofError> {
    let parsed = Certificate::from_der(certificate).map_err(|_| ProofError::BadCertificate)?;
    let fields = &parsed.tbs_certificate;
    let spki = fields.subject_public_key_info.to_der();
    let key = EnrolledKey::from_spki(&spki.map_err(|_| ProofError::BadCertificate)?)?;
    may_sign(&parsed)?;
    let authorities = authorities.filter(|authorities| !authorities.is_empty());
    if let Some(authorities) = authorities {
        valid_at(&parsed, now_unix_s)?;
        authorities.vouch(certificate, now_unix_s)?;
    }
    Ok(CertifiedKey {
        key,
        subject: fields.subject.to_string(),
        card: card_of(&parsed)?,
        role: role_of(&parsed)?,
        not_after_s: fields.validity.not_after.to_unix_duration().as_secs(),
        chained: authorities.is_some(),
    })
}

fn valid_at(certificate: &Certificate, now_unix_s: u64) -> Result<(), ProofError> {
    let validity = &certificate.tbs_certificate.validity;
    if now_unix_s < validity.not_before.to_unix_duration().as_secs() {
        return Err(ProofError::NotYetValid);
    }
    match now_unix_s > validity.not_after.to_unix_duration().as_secs() {
        true => Err(ProofError::Expired),
        false => Ok(()),
    }
}

/// The key usage, where there is one, must let the key sign.
fn may_sign(certificate: &Certificate) -> Result<(), ProofError> {
    let usage = certificate.tbs_certificate.get::<KeyUsage>();
    match usage.map_err(|_| ProofError::BadCertificate)? {
        Some((_, usage)) if !usage.0.contains(KeyUsages::DigitalSignature) => {
            Err(ProofError::NotForSigning)
        }
        _ => Ok(()),
    }
}

/// The key of the card that the extended key usage is of.
fn role_of(certificate: &Certificate) -> Result<Option<ProofKey>, ProofError> {
    let usage = certificate.tbs_certificate.get::<ExtendedKeyUsage>();
    let usage = usage.map_err(|_| ProofError::BadCertificate)?;
    let has = |oid| {
        usage
            .as_ref()
            .is_some_and(|(_, usage)| usage.0.contains(&oid))
    };
    Ok(match (has(PIV_CARD_AUTH), has(CLIENT_AUTH)) {
        (true, _) => Some(ProofKey::CardAuthentication),
        (false, true) => Some(ProofKey::PivAuthentication),
        (false, false) => None,
    })
}

/// The card that the certificate names by `urn:uuid:`, as its id.
fn card_of(certificate: &Certificate) -> Result<Option<CardId>, ProofError> {
    let names = certificate.tbs_certificate.get::<SubjectAltName>();
    let Some((_, names)) = names.map_err(|_| ProofError::BadCertificate)? else {
        return Ok(None);
    };
    Ok(names.0.iter().find_map(|name| {
        let GeneralName::UniformResourceIdentifier(uri) = name else {
            return None;
        };
        let uuid = uri.as_str().strip_prefix("urn:uuid:")?;
        let hex: String = uuid.chars().filter(|c| *c != '-').collect();
        let is_guid = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_guid.then(|| format!("piv:{}", hex.to_ascii_lowercase()).as_str().into())
    }))
}

#[cfg(test)]
mod tests;

//! X.509 certificates of cards, and an authority that issues them.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData, SanType, date_time_ymd,
};
use sha2::{Digest, Sha256};

use crate::keys::{Algorithm, Key, Slot};

/// id-PIV-cardAuth (FIPS 201-3, appendix B): possession of the card, not presence of the person.
const PIV_CARD_AUTH: &[u64] = &[2, 16, 840, 1, 101, 3, 6, 8];
/// Smart card logon, and the user principal name that goes with it (Microsoft).
const SMART_CARD_LOGON: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 20, 2, 2];
const USER_PRINCIPAL_NAME: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 20, 2, 3];

const OF_CARDS: &str = "Heliostat test cards";

/// An authority for tests. The same name is the same authority, certificate and all.
#[derive(Debug)]
pub struct TestCa {
    params: CertificateParams,
    key: Key,
    certificate: Certificate,
}

/// Whom a certificate is about.
pub(crate) struct Subject<'a> {
    pub name: &'a str,
    pub guid: [u8; 16],
    pub slot: Slot,
    pub key: &'a Key,
    pub expired: bool,
}

impl TestCa {
    /// The authority of this name.
    pub fn named(name: &str) -> Self {
        Self::made(name, false)
    }

    /// The same authority, key and name, whose own certificate has expired.
    pub fn expired(name: &str) -> Self {
        Self::made(name, true)
    }

    fn made(name: &str, expired: bool) -> Self {
        let key = Key::derive(name, "certificate authority", Algorithm::P256);
        let mut params = params(name, &key, expired);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("names are plain text");
        Self {
            params,
            key,
            certificate,
        }
    }

    /// The authority that certifies cards unless they are told otherwise.
    pub fn of_cards() -> Self {
        Self::named(OF_CARDS)
    }

    /// That authority once its time is over.
    pub fn of_cards_expired() -> Self {
        Self::expired(OF_CARDS)
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its certificate as DER.
    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// A certificate from this authority, as DER.
    pub(crate) fn certify(&self, subject: &Subject<'_>) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = subject.params().signed_by(subject.key, &issuer);
        certificate
            .expect("names are plain text")
            .der()
            .as_ref()
            .to_vec()
    }
}

impl Subject<'_> {
    /// A certificate that its own key vouches for, as DER.
    pub fn certify_oneself(&self) -> Vec<u8> {
        let certificate = self.params().self_signed(self.key);
        certificate
            .expect("names are plain text")
            .der()
            .as_ref()
            .to_vec()
    }

    fn params(&self) -> CertificateParams {
        let mut params = params(self.name, self.key, self.expired);
        let urn = format!("urn:uuid:{}", uuid(self.guid));
        let urn = SanType::URI(urn.try_into().expect("hexadecimal digits are ASCII"));
        params.subject_alt_names.push(urn);
        params.use_authority_key_identifier_extension = true;
        let agrees = matches!(Key::algorithm(self.key), Algorithm::P256 | Algorithm::P384);
        params.key_usages = match self.slot {
            Slot::KeyManagement if agrees => vec![KeyUsagePurpose::KeyAgreement],
            Slot::KeyManagement => vec![KeyUsagePurpose::KeyEncipherment],
            Slot::Signature => vec![
                KeyUsagePurpose::DigitalSignature,
                KeyUsagePurpose::ContentCommitment,
            ],
            Slot::PivAuthentication | Slot::CardAuthentication => {
                vec![KeyUsagePurpose::DigitalSignature]
            }
        };
        match self.slot {
            Slot::PivAuthentication => {
                let name = format!("{}@site.test", self.name);
                let name = SanType::OtherName((USER_PRINCIPAL_NAME.to_vec(), name.into()));
                params.subject_alt_names.push(name);
                params.extended_key_usages = vec![
                    ExtendedKeyUsagePurpose::ClientAuth,
                    ExtendedKeyUsagePurpose::Other(SMART_CARD_LOGON.to_vec()),
                ];
            }
            Slot::CardAuthentication => {
                params.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::Other(PIV_CARD_AUTH.to_vec())];
            }
            Slot::Signature | Slot::KeyManagement => {}
        }
        params
    }
}

/// What all of them have. Their times are fixed, so that the same card has the same bytes for ever.
fn params(name: &str, key: &Key, expired: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let organization = "Heliostat tests";
    let names = &mut params.distinguished_name;
    names.push(DnType::OrganizationName, organization);
    names.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(if expired { 2025 } else { 2049 }, 1, 1);
    let mut serial = Sha256::digest(key.der_bytes())[..16].to_vec();
    // Positive and never short.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(serial.into());
    params
}

fn uuid(guid: [u8; 16]) -> String {
    let mut text = String::new();
    for (at, byte) in guid.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

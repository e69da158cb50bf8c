//! A key's certificate as a card keeps it, and what it says of the key.

use std::io::Read;

use flate2::read::GzDecoder;
use heliostat_wire::limits::MAX_CERTIFICATE;
use heliostat_wire::proof::{Algorithm, ProofFailure, ProofKey};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::identify::tlv;

const EC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What is known of a key of the card in the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// How it signs.
    pub algorithm: Algorithm,
    /// Its certificate (DER).
    pub certificate: Vec<u8>,
}

/// The tag of the object that holds a key's certificate.
pub(super) fn certificate_object(key: ProofKey) -> [u8; 3] {
    match key {
        ProofKey::CardAuthentication => [0x5f, 0xc1, 0x01],
        ProofKey::PivAuthentication => [0x5f, 0xc1, 0x05],
    }
}

impl Key {
    /// Reads the object that GET DATA gave: tag 53, in it 70 (the certificate) and 71 (1 where it is
    /// compressed).
    pub(super) fn from_object(object: &[u8]) -> Result<Self, ProofFailure> {
        let (stored, packed) = certificate_of(object).ok_or(ProofFailure::NoKey)?;
        let certificate = match packed {
            true => unpack(stored).ok_or(ProofFailure::Unsupported)?,
            false => stored.to_vec(),
        };
        if certificate.len() > MAX_CERTIFICATE {
            return Err(ProofFailure::Unsupported);
        }
        let parsed = Certificate::from_der(&certificate).map_err(|_| ProofFailure::Unsupported)?;
        let info = &parsed.tbs_certificate.subject_public_key_info;
        Ok(Self {
            algorithm: algorithm_of(info).ok_or(ProofFailure::Unsupported)?,
            certificate,
        })
    }

    /// The public key of its certificate, as SubjectPublicKeyInfo (DER).
    pub fn spki(&self) -> Option<Vec<u8>> {
        let parsed = Certificate::from_der(&self.certificate).ok()?;
        let info = parsed.tbs_certificate.subject_public_key_info;
        info.to_der().ok()
    }
}

/// The certificate's bytes, and whether they are compressed.
fn certificate_of(object: &[u8]) -> Option<(&[u8], bool)> {
    let (0x53, mut inside, _) = tlv(object)? else {
        return None;
    };
    let (mut stored, mut packed) = (None, false);
    while let Some((tag, value, rest)) = tlv(inside) {
        match tag {
            0x70 => stored = Some(value),
            0x71 => packed = value.first().is_some_and(|info| info & 1 == 1),
            _ => {}
        }
        inside = rest;
    }
    stored
        .filter(|value| !value.is_empty())
        .map(|value| (value, packed))
}

/// Undoes gzip, as far as a certificate may be long.
fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut bounded = GzDecoder::new(packed).take(MAX_CERTIFICATE as u64 + 1);
    bounded.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn algorithm_of(info: &SubjectPublicKeyInfoOwned) -> Option<Algorithm> {
    let bits = info.subject_public_key.as_bytes()?;
    match info.algorithm.oid {
        EC_KEY => {
            let curve: ObjectIdentifier = info.algorithm.parameters.as_ref()?.decode_as().ok()?;
            match curve {
                P256 => Some(Algorithm::EcdsaP256Sha256),
                P384 => Some(Algorithm::EcdsaP384Sha384),
                _ => None,
            }
        }
        RSA => match modulus_bits(bits)? {
            2048 => Some(Algorithm::Rsa2048Sha256),
            3072 => Some(Algorithm::Rsa3072Sha256),
            _ => None,
        },
        _ => None,
    }
}

/// The length of an RSAPublicKey's modulus, where its top bit is set.
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(key).ok()?;
    let modulus = reader.sequence(|inside| {
        let modulus: UintRef<'_> = inside.decode()?;
        let _exponent: UintRef<'_> = inside.decode()?;
        Ok(modulus.as_bytes().to_vec())
    });
    let modulus = modulus.ok()?;
    (*modulus.first()? >= 0x80).then_some(modulus.len() * 8)
}

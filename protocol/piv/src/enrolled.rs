//! A card's public key.

use std::fmt;

use heliostat_wire::proof::Algorithm;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

const EC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Exponents: 65537 as cards have it, and others of its size. Small ones have a history.
const EXPONENTS: std::ops::RangeInclusive<u64> = 65_537..=(1 << 33) - 1;

/// Why a key, or a signature by it, does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key is of no kind that counts.
    #[error("the card's key is not one that counts here: {0}")]
    Unfit(&'static str),
    /// The signature is not that key's over that statement.
    #[error("the card's signature does not hold")]
    BadSignature,
}

/// A key whose signatures count. Stored as its SubjectPublicKeyInfo (DER), and checked anew when it is
/// read back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct EnrolledKey {
    spki: Vec<u8>,
    algorithm: Algorithm,
    /// As a signature's verification takes it: a point, or an RSAPublicKey.
    key: Vec<u8>,
}

impl EnrolledKey {
    /// Takes a SubjectPublicKeyInfo (DER). Its key must be of a kind that a proof can be made with,
    /// and well formed.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let malformed = KeyError::Unfit("it is malformed");
        let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| malformed.clone())?;
        let key = info.subject_public_key.as_bytes().ok_or(malformed)?;
        let algorithm = match info.algorithm.oid {
            EC_KEY => point(info.algorithm.parameters, key)?,
            RSA => rsa(info.algorithm.parameters, key)?,
            _ => return Err(KeyError::Unfit("it is neither ECDSA nor RSA")),
        };
        Ok(Self {
            spki: spki.to_vec(),
            algorithm,
            key: key.to_vec(),
        })
    }

    /// The SubjectPublicKeyInfo (DER).
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `sha256:` and the hash of the SubjectPublicKeyInfo in hex.
    pub fn fingerprint(&self) -> String {
        heliostat_wire::id::KeyPin(Sha256::digest(&self.spki).into()).to_string()
    }

    /// Whether `signed` is a signature of `statement` by this key, by its algorithm.
    pub fn verify(&self, statement: &[u8], signed: &[u8]) -> Result<(), KeyError> {
        let algorithm: &dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
            Algorithm::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
            Algorithm::Rsa2048Sha256 | Algorithm::Rsa3072Sha256 => {
                &signature::RSA_PKCS1_2048_8192_SHA256
            }
        };
        UnparsedPublicKey::new(algorithm, &self.key)
            .verify(statement, signed)
            .map_err(|_| KeyError::BadSignature)
    }
}

impl fmt::Debug for EnrolledKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "EnrolledKey({:?} {})",
            self.algorithm,
            self.fingerprint()
        )
    }
}

impl TryFrom<Vec<u8>> for EnrolledKey {
    type Error = KeyError;
    fn try_from(spki: Vec<u8>) -> Result<Self, KeyError> {
        Self::from_spki(&spki)
    }
}

impl From<EnrolledKey> for Vec<u8> {
    fn from(key: EnrolledKey) -> Self {
        key.spki
    }
}

/// A point on a named curve, not compressed. ring checks points only when it verifies, and then
/// cannot say why it fails; a bad key is to be told when it is enrolled.
fn point(curve: Option<AnyRef<'_>>, key: &[u8]) -> Result<Algorithm, KeyError> {
    let curve = curve.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    let (algorithm, is_point) = match curve {
        Some(P256) => {
            let point = p256::PublicKey::from_sec1_bytes(key);
            (Algorithm::EcdsaP256Sha256, point.is_ok())
        }
        Some(P384) => {
            let point = p384::PublicKey::from_sec1_bytes(key);
            (Algorithm::EcdsaP384Sha384, point.is_ok())
        }
        _ => return Err(KeyError::Unfit("its curve is neither P-256 nor P-384")),
    };
    match is_point && key.first() == Some(&0x04) {
        true => Ok(algorithm),
        false => Err(KeyError::Unfit("it is no point of its curve")),
    }
}

fn rsa(parameters: Option<AnyRef<'_>>, key: &[u8]) -> Result<Algorithm, KeyError> {
    if parameters.is_some_and(|parameters| !parameters.is_null()) {
        return Err(KeyError::Unfit("its RSA has parameters"));
    }
    let malformed = || KeyError::Unfit("it is malformed");
    let mut reader = SliceReader::new(key).map_err(|_| malformed())?;
    let numbers = reader.sequence(|inside| {
        let modulus: UintRef<'_> = inside.decode()?;
        let exponent: UintRef<'_> = inside.decode()?;
        Ok((modulus.as_bytes().to_vec(), exponent.as_bytes().to_vec()))
    });
    let (modulus, exponent) = numbers.map_err(|_| malformed())?;
    reader.finish(()).map_err(|_| malformed())?;
    if exponent.len() > 8 {
        return Err(KeyError::Unfit("its RSA exponent is not a usual one"));
    }
    let exponent = exponent.iter().fold(0, |e, byte| e << 8 | u64::from(*byte));
    if !EXPONENTS.contains(&exponent) || exponent % 2 == 0 {
        return Err(KeyError::Unfit("its RSA exponent is not a usual one"));
    }
    let whole = modulus.first().is_some_and(|byte| *byte >= 0x80);
    let uneven = modulus.last().is_some_and(|byte| byte % 2 == 1);
    match (whole && uneven, modulus.len()) {
        (true, 256) => Ok(Algorithm::Rsa2048Sha256),
        (true, 384) => Ok(Algorithm::Rsa3072Sha256),
        _ => Err(KeyError::Unfit("its RSA has neither 2048 nor 3072 bits")),
    }
}

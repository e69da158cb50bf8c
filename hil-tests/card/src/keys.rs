//! A card's keys, made of its name: the same name has the same keys in every process.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;

use p256::ecdsa::signature::hazmat::PrehashSigner;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rcgen::{PublicKeyData, SignatureAlgorithm};
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey};
use sha2::{Digest, Sha256, Sha384};

/// What sort of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA and ECDH on P-256.
    P256,
    /// ECDSA and ECDH on P-384.
    P384,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
}

impl Algorithm {
    /// Its number in commands (SP 800-78-5, table 9).
    pub const fn number(self) -> u8 {
        match self {
            Self::P256 => 0x11,
            Self::P384 => 0x14,
            Self::Rsa2048 => 0x07,
            Self::Rsa3072 => 0x05,
        }
    }
}

/// Where on the card a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// 9A: used once the PIN has been verified.
    PivAuthentication,
    /// 9C: used right after each verification of the PIN.
    Signature,
    /// 9D: agrees on keys, or decrypts, once the PIN has been verified.
    KeyManagement,
    /// 9E: used by whoever holds the card.
    CardAuthentication,
}

impl Slot {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::PivAuthentication,
        Self::Signature,
        Self::KeyManagement,
        Self::CardAuthentication,
    ];

    /// Its number in commands.
    pub const fn reference(self) -> u8 {
        match self {
            Self::PivAuthentication => 0x9a,
            Self::Signature => 0x9c,
            Self::KeyManagement => 0x9d,
            Self::CardAuthentication => 0x9e,
        }
    }

    /// The slot of a number.
    pub fn from_reference(reference: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|slot| slot.reference() == reference)
    }
}

/// A private key with its public half.
#[derive(Clone)]
pub struct Key {
    private: Private,
    /// As a certificate has it: a point, or PKCS #1.
    public: Vec<u8>,
}

#[derive(Clone)]
enum Private {
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    Rsa(Box<RsaPrivateKey>),
}

/// RSA keys of this process by their seeds: making one takes up to seconds.
static RSA_KEYS: Mutex<Option<HashMap<[u8; 32], RsaPrivateKey>>> = Mutex::new(None);

impl Key {
    /// The key that something of this name has for this use.
    pub fn derive(name: &str, usage: &str, algorithm: Algorithm) -> Self {
        let mut hash = Sha256::new();
        for part in ["heliostat virtual card 1", name, usage] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update([algorithm.number()]);
        let seed: [u8; 32] = hash.finalize().into();
        let mut random = ChaCha20Rng::from_seed(seed);
        let private = match algorithm {
            Algorithm::P256 => Private::P256(p256::SecretKey::random(&mut random)),
            Algorithm::P384 => Private::P384(p384::SecretKey::random(&mut random)),
            Algorithm::Rsa2048 => Private::Rsa(Box::new(rsa_key(seed, 2048))),
            Algorithm::Rsa3072 => Private::Rsa(Box::new(rsa_key(seed, 3072))),
        };
        let public = private.public();
        Self { private, public }
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match &self.private {
            Private::P256(_) => Algorithm::P256,
            Private::P384(_) => Algorithm::P384,
            Private::Rsa(key) if key.size() == 256 => Algorithm::Rsa2048,
            Private::Rsa(_) => Algorithm::Rsa3072,
        }
    }

    /// The public key as DER of a SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }

    /// The private operation on what a command carries: ECDSA over a hash no longer than the
    /// curve's numbers, with a DER signature; or the bare RSA of a padded block as long as the key.
    /// Nothing where the input does not fit.
    pub fn operate(&self, input: &[u8]) -> Option<Vec<u8>> {
        match &self.private {
            Private::P256(key) => {
                let key = p256::ecdsa::SigningKey::from(key);
                let signature: p256::ecdsa::DerSignature =
                    fits(input, 32).and_then(|hash| key.sign_prehash(hash).ok())?;
                Some(signature.as_bytes().to_vec())
            }
            Private::P384(key) => {
                let key = p384::ecdsa::SigningKey::from(key);
                let signature: p384::ecdsa::DerSignature =
                    fits(input, 48).and_then(|hash| key.sign_prehash(hash).ok())?;
                Some(signature.as_bytes().to_vec())
            }
            Private::Rsa(key) => {
                let block = (input.len() == key.size()).then(|| BigUint::from_bytes_be(input))?;
                let no_blinding = None::<&mut ChaCha20Rng>;
                let output =
                    rsa::hazmat::rsa_decrypt_and_check(key.as_ref(), no_blinding, &block).ok()?;
                let output = output.to_bytes_be();
                let mut padded = vec![0; key.size() - output.len()];
                padded.extend(output);
                Some(padded)
            }
        }
    }

    /// The secret shared with the holder of another point's key: ECDH. Nothing where the point is
    /// not of this curve, or the key is an RSA one.
    pub fn agree(&self, point: &[u8]) -> Option<Vec<u8>> {
        match &self.private {
            Private::P256(key) => {
                let other = p256::PublicKey::from_sec1_bytes(point).ok()?;
                let secret = p256::ecdh::diffie_hellman(key.to_nonzero_scalar(), other.as_affine());
                Some(secret.raw_secret_bytes().to_vec())
            }
            Private::P384(key) => {
                let other = p384::PublicKey::from_sec1_bytes(point).ok()?;
                let secret = p384::ecdh::diffie_hellman(key.to_nonzero_scalar(), other.as_affine());
                Some(secret.raw_secret_bytes().to_vec())
            }
            Private::Rsa(_) => None,
        }
    }
}

fn fits(input: &[u8], most: usize) -> Option<&[u8]> {
    (input.len() <= most).then_some(input)
}

fn rsa_key(seed: [u8; 32], bits: usize) -> RsaPrivateKey {
    let mut made = RSA_KEYS.lock().expect("making a key does not panic");
    let make = || {
        RsaPrivateKey::new(&mut ChaCha20Rng::from_seed(seed), bits)
            .expect("there are primes of this size")
    };
    let keys = made.get_or_insert_default();
    keys.entry(seed).or_insert_with(make).clone()
}

impl Private {
    fn public(&self) -> Vec<u8> {
        match self {
            Self::P256(key) => key.public_key().to_sec1_bytes().into_vec(),
            Self::P384(key) => key.public_key().to_sec1_bytes().into_vec(),
            Self::Rsa(key) => key
                .to_public_key()
                .to_pkcs1_der()
                .expect("an RSA key has two numbers")
                .into_vec(),
        }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match &self.private {
            Private::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Private::P384(_) => &rcgen::PKCS_ECDSA_P384_SHA384,
            Private::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = match &self.private {
            Private::P256(_) => self.operate(&Sha256::digest(message)),
            Private::P384(_) => self.operate(&Sha384::digest(message)),
            Private::Rsa(key) => key
                .sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message))
                .ok(),
        };
        signature.ok_or(rcgen::Error::RemoteKeyError)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", Key::algorithm(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_name_has_the_same_key_and_another_name_another() {
        for algorithm in [Algorithm::P256, Algorithm::P384] {
            let alice = Key::derive("alice", "9a", algorithm).spki();
            assert_eq!(alice, Key::derive("alice", "9a", algorithm).spki());
            assert_ne!(alice, Key::derive("bob", "9a", algorithm).spki());
            assert_ne!(alice, Key::derive("alice", "9e", algorithm).spki());
            // Lengths are hashed too, so that parts do not run into each other.
            assert_ne!(alice, Key::derive("alice9", "a", algorithm).spki());
        }
    }

    #[test]
    fn both_ends_agree_on_one_secret() {
        for algorithm in [Algorithm::P256, Algorithm::P384] {
            let (alice, bob) = (
                Key::derive("alice", "9d", algorithm),
                Key::derive("bob", "9d", algorithm),
            );
            let secret = alice.agree(&bob.public).unwrap();
            assert_eq!(secret, bob.agree(&alice.public).unwrap());
            assert_eq!(alice.agree(&bob.public[1..]), None);
        }
    }

    #[test]
    fn input_that_does_not_fit_is_refused() {
        let key = Key::derive("alice", "9a", Algorithm::P256);
        assert!(key.operate(&[7; 32]).is_some());
        assert_eq!(key.operate(&[7; 33]), None);
        assert_eq!(key.operate(&[]), None);
        let key = Key::derive("alice", "9a", Algorithm::Rsa2048);
        assert_eq!(key.operate(&[7; 255]), None);
        // Larger than the modulus.
        assert_eq!(key.operate(&[0xff; 256]), None);
        assert_eq!(key.operate(&[7; 256]).unwrap().len(), 256);
    }
}

//! Proof that a card's key is here: what the broker asks for, what the card signs, what comes back.
//!
//! A challenge is good once, for one card edge on one control link. What is signed names all of it
//! ([`statement`]), so that a signature is of no use on another link, at another terminal, for
//! another card or for another purpose.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::bounded::{Bytes, Text};
use crate::id::CardId;
use crate::limits::{MAX_CERTIFICATE, MAX_NAME, MAX_SIGNATURE};

/// The label with which both ends of a control link export the 32 bytes (RFC 8446, 7.5, with an
/// empty context) that tie a proof to it.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-heliostat-proof";

/// The first field of a statement: what it is, and its layout's version.
const CONTEXT: &[u8] = b"heliostat card proof 1";

/// What the broker wants proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Challenge {
    /// The card edge.
    pub seq: u32,
    /// Random, and used once.
    pub nonce: [u8; 32],
    /// What the proof is for.
    pub purpose: Purpose,
    /// The key that is to sign.
    pub key: ProofKey,
    /// Whether the proof is to bring the key's certificate.
    pub want_certificate: bool,
}

/// What a proof is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Purpose {
    /// A session is to be attached.
    Attach,
    /// The card is to belong to a person.
    Enrol,
    /// A locked session is to be unlocked.
    Unlock,
}

/// A key of a card, by the PIV standard's names (NIST SP 800-73-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum ProofKey {
    /// Card authentication, 9E: signs without a PIN, so it shows that the card is here.
    CardAuthentication,
    /// PIV authentication, 9A: signs after the PIN, so it shows that its owner is here as well.
    PivAuthentication,
}

/// How a proof is signed. RSA signatures are PKCS#1 v1.5, ECDSA signatures are DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384Sha384,
    /// RSA of 2048 bits with SHA-256.
    Rsa2048Sha256,
    /// RSA of 3072 bits with SHA-256.
    Rsa3072Sha256,
}

/// A signed statement. The statement itself is not sent: both ends make it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Proof {
    /// The card edge of the challenge.
    pub seq: u32,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// The signature.
    pub signature: Bytes<MAX_SIGNATURE>,
    /// The key's certificate (X.509, DER, not compressed); empty where it was not wanted.
    pub certificate: Bytes<MAX_CERTIFICATE>,
}

/// Why there is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Schema)]
pub enum ProofFailure {
    /// The card has no such key, or no certificate for it.
    NoKey,
    /// The person did not give a PIN.
    NoPin,
    /// The PIN was wrong, and the person gave up.
    PinWrong,
    /// The card takes no PIN any more, or only one more wrong one; that one is never spent.
    PinBlocked,
    /// The card was pulled.
    TornOut,
    /// The card or its reader failed.
    CardFailed,
    /// The key is of a kind that is not known.
    Unsupported,
}

impl Purpose {
    fn byte(self) -> u8 {
        match self {
            Self::Attach => 1,
            Self::Enrol => 2,
            Self::Unlock => 3,
        }
    }
}

impl ProofKey {
    /// The key reference of the PIV standard.
    pub fn reference(self) -> u8 {
        match self {
            Self::CardAuthentication => 0x9e,
            Self::PivAuthentication => 0x9a,
        }
    }
}

/// The bytes whose hash the card signs: SHA-384 of them with [`Algorithm::EcdsaP384Sha384`], and
/// SHA-256 otherwise. `exporter` is that of the control link; `terminal` is the id in its hello.
///
/// Each field is preceded by its length (`u16`, little-endian), so that no two different sets of
/// fields make the same bytes.
pub fn statement(
    challenge: &Challenge,
    exporter: &[u8; 32],
    terminal: &Text<MAX_NAME>,
    card: &CardId,
) -> Vec<u8> {
    let purpose = [challenge.purpose.byte()];
    let key = [challenge.key.reference()];
    let fields: [&[u8]; 7] = [
        CONTEXT,
        &purpose,
        &key,
        &challenge.nonce,
        exporter,
        terminal.as_bytes(),
        card.as_bytes(),
    ];
    let mut bytes = Vec::with_capacity(fields.iter().map(|field| field.len() + 2).sum());
    for field in fields {
        // The limits of names and card ids are far below 65536.
        bytes.extend((field.len() as u16).to_le_bytes());
        bytes.extend(field);
    }
    bytes
}

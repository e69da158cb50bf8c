//! What goes into GENERAL AUTHENTICATE, and what comes out (NIST SP 800-73-4 part 2, 3.2.4).

use heliostat_wire::proof::Algorithm;
use sha2::{Digest, Sha256, Sha384};

use crate::identify::tlv;

/// The algorithm's number (SP 800-78).
pub(super) fn reference(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::EcdsaP256Sha256 => 0x11,
        Algorithm::EcdsaP384Sha384 => 0x14,
        Algorithm::Rsa2048Sha256 => 0x07,
        Algorithm::Rsa3072Sha256 => 0x05,
    }
}

/// The dynamic authentication template that asks for a signature of `statement`.
pub(super) fn template(algorithm: Algorithm, statement: &[u8]) -> Vec<u8> {
    let input = match algorithm {
        Algorithm::EcdsaP256Sha256 => Sha256::digest(statement).to_vec(),
        Algorithm::EcdsaP384Sha384 => Sha384::digest(statement).to_vec(),
        Algorithm::Rsa2048Sha256 => padded(statement, 256),
        Algorithm::Rsa3072Sha256 => padded(statement, 384),
    };
    // An empty 82 is where the response goes.
    object(0x7c, &[&[0x82, 0x00], &object(0x81, &input)[..]].concat())
}

/// The signature in a card's answer.
pub(super) fn signature(answer: &[u8]) -> Option<&[u8]> {
    let (0x7c, inside, []) = tlv(answer)? else {
        return None;
    };
    let (0x82, signature, _) = tlv(inside)? else {
        return None;
    };
    (!signature.is_empty()).then_some(signature)
}

/// PKCS#1 v1.5 (RFC 8017, 9.2) around a SHA-256 hash; cards do not pad themselves.
fn padded(statement: &[u8], bytes: usize) -> Vec<u8> {
    const DIGEST_INFO: &[u8] = &[
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let hash = Sha256::digest(statement);
    let filling = bytes - 3 - DIGEST_INFO.len() - hash.len();
    let mut block = vec![0x00, 0x01];
    block.resize(2 + filling, 0xff);
    block.push(0x00);
    block.extend(DIGEST_INFO);
    block.extend(hash);
    block
}

fn object(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let mut bytes = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    bytes.extend(value);
    bytes
}

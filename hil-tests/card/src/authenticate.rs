//! GENERAL AUTHENTICATE: what the keys do.

use crate::apdu::Status;
use crate::keys::{Algorithm, Key, Slot};
use crate::tlv::{split_tlv, tlv};

/// The dynamic authentication template of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Template<'a> {
    /// Whether a response (82) is asked for.
    wants_response: bool,
    /// What to sign, or to decrypt (81).
    challenge: Option<&'a [u8]>,
    /// The other's point (85).
    point: Option<&'a [u8]>,
}

impl<'a> Template<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let (0x7c, mut inside, []) = split_tlv(data)? else {
            return None;
        };
        let mut template = Self::default();
        while !inside.is_empty() {
            let (tag, value, rest) = split_tlv(inside)?;
            match (tag, value) {
                (0x82, []) => template.wants_response = true,
                (0x81, value) => template.challenge = Some(value),
                (0x85, value) => template.point = Some(value),
                _ => return None,
            }
            inside = rest;
        }
        Some(template)
    }
}

/// Uses a key as the command's template says, and gives the response's.
pub fn authenticate(slot: Slot, key: &Key, data: &[u8]) -> Result<Vec<u8>, Status> {
    let template = Template::parse(data).ok_or(Status::WRONG_DATA)?;
    let is_rsa = matches!(key.algorithm(), Algorithm::Rsa2048 | Algorithm::Rsa3072);
    let response = match (template.wants_response, template.challenge, template.point) {
        // A key for agreements signs nothing; one for encryption decrypts.
        (true, Some(challenge), None) if is_rsa || slot != Slot::KeyManagement => {
            key.operate(challenge)
        }
        (true, None, Some(point)) if slot == Slot::KeyManagement => key.agree(point),
        _ => None,
    };
    let response = response.ok_or(Status::WRONG_DATA)?;
    Ok(tlv(0x7c, &tlv(0x82, &response)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(slot: Slot, data: &[u8]) -> Result<Vec<u8>, Status> {
        authenticate(slot, &Key::derive("alice", "key", Algorithm::P256), data)
    }

    fn challenge() -> Vec<u8> {
        tlv(0x7c, &[tlv(0x82, &[]), tlv(0x81, &[7; 32])].concat())
    }

    #[test]
    fn fields_come_in_any_order() {
        let turned = tlv(0x7c, &[tlv(0x81, &[7; 32]), tlv(0x82, &[])].concat());
        let response = signs(Slot::CardAuthentication, &turned).unwrap();
        assert_eq!(signs(Slot::CardAuthentication, &challenge()), Ok(response));
    }

    #[test]
    fn key_for_agreements_signs_nothing_and_others_agree_on_nothing() {
        assert_eq!(
            signs(Slot::KeyManagement, &challenge()),
            Err(Status::WRONG_DATA)
        );
        let other = Key::derive("bob", "key", Algorithm::P256);
        let point = rcgen::PublicKeyData::der_bytes(&other);
        let point = tlv(0x7c, &[tlv(0x82, &[]), tlv(0x85, point)].concat());
        assert!(signs(Slot::KeyManagement, &point).is_ok());
        assert_eq!(signs(Slot::Signature, &point), Err(Status::WRONG_DATA));
    }

    #[test]
    fn malformed_template_is_refused() {
        let mut long = challenge();
        long.push(0);
        let nothing_asked = tlv(0x7c, &tlv(0x81, &[7; 32]));
        let witness = tlv(0x7c, &tlv(0x80, &[]));
        for data in [&[][..], &challenge()[..9], &long, &nothing_asked, &witness] {
            assert_eq!(
                signs(Slot::CardAuthentication, data),
                Err(Status::WRONG_DATA),
                "{data:02x?}"
            );
        }
    }
}

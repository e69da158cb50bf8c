use sha2::{Digest, Sha256};

use super::*;
use crate::keys::Algorithm;
use crate::pin::pad;
use crate::tlv::{split_tlv, tlv};

mod properties;

const SELECT: &[u8] = &[
    0x00, 0xa4, 0x04, 0x00, 0x09, 0xa0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x00,
];
const GET_CHUID: &[u8] = &[
    0x00, 0xcb, 0x3f, 0xff, 0x05, 0x5c, 0x03, 0x5f, 0xc1, 0x02, 0x00,
];
const PIN: &str = "123456";

fn selected(recipe: &Recipe) -> Card {
    let mut card = recipe.make();
    assert!(card.respond(SELECT).unwrap().ends_with(&[0x90, 0x00]));
    card
}

/// A command with a short length, or parts of one, and everything of its response.
fn ask(card: &mut Card, head: [u8; 3], data: &[u8]) -> Result<Vec<u8>, Status> {
    let mut parts = data.chunks(255).peekable();
    let mut command = vec![0x00, head[0], head[1], head[2]];
    while let Some(part) = parts.next() {
        command = vec![0x00, head[0], head[1], head[2], part.len() as u8];
        command.extend(part);
        if parts.peek().is_some() {
            command[0] = 0x10;
            assert_eq!(card.respond(&command).unwrap(), [0x90, 0x00]);
        }
    }
    let mut whole = Vec::new();
    loop {
        let response = card.respond(&command).unwrap();
        let (data, &[sw1, sw2]) = response.split_last_chunk().unwrap();
        whole.extend(data);
        match (sw1, sw2) {
            (0x90, 0x00) => return Ok(whole),
            (0x61, left) => command = vec![0x00, 0xc0, 0x00, 0x00, left],
            _ => return Err(Status(sw1, sw2)),
        }
    }
}

fn verify(card: &mut Card, pin: &str) -> Result<(), Status> {
    ask(card, [0x20, 0x00, 0x80], &pad(pin)).map(drop)
}

fn sign(
    card: &mut Card,
    slot: Slot,
    algorithm: Algorithm,
    input: &[u8],
) -> Result<Vec<u8>, Status> {
    let template = tlv(0x7c, &[tlv(0x82, &[]), tlv(0x81, input)].concat());
    let head = [0x87, algorithm.number(), slot.reference()];
    let response = ask(card, head, &template)?;
    let (0x7c, inside, []) = split_tlv(&response).unwrap() else {
        panic!("{response:02x?}")
    };
    let (0x82, signature, []) = split_tlv(inside).unwrap() else {
        panic!("{inside:02x?}")
    };
    Ok(signature.to_vec())
}

fn sign_p256(card: &mut Card, slot: Slot) -> Result<Vec<u8>, Status> {
    sign(card, slot, Algorithm::P256, &Sha256::digest(b"statement"))
}

/// Whether it is a signature of "statement" by this key.
fn is_signed(
    algorithm: &'static dyn ring::signature::VerificationAlgorithm,
    spki: &[u8],
    signature: &[u8],
) -> bool {
    // The bare key is what ring wants; it ends the SubjectPublicKeyInfo, behind a byte of no bits.
    let (0x30, inside, []) = split_tlv(spki).unwrap() else {
        panic!("{spki:02x?}")
    };
    let (0x30, _, rest) = split_tlv(inside).unwrap() else {
        panic!("{inside:02x?}")
    };
    let (0x03, [0, key @ ..], []) = split_tlv(rest).unwrap() else {
        panic!("{rest:02x?}")
    };
    let key = ring::signature::UnparsedPublicKey::new(algorithm, key);
    key.verify(b"statement", signature).is_ok()
}

#[test]
fn selected_card_gives_its_guid() {
    let mut card = Card::named("alice");
    assert_eq!(card.respond(GET_CHUID).unwrap(), [0x6a, 0x82]);
    assert!(card.respond(SELECT).unwrap().ends_with(&[0x90, 0x00]));
    let chuid = card.respond(GET_CHUID).unwrap();
    assert!(chuid.ends_with(&[0x90, 0x00]));
    let guid = guid_of("alice");
    assert!(chuid.windows(16).any(|window| window == guid));
    card.reset();
    assert_eq!(card.respond(GET_CHUID).unwrap(), [0x6a, 0x82]);
}

#[test]
fn names_are_cards() {
    assert_eq!(Card::id_of("alice"), Card::id_of("alice"));
    assert_ne!(Card::id_of("alice"), Card::id_of("bob"));
    assert_eq!(Card::id_of("alice").len(), 4 + 32);
    // A card that was enrolled once is known for ever.
    assert_eq!(Card::id_of("alice"), "piv:508b2abb65a03907dbdd4fa868cd6534");
    let fingerprint = Sha256::digest(Card::spki_of("alice", Slot::CardAuthentication));
    assert_eq!(
        format!("{fingerprint:x}"),
        "2496065d5e3478536736a81fe8e1d735ceb943b36a1f2d6c6a05390a46915b73"
    );
}

#[test]
fn whoever_holds_the_card_signs_with_9e() {
    let recipe = Recipe::new("alice");
    let mut card = selected(&recipe);
    let signature = sign_p256(&mut card, Slot::CardAuthentication).unwrap();
    let p256 = &ring::signature::ECDSA_P256_SHA256_ASN1;
    let spki = Card::spki_of("alice", Slot::CardAuthentication);
    assert!(is_signed(p256, &spki, &signature));
    let other = Card::spki_of("bob", Slot::CardAuthentication);
    assert!(!is_signed(p256, &other, &signature));
}

#[test]
fn pin_is_wanted_once_for_9a_and_each_time_for_9c() {
    let mut card = selected(&Recipe::new("alice"));
    for slot in [Slot::PivAuthentication, Slot::Signature] {
        assert_eq!(sign_p256(&mut card, slot), Err(Status::SECURITY));
    }
    assert_eq!(verify(&mut card, PIN), Ok(()));
    assert!(sign_p256(&mut card, Slot::Signature).is_ok());
    assert_eq!(sign_p256(&mut card, Slot::Signature), Err(Status::SECURITY));
    assert!(sign_p256(&mut card, Slot::PivAuthentication).is_ok());
    assert!(sign_p256(&mut card, Slot::PivAuthentication).is_ok());
    // Verified, but not just before.
    assert_eq!(verify(&mut card, PIN), Ok(()));
    assert!(card.respond(GET_CHUID).is_some());
    assert_eq!(sign_p256(&mut card, Slot::Signature), Err(Status::SECURITY));
    // Power takes it away, and so does a wrong PIN.
    card.reset();
    card.respond(SELECT);
    let signed = sign_p256(&mut card, Slot::PivAuthentication);
    assert_eq!(signed, Err(Status::SECURITY));
    assert_eq!(verify(&mut card, PIN), Ok(()));
    assert_eq!(verify(&mut card, "000000"), Err(Status::tries_left(2)));
    let signed = sign_p256(&mut card, Slot::PivAuthentication);
    assert_eq!(signed, Err(Status::SECURITY));
}

#[test]
fn tries_are_remembered_in_the_plastic() {
    let mut card = Card::named("forgetful");
    card.respond(SELECT);
    assert_eq!(verify(&mut card, "000000"), Err(Status::tries_left(2)));
    card.reset();
    card.respond(SELECT);
    assert_eq!(
        ask(&mut card, [0x20, 0x00, 0x80], &[]),
        Err(Status::tries_left(2))
    );
    // Pulled and inserted again.
    let mut card = Card::named("forgetful");
    card.respond(SELECT);
    assert_eq!(verify(&mut card, "000000"), Err(Status::tries_left(1)));
    assert_eq!(card.pin_tries(), Some(1));
    // Another piece of plastic that looks the same.
    assert_eq!(Recipe::new("forgetful").make().pin_tries(), Some(3));
    assert_eq!(verify(&mut card, "000000"), Err(Status::tries_left(0)));
    assert_eq!(verify(&mut card, PIN), Err(Status::BLOCKED));
    let unblock = [pad("12345678"), pad("222222")].concat();
    assert!(ask(&mut card, [0x2c, 0x00, 0x80], &unblock).is_ok());
    assert_eq!(verify(&mut card, "222222"), Ok(()));
}

#[test]
fn keys_of_other_kinds_sign_too() {
    let p384 = Recipe::new("alice").algorithm(Algorithm::P384);
    let mut card = selected(&p384);
    let hash = sha2::Sha384::digest(b"statement");
    let signature = sign(&mut card, Slot::CardAuthentication, Algorithm::P384, &hash).unwrap();
    let spki = p384.spki(Slot::CardAuthentication).unwrap();
    let algorithm = &ring::signature::ECDSA_P384_SHA384_ASN1;
    assert!(is_signed(algorithm, &spki, &signature));
    for (algorithm, length) in [(Algorithm::Rsa2048, 256), (Algorithm::Rsa3072, 384)] {
        let others = [
            Slot::PivAuthentication,
            Slot::Signature,
            Slot::KeyManagement,
        ];
        let rsa = Recipe::new("alice").algorithm(algorithm);
        let rsa = others.into_iter().fold(rsa, Recipe::without);
        let mut card = selected(&rsa);
        let mut block = vec![0xff; length];
        let information = [
            0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x01, 0x05, 0x00, 0x04, 0x20,
        ];
        block[..2].copy_from_slice(&[0, 1]);
        block[length - 52] = 0;
        block[length - 51..length - 32].copy_from_slice(&information);
        block[length - 32..].copy_from_slice(&Sha256::digest(b"statement"));
        let signature = sign(&mut card, Slot::CardAuthentication, algorithm, &block).unwrap();
        let spki = rsa.spki(Slot::CardAuthentication).unwrap();
        let pkcs1 = &ring::signature::RSA_PKCS1_2048_8192_SHA256;
        assert!(is_signed(pkcs1, &spki, &signature));
    }
}

#[test]
fn key_that_is_not_there_or_of_another_kind_is_refused() {
    let recipe = Recipe::new("alice").without(Slot::CardAuthentication);
    assert_eq!(recipe.spki(Slot::CardAuthentication), None);
    let mut card = selected(&recipe);
    let signed = sign_p256(&mut card, Slot::CardAuthentication);
    assert_eq!(signed, Err(Status::WRONG_PARAMETERS));
    assert_eq!(
        ask(&mut card, [0xcb, 0x3f, 0xff], &[0x5c, 3, 0x5f, 0xc1, 0x01]),
        Err(Status::NOT_FOUND)
    );
    let mut card = selected(&Recipe::new("alice"));
    let signed = sign(
        &mut card,
        Slot::CardAuthentication,
        Algorithm::P384,
        &[7; 48],
    );
    assert_eq!(signed, Err(Status::WRONG_PARAMETERS));
}

#[test]
fn cards_that_lie_have_keys_of_their_own() {
    let mallory = Recipe::new("mallory")
        .id_of("alice")
        .certificates_of("alice");
    let alice = Recipe::new("alice");
    assert_eq!(mallory.id(), alice.id());
    let slot = Slot::CardAuthentication;
    assert_eq!(mallory.certificate(slot), alice.certificate(slot));
    assert_ne!(mallory.spki(slot), alice.spki(slot));
    let signature = sign_p256(&mut selected(&mallory), slot).unwrap();
    let p256 = &ring::signature::ECDSA_P256_SHA256_ASN1;
    assert!(!is_signed(p256, &alice.spki(slot).unwrap(), &signature));
    assert!(is_signed(p256, &mallory.spki(slot).unwrap(), &signature));
}

#[test]
fn signing_takes_its_time_or_never_ends() {
    let time = Duration::from_millis(70);
    for (when, expected) in [
        (WhenSigning::After(time), None),
        (WhenSigning::NeverAnswer, Some(Answer::Never)),
        (WhenSigning::TornOut, Some(Answer::TornOut)),
    ] {
        let mut card = selected(&Recipe::new("alice").when_signing(when));
        // What uses no key is as quick as ever.
        assert!(matches!(
            card.answer(GET_CHUID),
            Answer::After(Duration::ZERO, _)
        ));
        let mut command = vec![
            0x00, 0x87, 0x11, 0x9e, 0x26, 0x7c, 0x24, 0x82, 0x00, 0x81, 0x20,
        ];
        command.extend([7; 32]);
        let answer = card.answer(&command);
        match expected {
            Some(expected) => assert_eq!(answer, expected),
            None => assert!(matches!(answer, Answer::After(taken, _) if taken == time)),
        }
    }
}

#[test]
fn certificate_comes_whole_in_pieces_and_in_one() {
    let recipe = Recipe::new("alice");
    let mut card = selected(&recipe);
    let wanted = [0x5c, 3, 0x5f, 0xc1, 0x05];
    let pieces = ask(&mut card, [0xcb, 0x3f, 0xff], &wanted).unwrap();
    let certificate = recipe.certificate(Slot::PivAuthentication).unwrap();
    assert!(pieces.len() > 300);
    assert!(
        pieces
            .windows(certificate.len())
            .any(|part| part == certificate)
    );
    let mut extended = vec![0x00, 0xcb, 0x3f, 0xff, 0x00, 0x00, 0x05];
    extended.extend(wanted);
    extended.extend([0x00, 0x00]);
    let mut whole = card.respond(&extended).unwrap();
    assert_eq!(whole.split_off(whole.len() - 2), [0x90, 0x00]);
    assert_eq!(whole, pieces);
    // What nobody fetched is gone with the next command.
    assert_eq!(
        card.respond(&[0x00, 0xc0, 0x00, 0x00, 0x00]).unwrap(),
        [0x90, 0x00]
    );
}

#[test]
fn printed_information_is_for_those_who_know_the_pin() {
    let mut card = selected(&Recipe::new("alice"));
    let printed = |card: &mut Card| ask(card, [0xcb, 0x3f, 0xff], &[0x5c, 3, 0x5f, 0xc1, 0x09]);
    assert_eq!(printed(&mut card), Err(Status::SECURITY));
    assert_eq!(verify(&mut card, PIN), Ok(()));
    assert!(
        printed(&mut card)
            .unwrap()
            .windows(5)
            .any(|part| part == b"alice")
    );
}

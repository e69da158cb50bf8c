use heliostat_wire::List;
use heliostat_wire::proof::{Algorithm, Challenge, Purpose, statement};
use hil_card::{Algorithm as CardAlgorithm, Card, Recipe, Slot, TestCa};
use proptest::prelude::*;
use sha2::{Digest, Sha256, Sha384};

use super::*;

/// 2026-06-01.
const NOW: u64 = 1_780_272_000;

const KINDS: [(CardAlgorithm, Algorithm); 4] = [
    (CardAlgorithm::P256, Algorithm::EcdsaP256Sha256),
    (CardAlgorithm::P384, Algorithm::EcdsaP384Sha384),
    (CardAlgorithm::Rsa2048, Algorithm::Rsa2048Sha256),
    (CardAlgorithm::Rsa3072, Algorithm::Rsa3072Sha256),
];

fn challenge() -> Challenge {
    Challenge {
        seq: 3,
        nonce: [1; 32],
        purpose: Purpose::Attach,
        key: ProofKey::CardAuthentication,
        want_certificate: false,
    }
}

fn said() -> Vec<u8> {
    let card = Card::id_of("alice").as_str().into();
    statement(&challenge(), &[2; 32], &"desk-a".into(), &card)
}

/// A command and everything of its response.
fn ask(card: &mut Card, header: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut parts = data.chunks(255).peekable();
    let mut response = Vec::new();
    while let Some(part) = parts.next() {
        let mut command = header.to_vec();
        command[0] = if parts.peek().is_some() { 0x10 } else { 0 };
        command.push(part.len() as u8);
        command.extend(part);
        response = card.respond(&command).unwrap();
    }
    let mut whole = Vec::new();
    loop {
        let (data, status) = response.split_at(response.len() - 2);
        whole.extend(data);
        match *status {
            [0x90, 0x00] => return whole,
            [0x61, left] => response = card.respond(&[0, 0xc0, 0, 0, left]).unwrap(),
            _ => panic!("the card says {status:02x?}"),
        }
    }
}

/// What a real card with this recipe signs, as a terminal asks it.
fn signed(recipe: &Recipe, algorithm: Algorithm, statement: &[u8]) -> Proof {
    let mut card = recipe.make();
    ask(
        &mut card,
        [0, 0xa4, 4, 0],
        &[0xa0, 0, 0, 3, 8, 0, 0, 0x10, 0],
    );
    let padded = |length: usize| {
        let info = "3031300d060960864801650304020105000420";
        let info = (0..info.len()).step_by(2);
        let info = info.map(|at| {
            let hex = &"3031300d060960864801650304020105000420"[at..at + 2];
            u8::from_str_radix(hex, 16).unwrap()
        });
        let info: Vec<u8> = info.chain(Sha256::digest(statement)).collect();
        let filling = vec![0xff; length - 3 - info.len()];
        [vec![0, 1], filling, vec![0], info].concat()
    };
    let (number, input) = match algorithm {
        Algorithm::EcdsaP256Sha256 => (0x11, Sha256::digest(statement).to_vec()),
        Algorithm::EcdsaP384Sha384 => (0x14, Sha384::digest(statement).to_vec()),
        Algorithm::Rsa2048Sha256 => (0x07, padded(256)),
        Algorithm::Rsa3072Sha256 => (0x05, padded(384)),
    };
    let object = |tag: u8, value: &[u8]| {
        let mut object = vec![tag, 0x82, (value.len() >> 8) as u8, value.len() as u8];
        object.extend(value);
        object
    };
    let template = object(0x7c, &[&[0x82, 0], &object(0x81, &input)[..]].concat());
    let answer = ask(&mut card, [0, 0x87, number, 0x9e], &template);
    // 7C L 82 L, each length in its shortest form.
    let skip = |bytes: &[u8]| {
        if bytes[1] < 0x80 {
            2
        } else {
            2 + usize::from(bytes[1] & 0x7f)
        }
    };
    let inside = &answer[skip(&answer)..];
    Proof {
        seq: 3,
        algorithm,
        signature: List::new(inside[skip(inside)..].to_vec()).unwrap(),
        certificate: List::default(),
    }
}

fn key_of(recipe: &Recipe) -> EnrolledKey {
    EnrolledKey::from_spki(&recipe.spki(Slot::CardAuthentication).unwrap()).unwrap()
}

fn certificate_of(recipe: &Recipe) -> Vec<u8> {
    recipe.certificate(Slot::CardAuthentication).unwrap()
}

fn authorities() -> Authorities {
    Authorities::from_pem(&TestCa::of_cards().pem()).unwrap()
}

#[test]
fn cards_of_all_kinds_prove_themselves_and_only_for_what_they_signed() {
    for (kind, algorithm) in KINDS {
        let recipe = Recipe::new("alice").algorithm(kind);
        let (key, said) = (key_of(&recipe), said());
        assert_eq!(key.algorithm(), algorithm);
        let proof = signed(&recipe, algorithm, &said);
        assert_eq!(verify(&said, &proof, &key), Ok(()), "{kind:?}");

        let card = Card::id_of("alice").as_str().into();
        let other_card = Card::id_of("bob").as_str().into();
        let made = |change: &dyn Fn(&mut Challenge), exporter, terminal: &str, card| {
            let mut challenge = challenge();
            change(&mut challenge);
            statement(&challenge, &[exporter; 32], &terminal.into(), card)
        };
        let same: &dyn Fn(&mut Challenge) = &|_| {};
        assert_eq!(made(same, 2, "desk-a", &card), said);
        for (what, other) in [
            (
                "another purpose",
                made(&|c| c.purpose = Purpose::Enrol, 2, "desk-a", &card),
            ),
            (
                "another nonce",
                made(&|c| c.nonce[31] = 0, 2, "desk-a", &card),
            ),
            (
                "the key with PIN",
                made(&|c| c.key = ProofKey::PivAuthentication, 2, "desk-a", &card),
            ),
            ("another link", made(same, 3, "desk-a", &card)),
            ("another terminal", made(same, 2, "desk-b", &card)),
            ("another card", made(same, 2, "desk-a", &other_card)),
            ("a part of it", said[..said.len() - 1].to_vec()),
            ("more than it", [&said[..], &[0]].concat()),
        ] {
            assert_eq!(
                verify(&other, &proof, &key),
                Err(ProofError::BadSignature),
                "{what}"
            );
        }
        let stranger = key_of(&Recipe::new("bob").algorithm(kind));
        assert_eq!(
            verify(&said, &proof, &stranger),
            Err(ProofError::BadSignature)
        );
    }
}

#[test]
fn signature_that_is_cut_or_has_something_behind_it_does_not_hold() {
    for (kind, algorithm) in KINDS {
        let recipe = Recipe::new("alice").algorithm(kind);
        let (key, said) = (key_of(&recipe), said());
        let good = signed(&recipe, algorithm, &said);
        let with = |signature: Vec<u8>| Proof {
            signature: List::truncated(signature),
            ..good.clone()
        };
        let bytes = good.signature.to_vec();
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let short = verify(&said, &with(bytes[..cut].to_vec()), &key);
            assert_eq!(short, Err(ProofError::BadSignature));
        }
        if bytes.len() < 384 {
            let long = with([&bytes[..], &[0]].concat());
            assert_eq!(verify(&said, &long, &key), Err(ProofError::BadSignature));
        }
        for (_, other) in KINDS.into_iter().filter(|(_, other)| *other != algorithm) {
            let lying = Proof {
                algorithm: other,
                ..good.clone()
            };
            assert_eq!(verify(&said, &lying, &key), Err(ProofError::OtherAlgorithm));
        }
    }
}

#[test]
fn enrolled_key_survives_the_store_and_is_checked_there() {
    let key = key_of(&Recipe::new("alice"));
    let stored = serde_json::to_string(&key).unwrap();
    let read: EnrolledKey = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, key);
    assert_eq!(
        read.spki(),
        Card::spki_of("alice", Slot::CardAuthentication)
    );
    assert!(read.fingerprint().starts_with("sha256:"));
    assert!(serde_json::from_str::<EnrolledKey>("[48,0]").is_err());
}

#[test]
fn point_off_its_curve_is_no_key() {
    for kind in [CardAlgorithm::P256, CardAlgorithm::P384] {
        let recipe = Recipe::new("alice").algorithm(kind);
        let spki = recipe.spki(Slot::CardAuthentication).unwrap();
        let mut off = spki.clone();
        *off.last_mut().unwrap() ^= 1;
        let why = EnrolledKey::from_spki(&off).unwrap_err();
        assert_eq!(why, KeyError::Unfit("it is no point of its curve"));
        let behind = [&spki[..], &[0]].concat();
        assert!(EnrolledKey::from_spki(&behind).is_err());
        assert!(EnrolledKey::from_spki(&spki[..spki.len() - 1]).is_err());
    }
}

/// A SubjectPublicKeyInfo of an RSA key with these numbers.
fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    fn der(tag: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = match value.len() {
            length @ 0..=0x7f => vec![tag, length as u8],
            length @ 0x80..=0xff => vec![tag, 0x81, length as u8],
            length => vec![tag, 0x82, (length >> 8) as u8, length as u8],
        };
        bytes.extend(value);
        bytes
    }
    let number = |digits: &[u8]| match digits.first() {
        Some(0x80..) => der(2, &[&[0], digits].concat()),
        _ => der(2, digits),
    };
    let key = der(0x30, &[number(modulus), number(exponent)].concat());
    let oid = der(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]);
    let algorithm = der(0x30, &[oid, vec![5, 0]].concat());
    let bits = der(3, &[&[0], &key[..]].concat());
    der(0x30, &[algorithm, bits].concat())
}

#[test]
fn weak_and_odd_rsa_keys_are_refused() {
    let modulus = |bytes: usize, last: u8| {
        let mut modulus = vec![0xc5; bytes];
        modulus[bytes - 1] = last;
        modulus
    };
    let usual = [1, 0, 1];
    assert!(EnrolledKey::from_spki(&rsa_spki(&modulus(256, 0xc5), &usual)).is_ok());
    for (what, modulus, exponent) in [
        ("1024 bits", modulus(128, 0xc5), &usual[..]),
        ("2040 bits", modulus(255, 0xc5), &usual),
        ("4096 bits", modulus(512, 0xc5), &usual),
        ("an even modulus", modulus(256, 0xc4), &usual),
        ("an exponent of one", modulus(256, 0xc5), &[1]),
        ("an exponent of three", modulus(256, 0xc5), &[3]),
        ("an even exponent", modulus(256, 0xc5), &[1, 0, 0]),
        ("a huge exponent", modulus(256, 0xc5), &[0x7f; 200]),
    ] {
        let key = EnrolledKey::from_spki(&rsa_spki(&modulus, exponent));
        assert!(matches!(key, Err(KeyError::Unfit(_))), "{what}: {key:?}");
    }
}

#[test]
fn certificate_of_a_trusted_authority_says_whose_card_it_is() {
    let recipe = Recipe::new("alice");
    let certificate = certificate_of(&recipe);
    let certified = from_certificate(&certificate, NOW, Some(&authorities())).unwrap();
    assert_eq!(certified.key, key_of(&recipe));
    assert!(certified.chained);
    assert!(certified.subject.contains("alice"), "{}", certified.subject);
    assert_eq!(
        certified.card.as_deref(),
        Some(Card::id_of("alice").as_str())
    );
    assert_eq!(certified.role, Some(ProofKey::CardAuthentication));
    assert_eq!(certified.not_after_s, 2_493_072_000);
    let with_pin = recipe.certificate(Slot::PivAuthentication).unwrap();
    let with_pin = from_certificate(&with_pin, NOW, Some(&authorities())).unwrap();
    assert_eq!(with_pin.role, Some(ProofKey::PivAuthentication));
    // Without an authority it is the wrapping of a key.
    for none in [None, Some(&Authorities::default())] {
        let certified = from_certificate(&certificate, 0, none).unwrap();
        assert!(!certified.chained);
    }
}

#[test]
fn certificate_that_no_authority_vouches_for_now_is_refused() {
    let trusted = authorities();
    let judge = |recipe: &Recipe, now| {
        from_certificate(&certificate_of(recipe), now, Some(&trusted)).map(drop)
    };
    let alice = Recipe::new("alice");
    assert_eq!(judge(&alice, NOW), Ok(()));
    assert_eq!(judge(&alice, 1_500_000_000), Err(ProofError::NotYetValid));
    assert_eq!(judge(&alice, 4_000_000_000), Err(ProofError::Expired));
    assert_eq!(
        judge(&alice.clone().expired(), NOW),
        Err(ProofError::Expired)
    );
    assert_eq!(
        judge(&alice.clone().self_signed(), NOW),
        Err(ProofError::Untrusted)
    );
    let elsewhere = Authorities::from_pem(&TestCa::named("another").pem()).unwrap();
    let other = from_certificate(&certificate_of(&alice), NOW, Some(&elsewhere));
    assert_eq!(other.map(drop), Err(ProofError::Untrusted));
    // The same name with another key.
    let mut forged = certificate_of(&alice);
    *forged.last_mut().unwrap() ^= 1;
    let forged = from_certificate(&forged, NOW, Some(&trusted)).map(drop);
    assert_eq!(forged, Err(ProofError::Untrusted));
    // A key that may not sign.
    let management = alice.certificate(Slot::KeyManagement).unwrap();
    let management = from_certificate(&management, NOW, None).map(drop);
    assert_eq!(management, Err(ProofError::NotForSigning));
}

#[test]
fn authority_whose_own_certificate_is_out_of_date_vouches_for_nobody() {
    let alice = certificate_of(&Recipe::new("alice"));
    let expired = TestCa::of_cards_expired().pem();
    let judge = |pem: &str, now| {
        let trusted = Authorities::from_pem(pem).unwrap();
        from_certificate(&alice, now, Some(&trusted)).map(drop)
    };
    // 2024-12-31: the same certificate, while it was good.
    let before = 1_735_603_200;
    assert_eq!(judge(&expired, before), Ok(()));
    assert_eq!(judge(&expired, NOW), Err(ProofError::Untrusted));
    // The authority has a new certificate; the site's file may still have the old one.
    let both = format!("{expired}{}", TestCa::of_cards().pem());
    assert_eq!(judge(&both, NOW), Ok(()));
}

#[test]
fn certificate_of_another_card_does_not_vouch_for_this_one() {
    let thief = Recipe::new("mallory").certificates_of("alice");
    let certified = from_certificate(&certificate_of(&thief), NOW, Some(&authorities())).unwrap();
    assert_eq!(
        certified.card.as_deref(),
        Some(Card::id_of("alice").as_str())
    );
    let proof = signed(&thief, Algorithm::EcdsaP256Sha256, &said());
    assert_eq!(
        verify(&said(), &proof, &certified.key),
        Err(ProofError::BadSignature)
    );
    // And the other way round: a good card of somebody else under her id.
    let thief = Recipe::new("mallory").id_of("alice");
    let certified = from_certificate(&certificate_of(&thief), NOW, Some(&authorities())).unwrap();
    assert_ne!(
        certified.card.as_deref(),
        Some(Card::id_of("alice").as_str())
    );
}

#[test]
fn authority_must_be_one_and_be_alone_in_its_text() {
    let pem = |der: &[u8]| {
        let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
        text.push_str(&base64(der));
        text.push_str("\n-----END CERTIFICATE-----\n");
        text
    };
    let self_signed = certificate_of(&Recipe::new("alice").self_signed());
    let no_authority = Authorities::from_pem(&pem(&self_signed));
    assert!(matches!(no_authority, Err(ProofError::BadAuthority(_))));
    let good = TestCa::of_cards().pem();
    assert!(Authorities::from_pem(&good.repeat(2)).is_ok());
    assert!(Authorities::from_pem("").unwrap().is_empty());
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for bad in [
        format!("{good}{key}"),
        good.replace("-----END", "-----"),
        pem(&[0x30, 0]),
    ] {
        assert!(Authorities::from_pem(&bad).is_err(), "{bad}");
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = (0..3).fold(0u32, |bits, at| {
            bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
        });
        let digit = |at: usize| match at <= chunk.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(group).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_a_key_a_certificate_and_a_proof_or_not(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = EnrolledKey::from_spki(&bytes);
        let _ = from_certificate(&bytes, NOW, Some(&authorities()));
        let _ = Authorities::from_pem(&String::from_utf8_lossy(&bytes));
        let proof = Proof {
            seq: 1,
            algorithm: Algorithm::EcdsaP256Sha256,
            signature: List::truncated(bytes),
            certificate: List::default(),
        };
        prop_assert!(verify(&said(), &proof, &key_of(&Recipe::new("alice"))).is_err());
    }

    #[test]
    fn damaged_certificate_is_never_vouched_for(
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        cut in any::<bool>(),
    ) {
        let good = certificate_of(&Recipe::new("alice"));
        let at = at.index(good.len());
        let mut bad = good.clone();
        match cut {
            true => bad.truncate(at),
            false => bad[at] ^= 1 << bit,
        }
        prop_assert!(from_certificate(&bad, NOW, Some(&authorities())).is_err());
        let _ = from_certificate(&bad, NOW, None);
    }

    #[test]
    fn damaged_key_is_refused_or_is_another(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (good, said) = (key_of(&Recipe::new("alice")), said());
        let mut spki = good.spki().to_vec();
        let at = at.index(spki.len());
        spki[at] ^= 1 << bit;
        if let Ok(key) = EnrolledKey::from_spki(&spki) {
            prop_assert_ne!(&key, &good);
            let proof = signed(&Recipe::new("alice"), Algorithm::EcdsaP256Sha256, &said);
            prop_assert!(verify(&said, &proof, &key).is_err());
        }
    }
}

use heliostat_wire::proof::Algorithm;
use hil_card::{Algorithm as CardAlgorithm, Card, Recipe, Slot, WhenSigning};
use proptest::prelude::*;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::*;

const STATEMENT: &[u8] = b"a statement";

fn order(key: ProofKey) -> Order {
    Order {
        seq: 3,
        key,
        statement: STATEMENT.to_vec(),
        want_certificate: false,
    }
}

fn pin(digits: &str) -> Pin {
    let mut pin = Pin::default();
    digits.bytes().for_each(|digit| pin.push(digit - b'0'));
    pin
}

/// How a proof ended, what was asked on the way, and what it cost.
#[derive(Debug)]
struct Outcome {
    result: Result<Proof, ProofFailure>,
    /// Tries that were left, and whether a PIN had been wrong.
    asked: Vec<(u8, bool)>,
    commands: u32,
    verified: bool,
    key: Option<Key>,
}

/// Makes a proof with a card, typing these PINs one after the other.
fn prove(card: &mut Card, order: Order, known: Option<Key>, pins: &[&str]) -> Outcome {
    let (mut prove, mut step) = Prove::begin(order, known);
    let (mut asked, mut commands) = (Vec::new(), 0);
    let result = loop {
        step = match step {
            Step::Transmit(command) => {
                commands += 1;
                let response = card.respond(command.as_bytes());
                prove.respond(&response.expect("this card answers"))
            }
            Step::AskPin { tries, wrong } => {
                asked.push((tries, wrong));
                prove.pin(&pin(pins[asked.len() - 1]))
            }
            Step::Reset => {
                card.reset();
                prove.reset()
            }
            Step::Done(proof) => break Ok(*proof),
            Step::Failed(why) => break Err(why),
        };
    };
    Outcome {
        result,
        asked,
        commands,
        verified: prove.is_verified(),
        key: prove.key().cloned(),
    }
}

fn verifies(proof: &Proof, spki: &[u8]) -> bool {
    let algorithm: &dyn VerificationAlgorithm = match proof.algorithm {
        Algorithm::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        Algorithm::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
        Algorithm::Rsa2048Sha256 | Algorithm::Rsa3072Sha256 => {
            &signature::RSA_PKCS1_2048_8192_SHA256
        }
    };
    let spki = SubjectPublicKeyInfoOwned::from_der(spki).unwrap();
    let key = spki.subject_public_key.raw_bytes();
    let key = UnparsedPublicKey::new(algorithm, key);
    key.verify(STATEMENT, &proof.signature).is_ok()
}

const KINDS: [(CardAlgorithm, Algorithm); 4] = [
    (CardAlgorithm::P256, Algorithm::EcdsaP256Sha256),
    (CardAlgorithm::P384, Algorithm::EcdsaP384Sha384),
    (CardAlgorithm::Rsa2048, Algorithm::Rsa2048Sha256),
    (CardAlgorithm::Rsa3072, Algorithm::Rsa3072Sha256),
];

#[test]
fn card_of_every_kind_proves_itself_with_and_without_a_pin() {
    for (kind, algorithm) in KINDS {
        for packed in [false, true] {
            let mut recipe = Recipe::new("alice").algorithm(kind);
            if packed {
                recipe = recipe.packed();
            }
            for (key, slot, pins) in [
                (ProofKey::CardAuthentication, Slot::CardAuthentication, 0),
                (ProofKey::PivAuthentication, Slot::PivAuthentication, 1),
            ] {
                let mut order = order(key);
                order.want_certificate = packed;
                let outcome = prove(&mut recipe.make(), order.clone(), None, &["123456"]);
                let proof = outcome.result.unwrap();
                assert_eq!((proof.seq, proof.algorithm), (3, algorithm));
                assert!(verifies(&proof, &recipe.spki(slot).unwrap()), "{kind:?}");
                assert_eq!(outcome.asked.len(), pins);
                assert_eq!(outcome.verified, pins == 1);
                let certificate = recipe.certificate(slot).unwrap();
                let brought = if packed { certificate } else { Vec::new() };
                assert_eq!(proof.certificate[..], brought);
                // Where the key is known, its certificate is not read.
                let known = outcome.key.clone();
                let again = prove(&mut recipe.make(), order, known, &["123456"]);
                assert!(again.commands < outcome.commands);
                eprintln!(
                    "{kind:?} {key:?} packed {packed}: {} commands, {} where the key is known",
                    outcome.commands, again.commands
                );
            }
        }
    }
}

#[test]
fn proof_without_pin_costs_two_commands_where_the_key_is_known() {
    let recipe = Recipe::new("alice");
    let mut card = recipe.make();
    let (mut read, mut command) = ReadKey::begin(ProofKey::CardAuthentication);
    let key = loop {
        match read.respond(&card.respond(command.as_bytes()).unwrap()) {
            Ok(next) => command = next,
            Err(key) => break key.unwrap(),
        }
    };
    let order = order(ProofKey::CardAuthentication);
    let outcome = prove(&mut card, order, Some(key), &[]);
    let proof = outcome.result.unwrap();
    assert!(verifies(
        &proof,
        &recipe.spki(Slot::CardAuthentication).unwrap()
    ));
    assert_eq!(outcome.commands, 2);
}

#[test]
fn wrong_pin_is_asked_for_again_until_one_try_is_left() {
    let order = || order(ProofKey::PivAuthentication);
    let mut card = Recipe::new("alice").make();
    let outcome = prove(&mut card, order(), None, &["111111", "123456"]);
    assert_eq!(outcome.asked, [(3, false), (2, true)]);
    assert!(outcome.result.is_ok() && outcome.verified);
    assert_eq!(card.pin_tries(), Some(3));

    card.reset();
    let outcome = prove(&mut card, order(), None, &["111111", "222222"]);
    assert_eq!(outcome.asked, [(3, false), (2, true)]);
    assert_eq!(outcome.result, Err(ProofFailure::PinBlocked));
    assert!(!outcome.verified);
    assert_eq!(card.pin_tries(), Some(1), "the last try is never spent");

    // Nor is it when it is the first thing that is met.
    let outcome = prove(&mut card, order(), None, &[]);
    assert_eq!(outcome.result, Err(ProofFailure::PinBlocked));
    assert_eq!(card.pin_tries(), Some(1));
    let mut blocked = Recipe::new("bob").tries_left(0).make();
    let outcome = prove(&mut blocked, order(), None, &[]);
    assert_eq!(outcome.result, Err(ProofFailure::PinBlocked));
}

#[test]
fn pin_that_somebody_else_has_typed_proves_nothing() {
    let mut card = Recipe::new("alice").make();
    let order = || order(ProofKey::PivAuthentication);
    assert!(prove(&mut card, order(), None, &["123456"]).verified);
    // It has not been reset, so that it would sign at once.
    let outcome = prove(&mut card, order(), None, &["123456"]);
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.asked, [(3, false)]);
}

#[test]
fn card_without_the_key_says_so_before_a_pin_is_asked_for() {
    let bare = Recipe::new("alice")
        .without(Slot::PivAuthentication)
        .without(Slot::CardAuthentication);
    for key in [ProofKey::CardAuthentication, ProofKey::PivAuthentication] {
        let outcome = prove(&mut bare.make(), order(key), None, &[]);
        assert_eq!(outcome.result, Err(ProofFailure::NoKey));
        assert!(outcome.asked.is_empty());
    }
}

#[test]
fn card_that_is_torn_out_leaves_no_machine_that_goes_on() {
    let torn = Recipe::new("alice").when_signing(WhenSigning::TornOut);
    let mut card = torn.make();
    let (mut prove, mut step) = Prove::begin(order(ProofKey::CardAuthentication), None);
    while let Step::Transmit(command) = step {
        // What a reader says then is an error, and here an empty response at the worst.
        step = prove.respond(&card.respond(command.as_bytes()).unwrap_or_default());
    }
    assert_eq!(step, Step::Failed(ProofFailure::CardFailed));
    assert_eq!(
        prove.respond(&[0x90, 0]),
        Step::Failed(ProofFailure::CardFailed)
    );
}

/// Runs a machine against any answers; panics where it does not end.
fn against(order: Order, known: Option<Key>, answer: impl Fn(u32, &[u8]) -> Vec<u8>) -> Step {
    let (mut prove, mut step) = Prove::begin(order, known);
    let (mut commands, mut questions, mut resets) = (0, 0, 0);
    loop {
        step = match step {
            Step::Transmit(command) => {
                commands += 1;
                assert!(commands < 10_000, "a card keeps us busy for ever");
                prove.respond(&answer(commands, command.as_bytes()))
            }
            Step::AskPin { tries, .. } => {
                questions += 1;
                assert!(tries >= 2 && questions <= MAX_QUESTIONS);
                prove.pin(&pin("123456"))
            }
            Step::Reset => {
                resets += 1;
                assert_eq!(resets, 1);
                prove.reset()
            }
            over => return over,
        };
    }
}

fn some_key() -> Key {
    let recipe = Recipe::new("alice");
    let certificate = recipe.certificate(Slot::PivAuthentication).unwrap();
    Key {
        algorithm: Algorithm::EcdsaP256Sha256,
        certificate,
    }
}

#[test]
fn endless_cards_are_given_up() {
    for key in [ProofKey::CardAuthentication, ProofKey::PivAuthentication] {
        for known in [None, Some(some_key())] {
            type Answer<'a> = &'a dyn Fn(u32, &[u8]) -> Vec<u8>;
            let endless: [Answer<'_>; 5] = [
                &|_, _| [vec![0; 250], vec![0x61, 0xff]].concat(),
                &|_, _| vec![0x61, 0xff],
                &|_, _| vec![0x6c, 0x10],
                &|_, command| match command[1] {
                    0xcb | 0xc0 => vec![0x53, 0x61, 0x01],
                    _ => vec![0x90, 0x00],
                },
                // It counts its tries up.
                &|_, command| match command[1] {
                    0x20 => vec![0x63, 0xcf],
                    _ => vec![0x90, 0x00],
                },
            ];
            for answer in endless {
                let step = against(order(key), known.clone(), answer);
                assert!(matches!(step, Step::Failed(_)), "{step:?}");
            }
        }
    }
}

#[test]
fn packed_certificate_that_swells_is_refused() {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![0; 4 << 20]).unwrap();
    let packed = packer.finish().unwrap();
    assert!(packed.len() < 8192);
    let tlv = |tag: u8, value: &[u8]| {
        let mut bytes = vec![tag, 0x82, (value.len() >> 8) as u8, value.len() as u8];
        bytes.extend(value);
        bytes
    };
    let object = tlv(0x53, &[tlv(0x70, &packed), vec![0x71, 1, 1]].concat());
    assert_eq!(Key::from_object(&object), Err(ProofFailure::Unsupported));
}

proptest! {
    #[test]
    fn any_answers_end_a_proof(
        with_pin in any::<bool>(),
        known in any::<bool>(),
        answers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8),
        good in any::<u32>(),
    ) {
        let key = match with_pin {
            true => ProofKey::PivAuthentication,
            false => ProofKey::CardAuthentication,
        };
        // Some of the answers say that all is well, so that the later states are met.
        let step = against(order(key), known.then(some_key), |n, _| {
            let mut answer = answers[n as usize % answers.len()].clone();
            if good >> (n % 32) & 1 == 1 {
                answer.extend(match n % 3 { 0 => [0x63, 0xc3], 1 => [0x90, 0], _ => [0x61, 9] });
            }
            answer
        });
        prop_assert!(matches!(step, Step::Done(_) | Step::Failed(_)));
    }

    #[test]
    fn any_object_is_a_certificate_or_not(
        object in prop::collection::vec(any::<u8>(), 0..80),
        info in any::<u8>(),
    ) {
        let _ = Key::from_object(&object);
        let mut inside = vec![0x70, object.len() as u8];
        inside.extend(&object);
        inside.extend([0x71, 1, info]);
        let _ = Key::from_object(&[vec![0x53, inside.len() as u8], inside].concat());
    }

    #[test]
    fn damaged_certificate_is_refused_or_read(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut certificate = some_key().certificate;
        let at = at.index(certificate.len());
        certificate[at] ^= 1 << bit;
        let (high, low) = ((certificate.len() >> 8) as u8, certificate.len() as u8);
        let inside = [vec![0x70, 0x82, high, low], certificate].concat();
        let (high, low) = ((inside.len() >> 8) as u8, inside.len() as u8);
        let _ = Key::from_object(&[vec![0x53, 0x82, high, low], inside].concat());
    }
}

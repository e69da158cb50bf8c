use hil_card::{Card as Virtual, Kind, Recipe, Slot};

use super::*;

const NONCE: [u8; 32] = [7; 32];

fn read_virtual(mut card: Virtual) -> anyhow::Result<Read> {
    let atr = card.atr().to_vec();
    read(&atr, &NONCE, |command| {
        card.respond(command).context("the card was torn out")
    })
}

#[test]
fn piv_card_tells_its_keys_and_has_signed_with_one() {
    let read = read_virtual(Virtual::named("alice")).unwrap();
    assert_eq!(read.card.id.as_str(), Virtual::id_of("alice"));
    let card_key = Virtual::spki_of("alice", Slot::CardAuthentication);
    assert_eq!(read.card_key.as_ref().unwrap().spki(), card_key);
    let owner_key = Virtual::spki_of("alice", Slot::PivAuthentication);
    assert_eq!(read.owner_key.as_ref().unwrap().spki(), owner_key);
    let text = read.text(Some("card piv:… is alice's"));
    assert!(text.contains("has signed just now"), "{text}");
    assert!(text.contains("as its certificate says"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    let json = read.json(None);
    assert_eq!(json["card_key"]["proven"], true);
    assert_eq!(json["owner_key"]["proven"], false);
    assert_eq!(json["owner_key"]["spki"], hex::digits(&owner_key));
}

#[test]
fn card_with_the_certificates_of_another_is_found_out() {
    let copy = Recipe::new("mallory")
        .id_of("alice")
        .certificates_of("alice");
    let why = read_virtual(copy.make()).unwrap_err().to_string();
    assert!(why.contains("it is a copy"), "{why}");
}

#[test]
fn card_without_a_key_is_read_and_says_so() {
    let read = read_virtual(Recipe::new("old").without(Slot::CardAuthentication).make()).unwrap();
    assert!(read.card_key.is_none() && read.owner_key.is_some());
    assert!(read.text(None).contains("9E      no such key"));
    let read = read_virtual(Virtual::new(Kind::Uid(vec![4, 1, 2, 3, 4, 5, 6]))).unwrap();
    assert_eq!(read.card.id.as_str(), "uid:04010203040506");
    assert!(read.text(None).contains("proves nothing"));
    assert!(read.text(Some("given")).contains("needs a password"));
}

#[test]
fn card_that_answers_nonsense_is_given_up() {
    let garbage = read_virtual(Virtual::new(Kind::Garbage));
    assert!(
        garbage.as_ref().is_err() || garbage.as_ref().is_ok_and(|read| read.card_key.is_none()),
        "{garbage:?}"
    );
    let silent = read_virtual(Virtual::new(Kind::Silent)).unwrap_err();
    assert!(silent.to_string().contains("torn out"), "{silent}");
}

//! A client of PC/SC, as the terminal is one.

use std::time::{Duration, Instant};

use hil_card::{Card, Recipe, Slot, WhenSigning};
use pcsc::{Error, MAX_BUFFER_SIZE_EXTENDED, Protocols, ShareMode, State};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use crate::world::{World, inside};

const SELECT: &[u8] = &[
    0x00, 0xa4, 0x04, 0x00, 5, 0xa0, 0x00, 0x00, 0x03, 0x08, 0x00,
];

/// GENERAL AUTHENTICATE of "statement" with 9E.
fn sign() -> Vec<u8> {
    let hash = ring::digest::digest(&ring::digest::SHA256, b"statement");
    let mut command = vec![
        0x00, 0x87, 0x11, 0x9e, 0x26, 0x7c, 0x24, 0x82, 0x00, 0x81, 0x20,
    ];
    command.extend(hash.as_ref());
    command.push(0x00);
    command
}

fn connect(world: &World) -> pcsc::Card {
    let protocols = Protocols::ANY;
    let card = world
        .context()
        .connect(world.reader(), ShareMode::Shared, protocols)
        .unwrap();
    let selected = transmit(&card, SELECT).unwrap();
    assert!(selected.ends_with(&[0x90, 0x00]));
    card
}

fn transmit(card: &pcsc::Card, command: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = [0; MAX_BUFFER_SIZE_EXTENDED];
    card.transmit(command, &mut buffer).map(<[u8]>::to_vec)
}

#[test]
fn signature_is_of_the_named_cards_key() {
    inside(
        "pcsc_client::signature_is_of_the_named_cards_key",
        &[],
        |world| {
            let inserted = world.insert(Card::named("alice"));
            let response = transmit(&connect(world), &sign()).unwrap();
            let [0x7c, _, 0x82, _, signature @ .., 0x90, 0x00] = &response[..] else {
                panic!("{response:02x?}")
            };
            let of = |name| {
                let spki = Card::spki_of(name, Slot::CardAuthentication);
                // The point ends the SubjectPublicKeyInfo.
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, spki[spki.len() - 65..].to_vec())
            };
            assert!(of("alice").verify(b"statement", signature).is_ok());
            assert!(of("bob").verify(b"statement", signature).is_err());
            world.pull(inserted);
        },
    );
}

#[test]
fn slow_card_takes_its_time_for_signatures_only() {
    let name = "pcsc_client::slow_card_takes_its_time_for_signatures_only";
    inside(name, &[], |world| {
        let time = Duration::from_secs(2);
        let recipe = Recipe::new("alice").when_signing(WhenSigning::After(time));
        let inserted = world.insert(recipe.make());
        let card = connect(world);
        let started = Instant::now();
        assert!(transmit(&card, &sign()).unwrap().ends_with(&[0x90, 0x00]));
        assert!(started.elapsed() >= time);
        // A whole conversation without a signature takes less than one signature.
        let started = Instant::now();
        for _ in 0..10 {
            transmit(&card, SELECT).unwrap();
        }
        assert!(started.elapsed() < time, "{:?}", started.elapsed());
        world.pull(inserted);
    });
}

#[test]
fn card_torn_out_while_it_signs_breaks_the_transfer_and_is_gone() {
    let name = "pcsc_client::card_torn_out_while_it_signs_breaks_the_transfer_and_is_gone";
    inside(name, &[], |world| {
        let recipe = Recipe::new("alice").when_signing(WhenSigning::TornOut);
        let inserted = world.insert(recipe.make());
        let card = connect(world);
        // The virtual reader calls it a success, of no bytes at all.
        let broken = transmit(&card, &sign());
        assert!(
            matches!(broken.as_deref(), Err(_) | Ok([])),
            "{broken:02x?}"
        );
        world.wait(State::EMPTY);
        inserted.wait().unwrap();
        // The next card is read as if nothing had been.
        let inserted = world.insert(Card::named("alice"));
        assert!(transmit(&connect(world), &sign()).is_ok());
        world.pull(inserted);
    });
}

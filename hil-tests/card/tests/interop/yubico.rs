//! yubico-piv-tool, which asks for more than PIV has and takes a card that has not.

use hil_card::{Algorithm, Recipe, Slot};

use crate::world::{World, inside};

const TOOL: &str = "yubico-piv-tool";

fn arguments(text: &str) -> Vec<&str> {
    ["--reader", "Virtual"]
        .into_iter()
        .chain(text.split(' '))
        .collect()
}

fn ok(world: &World, text: &str) -> String {
    world.ok(TOOL, &arguments(text))
}

fn fails(world: &World, text: &str) -> String {
    world.fails(TOOL, &arguments(text))
}

#[test]
fn yubicos_tool_reads_the_card() {
    let name = "yubico::yubicos_tool_reads_the_card";
    inside(name, &[TOOL], |world| {
        let recipe = Recipe::new("alice").without(Slot::CardAuthentication);
        let inserted = world.insert(recipe.make());
        let status = ok(world, "--action status");
        let guid = recipe.id().replace("piv:", "");
        assert!(status.contains(&guid), "{status}");
        assert!(status.contains("PIN tries left:\t3"), "{status}");
        for slot in ["9a", "9c", "9d"] {
            assert!(status.contains(&format!("Slot {slot}")), "{status}");
            let file = format!("{slot}.pem");
            let read = format!("--action read-certificate --slot {slot} --output {file}");
            ok(world, &read);
            world.ok("openssl", &["verify", "-CAfile", "ca.pem", &file]);
        }
        assert!(!status.contains("Slot 9e"), "{status}");
        // Attestation is the vendor's.
        fails(world, "--action attest --slot 9a");
        world.pull(inserted);
    });
}

#[test]
fn yubicos_tool_finds_that_the_keys_are_those_of_the_certificates() {
    let name = "yubico::yubicos_tool_finds_that_the_keys_are_those_of_the_certificates";
    inside(name, &[TOOL], |world| {
        for (algorithm, kind) in [
            (Algorithm::P256, "ECCP256"),
            (Algorithm::P384, "ECCP384"),
            (Algorithm::Rsa2048, "RSA2048"),
        ] {
            let recipe = Recipe::new("alice").algorithm(algorithm);
            let inserted = world.insert(recipe.make());
            for (slot, test, said) in [
                ("9a", "test-signature", "verification"),
                ("9c", "test-signature", "verification"),
                ("9d", "test-decipher", "Success"),
                ("9e", "test-signature", "verification"),
            ] {
                ok(
                    world,
                    &format!("--action read-certificate --slot {slot} --output read.pem"),
                );
                let rest =
                    format!("--action {test} --slot {slot} --algorithm {kind} --input read.pem");
                let text = match slot {
                    "9e" => ok(world, &rest),
                    _ => ok(world, &format!("--action verify-pin --pin 123456 {rest}")),
                };
                assert!(
                    text.contains("Success") && text.contains(said),
                    "{slot}: {text}"
                );
            }
            world.pull(inserted);
        }
        // Without the PIN, 9A does nothing.
        let inserted = world.insert(Recipe::new("alice").make());
        ok(
            world,
            "--action read-certificate --slot 9a --output read.pem",
        );
        let sign = "--action test-signature --slot 9a --algorithm ECCP256 --input read.pem";
        let said = fails(world, sign);
        assert!(!said.contains("Success"), "{said}");
        world.pull(inserted);
        // A card with another's certificate.
        let mallory = Recipe::new("mallory")
            .id_of("alice")
            .certificates_of("alice");
        let inserted = world.insert(mallory.make());
        ok(
            world,
            "--action read-certificate --slot 9e --output read.pem",
        );
        let (_, text) = world.run(
            TOOL,
            &arguments("--action test-signature --slot 9e --algorithm ECCP256 --input read.pem"),
        );
        assert!(text.contains("Failed ECDSA verification"), "{text}");
        world.pull(inserted);
    });
}

#[test]
fn yubicos_tool_counts_tries_as_the_card_does() {
    let name = "yubico::yubicos_tool_counts_tries_as_the_card_does";
    inside(name, &[TOOL], |world| {
        let card = Recipe::new("alice").tries_left(2).make();
        let inserted = world.insert(card.clone());
        let wrong = fails(world, "--action verify-pin --pin 000000");
        assert!(wrong.contains("1 tries left"), "{wrong}");
        assert_eq!(card.pin_tries(), Some(1));
        fails(world, "--action verify-pin --pin 000000");
        let blocked = fails(world, "--action verify-pin --pin 123456");
        assert!(blocked.contains("blocked"), "{blocked}");
        ok(
            world,
            "--action unblock-pin --pin 12345678 --new-pin 654321",
        );
        ok(world, "--action change-pin --pin 654321 --new-pin 222222");
        ok(world, "--action verify-pin --pin 222222");
        assert_eq!(card.pin_tries(), Some(3));
        world.pull(inserted);
    });
}

//! OpenSC: its own tools, and PKCS #11.

use std::fs;

use hil_card::{Algorithm, Card, Recipe, Slot};

use crate::world::{World, inside};

/// OpenSC's ids of keys and certificates.
const IDS: [(&str, Slot); 4] = [
    ("01", Slot::PivAuthentication),
    ("02", Slot::Signature),
    ("03", Slot::KeyManagement),
    ("04", Slot::CardAuthentication),
];

/// Reads a certificate into `ID.pem`.
fn read_certificate(world: &World, id: &str) -> String {
    let file = format!("{id}.pem");
    let output = world.file(&file);
    let output = output.to_str().unwrap();
    world.ok(
        "pkcs15-tool",
        &[
            "--reader",
            "0",
            "--read-certificate",
            id,
            "--output",
            output,
        ],
    );
    file
}

#[test]
fn opensc_reads_the_certificates() {
    let name = "opensc::opensc_reads_the_certificates";
    inside(name, &["opensc-tool", "pkcs15-tool"], |world| {
        for recipe in [Recipe::new("alice"), Recipe::new("bob").packed()] {
            let inserted = world.insert(recipe.make());
            let card = world.ok("opensc-tool", &["--reader", "0", "--name"]);
            assert_eq!(card.trim(), "Personal Identity Verification Card");
            let serial = world.ok("opensc-tool", &["--reader", "0", "--serial"]);
            let digits = serial.split_whitespace().take(16).collect::<String>();
            assert_eq!(format!("piv:{}", digits.to_lowercase()), recipe.id());
            for (id, slot) in IDS {
                let file = read_certificate(world, id);
                let der = ["x509", "-in", &file, "-outform", "DER", "-out", "read.der"];
                world.ok("openssl", &der);
                let read = fs::read(world.file("read.der")).unwrap();
                assert_eq!(Some(read), recipe.certificate(slot), "{slot:?}");
                let said = world.ok("openssl", &["verify", "-CAfile", "ca.pem", &file]);
                assert!(said.contains("OK"), "{said}");
            }
            world.pull(inserted);
        }
        let inserted = world.insert(Recipe::new("alice").expired().make());
        let file = read_certificate(world, "04");
        let said = world.fails("openssl", &["verify", "-CAfile", "ca.pem", &file]);
        assert!(said.contains("certificate has expired"), "{said}");
        world.pull(inserted);
        let inserted = world.insert(Recipe::new("alice").self_signed().make());
        let file = read_certificate(world, "04");
        world.fails("openssl", &["verify", "-CAfile", "ca.pem", &file]);
        world.ok("openssl", &["verify", "-CAfile", &file, &file]);
        world.pull(inserted);
    });
}

/// Signs with each key that signs, as PKCS #11 does it.
fn sign_with_all(world: &World, algorithm: Algorithm, mechanism: &str, hash: &str) {
    let recipe = Recipe::new("alice").algorithm(algorithm);
    let inserted = world.insert(recipe.make());
    for (id, slot) in IDS {
        if slot == Slot::KeyManagement {
            continue;
        }
        let certificate = read_certificate(world, id);
        let sign = [
            "--login",
            "--pin",
            "123456",
            "--sign",
            "--id",
            id,
            "--mechanism",
            mechanism,
            "--signature-format",
            "openssl",
            "--input-file",
            "statement",
            "--output-file",
            "signature",
        ];
        world.ok("pkcs11-tool", &sign);
        world.assert_signed(hash, &certificate, "signature");
    }
    world.pull(inserted);
}

#[test]
fn opensc_signs_with_p256() {
    let name = "opensc::opensc_signs_with_p256";
    inside(name, &["pkcs11-tool", "pkcs15-tool"], |world| {
        sign_with_all(world, Algorithm::P256, "ECDSA-SHA256", "-sha256");
    });
}

#[test]
fn opensc_signs_with_p384() {
    let name = "opensc::opensc_signs_with_p384";
    inside(name, &["pkcs11-tool", "pkcs15-tool"], |world| {
        sign_with_all(world, Algorithm::P384, "ECDSA-SHA384", "-sha384");
    });
}

#[test]
fn opensc_signs_with_rsa() {
    let name = "opensc::opensc_signs_with_rsa";
    inside(name, &["pkcs11-tool", "pkcs15-tool"], |world| {
        sign_with_all(world, Algorithm::Rsa2048, "SHA256-RSA-PKCS", "-sha256");
        sign_with_all(world, Algorithm::Rsa3072, "SHA256-RSA-PKCS", "-sha256");
    });
}

#[test]
fn opensc_agrees_on_a_secret_and_decrypts() {
    let name = "opensc::opensc_agrees_on_a_secret_and_decrypts";
    inside(name, &["pkcs11-tool", "pkcs15-tool"], |world| {
        let inserted = world.insert(Recipe::new("alice").make());
        let make = "ecparam -name prime256v1 -genkey -noout -out other.pem";
        world.ok("openssl", &make.split(' ').collect::<Vec<_>>());
        let public = "ec -in other.pem -pubout -outform DER -out other.der";
        world.ok("openssl", &public.split(' ').collect::<Vec<_>>());
        let derive = "--login --pin 123456 --derive --id 03 --mechanism ECDH1-DERIVE \
                      --input-file other.der --output-file secret";
        world.ok(
            "pkcs11-tool",
            &derive.split_whitespace().collect::<Vec<_>>(),
        );
        let certificate = read_certificate(world, "03");
        let key = world.ok(
            "openssl",
            &["x509", "-in", &certificate, "-noout", "-pubkey"],
        );
        fs::write(world.file("key.pem"), key).unwrap();
        let derive = "pkeyutl -derive -inkey other.pem -peerkey key.pem -out theirs";
        world.ok("openssl", &derive.split(' ').collect::<Vec<_>>());
        let secret = fs::read(world.file("secret")).unwrap();
        assert_eq!(secret, fs::read(world.file("theirs")).unwrap());
        world.pull(inserted);

        let recipe = Recipe::new("alice").algorithm(Algorithm::Rsa2048);
        let inserted = world.insert(recipe.make());
        let certificate = read_certificate(world, "03");
        let encrypt = [
            "pkeyutl",
            "-encrypt",
            "-certin",
            "-inkey",
            &certificate,
            "-in",
            "statement",
            "-out",
            "encrypted",
        ];
        world.ok("openssl", &encrypt);
        let decrypt = "--login --pin 123456 --decrypt --id 03 --mechanism RSA-PKCS \
                       --input-file encrypted --output-file decrypted";
        world.ok(
            "pkcs11-tool",
            &decrypt.split_whitespace().collect::<Vec<_>>(),
        );
        assert_eq!(fs::read(world.file("decrypted")).unwrap(), b"statement");
        world.pull(inserted);
    });
}

#[test]
fn opensc_changes_and_unblocks_the_pin() {
    let name = "opensc::opensc_changes_and_unblocks_the_pin";
    inside(name, &["pkcs11-tool", "pkcs15-tool"], |world| {
        let card = Card::named("alice");
        let mut inserted = world.insert(card.clone());
        let verify = |pin| ["--reader", "0", "--verify-pin", "--pin", pin];
        world.ok("pkcs15-tool", &verify("123456"));
        for left in [2, 1, 0] {
            world.fails("pkcs15-tool", &verify("000000"));
            assert_eq!(card.pin_tries(), Some(left));
            world.pull(inserted);
            inserted = world.insert(Card::named("alice"));
        }
        world.fails("pkcs15-tool", &verify("123456"));
        let unblock = "--reader 0 --unblock-pin --puk 12345678 --new-pin 654321";
        world.ok("pkcs15-tool", &unblock.split(' ').collect::<Vec<_>>());
        assert_eq!(card.pin_tries(), Some(3));
        let change = "--reader 0 --change-pin --pin 654321 --new-pin 222222";
        world.ok("pkcs15-tool", &change.split(' ').collect::<Vec<_>>());
        world.fails("pkcs15-tool", &verify("654321"));
        world.ok("pkcs15-tool", &verify("222222"));
        assert_eq!(card.pin_tries(), Some(3));
        world.pull(inserted);
    });
}

//! The reader towards QEMU's card device, whose end of the socket the test holds.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use hil_card::{Card, Reader, Recipe, WhenSigning};

const ATR: u32 = 5;
const CARD_REMOVE: u32 = 6;
const APDU: u32 = 7;
const SELECT: &[u8] = &[
    0x00, 0xa4, 0x04, 0x00, 5, 0xa0, 0x00, 0x00, 0x03, 0x08, 0x00,
];
const BROKEN: [u8; 2] = [0x6f, 0x00];

/// QEMU's end.
struct Device(UnixStream);

impl Device {
    fn next(&mut self) -> (u32, Vec<u8>) {
        let mut header = [0; 12];
        self.0.read_exact(&mut header).unwrap();
        let field = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        let mut data = vec![0; field(8) as usize];
        self.0.read_exact(&mut data).unwrap();
        (field(0), data)
    }

    fn send(&mut self, command: &[u8]) {
        let mut bytes = [APDU.to_be_bytes(), [0; 4]].concat();
        bytes.extend((command.len() as u32).to_be_bytes());
        bytes.extend(command);
        self.0.write_all(&bytes).unwrap();
    }

    fn ask(&mut self, command: &[u8]) -> Vec<u8> {
        self.send(command);
        let (message, response) = self.next();
        assert_eq!(message, APDU);
        response
    }
}

fn sign() -> Vec<u8> {
    let mut command = vec![
        0x00, 0x87, 0x11, 0x9e, 0x26, 0x7c, 0x24, 0x82, 0x00, 0x81, 0x20,
    ];
    command.extend([7; 32]);
    command.push(0x00);
    command
}

fn reader() -> (Reader, Device) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("card");
    let listener = UnixListener::bind(&socket).unwrap();
    let reader = Reader::connect(&socket).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut device = Device(stream);
    assert_eq!(device.next().1[..4], *b"VSCD");
    assert_eq!(device.next(), (3, b"Heliostat\0".to_vec()));
    (reader, device)
}

/// Inserts a card and selects PIV.
fn insert(reader: &Reader, device: &mut Device, card: Card) {
    let atr = card.atr().to_vec();
    reader.insert(card).unwrap();
    assert_eq!(device.next(), (ATR, atr));
    assert!(device.ask(SELECT).ends_with(&[0x90, 0x00]));
}

#[test]
fn inserted_card_signs() {
    let (reader, mut device) = reader();
    insert(&reader, &mut device, Card::named("alice"));
    assert!(device.ask(&sign()).ends_with(&[0x90, 0x00]));
    reader.pull().unwrap();
    assert_eq!(device.next(), (CARD_REMOVE, Vec::new()));
    assert!(!reader.has_card());
}

#[test]
fn card_pulled_while_it_signs_breaks_the_transfer() {
    let (reader, mut device) = reader();
    // Longer than anybody waits.
    let when = WhenSigning::After(Duration::from_secs(3600));
    let card = Recipe::new("alice").when_signing(when).make();
    insert(&reader, &mut device, card);
    device.send(&sign());
    reader.pull().unwrap();
    let mut said = [device.next(), device.next()];
    said.sort_unstable();
    assert_eq!(said, [(CARD_REMOVE, vec![]), (APDU, BROKEN.to_vec())]);
}

#[test]
fn card_torn_out_while_it_signs_breaks_every_transfer_until_it_is_pulled() {
    let (reader, mut device) = reader();
    let card = Recipe::new("alice").when_signing(WhenSigning::TornOut);
    insert(&reader, &mut device, card.make());
    assert_eq!(device.ask(&sign()), BROKEN);
    assert!(!reader.has_card());
    assert_eq!(device.ask(SELECT), BROKEN);
    reader.pull().unwrap();
    assert_eq!(device.next().0, CARD_REMOVE);
    insert(&reader, &mut device, Card::named("alice"));
}

#[test]
fn card_is_torn_out_after_so_many_commands() {
    let (reader, mut device) = reader();
    reader.insert_and_tear(Card::named("alice"), 1).unwrap();
    assert_eq!(device.next().0, ATR);
    assert!(device.ask(SELECT).ends_with(&[0x90, 0x00]));
    assert!(reader.has_card());
    assert_eq!(device.ask(SELECT), BROKEN);
    assert!(!reader.has_card());
}

//! The data objects of a card (SP 800-73-5, part 1, 3).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::keys::Slot;
use crate::tlv::{split_tlv, tlv};

/// The application identifier of PIV, with its version.
pub const PIV_AID: &[u8] = &[
    0xa0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00,
];

/// Who may read an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Everybody.
    Free,
    /// Whoever has verified the PIN.
    WithPin,
}

/// What a card holds beside its keys.
#[derive(Debug, Clone, Default)]
pub struct Objects(Vec<Object>);

#[derive(Debug, Clone)]
struct Object {
    tag: &'static [u8],
    read: Read,
    content: Vec<u8>,
}

impl Objects {
    /// The objects of a card with this GUID and holder, without certificates.
    pub fn new(guid: [u8; 16], name: &str) -> Self {
        let mut objects = Self::default();
        objects.put(&[0x5f, 0xc1, 0x02], Read::Free, tlv(0x53, &chuid(guid)));
        objects.put(&[0x5f, 0xc1, 0x07], Read::Free, tlv(0x53, &ccc(guid)));
        objects.put(
            &[0x5f, 0xc1, 0x09],
            Read::WithPin,
            tlv(0x53, &printed(name)),
        );
        objects.put(&[0x5f, 0xc1, 0x0c], Read::Free, tlv(0x53, &key_history()));
        objects.put(&[0x7e], Read::Free, discovery());
        objects
    }

    /// Adds the certificate of a slot, packed with gzip where that is wanted.
    pub fn put_certificate(&mut self, slot: Slot, certificate: &[u8], packed: bool) {
        let (bytes, information) = match packed {
            true => (gzip(certificate), 0x01),
            false => (certificate.to_vec(), 0x00),
        };
        let container = [tlv(0x70, &bytes), tlv(0x71, &[information]), tlv(0xfe, &[])].concat();
        self.put(certificate_tag(slot), Read::Free, tlv(0x53, &container));
    }

    /// What GET DATA's data names: the object and who may read it.
    pub fn get(&self, wanted: &[u8]) -> Option<(&[u8], Read)> {
        let (0x5c, tag, []) = split_tlv(wanted)? else {
            return None;
        };
        let object = self.0.iter().find(|object| object.tag == tag)?;
        Some((&object.content, object.read))
    }

    fn put(&mut self, tag: &'static [u8], read: Read, content: Vec<u8>) {
        self.0.push(Object { tag, read, content });
    }
}

fn certificate_tag(slot: Slot) -> &'static [u8] {
    match slot {
        Slot::PivAuthentication => &[0x5f, 0xc1, 0x05],
        Slot::Signature => &[0x5f, 0xc1, 0x0a],
        Slot::KeyManagement => &[0x5f, 0xc1, 0x0b],
        Slot::CardAuthentication => &[0x5f, 0xc1, 0x01],
    }
}

/// The application property template, which SELECT answers with.
pub fn application() -> Vec<u8> {
    let property = [
        tlv(0x4f, &PIV_AID[5..]),
        tlv(0x79, &tlv(0x4f, &PIV_AID[..5])),
        tlv(0x50, b"Heliostat virtual card"),
    ];
    tlv(0x61, &property.concat())
}

/// The GUID of a name.
pub fn guid_of(name: &str) -> [u8; 16] {
    // FNV-1a, twice with other beginnings: spread enough for names in a test.
    let half = |start: u64| {
        name.bytes().fold(start, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let mut guid = [0; 16];
    guid[..8].copy_from_slice(&half(0xcbf2_9ce4_8422_2325).to_be_bytes());
    guid[8..].copy_from_slice(&half(0x8422_2325_cbf2_9ce4).to_be_bytes());
    guid
}

/// The card holder unique identifier: a non-federal FASC-N, the GUID, an expiry date. Its signature
/// is left empty, as cards outside the government have it.
fn chuid(guid: [u8; 16]) -> Vec<u8> {
    let fasc_n = [
        0xd4, 0xe7, 0x39, 0xda, 0x73, 0x9c, 0xed, 0x39, 0xce, 0x73, 0x9d, 0x83, 0x68, 0x58, 0x21,
        0x08, 0x42, 0x10, 0x84, 0x21, 0xc8, 0x42, 0x10, 0xc3, 0xeb,
    ];
    [
        tlv(0x30, &fasc_n),
        tlv(0x34, &guid),
        tlv(0x35, b"20491231"),
        tlv(0x3e, &[]),
        tlv(0xfe, &[]),
    ]
    .concat()
}

/// The card capability container, for software that wants one.
fn ccc(guid: [u8; 16]) -> Vec<u8> {
    let mut identifier = vec![0xa0, 0x00, 0x00, 0x01, 0x16];
    identifier.extend(guid);
    let empty = [0xf3, 0xf5, 0xf6, 0xf7, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe];
    let mut container = [
        tlv(0xf0, &identifier),
        tlv(0xf1, &[0x21]),
        tlv(0xf2, &[0x21]),
    ]
    .concat();
    container.extend(empty.iter().flat_map(|tag| tlv(*tag, &[])));
    container
}

/// What is printed on the card.
fn printed(name: &str) -> Vec<u8> {
    let name = &name.as_bytes()[..name.len().min(125)];
    [
        tlv(0x01, name),
        tlv(0x02, b"Heliostat tests"),
        tlv(0x04, b"2049DEC31"),
        tlv(0x05, b"0000000001"),
        tlv(0x06, b"HELIOSTAT"),
        tlv(0xfe, &[]),
    ]
    .concat()
}

/// No key was ever retired.
fn key_history() -> Vec<u8> {
    [tlv(0xc1, &[0]), tlv(0xc2, &[0]), tlv(0xfe, &[])].concat()
}

/// The discovery object, which is its own template: the application's PIN and no other.
fn discovery() -> Vec<u8> {
    let mut discovery = tlv(0x4f, PIV_AID);
    discovery.extend([0x5f, 0x2f, 2, 0x40, 0x00]);
    tlv(0x7e, &discovery)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    let packed = packer.write_all(bytes).and_then(|()| packer.finish());
    packed.expect("memory takes every byte")
}

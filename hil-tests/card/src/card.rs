//! What a card answers.

use crate::apdu::{Command, Status};

/// The application identifier of PIV (SP 800-73-4), with its version.
const PIV_AID: &[u8] = &[
    0xa0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00,
];
/// A card whose protocol is T=0; readers of the emulator have trouble with T=1.
const ATR: &[u8] = &[
    0x3b, 0x7b, 0x18, 0x00, 0x00, 0x00, 0x31, 0xc0, 0x64, 0x77, 0xe3, 0x03, 0x00, 0x82, 0x90, 0x00,
];
/// Bytes of one response under T=0.
const PIECE: usize = 256;

/// What sort of card it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A PIV card with this GUID.
    Piv([u8; 16]),
    /// A card without PIV but with a UID, as contactless ones have.
    Uid(Vec<u8>),
    /// A card that answers every command with nonsense.
    Garbage,
    /// A card that never answers.
    Silent,
}

/// A card in some state.
#[derive(Debug, Clone)]
pub struct Card {
    kind: Kind,
    selected: bool,
    /// What is left of a response that did not fit.
    rest: Vec<u8>,
}

impl Card {
    /// A card as it comes out of a pocket.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            selected: false,
            rest: Vec::new(),
        }
    }

    /// A PIV card whose GUID is made of a name, so that the same name is the same card.
    pub fn named(name: &str) -> Self {
        Self::new(Kind::Piv(guid_of(name)))
    }

    /// The card id by which a broker knows a card of this name.
    pub fn id_of(name: &str) -> String {
        let hex: String = guid_of(name)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("piv:{hex}")
    }

    /// The answer-to-reset.
    pub fn atr(&self) -> &[u8] {
        ATR
    }

    /// Power was taken away and came back.
    pub fn reset(&mut self) {
        self.selected = false;
        self.rest.clear();
    }

    /// Answers a command; nothing means that it never will.
    pub fn respond(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        if self.kind == Kind::Silent {
            return None;
        }
        let (data, status) = match Command::parse(command) {
            Ok(command) => self.obey(&command),
            Err(status) => (Vec::new(), status),
        };
        let mut response = data;
        response.extend([status.0, status.1]);
        Some(response)
    }

    fn obey(&mut self, command: &Command<'_>) -> (Vec<u8>, Status) {
        let refuse = |status| (Vec::new(), status);
        match (&self.kind, command.class, command.instruction) {
            (Kind::Garbage, ..) => (vec![0xff; 3], Status(0x90, 0x00)),
            // What a reader answers for a contactless card.
            (Kind::Uid(uid), 0xff, 0xca) => (uid.clone(), Status::OK),
            (Kind::Piv(_), 0x00, 0xc0) => self.more(command.expected.unwrap_or(PIECE)),
            (Kind::Piv(_), 0x00, 0xa4) => self.select(command),
            (Kind::Piv(guid), 0x00, 0xcb) if self.selected => {
                let guid = *guid;
                self.get_data(command, guid)
            }
            (_, 0x00, 0xa4 | 0xcb) => refuse(Status::NOT_FOUND),
            (_, 0x00, _) => refuse(Status::NO_INSTRUCTION),
            _ => refuse(Status::NO_CLASS),
        }
    }

    fn select(&mut self, command: &Command<'_>) -> (Vec<u8>, Status) {
        let named = command.parameters.0 == 0x04
            && command.data.len() >= 5
            && PIV_AID.starts_with(command.data);
        if !named {
            return (Vec::new(), Status::NOT_FOUND);
        }
        self.selected = true;
        let mut property = tlv(0x4f, &PIV_AID[5..]);
        property.extend(tlv(0x79, &tlv(0x4f, &PIV_AID[..5])));
        self.send(tlv(0x61, &property))
    }

    fn get_data(&mut self, command: &Command<'_>, guid: [u8; 16]) -> (Vec<u8>, Status) {
        if command.parameters != (0x3f, 0xff) {
            return (Vec::new(), Status::WRONG_PARAMETERS);
        }
        let object = match command.data {
            [0x5c, 3, 0x5f, 0xc1, 0x02] => tlv(0x53, &chuid(guid)),
            [0x5c, 3, 0x5f, 0xc1, 0x07] => tlv(0x53, &ccc(guid)),
            // The discovery object is its own template.
            [0x5c, 1, 0x7e] => {
                let mut discovery = tlv(0x4f, PIV_AID);
                discovery.extend([0x5f, 0x2f, 2, 0x40, 0x00]);
                tlv(0x7e, &discovery)
            }
            _ => return (Vec::new(), Status::NOT_FOUND),
        };
        self.send(object)
    }

    /// The first piece of a response; GET RESPONSE fetches the others.
    fn send(&mut self, data: Vec<u8>) -> (Vec<u8>, Status) {
        self.rest = data;
        self.more(PIECE)
    }

    fn more(&mut self, expected: usize) -> (Vec<u8>, Status) {
        let count = expected.min(PIECE).min(self.rest.len());
        let piece = self.rest.drain(..count).collect();
        match self.rest.len() {
            0 => (piece, Status::OK),
            left => (piece, Status(0x61, left.min(255) as u8)),
        }
    }
}

fn guid_of(name: &str) -> [u8; 16] {
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

/// The card holder unique identifier: a non-federal FASC-N, the GUID, an expiry date.
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

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match value.len() {
        length @ 0..=0x7f => bytes.push(length as u8),
        length @ 0x80..=0xff => bytes.extend([0x81, length as u8]),
        length => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    bytes.extend(value);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SELECT: &[u8] = &[
        0x00, 0xa4, 0x04, 0x00, 0x09, 0xa0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x00,
    ];
    const GET_CHUID: &[u8] = &[
        0x00, 0xcb, 0x3f, 0xff, 0x05, 0x5c, 0x03, 0x5f, 0xc1, 0x02, 0x00,
    ];

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
    }

    proptest! {
        #[test]
        fn any_command_is_answered_with_a_status(
            commands in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)
        ) {
            for kind in [Kind::Piv([7; 16]), Kind::Uid(vec![1, 2, 3, 4]), Kind::Garbage] {
                let mut card = Card::new(kind);
                card.respond(SELECT);
                for command in &commands {
                    prop_assert!(card.respond(command).unwrap().len() >= 2);
                }
            }
        }
    }
}

//! A card's id, read step by step: commands out, responses in.
//!
//! ```text
//!   SelectPiv ── 9000 ──▶ Chuid ── GUID ──▶ done (piv:…)
//!       │ else              │ else
//!       └───────▶ Uid ◀─────┘ ── fixed UID ──▶ done (uid:…)
//!                  │ else
//!                  └──▶ done (atr:…), or nameless without an ATR
//! ```
//!
//! Commands and objects are those of NIST SP 800-73-4 (PIV) and PC/SC part 3 (UID). Responses are
//! whatever a card likes to say, so nothing in them is believed further than its bytes reach.

use heliostat_wire::List;
use heliostat_wire::card::{Card, CardKind, Unreadable};

/// SELECT by the PIV application's identifier, without its version.
pub(crate) const SELECT_PIV: &[u8] = &[
    0x00, 0xa4, 0x04, 0x00, 0x09, 0xa0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x00,
];
/// GET DATA of the card holder unique identifier.
const GET_CHUID: &[u8] = &[
    0x00, 0xcb, 0x3f, 0xff, 0x05, 0x5c, 0x03, 0x5f, 0xc1, 0x02, 0x00,
];
/// GET DATA of a contactless card's UID, answered by the reader.
const GET_UID: &[u8] = &[0xff, 0xca, 0x00, 0x00, 0x00];
/// Bytes of one data object that are worth reading; a CHUID with a signature has about 3000.
const MAX_OBJECT: usize = 8192;
/// Commands for one card; an honest one needs some fifteen.
const MAX_COMMANDS: u32 = 64;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this to the card and come back with the response.
    Transmit(Vec<u8>),
    /// This is the card.
    Done(Card),
    /// It cannot be named.
    Unreadable(Unreadable),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    SelectPiv,
    Chuid,
    Uid,
}

/// Reads one card's id.
#[derive(Debug)]
pub struct Identify {
    atr: Vec<u8>,
    asked: Asked,
    last: Vec<u8>,
    object: Vec<u8>,
    commands: u32,
}

impl Identify {
    /// A card with this answer-to-reset, and the first command for it.
    pub fn begin(atr: &[u8]) -> (Self, Step) {
        let mut identify = Self {
            atr: atr.to_vec(),
            asked: Asked::SelectPiv,
            last: Vec::new(),
            object: Vec::new(),
            commands: 0,
        };
        let step = identify.transmit(SELECT_PIV.to_vec());
        (identify, step)
    }

    /// The card's response to the last command, status word included.
    pub fn respond(&mut self, response: &[u8]) -> Step {
        let Some((data, &[sw1, sw2])) = response.split_last_chunk() else {
            return self.next_source();
        };
        match (sw1, sw2) {
            // More is waiting.
            (0x61, more) => {
                self.object.extend_from_slice(data);
                if self.object.len() > MAX_OBJECT {
                    return self.next_source();
                }
                self.transmit(vec![0x00, 0xc0, 0x00, 0x00, more])
            }
            // The same command again with the length the card wants.
            (0x6c, length) => {
                let mut command = self.last.clone();
                if let Some(last) = command.last_mut() {
                    *last = length;
                }
                self.transmit(command)
            }
            (0x90, 0x00) => {
                self.object.extend_from_slice(data);
                self.complete()
            }
            _ => self.next_source(),
        }
    }

    fn transmit(&mut self, command: Vec<u8>) -> Step {
        self.commands += 1;
        if self.commands > MAX_COMMANDS {
            return Step::Unreadable(Unreadable::Nameless);
        }
        self.last.clone_from(&command);
        Step::Transmit(command)
    }

    fn complete(&mut self) -> Step {
        let object = std::mem::take(&mut self.object);
        match self.asked {
            Asked::SelectPiv => {
                self.asked = Asked::Chuid;
                self.transmit(GET_CHUID.to_vec())
            }
            Asked::Chuid => match guid(&object) {
                Some(guid) => self.done("piv", &guid, CardKind::Piv),
                None => self.next_source(),
            },
            Asked::Uid if is_fixed_uid(&object) => {
                self.done("uid", &object, CardKind::ContactlessUid)
            }
            Asked::Uid => self.next_source(),
        }
    }

    fn next_source(&mut self) -> Step {
        self.object.clear();
        // What has said that it is PIV has no other name: a bad contact must not give it one.
        if self.asked == Asked::Chuid {
            return Step::Unreadable(Unreadable::Nameless);
        }
        if self.asked != Asked::Uid {
            self.asked = Asked::Uid;
            return self.transmit(GET_UID.to_vec());
        }
        if self.atr.is_empty() {
            return Step::Unreadable(Unreadable::Nameless);
        }
        let atr = self.atr.clone();
        self.done("atr", &atr, CardKind::AtrSerial)
    }

    fn done(&self, prefix: &str, name: &[u8], kind: CardKind) -> Step {
        let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = format!("{prefix}:{hex}").as_str().into();
        Step::Done(Card {
            id,
            kind,
            atr: List::truncated(self.atr.clone()),
        })
    }
}

/// The GUID of a CHUID object: tag 0x34 inside tag 0x53. All zeros or ones name nothing.
fn guid(object: &[u8]) -> Option<[u8; 16]> {
    let (tag, mut inside, _) = tlv(object)?;
    if tag != 0x53 {
        return None;
    }
    while let Some((tag, value, rest)) = tlv(inside) {
        if tag == 0x34 {
            let guid: [u8; 16] = value.try_into().ok()?;
            return (guid != [0; 16] && guid != [0xff; 16]).then_some(guid);
        }
        inside = rest;
    }
    None
}

/// The first BER-TLV of `bytes` with a one-byte tag: tag, value, rest.
pub(crate) fn tlv(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (
                digits
                    .iter()
                    .fold(0, |length, digit| length << 8 | usize::from(*digit)),
                rest,
            )
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

/// UIDs have 4, 7 or 10 bytes; a single-size one that begins with 08 is drawn anew at each touch
/// (ISO 14443-3).
fn is_fixed_uid(uid: &[u8]) -> bool {
    matches!(uid.len(), 4 | 7 | 10)
        && !(uid.len() == 4 && uid[0] == 0x08)
        && uid.iter().any(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ATR: &[u8] = &[0x3b, 0x00];

    /// A card that answers with `answer` until it has been named or given up.
    fn read(answer: impl Fn(&[u8]) -> Vec<u8>) -> Step {
        let (mut identify, mut step) = Identify::begin(ATR);
        while let Step::Transmit(command) = step {
            step = identify.respond(&answer(&command));
        }
        step
    }

    fn chuid(guid: [u8; 16]) -> Vec<u8> {
        let mut inside = vec![0x30, 2, 0xd1, 0x38, 0x34, 16];
        inside.extend(guid);
        inside.extend([0x35, 8]);
        inside.extend(b"20301231");
        inside.extend([0x3e, 0, 0xfe, 0]);
        [vec![0x53, inside.len() as u8], inside].concat()
    }

    fn name(step: Step) -> String {
        match step {
            Step::Done(card) => card.id.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn piv_card_is_named_by_its_guid_even_when_it_answers_in_pieces() {
        let object = chuid([0xab; 16]);
        let named = name(read(|command| match command[1] {
            0xa4 => vec![0x61, 0x00, 0x90, 0x00],
            0xcb => vec![0x61, 0x10],
            0xc0 if command[4] == 0x10 => [&object[..16], &[0x61, 0x20]].concat(),
            0xc0 => [&object[16..], &[0x90, 0x00]].concat(),
            _ => vec![0x6d, 0x00],
        }));
        assert_eq!(named, format!("piv:{}", "ab".repeat(16)));
    }

    #[test]
    fn command_is_repeated_with_the_length_the_card_wants() {
        let object = chuid([0xab; 16]);
        let named = name(read(|command| match (command[1], command.last()) {
            (0xa4, _) => vec![0x90, 0x00],
            (0xcb, Some(0x00)) => vec![0x6c, 0x30],
            (0xcb, Some(0x30)) => [&object[..], &[0x90, 0x00]].concat(),
            _ => vec![0x6d, 0x00],
        }));
        assert_eq!(named, format!("piv:{}", "ab".repeat(16)));
    }

    #[test]
    fn card_without_piv_is_named_by_a_fixed_uid_and_never_by_a_random_one() {
        let contactless = |uid: &'static [u8]| {
            name(read(move |command| match command[0] {
                0xff => [uid, &[0x90, 0x00]].concat(),
                _ => vec![0x6a, 0x82],
            }))
        };
        assert_eq!(contactless(&[4, 1, 2, 3, 4, 5, 6]), "uid:04010203040506");
        assert_eq!(contactless(&[0x08, 1, 2, 3]), "atr:3b00");
        assert_eq!(contactless(&[0, 0, 0, 0]), "atr:3b00");
    }

    #[test]
    fn empty_guid_names_nothing() {
        let object = chuid([0; 16]);
        let step = read(|command| match command[1] {
            0xa4 => vec![0x90, 0x00],
            0xcb => [&object[..], &[0x90, 0x00]].concat(),
            _ => vec![0x6a, 0x81],
        });
        assert_eq!(step, Step::Unreadable(Unreadable::Nameless));
    }

    #[test]
    fn card_that_never_ends_is_given_up() {
        assert_eq!(
            read(|_| vec![0x6c, 0x10]),
            Step::Unreadable(Unreadable::Nameless)
        );
        let endless = read(|_| [vec![0; 250], vec![0x61, 0xff]].concat());
        assert!(
            matches!(endless, Step::Unreadable(_) | Step::Done(_)),
            "{endless:?}"
        );
    }

    proptest! {
        #[test]
        fn any_answers_name_a_card_or_give_it_up(
            answers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8)
        ) {
            let at = std::cell::Cell::new(0);
            let step = read(|_| {
                at.set(at.get() + 1);
                answers[at.get() % answers.len()].clone()
            });
            prop_assert!(!matches!(step, Step::Transmit(_)));
        }

        #[test]
        fn any_object_has_a_guid_or_not(object in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = guid(&object);
            let _ = guid(&[vec![0x53, object.len() as u8], object].concat());
        }
    }
}

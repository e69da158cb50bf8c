//! The wire stays what it was: golden vectors, a schema hash per version, and round trips.

mod document;
mod schema;
mod strategies;
mod vectors;

use heliostat_wire::codec;
use heliostat_wire::version::{Link, Preamble, VersionError};
use heliostat_wire::{List, Text, WireError, close, control, id, limits, oracle, scene, session};
use proptest::prelude::*;

#[test]
fn preamble_has_a_frozen_layout() {
    let bytes = Preamble {
        link: Link::Session,
        min: 1,
        max: 0x0203,
    }
    .encode();
    assert_eq!(&bytes, b"HELIOSTS\x01\x00\x03\x02");
}

#[test]
fn hello_of_a_wrong_version_is_refused_with_both_ranges() {
    let peer = Preamble {
        link: Link::Control,
        min: 90,
        max: 91,
    };
    let refused = Preamble::agree(Link::Control, peer).unwrap_err();
    assert_eq!(
        refused,
        VersionError::NoCommonVersion {
            peer_min: 90,
            peer_max: 91
        }
    );
    assert!(refused.to_string().contains("update the older one"));
}

#[test]
fn preamble_for_the_other_link_is_refused() {
    let peer = Preamble::ours(Link::Session);
    assert_eq!(
        Preamble::agree(Link::Control, peer),
        Err(VersionError::WrongLink(Link::Session))
    );
}

#[test]
fn preamble_with_an_empty_range_is_not_heliostat() {
    let bytes = Preamble {
        link: Link::Control,
        min: 2,
        max: 1,
    }
    .encode();
    assert_eq!(Preamble::decode(&bytes), Err(VersionError::NotHeliostat));
    assert_eq!(
        Preamble::decode(b"GET / HTTP/1"),
        Err(VersionError::NotHeliostat)
    );
}

#[test]
fn list_longer_than_its_limit_does_not_decode() {
    let bytes = postcard::to_stdvec(&vec![7u8; 5]).unwrap();
    assert!(codec::decode::<List<u8, 5>>(&bytes).is_ok());
    assert!(matches!(
        codec::decode::<List<u8, 4>>(&bytes),
        Err(WireError::Undecodable(_))
    ));
}

#[test]
fn list_that_claims_more_than_there_is_does_not_decode() {
    // The varint 0xffff_ffff_0f claims four billion items in five bytes.
    let bytes = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(codec::decode::<List<u64, { usize::MAX }>>(&bytes).is_err());
}

#[test]
fn text_with_a_control_character_does_not_decode() {
    let bytes = postcard::to_stdvec("a\u{1b}[2J").unwrap();
    assert!(codec::decode::<Text<64>>(&bytes).is_err());
    assert_eq!(Text::<64>::lossy("a\u{1b}b").as_str(), "a\u{fffd}b");
    assert_eq!(Text::<4>::lossy("aéé").as_str(), "aé");
}

#[test]
fn trailing_bytes_are_an_error() {
    let mut bytes = Vec::new();
    codec::encode(&control::ToBroker::Ping(1), &mut bytes).unwrap();
    bytes.push(0);
    let body = &bytes[1..];
    assert_eq!(
        codec::decode::<control::ToBroker>(body),
        Err(WireError::TrailingBytes(1))
    );
}

#[test]
fn length_field_over_the_limit_is_refused_before_any_byte_is_read() {
    let max = limits::MAX_MESSAGE;
    let mut field = [0x80; 4];
    field[3] = (max >> 21) as u8 + 1;
    field[0] |= 1;
    assert!(matches!(
        codec::body_range(&field, max),
        Err(WireError::TooLong { .. })
    ));
}

#[test]
fn length_field_has_one_form_and_an_end() {
    let read = |bytes: &[u8]| codec::body_range(bytes, 300);
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&[0]), Ok(Some(1..1)));
    assert_eq!(read(&[127]), Ok(Some(1..128)));
    assert_eq!(read(&[0x80]), Ok(None));
    assert_eq!(read(&[0xac, 0x02]), Ok(Some(2..302)));
    assert_eq!(read(&[0x85, 0x00]), Err(WireError::BadLength));
    assert_eq!(read(&[0x80; 3]), Ok(None));
    assert_eq!(read(&[0x80; 4]), Err(WireError::BadLength));
}

#[test]
fn failed_encoding_leaves_the_buffer_as_it_was() {
    let mut out = vec![1, 2, 3];
    let message = vec![0u8; limits::MAX_MESSAGE + 1];
    assert!(codec::encode(&message, &mut out).is_err());
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn close_codes_have_numbers_that_come_back() {
    for number in 0..9 {
        let code = close::CloseCode::from_number(number).unwrap();
        assert_eq!(u64::from(code as u32), number);
    }
    assert_eq!(close::CloseCode::from_number(9), None);
}

#[test]
fn key_pin_reads_only_its_own_form() {
    let pin = id::KeyPin(core::array::from_fn(|i| i as u8 * 7));
    assert_eq!(pin.to_string().parse(), Ok(pin));
    for bad in [
        "",
        "sha256:",
        "sha256:00",
        "md5:00",
        &format!("sha256:{}", "é".repeat(32)),
    ] {
        assert_eq!(bad.parse::<id::KeyPin>(), Err(id::BadPin), "{bad}");
    }
}

#[test]
fn ticket_never_reaches_a_log() {
    assert_eq!(format!("{:?}", id::Ticket([65; 32])), "Ticket(…)");
}

fn survives<T>(message: &T)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes).unwrap();
    let body = codec::body_range(&bytes, limits::MAX_MESSAGE);
    let body = body.unwrap().unwrap();
    assert_eq!(body.end, bytes.len());
    assert_eq!(&codec::decode::<T>(&bytes[body]).unwrap(), message);
}

proptest! {
    #[test]
    fn every_control_message_survives(message in strategies::to_broker()) {
        survives(&message);
    }

    #[test]
    fn every_control_answer_survives(message in strategies::control_to_terminal()) {
        survives(&message);
    }

    #[test]
    fn every_session_message_survives(message in strategies::to_session()) {
        survives(&message);
    }

    #[test]
    fn every_session_answer_survives(message in strategies::session_to_terminal()) {
        survives(&message);
    }

    #[test]
    fn every_frame_header_survives(header in strategies::frame_header()) {
        survives(&header);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        oracle::decode_control(&bytes);
        oracle::decode_session(&bytes);
        oracle::decode_frame(&bytes);
        oracle::preamble(&bytes);
        oracle::statements(&bytes);
    }

    #[test]
    fn statements_differ_where_anything_they_say_does(
        (purposes, keys) in ([0u8..3, 0u8..3], [0u8..2, 0u8..2]),
        secrets in any::<[bool; 4]>(),
        names in [["a{0,2}", "a{0,2}"], ["a{0,2}", "a{0,2}"]],
    ) {
        // Values that are often equal, and names that run into each other.
        let signed = |n: usize| {
            let secret = |byte: bool| [u8::from(byte); 32];
            let fixed = (purposes[n], keys[n], secret(secrets[n]), secret(secrets[2 + n]));
            (fixed, names[n].clone())
        };
        oracle::statements(&postcard::to_stdvec(&(signed(0), signed(1))).unwrap());
    }
}

#[test]
fn messages_cost_what_the_figures_assume() {
    let mut bytes = Vec::new();
    let header = scene::FrameHeader {
        serial: 100_000,
        last_input: 100_000,
        overtakes: 0,
        ops: List::new(vec![scene::SceneOp::Move {
            layer: id::LayerId(300),
            output: id::OutputId(0),
            x: 1800,
            y: -1000,
        }])
        .unwrap(),
    };
    codec::encode_frame_header(&header, &mut bytes).unwrap();
    assert!(
        bytes.len() <= 17,
        "a moved window costs {} bytes",
        bytes.len()
    );
    bytes.clear();
    let shown = session::ToSession::FrameShown {
        serial: 100_000,
        after_us: 16_000,
        output: Some(id::OutputId(1)),
    };
    codec::encode(&shown, &mut bytes).unwrap();
    assert!(
        bytes.len() <= 10,
        "an acknowledgement costs {} bytes",
        bytes.len()
    );
}

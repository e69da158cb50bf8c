//! What must hold for any bytes: decoding never panics, and what decodes encodes to the same value.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bounded::Text;
use crate::id::CardId;
use crate::limits::MAX_NAME;
use crate::version::{Link, Preamble};
use crate::{codec, control, proof, scene, session};

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = codec::decode::<T>(bytes) else {
        return;
    };
    let mut encoded = Vec::new();
    if codec::encode(&message, &mut encoded).is_err() {
        assert!(bytes.len() > crate::limits::MAX_MESSAGE);
        return;
    }
    let body = codec::body_range(&encoded, crate::limits::MAX_MESSAGE);
    let body = body.expect("own length").expect("whole length");
    let again: T = codec::decode(&encoded[body]).expect("own encoding decodes");
    assert_eq!(message, again);
}

/// Any bytes as control-link messages, both ways.
pub fn decode_control(bytes: &[u8]) {
    round_trip::<control::ToBroker>(bytes);
    round_trip::<control::ToTerminal>(bytes);
}

/// What a statement is made of, as far as it is signed.
type Signed = (
    proof::Purpose,
    proof::ProofKey,
    [u8; 32],
    [u8; 32],
    Text<MAX_NAME>,
    CardId,
);

/// Any bytes as the makings of two statements: they are equal only where all they are made of is.
pub fn statements(bytes: &[u8]) {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Two(Signed, Signed);
    let Ok(Two(one, other)) = codec::decode::<Two>(bytes) else {
        return;
    };
    let make = |signed: &Signed| {
        let (purpose, key, nonce, exporter, terminal, card) = signed.clone();
        let challenge = proof::Challenge {
            seq: 0,
            nonce,
            purpose,
            key,
            want_certificate: false,
        };
        proof::statement(&challenge, &exporter, &terminal, &card)
    };
    assert_eq!(make(&one) == make(&other), one == other);
}

/// Any bytes as session-link messages, both ways.
pub fn decode_session(bytes: &[u8]) {
    round_trip::<session::ToSession>(bytes);
    round_trip::<session::ToTerminal>(bytes);
}

/// Any bytes as a frame header.
pub fn decode_frame(bytes: &[u8]) {
    round_trip::<scene::FrameHeader>(bytes);
}

/// Any bytes as a preamble.
pub fn preamble(bytes: &[u8]) {
    let Some(bytes) = bytes.first_chunk() else {
        return;
    };
    if let Ok(preamble) = Preamble::decode(bytes) {
        assert_eq!(&preamble.encode(), bytes);
        let _ = Preamble::agree(Link::Control, preamble);
    }
}

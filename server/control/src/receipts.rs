//! What the site key signs of a receipt.

use heliostat_wire::receipt::Stage;

use crate::admin::ReceiptRow;

/// The first field: what it is, and its layout's version.
const CONTEXT: &[u8] = b"heliostat receipt 1";

impl ReceiptRow {
    /// The bytes that the site key signs: fields, each preceded by its length (`u32`, little-endian).
    ///
    /// They are the words `heliostat receipt 1`, the attach's number and its time in milliseconds
    /// since 1970 (`u64`, little-endian), the person, the terminal, one byte that is 1 where the
    /// session was started for it and else 0, and for all stages together five bytes each, in order:
    /// the stage's number ([`number`]) and its microseconds (`u32`, little-endian).
    pub fn canonical(&self) -> Vec<u8> {
        let stages: Vec<u8> = self
            .stages
            .iter()
            .flat_map(|(stage, us)| [&[number(*stage)][..], &us.to_le_bytes()].concat())
            .collect();
        let fields: [&[u8]; 7] = [
            CONTEXT,
            &self.attach_id.to_le_bytes(),
            &self.at_ms.to_le_bytes(),
            self.person.as_bytes(),
            self.terminal.as_bytes(),
            &[u8::from(self.started_session)],
            &stages,
        ];
        let mut bytes = Vec::new();
        for field in fields {
            bytes.extend((field.len() as u32).to_le_bytes());
            bytes.extend(field);
        }
        bytes
    }
}

/// A stage's number in the signed form. It is never given to another stage.
pub fn number(stage: Stage) -> u8 {
    match stage {
        Stage::CardEdge => 1,
        Stage::IdRead => 2,
        Stage::ProofMade => 3,
        Stage::AttachReceived => 4,
        Stage::LinkUp => 5,
        Stage::Attached => 6,
        Stage::FirstFrameReceived => 7,
        Stage::FirstFrameShown => 8,
        Stage::SettledLossless => 9,
        Stage::Challenged => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn the_signed_form_stays_as_it_is() {
        let row = ReceiptRow {
            attach_id: 1_000_001,
            at_ms: 1_795_235_468_000,
            person: "alice".to_owned(),
            terminal: "desk-7".to_owned(),
            started_session: true,
            stages: vec![(Stage::CardEdge, 0), (Stage::FirstFrameShown, 50_000)],
            signature: "not signed".to_owned(),
        };
        let expected = concat!(
            "13000000",
            "68656c696f7374617420726563656970742031",
            "08000000",
            "41420f0000000000",
            "08000000",
            "e0525ffca1010000",
            "05000000",
            "616c696365",
            "06000000",
            "6465736b2d37",
            "01000000",
            "01",
            "0a000000",
            "0100000000",
            "0850c30000",
        );
        assert_eq!(hex::digits(&row.canonical()), expected);
    }
}

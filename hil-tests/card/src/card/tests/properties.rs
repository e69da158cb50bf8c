//! What holds for every sequence of commands.

use proptest::prelude::*;

use super::*;

/// Commands that a card understands, with short and extended lengths and parts of them made up.
fn commands(data: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let instruction = prop::sample::select(vec![
        0x20u8, 0x24, 0x2c, 0x47, 0x87, 0xa4, 0xc0, 0xcb, 0xdb, 0xfd,
    ]);
    let parameters = prop::sample::select(vec![
        (0x00u8, 0x80u8),
        (0x00, 0x81),
        (0xff, 0x80),
        (0x3f, 0xff),
        (0x11, 0x9a),
        (0x11, 0x9c),
        (0x11, 0x9d),
        (0x11, 0x9e),
        (0x03, 0x9b),
        (0x04, 0x00),
    ]);
    let class = prop::sample::select(vec![0x00u8, 0x10, 0x80]);
    let lengths = (any::<bool>(), prop::option::of(any::<u8>()));
    (class, instruction, parameters, lengths, data).prop_map(
        |(class, instruction, (p1, p2), (is_extended, expected), data)| {
            let length = data.len() as u8;
            let mut command = vec![class, instruction, p1, p2];
            match is_extended {
                true => command.extend([0, 0, length]),
                false => command.push(length),
            }
            command.extend(data);
            match (is_extended, expected) {
                (true, Some(expected)) => command.extend([expected, expected]),
                (false, Some(expected)) => command.push(expected),
                (_, None) => {}
            }
            command
        },
    )
}

/// What is no PIN and no PUK.
fn ignorance() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        Just(pad("123457").to_vec()),
        Just([pad("00000000"), pad(PIN)].concat()),
        Just(tlv(0x7c, &[tlv(0x82, &[]), tlv(0x81, &[7; 32])].concat())),
        Just(vec![0x5c, 3, 0x5f, 0xc1, 0x05]),
        Just(vec![0x5c, 3, 0x5f, 0xc1, 0x09]),
        Just(SELECT[5..].to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_command_is_answered_with_a_status(
        commands in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                commands(prop_oneof![ignorance(), Just(pad(PIN).to_vec())]),
            ],
            0..24,
        )
    ) {
        let odd = [Kind::Uid(vec![1, 2, 3, 4]), Kind::Garbage].map(Card::new);
        let piv = Recipe::new("alice").make();
        for mut card in odd.into_iter().chain([piv]) {
            card.respond(SELECT);
            for command in &commands {
                let response = card.respond(command).unwrap();
                prop_assert!((2..=4096).contains(&response.len()), "{}", response.len());
                if let Some(tries) = card.pin_tries() {
                    prop_assert!(tries <= 3);
                }
            }
        }
    }

    #[test]
    fn who_knows_neither_pin_nor_puk_uses_9e_only(
        commands in prop::collection::vec(commands(ignorance()), 0..24)
    ) {
        let mut card = Recipe::new("alice").make();
        card.respond(SELECT);
        for command in &commands {
            let response = card.respond(command).unwrap();
            let used_a_key = command[1] == 0x87 && response.first() == Some(&0x7c);
            prop_assert!(!used_a_key || command[3] == 0x9e, "{command:02x?}: {response:02x?}");
        }
        for slot in [Slot::PivAuthentication, Slot::Signature] {
            prop_assert_eq!(sign_p256(&mut card, slot), Err(Status::SECURITY));
        }
        prop_assert!(sign_p256(&mut card, Slot::CardAuthentication).is_ok());
    }
}

//! Card ids as administrators write them.

use heliostat_control::admin::Request;

/// What stands before the hexadecimal digits of an id that was read off a card.
const SOURCES: [&str; 3] = ["piv:", "uid:", "atr:"];

/// Writes the card ids of a request as terminals do: their digits mean the same in capitals, but ids
/// are looked up letter by letter. One that is known as it stands is that one.
pub fn as_terminals_write(request: &mut Request, is_known: impl Fn(&str) -> bool) {
    let (first, second) = match request {
        Request::CardAdd { card, .. }
        | Request::CardApprove { card }
        | Request::CardShow { card }
        | Request::CardRevoke { card } => (Some(card), None),
        Request::CardAlias { card, alias } => (Some(card), Some(alias)),
        Request::PolicyExplain { card, .. } => (card.as_mut(), None),
        Request::Audit { only, .. } => (only.card.as_mut(), None),
        _ => return,
    };
    for card in [first, second].into_iter().flatten() {
        let small = card.to_ascii_lowercase();
        let digits = SOURCES.iter().find_map(|source| small.strip_prefix(source));
        let is_read =
            digits.is_some_and(|rest| rest.bytes().all(|digit| digit.is_ascii_hexdigit()));
        if is_read && !is_known(card) {
            *card = small;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_were_read_off_cards_are_in_small_letters_and_others_stay() {
        for (written, expected) in [
            ("piv:00AB", "piv:00ab"),
            ("PIV:00ab", "piv:00ab"),
            ("Uid:04AF", "uid:04af"),
            ("ATR:3B00", "atr:3b00"),
            ("piv:XY", "piv:XY"),
            ("piv:AAAA", "piv:AAAA"),
            ("Blue", "Blue"),
        ] {
            let mut request = Request::CardAlias {
                card: written.to_owned(),
                alias: written.to_owned(),
            };
            as_terminals_write(&mut request, |card| card == "piv:AAAA");
            let expected = Request::CardAlias {
                card: expected.to_owned(),
                alias: expected.to_owned(),
            };
            assert_eq!(request, expected);
        }
    }
}

//! Ids of cards and terminals in one case: their digits mean the same in capitals, so one in another case
//! is no other card or terminal.

use heliostat_control::admin::Request;

/// An id as it is kept and looked up: in small letters, as terminals write them.
pub fn in_one_case(id: &str) -> String {
    id.to_ascii_lowercase()
}

/// Writes the card ids of a request so.
pub fn put_in_one_case(request: &mut Request) {
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
        card.make_ascii_lowercase();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_card_ids_of_a_request_are_put_in_small_letters() {
        let mut request = Request::CardAlias {
            card: "PIV:00AB".to_owned(),
            alias: "Blue".to_owned(),
        };
        put_in_one_case(&mut request);
        let expected = Request::CardAlias {
            card: "piv:00ab".to_owned(),
            alias: "blue".to_owned(),
        };
        assert_eq!(request, expected);
    }
}

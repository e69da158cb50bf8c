//! What has happened since the broker started, counted from its audit lines.

/// Counters of the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attaches that were offered to terminals.
    pub attaches: u64,
    /// Cards that were refused, for whatever reason.
    pub cards_refused: u64,
    /// Sessions that were started.
    pub sessions_started: u64,
    /// Sessions that crashed.
    pub sessions_crashed: u64,
}

impl Tally {
    /// Counts an audit line by its event, also one that the audit log has no room for.
    pub fn note(&mut self, event: &str) {
        let counter = match event {
            "attach" => &mut self.attaches,
            "card_refused" => &mut self.cards_refused,
            "session_start" => &mut self.sessions_started,
            "session_crashed" => &mut self.sessions_crashed,
            _ => return,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_by_their_names() {
        let mut tally = Tally::default();
        for event in ["attach", "card_refused", "attach", "moved", "session_start"] {
            tally.note(event);
        }
        let expected = Tally {
            attaches: 2,
            cards_refused: 1,
            sessions_started: 1,
            sessions_crashed: 0,
        };
        assert_eq!(tally, expected);
    }
}

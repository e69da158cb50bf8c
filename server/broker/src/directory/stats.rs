//! When sessions were asked how they are, and what they said.

use super::*;

/// A session that owes an answer is not asked again for so long, so that orders for one that is
/// stuck do not pile up. Afterwards the question may have been lost with an old connection.
const OWES_MS: u64 = 5000;

/// One session's answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// Since when it owes one.
    owes_since_ms: Option<u64>,
    /// The last one, and when it came.
    last: Option<(u64, SessionStats)>,
}

impl Answers {
    /// Whether it is to be asked now; if so it owes an answer from now on.
    fn ask(&mut self, now_ms: u64) -> bool {
        let owes = self.owes_since_ms.is_some_and(|at| now_ms < at + OWES_MS);
        if !owes {
            self.owes_since_ms = Some(now_ms);
        }
        !owes
    }

    /// It has said something.
    pub(super) fn said(&mut self, now_ms: u64, stats: SessionStats) {
        self.owes_since_ms = None;
        self.last = Some((now_ms, stats.bounded()));
    }

    /// A new connection: what was asked on the old one is not answered.
    pub(super) fn connected(&mut self) {
        self.owes_since_ms = None;
    }

    /// What it last said.
    pub(super) fn stats(&self) -> Option<&SessionStats> {
        self.last.as_ref().map(|(_, stats)| stats)
    }

    /// How many milliseconds ago it said so.
    pub(super) fn age_ms(&self, now_ms: u64) -> Option<u64> {
        let (at_ms, _) = self.last.as_ref()?;
        Some(now_ms.saturating_sub(*at_ms))
    }
}

impl Directory {
    /// Asks the sessions that take terminals how they are.
    pub fn ask_stats(&mut self, now: Moment) -> Vec<Action> {
        let sessions = self.sessions.iter_mut();
        let asked = sessions.filter_map(|(id, session)| {
            let ask = session.is_running() && session.answers.ask(now.ms);
            ask.then_some(Action::ToSession(*id, ToSession::Stats))
        });
        asked.collect()
    }

    /// Whether all sessions that take terminals have said how they are since then.
    pub fn all_have_said(&self, now: Moment, since_ms: u64) -> bool {
        let most_ms = now.ms.saturating_sub(since_ms);
        let mut running = self.sessions.values().filter(|s| s.is_running());
        running.all(|s| s.answers.age_ms(now.ms).is_some_and(|age| age <= most_ms))
    }
}

impl Session {
    fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_owes_an_answer_is_asked_again_only_after_a_while() {
        let mut answers = Answers::default();
        assert!(answers.ask(0));
        assert!(!answers.ask(1000) && !answers.ask(OWES_MS - 1));
        assert!(answers.ask(OWES_MS));
        answers.said(OWES_MS + 1, SessionStats::default());
        assert!(answers.ask(OWES_MS + 2));
        assert_eq!(answers.age_ms(OWES_MS + 11), Some(10));
    }

    #[test]
    fn no_more_is_kept_than_an_honest_session_says() {
        let mut liar = SessionStats::default();
        liar.encode.counts = vec![0; 9000];
        let mut answers = Answers::default();
        answers.said(1, liar.clone());
        assert_eq!(answers.stats(), Some(&liar.bounded()));
    }

    #[test]
    fn on_a_new_connection_it_is_asked_again_at_once() {
        let mut answers = Answers::default();
        assert!(answers.ask(0));
        answers.connected();
        assert!(answers.ask(1));
        assert_eq!(answers.age_ms(1), None);
    }
}

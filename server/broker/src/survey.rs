//! Answers to administrators for which sessions are asked how they are.
//!
//! The hub asks all sessions at once and goes on with its work; every few milliseconds it looks
//! whether they have answered. It answers when all have, or when that has taken too long.

use std::time::Duration;

use heliostat_control::admin::Reply;
use tokio::sync::oneshot;

use crate::hub::{Hub, Incoming};
use crate::metrics;

/// How long an administrator waits for sessions at most.
const PATIENCE_MS: u64 = 250;
/// How long between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// An administrator who waits for sessions.
#[derive(Debug)]
pub struct Survey {
    since_ms: u64,
    form: Form,
    answer: oneshot::Sender<Reply>,
}

/// What the answer is made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Rows, with whatever each session last said.
    Rows,
    /// Prometheus text, with only what was said in time.
    Metrics,
}

impl Hub {
    /// Asks the sessions, and answers once they have said how they are.
    pub(crate) fn ask_sessions(&mut self, form: Form, answer: oneshot::Sender<Reply>) {
        let now = self.now();
        let actions = self.directory.ask_stats(now);
        self.perform(actions);
        self.look(Survey {
            since_ms: now.ms,
            form,
            answer,
        });
    }

    /// Answers where it is time to, and otherwise looks again in a moment.
    pub(crate) fn look(&mut self, survey: Survey) {
        let now = self.now();
        let took_ms = now.ms.saturating_sub(survey.since_ms);
        if took_ms < PATIENCE_MS && !self.directory.all_have_said(now, survey.since_ms) {
            let to_hub = self.to_hub.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LOOK).await;
                let _ = to_hub.send(Incoming::Survey(survey)).await;
            });
            return;
        }
        let rows = self.directory.session_rows(now);
        let reply = match survey.form {
            Form::Rows => Reply::Sessions(rows),
            Form::Metrics => {
                let text = metrics::text(&self.status(), &self.tally, &rows, took_ms);
                Reply::Metrics(text)
            }
        };
        // Whoever asked may have gone.
        let _ = survey.answer.send(reply);
    }
}

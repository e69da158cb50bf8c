//! When a commit whose event does not come counts as lost, and when the kernel is asked again.
//!
//! ```text
//!   idle ── a commit ──► waiting ── its event ──► idle
//!                         │    ▲
//!                LIMIT has passed, then twice as long each time, LONGEST at most
//!                         └────┘
//! ```
//!
//! Pure: the clock is an argument.

use std::time::Duration;

/// How long an event may take: that of a screen with 24 pictures a second comes after 42 ms, and one
/// that is lit has been by the time its commit returns.
pub const LIMIT: Duration = Duration::from_secs(1);
/// Nobody is asked less often than this.
const LONGEST: Duration = Duration::from_secs(8);

#[derive(Debug, Clone, Copy)]
struct Waiting {
    due_ns: u64,
    wait: Duration,
    /// How often it was asked.
    asked: u32,
}

/// Watches the one commit that a screen may have under way.
#[derive(Debug, Default)]
pub struct Overdue(Option<Waiting>);

impl Overdue {
    /// A commit is under way, or none is. One that is watched already stays as old as it is.
    pub fn watch(&mut self, is_waiting: bool, now_ns: u64) {
        self.0 = is_waiting.then(|| self.0.unwrap_or_else(|| Waiting::since(now_ns, LIMIT)));
    }

    /// How long it may still take.
    pub fn left(&self, now_ns: u64) -> Option<Duration> {
        let waiting = self.0?;
        Some(Duration::from_nanos(waiting.due_ns.saturating_sub(now_ns)))
    }

    /// Whether it has taken too long. Then how often the kernel was asked before; from now on it has
    /// twice as long.
    pub fn take_due(&mut self, now_ns: u64) -> Option<u32> {
        let waiting = self.0.as_mut().filter(|waiting| now_ns >= waiting.due_ns)?;
        let asked = waiting.asked;
        let wait = waiting.wait.saturating_mul(2).min(LONGEST);
        *waiting = Waiting {
            asked: asked.saturating_add(1),
            ..Waiting::since(now_ns, wait)
        };
        Some(asked)
    }
}

impl Waiting {
    fn since(now_ns: u64, wait: Duration) -> Self {
        Self {
            due_ns: now_ns.saturating_add(wait.as_nanos() as u64),
            wait,
            asked: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT_NS: u64 = LIMIT.as_nanos() as u64;

    #[test]
    fn commit_is_overdue_after_its_time_and_asked_after_less_and_less_often() {
        let mut overdue = Overdue::default();
        assert!(overdue.left(0).is_none() && overdue.take_due(u64::MAX).is_none());
        let mut now = 7;
        overdue.watch(true, now);
        // That it still waits makes it no younger.
        overdue.watch(true, now + LIMIT_NS / 2);
        assert!(overdue.take_due(now + LIMIT_NS - 1).is_none());
        let mut waited = Vec::new();
        for asked in 0..6 {
            let left = overdue.left(now).unwrap();
            waited.push(left.as_secs());
            now += left.as_nanos() as u64;
            assert_eq!(overdue.take_due(now), Some(asked));
            assert!(overdue.take_due(now).is_none());
        }
        assert_eq!(waited, [1, 2, 4, 8, 8, 8]);
        overdue.watch(false, now);
        assert!(overdue.left(now).is_none());
        overdue.watch(true, now);
        assert_eq!(overdue.left(now), Some(LIMIT));
    }
}

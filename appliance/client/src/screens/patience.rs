//! When a screen that only asks for patience is worth showing.
//!
//! ```text
//!   calm ── "one moment", over another screen of ours ──► held back ── it lasts ──► shown
//!     ▲                                                      │                        │
//!     └──────────── a desktop, or anything else to say ◄─────┴────────────────────────┘
//! ```
//!
//! A desktop is usually there before such a screen could be read, and painting one takes a good part
//! of the time that the desktop takes. Pure: the clock is an argument.

use std::time::Duration;

use super::{Picture, Screen};

/// What takes longer is told of; a person who has inserted a card begins to wonder a little later.
const PATIENCE: Duration = Duration::from_millis(120);

/// Whether something is held back.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Nothing is.
    #[default]
    Calm,
    /// What is to be waited for has begun.
    Held {
        /// When it had.
        since_ns: u64,
    },
    /// It lasts.
    Shown,
}

impl Patience {
    /// Whether `screen` is not to be shown yet. `is_over_own` where the terminal shows a screen of its
    /// own already: what a person has drawn never stays for it.
    pub fn holds(&mut self, screen: &Screen, is_over_own: bool, now_ns: u64) -> bool {
        *self = match *self {
            _ if screen.picture != Picture::Waiting => Self::Calm,
            _ if !is_over_own => Self::Shown,
            Self::Calm => Self::Held { since_ns: now_ns },
            Self::Held { since_ns } if waited(since_ns, now_ns) >= PATIENCE => Self::Shown,
            other => other,
        };
        matches!(self, Self::Held { .. })
    }

    /// A desktop is shown.
    pub fn rest(&mut self) {
        *self = Self::Calm;
    }

    /// How long something may still be held back.
    pub fn left(&self, now_ns: u64) -> Option<Duration> {
        match self {
            Self::Held { since_ns } => Some(PATIENCE.saturating_sub(waited(*since_ns, now_ns))),
            Self::Calm | Self::Shown => None,
        }
    }
}

fn waited(since_ns: u64, now_ns: u64) -> Duration {
    Duration::from_nanos(now_ns.saturating_sub(since_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE_NS: u64 = PATIENCE.as_nanos() as u64;

    fn screen(picture: Picture) -> Screen {
        Screen {
            headline: String::new(),
            detail: String::new(),
            digits: None,
            hint: String::new(),
            code: None,
            also: Vec::new(),
            picture,
            online: true,
            name: String::new(),
            site: String::new(),
        }
    }

    #[test]
    fn what_lasts_is_shown_from_then_on_and_what_passes_is_not() {
        let mut patience = Patience::default();
        let waiting = screen(Picture::Waiting);
        assert!(patience.holds(&waiting, true, 1000));
        assert_eq!(patience.left(1000), Some(PATIENCE));
        // Another word of the same kind does not begin anew.
        assert!(patience.holds(&waiting, true, 999 + PATIENCE_NS));
        assert_eq!(patience.left(2000 + PATIENCE_NS), Some(Duration::ZERO));
        assert!(!patience.holds(&waiting, true, 1000 + PATIENCE_NS));
        assert_eq!(patience.left(2000 + PATIENCE_NS), None);
        assert!(!patience.holds(&waiting, true, 2000 + PATIENCE_NS));
        patience.rest();
        assert!(patience.holds(&waiting, true, 3000 + PATIENCE_NS));
        // A clock that goes back, or stands, holds nothing for ever.
        assert!(patience.left(0).is_some_and(|left| left <= PATIENCE));
    }

    #[test]
    fn what_a_person_must_know_and_what_covers_a_desktop_is_shown_at_once() {
        let mut patience = Patience::default();
        for picture in [Picture::InsertCard, Picture::CardIn, Picture::Trouble] {
            assert!(patience.holds(&screen(Picture::Waiting), true, 5));
            assert!(!patience.holds(&screen(picture), true, 6));
            assert_eq!(patience.left(6), None);
        }
        assert!(!patience.holds(&screen(Picture::Waiting), false, 7));
        assert_eq!(patience.left(7), None);
        // Its words may change from then on.
        assert!(!patience.holds(&screen(Picture::Waiting), true, 8));
    }
}
